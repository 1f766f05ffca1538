"""A corpus with seeded near-duplicates for the deduplication benchmark, and every pair's exact Jaccard similarity.

    python tests/bench/dedup/make_corpus.py OUT --megabytes 200 --lang en --seed 17

Documents are runs of paragraphs drawn from real manuals (`../shared/data`); a third are edited copies of earlier ones, at
edit rates that spread exact similarity from .4 to 1. OUT/docs.jsonl is for the peers, OUT/store for maetdol;
`--truth` adds OUT/truth.npz: all pairs of exact Jaccard .5 and more over lower-cased `\\w+` 5-grams, found by prefix
filtering over Python's own hashes, without any code of the project.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SOURCES = {"en": ("C-python311-rst-en.jsonl.xz", "text"), "ko": ("C-cpp-docs-ko.jsonl.xz", "markdown")}


def paragraphs(data: Path, lang: str) -> list[str]:
    """Distinct paragraphs of 80 characters and more of the language's manual."""
    name, field = SOURCES[lang]
    found: dict[str, None] = {}
    with lzma.open(data / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            for part in re.split(r"\n\s*\n", json.loads(line)[field]):
                if len(part) >= 80 and (lang == "en" or len(re.findall(r"[가-힣]", part)) > 20):
                    found[part.strip()] = None
    return list(found)


def edited(text: str, rate: float, draw: random.Random, pool: list[str]) -> str:
    """`text` with about `rate` of its words replaced, dropped or doubled, one by one."""
    words = text.split(" ")
    for _ in range(max(1, int(len(words) * rate))):
        at, kind = draw.randrange(len(words)), draw.random()
        if kind < 0.6:
            words[at] = draw.choice(pool)
        elif kind < 0.8 and len(words) > 5:
            del words[at]
        else:
            words.insert(at, draw.choice(pool))
    return " ".join(words)


def documents(data: Path, lang: str, size: int, seed: int):
    """(id, text) until `size` bytes are out."""
    draw = random.Random(seed)
    parts = paragraphs(data, lang)
    pool = sorted({word for part in parts[:2000] for word in part.split()})
    held: list[str] = []
    made = number = 0
    while made < size:
        kind = draw.random()
        if kind < 0.66 or not held:
            count = max(2, int(draw.lognormvariate(2.4, 0.8)))
            text = "\n\n".join(edited(part, 0.3, draw, pool) for part in draw.choices(parts, k=count))
        elif kind < 0.70:
            text = draw.choice(held)
        else:
            text = edited(
                draw.choice(held), draw.choice((0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)), draw, pool
            )
        held.append(text)
        made += len(text.encode())
        yield f"{seed:08x}{number:024x}", text
        number += 1


def truth(texts: list[str], least: float = 0.5):
    """(a, b, similarity) of all pairs of similarity `least` and more: prefix filtering over shingles ordered by rarity."""
    frequency: Counter[int] = Counter()
    sets = []
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        grams = {hash(tuple(words[at : at + 5])) for at in range(max(1, len(words) - 4))} if words else set()
        sets.append(grams)
        frequency.update(grams)
    index: dict[int, list[int]] = defaultdict(list)
    for number, grams in enumerate(sets):
        rare = sorted(grams, key=lambda gram: (frequency[gram], gram))
        near: set[int] = set()
        for gram in rare[: len(grams) - int(-(-least * len(grams) // 1)) + 1]:
            near.update(index[gram])
            index[gram].append(number)
        for other in near:
            shared = len(grams & sets[other])
            alike = shared / (len(grams) + len(sets[other]) - shared)
            if alike >= least:
                yield other, number, alike


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("--megabytes", type=float, default=200)
    words.add_argument("--lang", choices=sorted(SOURCES), default="en")
    words.add_argument("--seed", type=int, default=17)
    words.add_argument("--shards", type=int, default=1, help="shards of the store")
    words.add_argument("--truth", action="store_true")
    given = words.parse_args()
    import numpy as np
    import pyarrow as pa

    from pipeline.schema import DOCUMENT
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    given.out.mkdir(parents=True, exist_ok=True)
    ids, texts = zip(*documents(REPO.parent / "shared/data", given.lang, int(given.megabytes * 1e6), given.seed))
    with open(given.out / "docs.jsonl", "w", encoding="utf-8") as lines:
        for name, text in zip(ids, texts):
            lines.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    columns = {"id": ids, "text": texts, "lang": [given.lang] * len(ids)}
    table = pa.table(
        {f.name: pa.array(columns.get(f.name, [None] * len(ids)), f.type) for f in DOCUMENT}, schema=DOCUMENT
    )
    store = Store(given.out / "store")
    rows = -(-len(ids) // given.shards)
    for number in range(given.shards):
        part = table.slice(number * rows, rows)
        store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="bench", stage="bench", input_ids=part["id"])
    store.commit_manifest(
        {
            "stage": "bench",
            "step": "bench",
            "shape": "DOCUMENT",
            "key": "bench",
            "options": {},
            "lineage": {},
            "schema": [],
        },
        range(given.shards),
    )
    print(f"{len(ids):,} documents, {sum(len(t.encode()) for t in texts) / 1e6:.1f} MB, seed {given.seed}")
    if given.truth:
        pairs = list(truth(list(texts)))
        np.savez(
            given.out / "truth.npz",
            left=[p[0] for p in pairs],
            right=[p[1] for p in pairs],
            jaccard=[p[2] for p in pairs],
        )
        print(f"{len(pairs):,} pairs of .5 and more, {sum(p[2] >= 0.8 for p in pairs):,} of .8 and more")


if __name__ == "__main__":
    main()
