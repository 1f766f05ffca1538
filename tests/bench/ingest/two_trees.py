"""What pages say of themselves, read from the flat tree and from lxml's: where the two differ, by field.

    python -m tests.bench.ingest.two_trees [--sets wcxb aeb korean] [--every N] [--show N]

Sets are those of `extractors.py` (for `korean` all templates). Fields: items and structure as facts, types of items, what items state,
title, address, language, date, licence, signals.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))

from tests.bench.ingest import extractors  # noqa: E402


def said(root: Any, body: Any) -> dict[str, Any]:
    """What a page gives besides its text, by field."""
    from stages.ingest.html import structure
    from stages.ingest.metadata import card, items, licence, schema_org, signals

    found = items.read_items(root)
    stated = schema_org.card(found)
    head = card.Head(root)
    return {
        "items": [[tuple(fact[:3]) for fact in group.facts] for group in schema_org.groups(found)],
        "structure": [[tuple(fact[:3]) for fact in group.facts] for group in structure.groups(body)],
        "types": [item.types for item in found],
        "stated": dict(stated),
        "title": card.title(head, stated.get("title")),
        "address": card.address(head, "https://example.org/a/b"),
        "language": card.language(head, "en"),
        "date": card.published(head, stated.get("published")),
        "licence": licence.of_page(head, stated),
        "signals": signals.read(head, [("X-Robots-Tag", "noarchive")]),
    }


def both(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`said` over the flat tree, and over lxml's."""
    from stages.ingest.flat.build import build
    from stages.ingest.flat.element import Element
    from stages.ingest.html.tree import parse

    root = Element(build(source).tree)
    tree = parse(source)
    assert tree is not None
    return said(root, root.find("body") or root), said(tree.root, tree.body)


def differing(source: str) -> Iterator[tuple[str, Any, Any]]:
    """(field, of the flat tree, of lxml's) where the two differ."""
    flat, walked = both(source)
    yield from ((field, flat[field], walked[field]) for field in flat if flat[field] != walked[field])


def pages(name: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    if name == "korean":
        from tests.bench.ingest.korean.pages import made

        yield from ((page.name, page.html) for page in made())
    else:
        yield from ((gold.name, gold.html) for gold in extractors.SETS[name](folder))


def main() -> None:
    from stages.ingest import charset

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", nargs="+", default=["wcxb", "aeb", "korean"], choices=["wcxb", "aeb", "korean"])
    parser.add_argument("--every", type=int, default=1, help="each N-th page of a set")
    parser.add_argument("--show", type=int, default=0, help="print so many characters of each difference")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name in given.sets:
            count, fields, facts = 0, Counter(), Counter()
            for number, (page, html) in enumerate(pages(name, Path(place))):
                if number % given.every:
                    continue
                count += 1
                flat, walked = both(charset.decode(html, None).text)
                for field in flat:
                    facts[field] += bool(walked[field])
                    if flat[field] != walked[field]:
                        fields[field] += 1
                        if given.show:
                            print(f"{page} {field}\n  flat {clip(flat[field], walked[field], given.show)}\n  lxml {clip(walked[field], flat[field], given.show)}")  # fmt: skip
            print(f"{name}: {count} pages; of those with a value, differing: " + ", ".join(f"{field} {fields[field]} of {facts[field]}" for field in facts))  # fmt: skip


def clip(one: Any, other: Any, size: int) -> str:
    """The text of `one` from shortly before where it parts from `other`."""
    a, b = str(one), str(other)
    place = next((at for at, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return a[max(0, place - 40) : place + size]


if __name__ == "__main__":
    main()
