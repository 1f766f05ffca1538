"""Deduplication side by side: CPU seconds of the whole process tree, peak memory, recall and precision against exact truth.

    python tests/bench/dedup/compare.py CORPUS --peer rensa=ENV/bin/python --peer datatrove=ENV/bin/python ...

CORPUS comes from make_corpus.py (with --truth for recall and precision). Tools run one after the other, in turns, as often
as --rounds says; the table shows medians. recall: pairs of exact similarity .8 and more of which at most one is kept.
precision: removed documents that have a kept one of .8 and more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]


def measured(command: list[str]) -> tuple[float, float, float]:
    """(CPU seconds, wall seconds, peak MB of memory that is the tree's own) of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, peak = time.monotonic(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    tail: list[bytes] = []
    reader = threading.Thread(target=lambda: tail.append(process.stderr.read()))
    reader.start()
    while process.poll() is None:
        peak = max(peak, own_memory(process))
        time.sleep(0.1)
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{tail[0].decode(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.monotonic() - began, peak / 1e6


def environment() -> dict[str, str]:
    """As a user has it: Python keeps what it compiled of a tool's own modules, as it does by default."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def own_memory(process: psutil.Process) -> int:
    total = 0
    for each in [process, *_children(process)]:
        try:
            total += each.memory_full_info().uss
        except psutil.Error:
            continue
    return total


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def ours(corpus: Path, out: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "dedup", str(corpus / "store"), str(out / "store"), *flags]


def kept_by(tool: str, out: Path) -> set[str]:
    if not tool.startswith("maetdol"):
        return set(json.loads((out / "kept.json").read_text()))
    from pipeline.storage.store import Store

    return set(Store(out / "store").table(["id"])["id"].to_pylist())


def quality(corpus: Path, kept: set[str]) -> dict[str, float]:
    """Recall and precision at .8 and .7 against truth.npz."""
    with open(corpus / "docs.jsonl", encoding="utf-8") as lines:
        ids = [json.loads(line)["id"] for line in lines]
    truth = np.load(corpus / "truth.npz")
    stays = np.array([name in kept for name in ids])
    found = {}
    for least in (0.8, 0.7):
        true = truth["jaccard"] >= least
        left, right = truth["left"][true], truth["right"][true]
        proven = np.zeros(len(ids), bool)
        proven[left[stays[right]]] = proven[right[stays[left]]] = True
        found[f"precision at {least}"] = float(proven[~stays].mean()) if (~stays).any() else 1.0
        found[f"recall at {least}"] = float(1 - (stays[left] & stays[right]).mean())
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("corpus", type=Path)
    words.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--lang", default="")
    words.add_argument("--flags", default="", help="further flags for maetdol")
    given = words.parse_args()
    sys.path.insert(0, str(REPO))
    runs: dict[str, list[tuple[float, float, float]]] = {}
    marks: dict[str, dict[str, float]] = {}
    tools = {"maetdol": "", **dict(peer.split("=", 1) for peer in given.peer)}
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as scratch:
        for round_ in range(given.rounds):
            for tool, python in tools.items():
                out = Path(scratch) / f"{tool}-{round_}"
                command = [python, str(HERE / "peers.py"), tool, str(given.corpus / "docs.jsonl"), str(out)]
                command += [given.lang] if tool == "datatrove" and given.lang else []
                runs.setdefault(tool, []).append(
                    measured(command if python else ours(given.corpus, out, *given.flags.split()))
                )
                if round_ == 0 and (given.corpus / "truth.npz").exists():
                    marks[tool] = quality(given.corpus, kept_by(tool, out))
                shutil.rmtree(out, ignore_errors=True)
    report(runs, marks)


def report(runs: dict[str, list[tuple[float, float, float]]], marks: dict[str, dict[str, float]]) -> None:
    base = statistics.median(run[0] for run in runs["maetdol"])
    print(
        "| tool | CPU s | times maetdol | wall s | peak MB | recall .8 | precision .8 | precision .7 |\n|---|---|---|---|---|---|---|---|"
    )
    for tool, found in runs.items():
        cpu, wall, peak = (statistics.median(column) for column in zip(*found))
        mark = marks.get(tool, {})
        truth = " | ".join(
            f"{mark[name]:.3f}" if name in mark else "-"
            for name in ("recall at 0.8", "precision at 0.8", "precision at 0.7")
        )
        print(f"| {tool} | {cpu:.1f} | {cpu / base:.1f} | {wall:.1f} | {peak:.0f} | {truth} |")


if __name__ == "__main__":
    main()
