"""One spelling per address: which URLs name the same page, by what the standards say and what trackers append.

    scheme, host        lower case; host names in ASCII (IDNA), no dot at their end           RFC 3986 6.2.2.1, RFC 3490, RFC 1034
    port                dropped where it is the scheme's own, or empty                         RFC 3986 6.2.3
    percent-encoding    capitals; letters, digits and -._~ plain; everything beyond ASCII,
                        blanks and a lone % encoded as UTF-8                                   RFC 3986 6.2.2.2, RFC 3987 3.1
    path                dot segments resolved; no slash at its end                             RFC 3986 6.2.2.3
    query               without TRACKING parameters; the others keep their order; empty: none
    fragment            dropped, but for `#!`, by which a script chose the page                Google's AJAX crawling scheme, 2009

http and https stay apart, and so do www and the bare host: they may serve different pages. Whatever has no `//` after its
scheme, or another scheme than http and https, is only trimmed.
"""

from __future__ import annotations

import re
from functools import lru_cache

TRACKING = frozenset(
    """
    gclid gclsrc dclid gbraid wbraid gad_source gad_campaignid srsltid _ga _gl
    fbclid igshid igsh msclkid yclid ysclid twclid ttclid li_fat_id epik sccid
    mc_cid mc_eid mkt_tok _hsenc _hsmi __hssc __hstc __hsfp hsctatracking
    oly_enc_id oly_anon_id vero_id vero_conv wickedid s_kwcid ef_id
    napm n_media n_query n_rank n_ad_group n_ad n_keyword_id n_keyword n_campaign_type n_ad_group_type n_contract n_match
    """.split()
)
"""Parameters that name a click, a mail or a campaign and never a page, in lower case, as their makers document them:
Google Ads and Analytics, Meta, Microsoft, Yandex, X, TikTok, LinkedIn, Pinterest, Snap; Mailchimp, Marketo, HubSpot, Omeda,
Vero, Wicked Reports, Adobe; Naver's search advertisements. Words such as `ref` or `source` are left: some pages need them."""
CAMPAIGNS = ("utm_", "mtm_", "pk_", "piwik_")
"""Beginnings of such names: Google Analytics, Matomo."""
PORTS = {"http": "80", "https": "443"}

PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|[^!#$&'()*+,/:;=?@\[\]A-Za-z0-9._~-]")
HOST = re.compile(r"(?P<user>.*@)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]*))?", re.DOTALL)
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
CONTROLS = "".join(map(chr, range(0x21)))
NO_HOST = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")
"""Code points that no host has (WHATWG URL 3.2), but for the one that is NUMBERED."""
NUMBERED = re.compile(r"\[[0-9a-f:.]*\]")


def canonical(url: str) -> str:
    """The one spelling of `url`; two addresses name one page when theirs are equal.

    >>> canonical("HTTP://Example.COM:80/a/./b/../c/?utm_source=mail&q=1#top")
    'http://example.com/a/c?q=1'
    >>> canonical("https://맷돌.한국/곡식") == canonical("https://xn--pq1bz0j.xn--3e0b707e/%ea%b3%a1%ec%8b%9d/")
    True
    """
    url = re.sub(r"[\t\n\r]", "", url.strip(CONTROLS))
    parts = PARTS.fullmatch(url)
    scheme = parts[1].lower() if parts else ""
    if scheme not in PORTS:
        return url
    path = _resolved(_escaped(parts[3].replace("\\", "/")))
    query = _kept(parts[4] or "")
    fragment = f"#{_escaped(parts[5])}" if (parts[5] or "").startswith("!") else ""
    return f"{scheme}://{_host(parts[2], PORTS[scheme])}{path.rstrip('/')}{'?' + query if query else ''}{fragment}"


@lru_cache(1 << 14)
def _host(place: str, port: str) -> str:
    """User, host and port; a host that no rule can read stays as it is, in lower case."""
    place = place.rstrip(CONTROLS)
    found = HOST.fullmatch(place)
    if found is None:
        return place.lower()
    given = found["host"].rstrip(CONTROLS + ".")
    host = re.sub("(?:%[0-9A-Fa-f]{2})+", _decoded, given).rstrip(".").lower()
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        pass
    if NO_HOST.search(host) and not NUMBERED.fullmatch(
        host
    ):  # what IDNA or an escape put there would make another address
        host = given.lower()
    number = (found["port"] or "").lstrip("0")
    return f"{found['user'] or ''}{host.rstrip('.')}{':' + number if number not in ('', port) else ''}"


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
    for place, segment in enumerate(segments):
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
        if segment in (".", "..") and place == len(segments) - 1:
            kept.append("")
    return "/".join(kept)


def _kept(query: str) -> str:
    """The parameters that may choose a page, in their order."""
    return "&".join(_escaped(part) for part in query.split("&") if part and not _tracks(part))


def _tracks(parameter: str) -> bool:
    # "&amp;" is what a page's source writes for "&"; links copied from there carry it.
    name = parameter.split("=", 1)[0].lower().removeprefix("amp;")
    return name in TRACKING or name.startswith(CAMPAIGNS)
