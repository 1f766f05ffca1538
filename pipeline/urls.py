"""One spelling per URL: which URLs name the same page, by what the standards say and what trackers append.

    scheme, host        lower case; host names in ASCII (IDNA), no dot at their end           RFC 3986 6.2.2.1, RFC 5891, RFC 1034
    port                dropped where it is the scheme's own, or empty                         RFC 3986 6.2.3
    percent-encoding    capitals; letters, digits and -._~ plain; everything beyond ASCII,
                        blanks and a lone % encoded as UTF-8                                   RFC 3986 6.2.2.2, RFC 3987 3.1
    path                dot segments resolved                                                  RFC 3986 6.2.2.3
    query               without TRACKING parameters; the others keep their order; empty: none
    fragment            dropped, but for `#!`, by which a script chose the page                Google's AJAX crawling scheme, 2009

http and https stay apart, and so do www and the bare host: they may serve different pages. Whatever has no `//` after its
scheme, or another scheme than http and https, is only trimmed.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

TRACKING = frozenset(
    """
    gclid gclsrc dclid gbraid wbraid gad_source gad_campaignid srsltid _ga _gl
    fbclid igshid igsh msclkid yclid ysclid twclid ttclid li_fat_id epik sccid
    mc_cid mc_eid mkt_tok _hsenc _hsmi __hssc __hstc __hsfp hsctatracking
    spm scm phpsessid jsessionid sid_tt
    oly_enc_id oly_anon_id vero_id vero_conv wickedid s_kwcid ef_id
    napm n_media n_query n_rank n_ad_group n_ad n_keyword_id n_keyword n_campaign_type n_ad_group_type n_contract n_match
    """.split()
)
"""Parameters that name a click, a mail, a campaign or a visit and never a page, in lower case, as their makers document them:
Google Ads and Analytics, Meta, Microsoft, Yandex, X, TikTok, LinkedIn, Pinterest, Snap; Mailchimp, Marketo, HubSpot, Alibaba,
sessions of PHP and Java servlets, Omeda, Vero, Wicked Reports, Adobe; Naver's search advertisements. Words such as `ref` or
`source` are left: some pages need them."""
CAMPAIGNS = ("utm_", "mtm_", "pk_", "piwik_")
"""Beginnings of such names: Google Analytics, Matomo."""
PORTS = {"http": "80", "https": "443"}

LONGEST_HOST = 253
"""Characters of a name (RFC 1035): what is longer is none, and costs more than its length to encode."""

PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|[^!#$&'()*+,/:;=?@\[\]A-Za-z0-9._~-]")
HOST = re.compile(r"(?P<user>.*@)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]*))?", re.DOTALL)
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
CONTROLS = "".join(map(chr, range(0x21)))
NO_HOST = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")
"""Code points that no host has (WHATWG URL 3.2), but for the one that is NUMBERED."""
NUMBERED = re.compile(r"\[[0-9a-f:.]*\]")


class Url(NamedTuple):
    """An http(s) URL in its parts, each spelt in the one way."""

    scheme: str
    user: str
    """With its `@`; empty for none."""
    host: str
    port: str
    """With its `:`; empty for the scheme's own."""
    path: str
    parameters: list[str]
    """`name=value` of the query, tracking left out, in their order."""
    fragment: str
    """With its `#`; empty but for `#!`."""

    @property
    def is_fetchable(self) -> bool:
        """Has it a host (a name in ASCII, or an address) and a port that there is?"""
        number = self.port[1:] or "0"
        if not self.host or not self.host.isascii() or len(number) > 5 or int(number) >= 1 << 16:
            return False
        if not NO_HOST.search(self.host):
            return True
        try:
            return bool(NUMBERED.fullmatch(self.host)) and ipaddress.IPv6Address(self.host[1:-1]) is not None
        except ValueError:
            return False


