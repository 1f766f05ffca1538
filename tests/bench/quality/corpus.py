"""Real English and Korean texts for the benchmarks of quality, from the shared data beside the checkout.

Ids name the file and the line in it; no text leaves this machine: the tables written from it hold ids and counts only.
"""

from __future__ import annotations

import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Text(NamedTuple):
    id: str
    text: str
    lang: str


def texts(shared: Path, *langs: str) -> Iterator[Text]:
    """Every text of the chosen languages (default: `en` and `ko`), in a fixed order."""
    for text in _all(shared):
        if text.lang in (langs or ("en", "ko")) and text.text:
            yield text


def _all(shared: Path) -> Iterator[Text]:
    yield from _jsonl(shared / "C-python311-rst-en.jsonl.xz", "text", "path", "en")
    yield from _jsonl(shared / "I-dclm-quality-nonunanimous.jsonl.xz", "text", None, "en")
    yield from _jsonl(shared / "C-cpp-docs-ko.jsonl.xz", "markdown", "path", "ko")
    yield from _guides(shared)
    yield from _samples(shared)
    yield from _pages(shared / "B-wcxb-dev-sample.tar.xz", "en")
    for name in ("debian-faq", "installation-guide-amd64-12", "libreoffice-help-7.4", "gnome-help"):
        for lang in ("en", "ko"):
            yield from _pages(shared / "C-starter" / f"{name}-{lang}.tar.xz", lang)
    yield from _threads(shared)


def _rows(path: Path) -> Iterator[dict]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _jsonl(path: Path, field: str, name: str | None, lang: str) -> Iterator[Text]:
    for number, row in enumerate(_rows(path)):
        yield Text(f"{path.stem.split('.')[0]}/{row[name] if name else number}", row[field] or "", lang)


def _guides(shared: Path) -> Iterator[Text]:
    for number, row in enumerate(_rows(shared / "F-installguide12-docs.jsonl.xz")):
        yield Text(f"F-installguide12/{number}", row["text"], row.get("lang") or row.get("language") or "en")


def _samples(shared: Path) -> Iterator[Text]:
    with tarfile.open(shared / "D-sft-pref-open.tar.xz") as tar:
        lines = tar.extractfile("llamafactory/data/c4_demo.jsonl").read().decode().splitlines()
    for number, line in enumerate(lines):
        yield Text(f"D-c4-demo/{number}", json.loads(line)["text"], "en")


def _pages(path: Path, lang: str) -> Iterator[Text]:
    """Whole pages as plain text, menus and footers included: what rules are there to judge."""
    from resiliparse.extract.html2text import extract_plain_text

    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith((".html", ".page")):
                html = tar.extractfile(member).read().decode("utf-8", "replace")
                yield Text(
                    f"{path.name.split('.tar')[0]}/{member.name}", extract_plain_text(html, main_content=False), lang
                )


def _threads(shared: Path) -> Iterator[Text]:
    """Korean film reviews, forty of a film to a text, a line each: slang, emoticons, repetition."""
    films: dict[str, list[str]] = {}
    for row in _rows(shared / "C-nsmc-reviews.jsonl.xz"):
        films.setdefault(str(row["movie_id"]), []).append(str(row["text"] or ""))
    for film in sorted(films):
        for at in range(0, len(films[film]), 40):
            yield Text(f"C-nsmc/{film}/{at}", "\n".join(films[film][at : at + 40]), "ko")
