"""Side by side with datatrove: decisions document by document, and CPU seconds; writes RESULTS.md.

    python -m venv peer && peer/bin/pip install "datatrove==0.10.*" nltk regex
    .venv/bin/python tests/bench/quality/run.py --peer peer/bin/python [--runs 3] [--curator PYTHON] [--datajuicer PYTHON]

NeMo Curator and data-juicer, where their Pythons are named, run their own rules on every twelfth text (peer_others.py). Texts come from ../shared/data (see corpus.py). Runs are interleaved, one process each; medians are given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
sys.path.insert(0, str(HERE))

from corpus import texts  # noqa: E402
from results import put  # noqa: E402

FAMILIES = ("gopher_quality", "gopher_repetition", "fineweb", "c4")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, help="Python of an environment with datatrove")
    parser.add_argument("--shared", default=str(REPO.parent / "shared" / "data"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--curator", help="Python of an environment with nemo-curator 1.4")
    parser.add_argument("--datajuicer", help="Python of an environment with py-data-juicer 1.6")
    given = parser.parse_args()
    others = {name: python for name, python in (("curator", given.curator), ("datajuicer", given.datajuicer)) if python}
    with tempfile.TemporaryDirectory() as folder:
        results = {
            lang: compare(Path(folder), Path(given.shared), lang, given.peer, given.runs) for lang in ("en", "ko")
        }
        rates = {
            lang: {name: rate(Path(folder) / f"{lang}.jsonl", name, python) for name, python in others.items()}
            for lang in results
        }
    print(
        put("Decisions beside datatrove", decisions(results)),
        put("CPU seconds of rules", seconds(results, given.runs, rates)),
        sep="\n",
    )


def rate(source: Path, name: str, python: str) -> float:
    """Megabytes per CPU second of another peer's own rules, on every twelfth text."""
    small = source.with_suffix(".small.jsonl")
    with open(source, encoding="utf-8") as lines:
        small.write_text("".join(line for number, line in enumerate(lines) if number % 12 == 0), "utf-8")
    done = subprocess.run(
        [python, str(HERE / "peer_others.py"), name, str(small)], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["megabytes"] / found["cpu_seconds"]


def compare(folder: Path, shared: Path, lang: str, peer: str, runs: int) -> dict:
    source = folder / f"{lang}.jsonl"
    size = 0
    with open(source, "w", encoding="utf-8") as out:
        for text in texts(shared, lang):
            size += len(text.text.encode("utf-8", "replace"))
            out.write(json.dumps(text._asdict(), ensure_ascii=False) + "\n")
    times: dict[str, list[float]] = {"peer": [], "rules": [], "stage": []}
    for _ in range(runs):
        theirs = tool([peer, str(HERE / "peer_datatrove.py")], source, folder / "theirs.jsonl")
        ours = tool([sys.executable, str(HERE / "ours.py")], source, folder / "ours.jsonl")
        times["peer"].append(theirs[-1]["cpu_seconds"])
        times["rules"].append(ours[-1]["rules_cpu_seconds"])
        times["stage"].append(ours[-1]["stage_cpu_seconds"])
    agreed, differing = Counter(), []
    for own, other in zip(ours[:-1], theirs[:-1]):
        for family in FAMILIES:
            same = own["verdicts"][family][0] == other["verdicts"][family][0]
            agreed[family] += same
            if not same:
                differing.append((own["id"], family, own["verdicts"][family][1], other["verdicts"][family][1]))
        if own["text_after_c4"] is not None and other["text_after_c4"] is not None:
            agreed["text left by c4"] += own["text_after_c4"] == other["text_after_c4"]
            agreed["kept by c4"] += 1
    dropped = {family: sum(not own["verdicts"][family][0] for own in ours[:-1]) for family in FAMILIES}
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "bytes": size,
        "documents": len(ours) - 1,
        "agreed": agreed,
        "differing": differing,
        "dropped": dropped,
        "seconds": medians,
    }


def tool(command: list[str], source: Path, target: Path) -> list[dict]:
    subprocess.run(
        [*command, str(source), str(target)],
        check=True,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(target.parent)},
    )
    return [json.loads(line) for line in open(target, encoding="utf-8")]


def decisions(results: dict[str, dict]) -> list[str]:
    out = [
        "datatrove 0.10's Gopher quality, Gopher repetition, C4 and FineWeb classes, on words between blanks and with the sentence rule of",
        "`stages/text/lines/table.py` in both; published (English) limits in both languages. Ids and counts only.",
        "",
        "| language | documents | "
        + " | ".join(f"{f}: agree (dropped)" for f in FAMILIES)
        + " | text left by C4: equal |",
        "|---|---|" + "---|" * (len(FAMILIES) + 1),
    ]
    for lang, r in results.items():
        cells = [f"{r['agreed'][f]:,} ({r['dropped'][f]:,})" for f in FAMILIES]
        out.append(
            f"| {lang} | {r['documents']:,} | "
            + " | ".join(cells)
            + f" | {r['agreed']['text left by c4']:,} of {r['agreed']['kept by c4']:,} |"
        )
    differing = [(lang, *row) for lang, r in results.items() for row in r["differing"]]
    out += ["", f"Differing decisions: {len(differing)}."]
    if differing:
        out += ["", "| language | document | family | ours | datatrove |", "|---|---|---|---|---|"]
        out += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in differing]
    return out


def seconds(results: dict[str, dict], runs: int, rates: dict[str, dict[str, float]]) -> list[str]:
    out = [
        f"Medians of {runs} interleaved runs, one process each, user and system time, reading the input and compiling not counted. `rules`: reading the",
        "bytes and deciding. `stage`: the whole Inline stage, store to store, with C4's edits made, ledger and shards written.",
        "",
        "| language | MB | datatrove | rules | stage | datatrove MB/s | rules MB/s | stage MB/s | rules times faster | stage times faster |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for lang, r in results.items():
        mb, s = r["bytes"] / 1e6, r["seconds"]
        cells = [
            f"{mb:.1f}",
            *(f"{s[n]:.2f}" for n in ("peer", "rules", "stage")),
            *(f"{mb / s[n]:.1f}" for n in ("peer", "rules", "stage")),
        ]
        out.append(
            f"| {lang} | "
            + " | ".join([*cells, f"{s['peer'] / s['rules']:.0f}", f"{s['peer'] / s['stage']:.0f}"])
            + " |"
        )
    if any(rates.values()):
        out += [
            "", "Other peers on every twelfth text, their rules alone, one after the other in one process (MB per CPU second): NeMo Curator 1.4's Gopher",
            "quality and repetition filters; data-juicer 1.6's word, repetition, character and line filters. Their rules are other rules.", "",
            "| language | " + " | ".join(next(iter(rates.values()))) + " |", "|---|" + "---|" * len(next(iter(rates.values()))),
        ]  # fmt: skip
        out += [
            f"| {lang} | " + " | ".join(f"{value:.2f}" for value in own.values()) + " |" for lang, own in rates.items()
        ]
    return out


if __name__ == "__main__":
    main()
