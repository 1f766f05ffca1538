"""Ids of gigatoken against those of `tokenizers` on fuzzed strings, every one of them compared.

    python tests/bench/tokenizer/fuzz.py [--strings 1000000] [--seed 1]

Strings are strung together from the pieces of `tests/stages/models/test_fast_ids.py` (control tokens, composed and decomposed Hangul, emoji,
blanks of all kinds), from any code points, lone surrogates replaced, and from pieces of real texts normalised to NFC and NFD
(`../shared/data`). Then 3 MB without a blank, of Hangul and of one letter. A third of the strings for each expression (gpt4o, llama3,
qwen), with a tokenizer of 4,096 tokens trained on such strings and the real texts. Prints a line for each; exit code 1 where ids differ.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import sys
import unicodedata
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
BATCH = 5_000


def real() -> list[str]:
    """Short pieces of texts in Korean and English and of declarations in 532 languages."""
    data = REPO.parent / "shared" / "data"
    found = []
    with lzma.open(data / "C-nsmc-reviews.jsonl.xz", "rt", encoding="utf-8") as rows:
        found += [json.loads(next(rows))["text"] for _ in range(3000)]
    with lzma.open(data / "C-python311-rst-en.jsonl.xz", "rt", encoding="utf-8") as rows:
        found += [line for _ in range(20) for line in json.loads(next(rows))["text"].split("\n") if line]
    with lzma.open(data / "G-udhr-532.jsonl.xz", "rt", encoding="utf-8") as rows:
        found += [json.loads(row)["paras"][0] for row in rows]
    return [text for text in found if text]


def drawn(draw: random.Random, pieces: list[str], texts: list[str]) -> str:
    """One string."""
    kind = draw.random()
    if kind < 0.5:
        return "".join(draw.choice(pieces) for _ in range(draw.randint(0, 14)))
    if kind < 0.7:
        codes = [
            chr(draw.choice((draw.randrange(0x80), draw.randrange(0x3000), draw.randrange(0x110000))))
            for _ in range(draw.randint(1, 12))
        ]
        return "".join(codes).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = draw.choice(texts)
    at = draw.randrange(len(text))
    cut = text[at : at + draw.randint(1, 40)]
    return unicodedata.normalize(draw.choice(("NFC", "NFD")), cut) + draw.choice(pieces)


def main() -> int:
    import numpy as np
    import pyarrow as pa

    from stages.models.fast_ids import faster
    from stages.tokenizer import byte_level, patterns
    from tests.stages.models.test_fast_ids import WORDS
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    texts, wrong = real(), 0
    for number, family in enumerate(patterns.PATTERNS):
        draw = random.Random(f"{asked.seed}/{family}")
        plan = byte_level.BytePlan(4096, patterns.expression(family), ("<|user|>",), "bytes", 1.0, False)
        sample = [*texts, *("".join(drawn(draw, WORDS, texts) for _ in range(20)) for _ in range(500))]
        tokens = byte_level.fit(plan, lambda sample=sample: sample)
        special = {name: len(tokens) + n for n, name in enumerate((*byte_level.BASE, "<|user|>"))}
        hub = Tokenizer.from_str(json.dumps(byte_level.library(tokens, plan.expression, special)))
        hub.encode_special_tokens = True

        def own(given: list[str], hub: Tokenizer = hub) -> list[np.ndarray]:
            return [
                np.asarray(one.ids, np.int32) for one in hub.encode_batch_fast(list(given), add_special_tokens=False)
            ]

        fast, differ, ids = faster(hub, own), 0, 0
        strings = asked.strings // 3 + (number < asked.strings % 3)
        hangul = "".join(chr(draw.randint(0xAC00, 0xD7A3)) for _ in range(1_000_000))
        rounds = [min(BATCH, strings - at) for at in range(0, strings, BATCH)]
        for batch in ([hangul], ["a" * 3_000_000], *rounds):
            given = [drawn(draw, WORDS, texts) for _ in range(batch)] if isinstance(batch, int) else batch
            found, bounds = fast._fast(pa.array(given, pa.large_string()))
            ids += len(found)
            for text, one, a, b in zip(given, own(given), bounds, bounds[1:]):
                if not np.array_equal(found[a:b], one):
                    differ += 1
                    if differ <= 5:
                        print(f"{family}: {text[:200]!r}")
        print(f"{family}: {strings + 2:,} strings, {ids:,} ids, {differ} strings differ", flush=True)
        wrong += differ
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
