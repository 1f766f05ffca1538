"""The licence a page or package states, as an SPDX word where it is a known one, else as stated.

A link with `rel=license` is a statement; so are `license` in the page's own items and the Dublin Core meta tags. A bare
link to a Creative Commons licence counts only where the page links to exactly one: a page about licences links to many.
"""

from __future__ import annotations

import re

from stages.ingest.html.walk import having
from stages.ingest.metadata.card import Head

_CC = re.compile(r"creativecommons\.org/(licenses|publicdomain|licences)/([a-z+\-]+)/?([0-9]\.[0-9])?", re.I)
_GNU = re.compile(r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?(agpl|lgpl|gpl|fdl)(?:-([0-9.]+))?", re.I)
_OPEN = re.compile(r"(?:opensource\.org/licen[sc]es?|spdx\.org/licenses)/([A-Za-z0-9.+\-]+)", re.I)
_APACHE = re.compile(r"apache\.org/licenses/LICENSE-2\.0", re.I)
NAMES = {
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache license": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0", "apache license version 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0", "apache software license": "Apache-2.0", "apache software license 2.0": "Apache-2.0", "asl 2.0": "Apache-2.0",
    "mit": "MIT", "mit license": "MIT", "the mit license": "MIT", "the mit license (mit)": "MIT", "expat license": "MIT",
    "bsd-3-clause": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause", "new bsd": "BSD-3-Clause", "new bsd license": "BSD-3-Clause", "modified bsd license": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause", "simplified bsd": "BSD-2-Clause", "2-clause bsd license": "BSD-2-Clause", "bsd 2-clause license": "BSD-2-Clause",
    "isc": "ISC", "isc license": "ISC", "isc license (iscl)": "ISC", "mpl-2.0": "MPL-2.0", "mpl 2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "psf": "PSF-2.0", "psfl": "PSF-2.0", "psf-2.0": "PSF-2.0",
    "python software foundation license": "PSF-2.0", "unlicense": "Unlicense", "the unlicense (unlicense)": "Unlicense", "public domain": "Public Domain",
    "cc0": "CC0-1.0", "cc-by": "CC-BY", "cc by 4.0": "CC-BY-4.0", "cc by-sa 4.0": "CC-BY-SA-4.0", "cc by-sa 3.0": "CC-BY-SA-3.0",
}  # fmt: skip
"""Names as people write them, lower case, to SPDX words. `BSD` alone says not which and stays as it is."""
LONGEST = 200
"""Characters of a licence word; what is longer is a text, not a name."""


def spdx(stated: str | None) -> str | None:
    """The SPDX word of a licence link or name; other short statements as they are, texts not at all.

    >>> spdx("https://creativecommons.org/licenses/by-sa/4.0/deed.ko")
    'CC-BY-SA-4.0'
    >>> spdx("http://creativecommons.org/publicdomain/zero/1.0/")
    'CC0-1.0'
    >>> spdx("The MIT License"), spdx("BSD")
    ('MIT', 'BSD')
    """
    if not stated or not stated.strip():
        return None
    stated = " ".join(stated.split())
    if match := _CC.search(stated):
        return _creative(match)
    if match := _GNU.search(stated):
        kind, number = match.group(1).upper(), (match.group(2) or "").rstrip(".")
        number = f"-{number if '.' in number else number + '.0'}" if number else ""
        return ("GFDL" if kind == "FDL" else kind) + number
    if match := _OPEN.search(stated):
        return match.group(1).removesuffix(".html")
    if _APACHE.search(stated):
        return "Apache-2.0"
    return NAMES.get(stated.casefold(), stated) if len(stated) <= LONGEST else None


def _creative(match: re.Match) -> str:
    where, kind, number = match.group(1).lower(), match.group(2).lower(), match.group(3)
    if where == "publicdomain":
        return f"CC0-{number or '1.0'}" if kind.startswith("zero") else f"CC-PDM-{number or '1.0'}"
    return f"CC-{kind.upper()}" + (f"-{number}" if number else "")


def of_page(head: Head, card: dict[str, str]) -> str | None:
    """What a page states, the strongest statement first; None where it states nothing."""
    root = head.root
    for element in having(root, "rel", "licen"):
        words = (element.get("rel") or "").lower().split()
        if element.tag in ("a", "link", "area") and ("license" in words or "licence" in words):
            if found := spdx(element.get("href") or "".join(element.itertext())):
                return found
    if found := spdx(card.get("licence")):
        return found
    for meta in head.metas:
        name = (meta.get("name") or meta.get("property") or "").lower()
        if name in ("dc.rights.license", "dcterms.license", "dc.license", "license", "licence", "copyright-license"):
            if found := spdx(meta.get("content")):
                return found
    links = having(root, "href", "creativecommons.org/")
    linked = {_creative(match) for a in links if a.tag == "a" and (match := _CC.search(a.get("href") or ""))}
    return linked.pop() if len(linked) == 1 else None
