"""The documentation of what is installed: READMEs, licences and docstrings, read from disk and never imported.

Real text that nobody wrote for this project: e-mail addresses in licences, many near-duplicate licences, Markdown and
reST. Order and choice follow from names alone, so that the same set of packages gives the same rows.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import compat32
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from pipeline.options import Options
from stages.ingest.metadata.licence import spdx
from stages.ingest.row import Raw
from stages.ingest.sources import PACKAGES, File

OWN = "maetdol"
_LICENCE = re.compile(r"(?:^|/)(?:licen[sc]es?/.*|(?:licen[sc]e|copying|notice|authors|copyright)[^/]*)$", re.I)
_TEXT = re.compile(r"\.(?:txt|md|rst|markdown|text)$|(?:^|/)[^./]+$|\.(?:apache|bsd|mit|gpl|lgpl|psf)\w*$", re.I)
_CLASSIFIER = re.compile(r"^License :: (?:OSI Approved :: )?(.+)$")
SHORT_DOC = 200
"""Bytes below which a module cannot hold a docstring worth a document."""


class Packages(Options):
    """Which documentation `from: installed-packages` takes."""

    kinds: tuple[Literal["readme", "licence", "docstring"], ...] = ("readme", "licence", "docstring")
    "What to take, in this order as far as the limits reach: long descriptions, licence files, docstrings of modules."
    names: list[str] | None = None
    "Distributions to take; default: all that are installed, this project left out."
    max_files: int = 4000
    "Documents at most; of one kind chosen by a hash of their names, so that every package has its share."
    max_bytes: int = 16 << 20
    "Source bytes at most, all together (16 MiB)."


@lru_cache(maxsize=8)
def _listed(options: str, path: tuple[str, ...]) -> tuple[File, ...]:
    """The chosen files for options (as JSON) and a Python path; remembered, for a process asks several times."""
    given = Packages.model_validate_json(options)
    names = {name.lower() for name in given.names} if given.names is not None else None
    found: dict[str, File] = {}
    for dist in metadata.distributions(path=list(path)):
        about = dist.metadata  # parsed anew each time it is asked for
        name = (about["Name"] or "").lower()
        if name and name != OWN and (names is None or name in names):
            for file in _of(dist, name, about["Version"], given.kinds):
                found.setdefault(file.name, file)
    ranked = sorted(found.values(), key=lambda file: (given.kinds.index(file.within), _rank(file.name), file.name))
    chosen, size = [], 0
    for file in ranked[: given.max_files]:
        if size + file.size <= given.max_bytes:
            chosen.append(file)
            size += file.size
    return tuple(sorted(chosen, key=lambda file: file.name))


def listing(options: Packages) -> list[File]:
    """The chosen files of all distributions, sorted by name `installed-packages/<distribution>/<path>`."""
    return list(_listed(options.model_dump_json(), _path()))


def _path() -> tuple[str, ...]:
    """Where distributions are looked for: sys.path without what a package adds of its own insides (Ray's copies of others'
    libraries), so that the listing is the same before and after such a package is imported, and in its workers."""
    return tuple(
        p for p in sys.path if not any(parent.name in ("site-packages", "dist-packages") for parent in Path(p).parents)
    )


def _rank(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def _of(dist: metadata.Distribution, name: str, version: str, kinds: tuple[str, ...]) -> Iterator[File]:
    """The files of one distribution as its RECORD lists them: path, hash and size, so that no file is opened to choose it."""
    for row in csv.reader((dist.read_text("RECORD") or "").splitlines()):
        if len(row) < 3 or (part := _part(row[0])) not in kinds:
            continue
        path, stated, size = row[0], row[1], int(row[2] or 0)
        if ".." in path.split("/") or (part == "docstring" and size < SHORT_DOC) or not size:
            continue
        yield File(
            f"{PACKAGES}/{name}/{_stable(path)}", str(dist.locate_file(path)), size, f"{version}:{stated}", str(part)
        )


def _stable(path: str) -> str:
    """The path without the version in the metadata folder's name."""
    return re.sub(r"^[^/]+\.(?:dist-info|egg-info)/", "info/", path)


