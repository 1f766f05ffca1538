"""`maetdol plan` against whole runs: CPU seconds, disk and rows estimated from a sample, and measured on all of it.

    python tests/bench/estimate/check.py [--requests] FOLDER...   # each of files that `ingest` reads; three sizes of each are run

A quarter, a half and all of a folder's files (by a hash of their names) are planned from a sample of a twelfth of their bytes, 4 MB at least, and then
run whole in this process, by the same measuring: warm, receipt by receipt.
"""

import os
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.estimate import requests, sample
from stages.ingest.sources import drawn, listing
from tests.bench.engine.count_requests import BUCKET, Counted, server

STEPS = [
    {"quality": {"filters": [{"language": {"keep": ["ko", "en"], "min": 0.5}}, "gopher_quality", "gopher_repetition"], "exempt": []}},
    {"dedup": {}},
    {"pii": {}},
    {"tokenizer": {"vocab_size": 8000, "sample_mb": 4, "probe_mb": 1}},
    {"pack": {"seq_len": 512}},
]  # fmt: skip
SHARES = (0.25, 0.5, 1.0)
COLUMNS = {"cpp": {"text": "markdown"}}
"""Our columns to a folder's, by its name."""


def recipe_of(folder: Path, paths: list[str], root: str):
    read = {"from": paths, **({"columns": COLUMNS[folder.name]} if folder.name in COLUMNS else {})}
    return parse({"name": folder.name, "root": root, "steps": [{"ingest": read}, *STEPS], "run": {"pool": "inline"}})


def some_of(folder: Path, share: float) -> tuple[list[str], int]:
    """Paths of a share of a folder's files, and their bytes."""
    files = listing([str(folder)], digest=lambda marks: [""] * len(marks))
    paths = [file.path for file in drawn(files, int(sum(files.sizes) * share))]
    return paths, sum(os.path.getsize(path) for path in paths)


def asked(folder: Path, share: float, counted: Counted) -> tuple[str, Counter[str], Counter[str]]:
    """(name, requests estimated, requests counted)."""
    paths, size = some_of(folder, share)
    with tempfile.TemporaryDirectory() as root:
        recipe = recipe_of(folder, paths, f"{root}/root")
        steps = list(recipe.steps)
        samplers = sample.samplers_of(steps)
        sample.measured(recipe, steps, samplers, f"{root}/first", sample.WARM)  # loads kernels, as `maetdol plan` does
        found = requests.counted(recipe, steps, samplers, f"{root}/cache")
    counted.since()
    run(recipe_of(folder, paths, f"s3://{BUCKET}/{folder.name}-{share}"))
    return (
        f"{folder.name} {size / 1e6:.0f} MB",
        sum(map(Counter, found.values()), Counter()),
        Counter(counted.cost().by(0)),
    )


def check_requests(folders: list[Path]) -> None:
    print(
        "| input | requests estimated | counted | error | GET | counted | PUT | counted |\n|---|---|---|---|---|---|---|---|"
    )
    errors = []
    with server() as counted:
        for folder in folders:
            for share in SHARES:
                name, told, was = asked(folder, share, counted)
                errors.append(abs(told.total() / was.total() - 1))
                print(f"| {name} | {told.total():,} | {was.total():,} | {errors[-1]:.0%} | {told['GET']:,} | {was['GET']:,} | {told['PUT']:,} | {was['PUT']:,} |", flush=True)  # fmt: skip
                print(name, dict(told), dict(was), file=sys.stderr)
    print(f"median error: requests {statistics.median(errors):.0%} (worst {max(errors):.0%})")


def compared(folder: Path, share: float) -> tuple[str, float, float, float, float, float, float]:
    paths, size = some_of(folder, share)
    with tempfile.TemporaryDirectory() as root:
        recipe = recipe_of(folder, paths, root)
        found = sample.estimate(recipe, max(4_000_000, size // 12), 1)
        steps = list(recipe.steps)
        whole = sample.measured(recipe, steps, sample.samplers_of(steps), f"{root}/whole", size + 1)
    estimated = sum(step.cpu for step in found.steps)
    for step in found.steps:
        print(f"{folder.name} {step.step}: {step.cpu:.1f} {whole[step.step].cpu:.1f}", file=sys.stderr)
    measured = sum(step.cpu for step in whole.values())
    disk = sum(step.disk for step in whole.values())
    rows = whole["pack"].rows
    return f"{folder.name} {size / 1e6:.0f} MB", estimated, measured, found.disk, disk, found.steps[-1].rows, rows


def main() -> None:
    if "--requests" in sys.argv:
        check_requests([Path(each) for each in sys.argv[1:] if each != "--requests"])
        return
    print(
        "| input | CPU s estimated | measured | error | disk estimated, MB | measured | error | packed rows estimated | measured | error |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    errors: list[list[float]] = [[], [], []]
    for folder in map(Path, sys.argv[1:]):
        for share in SHARES:
            name, *pairs = compared(folder, share)
            found = [(told, was, abs(told / was - 1)) for told, was in zip(pairs[::2], pairs[1::2])]
            for kept, (_, _, error) in zip(errors, found):
                kept.append(error)
            (cpu, cpu_was, a), (disk, disk_was, b), (rows, rows_was, c) = found
            print(f"| {name} | {cpu:.1f} | {cpu_was:.1f} | {a:.0%} | {disk / 1e6:.1f} | {disk_was / 1e6:.1f} | {b:.0%} | {rows:,.0f} | {rows_was:,} | {c:.0%} |", flush=True)  # fmt: skip
    print("median error: " + ", ".join(f"{what} {statistics.median(kept):.0%} (worst {max(kept):.0%})" for what, kept in zip(("CPU", "disk", "rows"), errors)))  # fmt: skip


if __name__ == "__main__":
    main()
