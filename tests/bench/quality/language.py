"""Language identification beside fastText on whole documents: documents per second, agreement of labels.

    .venv/bin/python tests/bench/quality/language.py [--every 4]

Appends a table to RESULTS.md. Both use lid.176.ftz; fastText reads whole documents in one list, line feeds as blanks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
sys.path[:0] = [str(HERE), str(REPO)]

import pyarrow as pa  # noqa: E402
from corpus import texts  # noqa: E402

from pipeline.docs import Docs  # noqa: E402
from stages.text.language import Identify, bundled_model, code, load  # noqa: E402

HEAD = "## Language identification"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=str(REPO.parent / "shared" / "data"))
    parser.add_argument("--every", type=int, default=4)
    given = parser.parse_args()
    rows = []
    for lang in ("en", "ko"):
        found = [t.text for number, t in enumerate(texts(Path(given.shared), lang)) if number % given.every == 0]
        batch = pa.record_batch({"text": pa.array(found, pa.large_string())})
        model = load(str(bundled_model()))
        identify = Identify(str(bundled_model()))
        identify(Docs(batch.slice(0, 8)))
        began = time.process_time()
        labels, _ = model.predict([text.replace("\n", " ") for text in found])
        whole = time.process_time() - began
        began = time.process_time()
        ours = identify(Docs(batch)).langs
        head = time.process_time() - began
        theirs = [code(label[0]) if label else None for label in labels]
        same = sum(a == b for a, b in zip(ours, theirs)) / len(found)
        right = [sum(x == lang for x in side) / len(found) for side in (theirs, ours)]
        rows.append(f"| {lang} | {len(found):,} | {len(found) / whole:,.0f} | {len(found) / head:,.0f} | {whole / head:.1f} | {same:.4f} | {right[0]:.4f} | {right[1]:.4f} |")
    results = HERE / "RESULTS.md"
    before = results.read_text("utf-8").split(HEAD)[0].rstrip()
    table = [
        HEAD, "", "lid.176.ftz both times, CPU time of one run; \"right\" counts the label of the source, which some pages do not bear out.", "",
        "| source | documents | fastText, whole, docs/s | ours, docs/s | times faster | labels agree | fastText right | ours right |",
        "|---|---|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    results.write_text(before + "\n\n" + "\n".join(table) + "\n", "utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
