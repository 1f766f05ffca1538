"""Personal data side by side: the kernels, the whole stage, and presidio over the same rule book; processor seconds, one core.

    python tests/bench/pii/speed.py --sample 0.3

Texts: C-cpp-docs-ko and C-python311-rst-en of ../shared/data, entire, each for itself. `kernel` is detection and validation
of every kind on the Arrow buffer; `stage` reads a store, edits, writes rows, ledger and receipts. On a seeded sample of
whole documents of --sample MB, processor seconds again, presidio's AnalyzerEngine in the same run:

- `presidio, rule book`: the same rules as presidio's own PatternRecognizers, as its users write them: patterns with their
  look-arounds, checks in `validate_result`, labels as context words over the tokens of a blank spaCy pipeline, its default
  context enhancer; `without context` the same with NoOpNlpEngine, which sees no label;
- `presidio, tuned`: the reference of the differential test, which finds the kernels' spans and whose patterns name the signs
  they can begin with, so that the engine skips the others; compared span by span with the kernels;
- `presidio stock`: presidio's own e-mail, phone, card, IP, IBAN and Korean recognisers, ten kinds.

`import` is what importing the room costs a fresh interpreter, and what of torch, transformers, spaCy and numba it loads.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
    return {
        "MB": size,
        "triggers/MB": triggers / size,
        "findings/MB": len(found) / size,
        "kernel MB/s": size / seconds(lambda: detect(column, frozenset(PATTERNED))),
    }


def stage(texts: list[str]) -> float:
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.schema import DOCUMENT, content_id, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store
    from stages.pii import Pii

    n = len(texts)
    given = {
        "id": [doc_id("bench", str(k)) for k in range(n)],
        "content_id": [content_id(t) for t in texts],
        "text": texts,
    }
    table = pa.table({f.name: pa.array(given.get(f.name, [None] * n), f.type) for f in DOCUMENT}, schema=DOCUMENT)
    with tempfile.TemporaryDirectory() as folder:
        source = Store(f"{folder}/in")
        source.put(0, table, Ledger.rows(given["id"]), key="bench", stage="bench", input_ids=table["id"])
        source.commit_manifest(
            {"stage": "bench", "shape": "DOCUMENT", "key": "bench", "lineage": {}, "schema": []}, [0]
        )
        turns = iter(range(100))
        run = lambda: Pii().run(Inputs({"of": [source]}), Store(f"{folder}/out{next(turns)}"), Inline())  # noqa: E731
        run()
        return sum(len(t.encode()) for t in texts) / 1e6 / seconds(run)


def presidio_alone(texts: list[str], sample: float) -> dict[str, float]:
    from stages.pii.detect import detect
    from stages.pii.engines.presidio import analyzer, without_overlaps
    from stages.pii.entities import BY_NAME, PATTERNED

    rng = random.Random(17)
    chosen: list[str] = []
    while sum(len(t.encode()) for t in chosen) < sample * 1e6:
        chosen.append(rng.choice(texts))
    size = sum(len(t.encode()) for t in chosen) / 1e6
    engine = analyzer("regex", languages=["en"])
    results: list[list] = []
    spent = seconds(
        lambda: results.extend(without_overlaps(t, engine.analyze(t, "en", score_threshold=0.5)) for t in chosen), 1
    )
    ours: list[set] = [set() for _ in chosen]
    for f in detect(pa.array(chosen, pa.large_string()), frozenset(PATTERNED)):
        ours[f.item].add((f.start, f.end, BY_NAME[f.entity].presidio))
    theirs = [{(r.start, r.end, r.entity_type) for r in found} for found in results]
    stock, plain, context = stock_engine(), pattern_engine(False), pattern_engine(True)
    return {
        "sample MB": size,
        "presidio, rule book MB/s": size / seconds(lambda: [context.analyze(t, "en") for t in chosen], 1),
        "presidio, without context MB/s": size / seconds(lambda: [plain.analyze(t, "en") for t in chosen], 1),
        "presidio, tuned MB/s": size / spent,
        "presidio stock MB/s": size / seconds(lambda: [stock.analyze(t, "en") for t in chosen], 1),
        "spans": sum(map(len, ours)),
        "spans that differ": sum(len(a ^ b) for a, b in zip(ours, theirs)),
    }


def pattern_engine(context: bool):
    """The rule book as presidio's PatternRecognizers; what patterns cannot hold (mail, addresses) is left out, to its favour."""
    from stages.pii.engines.presidio import presidio
    from stages.pii.engines.reference_checks import verdict
    from stages.pii.entities import BY_NAME
    from stages.pii.kernels.labels import WORDS
    from stages.pii.kernels.rules import LEFT_SIDES, RIGHT_SIDES, rule_book

    module = presidio()

    class Checked(module.PatternRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return verdict(self.check, pattern_text, "") >= 0

    made = []
    for rule in rule_book():
        if rule.pattern:
            left = "".join(side for mask, side in LEFT_SIDES.items() if rule.left & mask)
            right = "".join(side for mask, side in RIGHT_SIDES.items() if rule.right & mask)
            words = (
                [word.replace("_", " ") for kind in rule.labels.split() for word in WORDS[kind].split()]
                if context
                else None
            )
            pattern = module.Pattern(rule.name, f"{left}(?:{rule.pattern}){right}", 0.5)
            one = Checked(
                BY_NAME[rule.entity].presidio,
                patterns=[pattern],
                supported_language="en",
                global_regex_flags=0,
                context=words,
            )
            one.check = rule.check
            made.append(one)
    return engine_of(made, context)


def engine_of(made: list, context: bool = False):
    from stages.pii.engines.presidio import blank_tokens, presidio

    module = presidio()
    registry = module.RecognizerRegistry(recognizers=made, supported_languages=["en"])
    tokens = blank_tokens(["en"]) if context else None
    nothing = module.nlp_engine.NoOpNlpEngine(models=[{"lang_code": "en", "model_name": ""}])
    return module.AnalyzerEngine(registry=registry, nlp_engine=tokens or nothing, supported_languages=["en"])


def stock_engine():
    from stages.pii.engines.presidio import presidio

    presidio()
    from presidio_analyzer import predefined_recognizers as own

    kinds = (own.EmailRecognizer, own.CreditCardRecognizer, own.IpRecognizer, own.IbanRecognizer, own.KrRrnRecognizer, own.KrFrnRecognizer, own.KrBrnRecognizer,
             own.KrDriverLicenseRecognizer, own.KrPassportRecognizer)  # fmt: skip
    made = [kind(supported_language="en") for kind in kinds] + [
        own.PhoneRecognizer(supported_regions=("KR", "US"), supported_language="en")
    ]
    return engine_of(made)


def importing() -> dict[str, object]:
    """Processor seconds of `import stages.pii, stages.pii.commands` over an empty interpreter, and what heavy it loads."""
    line = "import time; b = time.process_time(); import stages.pii, stages.pii.commands; import sys; print(time.process_time() - b, *[m for m in ('torch', 'transformers', 'spacy', 'numba') if m in sys.modules])"
    best: list[str] = []
    for _ in range(3):
        words = subprocess.run(
            [sys.executable, "-c", line], cwd=REPO, capture_output=True, text=True, check=True
        ).stdout.split()
        best = min(best or words, words, key=lambda found: float(found[0]))
    return {"seconds": round(float(best[0]), 3), "loads": best[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=float, default=0.3, help="MB that presidio is given per corpus")
    options = parser.parse_args()
    print("import", json.dumps(importing()))
    for name in CORPORA:
        texts = texts_of(name)
        row = kernel(texts) | {"stage MB/s": stage(texts)} | presidio_alone(texts, options.sample)
        for peer in ("presidio, rule book", "presidio, without context", "presidio, tuned", "presidio stock"):
            row[f"stage over {peer}"] = row["stage MB/s"] / row[f"{peer} MB/s"]
        print(name, json.dumps({key: round(value, 3) for key, value in row.items()}))


if __name__ == "__main__":
    main()