def _part(path: str) -> str | None:
    info = re.match(r"[^/]+\.(?:dist-info|egg-info)/(.+)$", path)
    if info:
        if info.group(1) in ("METADATA", "PKG-INFO"):
            return "readme"
        return "licence" if _LICENCE.search(info.group(1)) and _TEXT.search(info.group(1)) else None
    if path.endswith(".py") and not re.search(r"(?:^|/)(?:tests?|testing|_vendor|vendored|conftest)(?:/|\.py$)", path):
        return "docstring"
    return None


def read(file: File) -> Iterator[Raw]:
    """The document of one file of a package."""
    data = Path(file.path).read_bytes()
    about = _about(Path(file.path)) if file.within != "docstring" else _near(Path(file.path), file.name)
    facts = {
        "licence": about.get("licence"),
        "lang": None,
        "meta": {"distribution": file.name.split("/")[1], "part": file.within},
    }
    if file.within == "readme":
        message = BytesParser(policy=compat32).parsebytes(data)
        body = message.get_payload(decode=True) or _field(message, "Description") or ""
        medium = (_field(message, "Description-Content-Type") or "text/x-rst").partition(";")[0].strip().lower()
        facts["title"] = _field(message, "Name")
        yield Raw(
            {"text/markdown": "markdown", "text/plain": "text"}.get(medium, "rst"),
            "",
            body,
            url=about.get("url"),
            facts=facts,
        )
    elif file.within == "licence":
        yield Raw("markdown" if file.path.endswith(".md") else "text", "", data, url=about.get("url"), facts=facts)
    else:
        facts["title"] = file.name.split("/", 2)[2].removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        yield Raw("python", "", data, url=about.get("url"), facts=facts)


def _field(message: metadata.PackageMetadata, name: str) -> str | None:
    """A header as a string: the parser gives an object where it is not ASCII."""
    value = message.get(name)
    return _utf8(str(value)) if value is not None else None


def _utf8(text: str) -> str:
    """The e-mail parser keeps bytes over ASCII as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _installed(name: str) -> metadata.PackageMetadata:
    """Metadata of a distribution, from where the listing found it."""
    for found in metadata.distributions(name=name, path=list(_path())):
        return found.metadata
    raise metadata.PackageNotFoundError(name)


def _near(path: Path, name: str) -> dict[str, str]:
    """The metadata of the distribution a module belongs to."""
    dist = name.split("/")[1]
    if dist not in _KNOWN:
        try:
            _KNOWN[dist] = _facts(_installed(dist))
        except metadata.PackageNotFoundError:
            _KNOWN[dist] = {}
    return _KNOWN[dist]


_KNOWN: dict[str, dict[str, str]] = {}


def _about(path: Path) -> dict[str, str]:
    """The metadata beside a file of a metadata folder."""
    for folder in path.parents:
        for name in ("METADATA", "PKG-INFO"):
            if (folder / name).is_file():
                return _facts(BytesParser(policy=compat32).parsebytes((folder / name).read_bytes(), headersonly=True))
        if folder.suffix in (".dist-info", ".egg-info"):
            break
    return {}


def _facts(message: metadata.PackageMetadata) -> dict[str, str]:
    """Licence and address a distribution states: the licence expression, the licence field, or its classifier."""
    stated = _field(message, "License-Expression") or _field(message, "License")
    if not stated or len(stated) > 100 or "\n" in stated.strip():
        names = [m.group(1) for c in message.get_all("Classifier") or [] if (m := _CLASSIFIER.match(str(c)))]
        stated = names[0] if len(names) == 1 else " AND ".join(sorted(names)) or None
    links = [str(link).partition(",")[2].strip() for link in message.get_all("Project-URL") or []]
    address = _field(message, "Home-page") or next(iter(links), None)
    found = {"licence": spdx(stated), "url": address if address and address.startswith("http") else None}
    return {key: value for key, value in found.items() if value}
