"""Ten made-up Korean pages line by line: gold, ours, trafilatura. Writes docs/extracted_pages.md.

    python -m tests.bench.ingest.side_by_side

One page of each template that the model has not learnt from: of those with the best word F1 of ours three, with the worst three, and four
between. All text of these pages is the project's own, which is why they and not real ones are shown. What depends on an extractor stands
in no prose here but is counted.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))

from tests.bench.ingest import measures  # noqa: E402
from tests.bench.ingest.korean.pages import Made, made  # noqa: E402
from tests.bench.ingest.peers import extractor  # noqa: E402

PAGE = REPO / "docs" / "extracted_pages.md"
BEST, MIDDLE, WORST = 3, 4, 3
EXTRACTORS = {"maetdol": "maetdol main", "trafilatura": "trafilatura"}
WIDTH, LINES, MORE = 60, 14, 6
"""Characters of a line that are shown; lines of the gold, and lines beside it of each extractor, that are shown of a page."""


class Reading(NamedTuple):
    page: Made
    texts: dict[str, str]
    scores: dict[str, measures.Score]


def readings() -> list[Reading]:
    """The first page of each held-out template, best first."""
    read = {name: extractor(which) for name, which in EXTRACTORS.items()}
    found = []
    for page in made(each=1, held_out=True):
        encoding = "cp949" if b"charset='euc-kr'" in page.html else "utf-8"
        texts = {name: each(page.html, encoding) for name, each in read.items()}
        found.append(Reading(page, texts, {name: measures.words(text, page.gold) for name, text in texts.items()}))
    return sorted(found, key=lambda each: (-each.scores["maetdol"].f1, each.page.name))


def chosen(found: list[Reading]) -> list[Reading]:
    middle = (len(found) - MIDDLE) // 2
    return [*found[:BEST], *found[middle : middle + MIDDLE], *found[-WORST:]]


def state(line: str, text: str) -> str:
    """`whole` where the words of the line stand in the text one behind the other, `part` where half of them stand there, else `lost`."""
    words, there = measures.WORD.findall(line.lower()), measures.WORD.findall(text.lower())
    if f" {' '.join(words)} " in f" {' '.join(there)} ":
        return "whole"
    return "part" if 2 * (Counter(words) & Counter(there)).total() >= len(words) else "lost"


def beside(text: str, gold: str) -> list[str]:
    """Lines of a text of whose words not even half stand in the gold."""
    return [line for line in text.splitlines() if measures.WORD.search(line) and state(line, gold) == "lost"]


def shown(line: str) -> str:
    line = " ".join(line.split()).replace("|", "\\|")
    return line if len(line) <= WIDTH else line[:WIDTH] + "…"


def section(reading: Reading) -> list[str]:
    page = reading.page
    lines = [f"## {page.name.rpartition('-')[0]} ({page.kind})", ""]
    lines += ["| | word F1 | precision | recall |", "|---|---|---|---|"]
    lines += [f"| {name} | {s.f1:.3f} | {s.precision:.3f} | {s.recall:.3f} |" for name, s in reading.scores.items()]
    gold = [line for line in page.gold.splitlines() if measures.WORD.search(line)]
    states = [[state(line, text) for text in reading.texts.values()] for line in gold]
    # What an extractor lost first, in the page's order.
    order = sorted(sorted(range(len(gold)), key=lambda at: (states[at] == ["whole"] * len(EXTRACTORS), at))[:LINES])
    lines += ["", "| line of the gold | " + " | ".join(EXTRACTORS) + " |", "|---|" + "---|" * len(EXTRACTORS)]
    lines += [f"| {shown(gold[at])} | " + " | ".join(states[at]) + " |" for at in order]
    if len(gold) > LINES:
        lines += ["", f"{len(order)} of the gold's {len(gold)} lines."]
    for name, text in reading.texts.items():
        found = beside(text, page.gold)
        lines += ["", f"Lines of {name} that are not in the gold: {len(found)}."]
        if found:
            lines += ["", *(f"- {shown(line)}" for line in found[:MORE])]
    return [*lines, ""]


def document(found: list[Reading]) -> str:
    lines = [
        "# Extracted pages",
        "",
        "Ten pages as `extract: main` and trafilatura (its defaults) read them, beside their gold. They are made up, in the DOM of Korean boards, blogs,",
        "papers, shops and offices, of templates that the model has not learnt from; their text is the project's own, where that of annotated real",
        "pages is their publishers'. Of one page a template, those with the best word F1 of `extract: main`, some between, and the worst.",
        "`whole`: the line's words stand in the text one behind the other; `part`: half of them stand there; `lost`: fewer. Lines of which an",
        "extractor lost something are shown before others. Written by `tests/bench/ingest/side_by_side.py`; for real pages see",
        "`tests/bench/ingest/RESULTS.md`.",
        "",
    ]
    for reading in found:
        lines += section(reading)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    PAGE.write_text(document(chosen(readings())), "utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
