"""Addresses: one canonical form each, which host they belong to, and which hosts are crawled together."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from functools import lru_cache
from urllib.parse import urljoin, urlsplit, urlunsplit

from pipeline import urls

LONGEST = 2048
"""Characters of the longest address that is followed."""


def canonical(url: str) -> str | None:
    """The one form of `url` under which it is remembered and recorded; None where it is not an http(s) address.

    Spelt as `pipeline.urls` says; user name and fragment left out, the query's words sorted, the slash at the end kept.

    >>> canonical("HTTP://Maetdol.Example:80/a/../soy/tofu?utm_source=x&b=2&a=1#step-1")
    'http://maetdol.example/soy/tofu?a=1&b=2'
    >>> canonical("http://솔내.example")
    'http://xn--220b033a.example/'
    >>> canonical("mailto:a@b.example") is None
    True
    """
    found = urls.parsed(url)
    if found is None or not found.is_fetchable:
        return None
    query = "&".join(sorted(found.parameters))
    return urlunsplit((found.scheme, found.host + found.port, found.path or "/", query, ""))


def resolved(base: str, given: str) -> str | None:
    """The canonical address that `given` means on a page at `base`; None where it is none that can be asked.

    >>> resolved("http://a.example/b/c", "../d"), resolved("http://a.example/", "http://[bad/")
    ('http://a.example/d', None)
    """
    try:
        return canonical(urljoin(base, given))
    except ValueError:  # brackets and ports that are none
        return None


def ending_of(url: str) -> str:
    """The ending of an address's last path segment, in lower case, without the dot; empty where it has none.

    >>> ending_of("http://a.example/files/mark.PNG?x=1.zip")
    'png'
    """
    last = urlsplit(url).path.rpartition("/")[2]
    return last.rpartition(".")[2].lower() if "." in last else ""


@lru_cache(maxsize=1)
def not_pages() -> frozenset[str]:
    """Endings of images, archives, media, office files and programs (Scrapy's list): not asked at all."""
    from scrapy.linkextractors import IGNORED_EXTENSIONS

    return frozenset(IGNORED_EXTENSIONS)


def host_of(url: str) -> str:
    """The host of a canonical address."""
    return urls.host_of(url) or ""


def origin_of(url: str) -> str:
    """Scheme, host and port of a canonical address: the reach of one robots.txt."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def site_key(host: str) -> str:
    """Hosts with one key are one site: `www.` does not count.

    >>> site_key("www.example.com") == site_key("example.com")
    True
    """
    return host.removeprefix("www.")


@lru_cache(maxsize=4096)
def registered_name(host: str) -> str:
    """The name somebody registered: `example.co.kr` of `blog.example.co.kr`; an IP address is itself.

    From the public suffix list that comes with tldextract (never fetched); a suffix that is not in it counts as one label.

    >>> registered_name("en.maetdol.example"), registered_name("blog.example.co.kr"), registered_name("127.0.0.1")
    ('maetdol.example', 'example.co.kr', '127.0.0.1')
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    found = _suffixes()(host).top_domain_under_public_suffix
    return found or ".".join(host.split(".")[-2:])


@lru_cache(maxsize=1)
def _suffixes():
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def groups_of(hosts: list[str], most: int) -> dict[str, list[str]]:
    """Group name -> its hosts, sorted. Hosts with one registered name stay together; at most `most` groups.

    Up to `most` names each is a group of its own, called after it; beyond that names are folded by their hash.

    >>> groups_of(["en.maetdol.example", "jangteo.example", "maetdol.example"], 8)
    {'jangteo.example': ['jangteo.example'], 'maetdol.example': ['en.maetdol.example', 'maetdol.example']}
    """
    names: dict[str, list[str]] = {}
    for host in sorted(set(hosts)):
        names.setdefault(registered_name(host), []).append(host)
    if len(names) <= most:
        return {folder_name(name): members for name, members in sorted(names.items())}
    folded: dict[str, list[str]] = {}
    for name, members in names.items():
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") % most
        folded.setdefault(f"group-{number:03d}", []).extend(members)
    return {name: sorted(members) for name, members in sorted(folded.items())}


def folder_name(name: str) -> str:
    """A registered name as the name of a folder."""
    return re.sub(r"[^a-z0-9.\-]", "_", name)[:100]
