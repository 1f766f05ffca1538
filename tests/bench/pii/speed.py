"""Personal data side by side: the kernels, the whole stage, and presidio over the same rule book; processor seconds, one core.

    python tests/bench/pii/speed.py --sample 0.3

Texts: C-cpp-docs-ko and C-python311-rst-en of ../shared/data, entire, each for itself. `kernel` is detection and validation
of every kind on the Arrow buffer; `stage` reads a store, edits, writes rows, ledger and receipts; `presidio` is an
AnalyzerEngine over the same rules in a regular-expression engine, on a seeded sample of whole documents of --sample MB, on
which its spans are compared with the kernels'. `presidio stock` runs presidio's own e-mail, phone, card, IP, IBAN and
Korean recognisers there.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np
import pyarrow as pa

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SHARED = REPO.parent / "shared" / "data"
CORPORA = {"C-cpp-docs-ko": "markdown", "C-python311-rst-en": "text"}


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Least processor seconds of `work` over some runs."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def texts_of(name: str) -> list[str]:
    with lzma.open(SHARED / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)[CORPORA[name]] for line in lines]


def kernel(texts: list[str]) -> dict[str, float]:
    from stages.pii.detect import buffers, detect
    from stages.pii.entities import PATTERNED

    column = pa.array(texts, pa.large_string())
    data, _ = buffers(column)
    digit = (data >= 48) & (data <= 57)
    triggers = int(np.sum(digit[1:] & ~digit[:-1])) + int(np.sum(data == 64))
    detect(column.slice(0, 5), frozenset(PATTERNED))
    size = len(data) / 1e6
    found = detect(column, frozenset(PATTERNED))
    return {"MB": size, "triggers/MB": triggers / size, "findings/MB": len(found) / size, "kernel MB/s": size / seconds(lambda: detect(column, frozenset(PATTERNED)))}


def stage(texts: list[str]) -> float:
    from pipeline.ledger import Ledger
    from pipeline.pool import Inline
    from pipeline.schema import DOCUMENT, content_id, doc_id
    from pipeline.stage import Inputs
    from pipeline.store import Store
    from stages.pii import Pii

    n = len(texts)
    given = {"id": [doc_id("bench", str(k)) for k in range(n)], "content_id": [content_id(t) for t in texts], "text": texts}
    table = pa.table({f.name: pa.array(given.get(f.name, [None] * n), f.type) for f in DOCUMENT}, schema=DOCUMENT)
    with tempfile.TemporaryDirectory() as folder:
        source = Store(f"{folder}/in")
        source.put(0, table, Ledger.rows(given["id"]), key="bench", stage="bench", input_ids=table["id"])
        source.seal({"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, [0])
        turns = iter(range(100))
        run = lambda: Pii().run(Inputs({"of": [source]}), Store(f"{folder}/out{next(turns)}"), Inline())  # noqa: E731
        run()
        return sum(len(t.encode()) for t in texts) / 1e6 / seconds(run)


def presidio_alone(texts: list[str], sample: float) -> dict[str, float]:
    from stages.pii.detect import detect
    from stages.pii.entities import BY_NAME, PATTERNED
    from stages.pii.presidio import analyzer, standing

    rng = random.Random(17)
    chosen: list[str] = []
    while sum(len(t.encode()) for t in chosen) < sample * 1e6:
        chosen.append(rng.choice(texts))
    size = sum(len(t.encode()) for t in chosen) / 1e6
    engine = analyzer("regex", languages=["en"])
    results: list[list] = []
    spent = seconds(lambda: results.extend(standing(t, engine.analyze(t, "en", score_threshold=0.5)) for t in chosen), 1)
    ours: list[set] = [set() for _ in chosen]
    for f in detect(pa.array(chosen, pa.large_string()), frozenset(PATTERNED)):
        ours[f.item].add((f.start, f.end, BY_NAME[f.entity].presidio))
    theirs = [{(r.start, r.end, r.entity_type) for r in found} for found in results]
    stock = stock_engine()
    return {
        "sample MB": size,
        "presidio MB/s": size / spent,
        "presidio stock MB/s": size / seconds(lambda: [stock.analyze(t, "en") for t in chosen], 1),
        "spans": sum(map(len, ours)),
        "spans that differ": sum(len(a ^ b) for a, b in zip(ours, theirs)),
    }


def stock_engine():
    from stages.pii.presidio import presidio

    module = presidio()
    from presidio_analyzer import predefined_recognizers as own

    kinds = (own.EmailRecognizer, own.CreditCardRecognizer, own.IpRecognizer, own.IbanRecognizer, own.KrRrnRecognizer, own.KrFrnRecognizer, own.KrBrnRecognizer,
             own.KrDriverLicenseRecognizer, own.KrPassportRecognizer)  # fmt: skip
    made = [kind(supported_language="en") for kind in kinds] + [own.PhoneRecognizer(supported_regions=("KR", "US"), supported_language="en")]
    registry = module.RecognizerRegistry(recognizers=made, supported_languages=["en"])
    return module.AnalyzerEngine(registry=registry, nlp_engine=module.nlp_engine.NoOpNlpEngine(models=[{"lang_code": "en", "model_name": ""}]), supported_languages=["en"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=float, default=0.3, help="MB that presidio is given per corpus")
    options = parser.parse_args()
    for name in CORPORA:
        texts = texts_of(name)
        row = kernel(texts) | {"stage MB/s": stage(texts)} | presidio_alone(texts, options.sample)
        row["stage over presidio"] = row["stage MB/s"] / row["presidio MB/s"]
        print(name, json.dumps({key: round(value, 3) for key, value in row.items()}))


if __name__ == "__main__":
    main()
