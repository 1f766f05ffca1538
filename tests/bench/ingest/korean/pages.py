"""Made-up Korean pages with gold text, half of the templates held out.

    python -m tests.bench.ingest.korean.pages FILE [--each N] [--held-out]

writes the training pages (or those held out) as the JSONL that `maetdol extractor train` reads. What they show is whether a DOM of a
kind is read, not how real Korean text fares: the class names and the nesting are those of the systems, the words are drawn.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.bench.ingest.korean import blogs, boards, news, offices, shops  # noqa: F401  (templates)
from tests.bench.ingest.korean.parts import TEMPLATES, Page

EACH = 8
"""Pages of a template."""
SEED = 20_260_101
SHORTEST = 8
"""Characters of a snippet; shorter ones stand in any text."""


class Made(NamedTuple):
    name: str
    kind: str
    held_out: bool
    html: bytes
    gold: str
    must: list[str]
    """Snippets of the gold."""
    must_not: list[str]
    """Snippets of furniture: titles of other pages, lines of the footer."""
    markdown: str
    """Headings, items and code of the gold, of templates that note them."""


class _Noted(Page):
    """A page that notes what stands in it beside the gold."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self.furniture: list[str] = []

    def footer(self, lines: int = 3) -> str:
        found = super().footer(lines)
        self.furniture += found.split("<br>")
        return found

    def titles(self, count: int, form: str) -> str:
        at, own = self.write, self.write.title

        def noted() -> str:
            self.furniture.append(own())
            return self.furniture[-1]

        at.title = noted  # type: ignore[method-assign]
        try:
            return super().titles(count, form)
        finally:
            del at.title


def made(each: int = EACH, held_out: bool | None = None) -> Iterator[Made]:
    """`each` pages of every template, of the held-out ones or the others alone where `held_out` is given. Same pages every time."""
    for template in TEMPLATES:
        if held_out is not None and template.held_out != held_out:
            continue
        for number in range(each):
            page = _Noted(random.Random(f"{SEED} {template.name} {number}"))
            source = template.make(page).replace(
                "{charset}", "euc-kr" if template.charset == "cp949" else template.charset
            )
            gold = "\n".join(page.gold)
            must_not = [each for each in page.furniture if len(each) >= SHORTEST and each not in gold]
            yield Made(
                f"{template.name}-{number}", template.kind, template.held_out, source.encode(template.charset, "xmlcharrefreplace"), gold,
                [page.gold[at][:60].strip() for at in sorted({0, len(page.gold) // 2, len(page.gold) - 1})], must_not[:2] + must_not[-2:],
                "\n".join(page.markdown),
            )  # fmt: skip


def rows(each: int = EACH, held_out: bool = False) -> Iterator[dict[str, str]]:
    """The pages to train on, or those held out, as rows of `html`, `text`, `url` and `kind`."""
    for page in made(each, held_out):
        host = page.name.partition("-")[0].replace("_", "-")
        html = page.html.decode("cp949" if b"charset='euc-kr'" in page.html else "utf-8")
        yield {"html": html, "text": page.gold, "url": f"https://{host}.example/{page.name}", "kind": page.kind}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", help="JSONL to write: a row a page with html, text, url and kind")
    parser.add_argument("--each", type=int, default=EACH, help=f"pages of a template (default {EACH})")
    parser.add_argument("--held-out", action="store_true", help="the templates that are never trained on")
    given = parser.parse_args()
    with open(given.file, "w", encoding="utf-8") as file:
        for row in rows(given.each, given.held_out):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
