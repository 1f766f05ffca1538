"""`maetdol plan` against whole runs: CPU seconds, disk and rows estimated from a sample, and measured on all of it.

    python tests/bench/estimate/check.py FOLDER...        # each of files that `ingest` reads; three sizes of each are run

A quarter, a half and all of a folder's files (by a hash of their names) are planned from a sample of a twelfth of their bytes, 4 MB at least, and then
run whole in this process, by the same measuring: warm, receipt by receipt.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

from pipeline.engine.recipe import parse
from pipeline.estimate import sample
from stages.ingest.sources import drawn, listing

STEPS = [
    {"quality": {"filters": [{"language": {"keep": ["ko", "en"], "min": 0.5}}, "gopher_quality", "gopher_repetition"], "exempt": []}},
    {"dedup": {}},
    {"pii": {}},
    {"tokenizer": {"vocab_size": 8000, "sample_mb": 4, "probe_mb": 1}},
    {"pack": {"seq_len": 512}},
]  # fmt: skip
COLUMNS = {"cpp": {"text": "markdown"}}
"""Our columns to a folder's, by its name."""


def recipe_of(folder: Path, paths: list[str], root: str):
    read = {"from": paths, **({"columns": COLUMNS[folder.name]} if folder.name in COLUMNS else {})}
    return parse({"name": folder.name, "root": root, "steps": [{"ingest": read}, *STEPS], "run": {"pool": "inline"}})


def compared(folder: Path, share: float) -> tuple[str, float, float, float, float, float, float]:
    files = listing([str(folder)], digest=lambda path, status: "")
    total = sum(file.size for file in files)
    paths = [file.path for file in drawn(files, int(total * share))]
    size = sum(os.path.getsize(path) for path in paths)
    with tempfile.TemporaryDirectory() as root:
        recipe = recipe_of(folder, paths, root)
        found = sample.estimate(recipe, max(4_000_000, size // 12), 1)
        steps = list(recipe.steps)
        whole = sample.measured(recipe, steps, f"{root}/whole", size + 1)
    estimated = sum(step.cpu for step in found.steps)
    for step in found.steps:
        print(f"{folder.name} {step.step}: {step.cpu:.1f} {whole[step.step].cpu:.1f}", file=sys.stderr)
    measured = sum(step.cpu for step in whole.values())
    disk = sum(step.disk for step in whole.values())
    rows = whole["pack"].rows
    return f"{folder.name} {size / 1e6:.0f} MB", estimated, measured, found.disk, disk, found.steps[-1].rows, rows


def main() -> None:
    print(
        "| input | CPU s estimated | measured | error | disk estimated, MB | measured | error | packed rows estimated | measured | error |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    errors: list[list[float]] = [[], [], []]
    for folder in map(Path, sys.argv[1:]):
        for share in (0.25, 0.5, 1.0):
            name, *pairs = compared(folder, share)
            found = [(told, was, abs(told / was - 1)) for told, was in zip(pairs[::2], pairs[1::2])]
            for kept, (_, _, error) in zip(errors, found):
                kept.append(error)
            (cpu, cpu_was, a), (disk, disk_was, b), (rows, rows_was, c) = found
            print(f"| {name} | {cpu:.1f} | {cpu_was:.1f} | {a:.0%} | {disk / 1e6:.1f} | {disk_was / 1e6:.1f} | {b:.0%} | {rows:,.0f} | {rows_was:,} | {c:.0%} |", flush=True)  # fmt: skip
    print("median error: " + ", ".join(f"{what} {statistics.median(kept):.0%} (worst {max(kept):.0%})" for what, kept in zip(("CPU", "disk", "rows"), errors)))  # fmt: skip


if __name__ == "__main__":
    main()