def parsed(url: str) -> Url | None:
    """The parts of an http(s) URL; None for any other text.

    >>> parsed("HTTP://Example.COM:80/a/./b/../c/?utm_source=mail&q=1#top")
    Url(scheme='http', user='', host='example.com', port='', path='/a/c/', parameters=['q=1'], fragment='')
    """
    parts = PARTS.fullmatch(_trimmed(url))
    scheme = parts[1].lower() if parts else ""
    if parts is None or scheme not in PORTS:
        return None
    user, host, port = _authority(parts[2], PORTS[scheme])
    path = _resolved(_escaped(parts[3].replace("\\", "/")))
    fragment = f"#{_escaped(parts[5])}" if (parts[5] or "").startswith("!") else ""
    return Url(scheme, user, host, port, path, _kept(parts[4] or ""), fragment)


def canonical(url: str) -> str:
    """The one spelling of `url`, without a slash at the end of its path; two URLs name one page when theirs are equal.

    >>> canonical("HTTP://Example.COM:80/a/./b/../c/?utm_source=mail&q=1#top")
    'http://example.com/a/c?q=1'
    >>> canonical("https://맷돌.한국/곡식") == canonical("https://xn--pq1bz0j.xn--3e0b707e/%ea%b3%a1%ec%8b%9d/")
    True
    """
    found = parsed(url)
    if found is None:
        return _trimmed(url)
    query = f"?{'&'.join(found.parameters)}" if found.parameters else ""
    return f"{found.scheme}://{found.user}{found.host}{found.port}{found.path.rstrip('/')}{query}{found.fragment}"


def host_of(url: str | None) -> str | None:
    """The host of a URL in lower case; None where it has none, or is no URL (`http://[bad/`).

    >>> host_of("https://Blog.example:8080/a"), host_of("http://[bad/"), host_of(None)
    ('blog.example', None, None)
    """
    if not url:
        return None
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _trimmed(url: str) -> str:
    return re.sub(r"[\t\n\r]", "", url.strip(CONTROLS))


@lru_cache(1 << 14)
def _authority(words: str, port: str) -> tuple[str, str, str]:
    """User, host and port; a host that no rule can read stays as it is, in lower case."""
    words = words.rstrip(CONTROLS)
    found = HOST.fullmatch(words)
    if found is None:
        return "", words.lower(), ""
    given = found["host"].rstrip(CONTROLS + ".")
    host = _ascii(re.sub("(?:%[0-9A-Fa-f]{2})+", _decoded, given).rstrip(".").lower())
    # What IDNA or an escape put there would make another address.
    if NO_HOST.search(host) and not NUMBERED.fullmatch(host):
        host = given.lower()
    number = (found["port"] or "").lstrip("0")
    return found["user"] or "", host.rstrip("."), f":{number}" if number not in ("", port) else ""


def _ascii(host: str) -> str:
    """A host name as browsers ask for it (UTS 46), else by the older IDNA 2003, which has pictures too; else as it is."""
    if host.isascii() or len(host) > LONGEST_HOST:
        return host
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError:
        pass
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _decoded(escapes: re.Match) -> str:
    try:
        return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8")
    except UnicodeDecodeError:
        return escapes[0]


def _escaped(words: str) -> str:
    return ESCAPE.sub(_escape, words)


def _escape(found: re.Match) -> str:
    if found[1]:
        plain = chr(int(found[1], 16))
        return plain if plain in UNRESERVED else f"%{found[1].upper()}"
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _resolved(path: str) -> str:
    """The path without `.` and `..`."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for position, segment in enumerate(segments):
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
        if segment in (".", "..") and position == len(segments) - 1:
            kept.append("")
    return "/".join(kept)


def _kept(query: str) -> list[str]:
    """The parameters that may choose a page, in their order."""
    return [_escaped(part) for part in query.split("&") if part and not _tracks(part)]


def _tracks(parameter: str) -> bool:
    # "&amp;" is what a page's source writes for "&"; links copied from there carry it.
    name = parameter.split("=", 1)[0].lower().removeprefix("amp;")
    return name in TRACKING or name.startswith(CAMPAIGNS)
