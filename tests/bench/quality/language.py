"""Language identification beside fastText on whole documents: documents per second, agreement of labels.

    .venv/bin/python tests/bench/quality/language.py [--every 1] [--runs 3]

Both use lid.176.ftz. fastText reads whole documents in one list, line feeds as blanks; ours reads the same texts. "Model's label" is
what ours gives for the whole text before words and script have a say, "final" the one a document gets.
"""

from __future__ import annotations

import argparse
import json
import lzma
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
sys.path[:0] = [str(HERE), str(REPO)]

import pyarrow as pa  # noqa: E402
from corpus import texts  # noqa: E402
from fasttext.FastText import _FastText  # noqa: E402
from results import put  # noqa: E402

from pipeline.docs import Docs  # noqa: E402
from stages.text.language.identify import Identify, bundled_model, code  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", default=str(REPO.parent / "shared" / "data"))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    shared, model = Path(given.shared), str(bundled_model())
    library, identify = _FastText(model), Identify(model)
    identify(docs_of(["warm up"]))
    rows = [
        compare(
            library,
            identify,
            lang,
            [t.text for n, t in enumerate(texts(shared, lang)) if n % given.every == 0],
            given.runs,
        )
        for lang in ("en", "ko")
    ]
    lines = [
        f"lid.176.ftz both times, CPU time, medians of {given.runs} runs; \"right\" counts the label of the source, which some pages do not bear out;",
        "\"certain\" counts those that also score .65 and more.", "",
        "| source | documents | fastText docs/s | ours docs/s | times faster | model's label agrees | final label agrees | fastText right (certain) | ours right (certain) |",
        "|---|---|---|---|---|---|---|---|---|", *rows, "", *declaration(library, identify, shared),
    ]  # fmt: skip
    print(put("Language identification", lines))


def docs_of(found: list[str]) -> Docs:
    return Docs(pa.record_batch({"text": pa.array(found, pa.large_string())}))


def compare(library: _FastText, identify: Identify, lang: str, found: list[str], runs: int) -> str:
    docs, times = docs_of(found), {"theirs": [], "ours": []}
    for _ in range(runs):
        began = time.process_time()
        labels, scores = library.predict([text.replace("\n", " ") for text in found])
        times["theirs"].append(time.process_time() - began)
        began = time.process_time()
        ours = identify(docs)
        times["ours"].append(time.process_time() - began)
    theirs = [code(label[0]) if label else None for label in labels]
    sure = [bool(score) and score[0] >= 0.65 for score in scores]
    n, whole, own = len(found), statistics.median(times["theirs"]), statistics.median(times["ours"])
    raw = sum((ranked[0][0] if ranked else None) == b for ranked, b in zip(ours.ranked, theirs)) / n
    final = sum(a == b for a, b in zip(ours.langs, theirs)) / n
    right = [sum(x == lang for x in side) / n for side in (theirs, ours.langs)]
    certain = [
        sum(x == lang and s for x, s in zip(theirs, sure)) / n,
        sum(x == lang and s >= 0.65 for x, s in zip(ours.langs, ours.scores)) / n,
    ]
    return f"| {lang} | {n:,} | {n / whole:,.0f} | {n / own:,.0f} | {whole / own:.1f} | {raw:.4f} | {final:.4f} | {right[0]:.4f} ({certain[0]:.4f}) | {right[1]:.4f} ({certain[1]:.4f}) |"


def declaration(library: _FastText, identify: Identify, shared: Path) -> list[str]:
    """The Declaration of Human Rights: every version in a language of the model."""
    with lzma.open(shared / "G-udhr-532.jsonl.xz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line) for line in file]
    known = {code(label) for label in library.get_labels()}
    asked = [(page["key"], code(page["bcp47"].replace("-", "_")), "\n".join(page["paras"])) for page in pages]
    asked = [row for row in asked if row[1] in known]
    ours = identify(docs_of([text for _, _, text in asked])).langs
    theirs = [code(labels[0]) for labels in library.predict([text.replace("\n", " ") for _, _, text in asked])[0]]
    by_lang: dict[str, list[bool]] = {}
    for (_, want, _), lang in zip(asked, ours):
        by_lang.setdefault(want, []).append(want == lang)
    whole = sorted(lang for lang, hits in by_lang.items() if all(hits))
    missed = [f"{key} ({want}) for {lang}" for (key, want, _), lang in zip(asked, ours) if lang != want]
    hits = [sum(want == lang for (_, want, _), lang in zip(asked, side)) for side in (ours, theirs)]
    return [
        f"Universal Declaration of Human Rights: {len(asked)} versions in {len(by_lang)} languages of the model. Right: ours {hits[0]}, fastText {hits[1]}.",
        "", f"Every version right in {len(whole)} languages: {' '.join(whole)}.", "", f"Taken for another: {'; '.join(missed)}.",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
