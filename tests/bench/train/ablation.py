"""Is curation worth its cost? `maetdol ablate` on real documentation with junk and duplicates planted at shares fixed beforehand.

    python tests/bench/train/ablation.py FOLDER [--tokens 300000] [--documents 900]

Reads the shared corpora (Korean Markdown of C++ manuals, English reStructuredText of the Python manual). Every seventh document,
by hash, is held out before anything is planted; the proxies are measured on those alone. Of the documents that remain in the pot
JUNK are made junk (text decoded wrongly, a menu repeated, a list of offers) and COPIES are copies of twenty of them, half of them
with a changed line. The recipe's filters are those of configs/quickstart.yaml.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import random
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
SHARED = Path(os.environ.get("MAETDOL_SHARED", ROOT.parent / "shared")) / "data"
JUNK, COPIES = 0.15, 0.15
"""Shares of all documents of the raw pot; together 30%."""
SOURCES = {"ko": ("C-cpp-docs-ko.jsonl.xz", "markdown"), "en": ("C-python311-rst-en.jsonl.xz", "text")}
LONGEST = 6000
"""Code points of a document; longer ones are cut at the next paragraph."""


def documents(lang: str, count: int) -> list[dict]:
    """The first pieces of `count` documents, by hash of their path."""
    name, field = SOURCES[lang]
    rows = []
    with lzma.open(SHARED / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            text = row[field].split("---\n", 2)[-1] if field == "markdown" else row[field]
            for number, at in enumerate(range(0, min(len(text), 3 * LONGEST), LONGEST)):
                piece = text[at : at + LONGEST].partition("\n\n")[2] if at else text[:LONGEST]
                if len(piece) > 800:
                    rows.append({"id": f"{lang}/{row['path']}/{number}", "text": piece, "source": lang})
    rows.sort(key=lambda row: hashlib.blake2b(row["id"].encode(), digest_size=8).digest())
    return rows[:count]


def junk(row: dict, rng: random.Random, number: int) -> dict:
    """A page nobody wants, made of a real one."""
    kind, words = number % 3, row["text"].split()
    if kind == 0:
        text = row["text"].encode("utf-8")[:LONGEST].decode("latin-1")
    elif kind == 1:
        menu = "\n".join(" ".join(rng.sample(words, min(3, len(words)))) for _ in range(7))
        text = "\n".join([menu] * (LONGEST // (2 * len(menu)) + 2))
    else:
        text = "\n".join(f"* {rng.choice(words)} {rng.choice(words)} - {rng.randrange(1, 999)},{rng.randrange(100, 999)}원 SALE {rng.randrange(10, 90)}%" for _ in range(120))
    return {"id": f"junk/{number}", "text": text, "source": "junk"}


def pot(count: int, seed: int = 17) -> tuple[list[dict], list[dict]]:
    """(raw documents in a drawn order, held-out documents)."""
    real = [row for lang in SOURCES for row in documents(lang, count // 2)]
    held = [row for row in real if int(hashlib.blake2b(row["id"].encode(), digest_size=4).hexdigest(), 16) % 7 == 0]
    kept = [row for row in real if row not in held]
    rng = random.Random(seed)
    whole = round(len(kept) / (1 - JUNK - COPIES))
    bad = [junk(rng.choice(kept), rng, n) for n in range(round(JUNK * whole))]
    copied = rng.sample(kept, 20)
    copies = []
    for n in range(round(COPIES * whole)):
        row = rng.choice(copied)
        text = row["text"] if n % 2 else f"Retrieved {rng.randrange(1, 29)}.{rng.randrange(1, 13)}.2024\n{row['text']}"
        copies.append({"id": f"copy/{n}", "text": text, "source": row["source"]})
    raw = kept + bad + copies
    rng.shuffle(raw)
    return raw, held


RECIPE = """name: planted
root: {folder}/run
seed: 17
steps:
  - ingest: {{from: {folder}/raw.jsonl}}
  - quality:
      filters:
        - language: {{keep: [ko, en], min: 0.5}}
        - gopher_quality
        - gopher_repetition
        - fineweb
        - korean
  - dedup: {{threshold: 0.8, keep: longest}}
  - pii
run: {{pool: inline}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, value in {"tokens": 300_000, "documents": 900, "hidden": 96, "layers": 2, "seeds": 3, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    from pipeline.recipe import parse
    from pipeline.run import run
    from stages.evaluate.commands import Ablate

    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    raw, held = pot(arguments.documents)
    for name, rows in (("raw", raw), ("heldout", held)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", "utf-8")
    (folder / "planted.yaml").write_text(RECIPE.format(folder=folder), "utf-8")
    print(f"{len(raw)} documents in the pot, {sum(r['source'] == 'junk' for r in raw)} of them junk, {sum(r['id'].startswith('copy') for r in raw)} copies; {len(held)} held out")
    held_page = {"name": "held", "root": f"{folder}/held", "steps": [{"ingest": {"from": [f"{folder}/heldout.jsonl"]}}, {"quality": {"filters": [{"language": {"keep": ["ko", "en"], "min": 0.5}}]}}], "run": {"pool": "inline"}}
    run(parse(held_page))
    size = {name: getattr(arguments, name) for name in ("tokens", "hidden", "layers", "seeds", "threads")}
    Ablate(recipe=str(folder / "planted.yaml"), on=(f"{folder}/held/quality",), vocab_size=2048, seq_len=128, holdout=0.01, **size).run()


if __name__ == "__main__":
    main()
