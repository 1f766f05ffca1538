"""CPU seconds of five steps, one at a time, of two or more states of the code on the same documents.

    python tests/bench/steps.py DOCUMENTS.jsonl TREE [TREE ...] [--rounds N] [--steps ingest,pii] [--against FOLDER] [--chain]

Each TREE is a checkout of the project, measured with the Python this runs in. Rounds are taken in turns: each tree once, then each again. A
step is one recipe with `pool: inline` in a process of its own; what counts is user and system time of that process and its children. All
steps but `ingest` read the tree's own store of ingest, or with `--chain` what the step before them kept. Kernels are compiled
before the first round. The content hash over each step's shards stands beside the times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = ("ingest", "quality", "dedup", "pii", "decontaminate")


def seconds(tree: Path, recipe: str, cache: Path, cwd: Path) -> tuple[float, float]:
    """User and system seconds of one recipe."""
    (path := cwd / "recipe.yaml").write_text(recipe)
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "MAETDOL_CACHE": str(cache),
        "NUMBA_CACHE_DIR": str(cache),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "run", str(path)],
        env=environment, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{tree}: {recipe}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


def shards(store: Path) -> str:
    """A hash over the bytes of a store's shards and ledgers, and how many rows were kept."""
    hasher = hashlib.blake2b(digest_size=4)
    for path in sorted((*store.glob("shards/*.arrow"), *store.glob("ledger/*.arrow"))):
        hasher.update(path.read_bytes())
    rows = sum(json.loads(path.read_bytes())["rows"] for path in store.glob("receipts/*.json"))
    return f"{hasher.hexdigest()} {rows}"


def once(tree: Path, root: Path, given: argparse.Namespace, cache: Path) -> dict[str, tuple[float, float, str]]:
    """Each step of a tree, one time."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    found, of = {}, root / "ingest"
    for step in STEPS:
        if step not in given.steps and step != "ingest" and not given.chain:
            continue
        options = {
            "ingest": f"{{from: {json.dumps(str(given.documents.resolve()))}}}",
            "decontaminate": f"{{of: {of}, against: [{given.against}]}}",
        }
        body = options.get(step, f"{{of: {of}}}")
        recipe = f"name: {step}\nroot: {root}\nsteps:\n  - {step}: {body}\nrun: {{pool: inline, workers: 1}}\n"
        user, system = seconds(tree, recipe, cache, root)
        found[step] = user, system, shards(root / step)
        of = root / step if given.chain else of
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path, help="JSON Lines with `text`")
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE", help="checkouts of the project")
    parser.add_argument("--rounds", type=int, default=3, help="rounds counted, after one that is not (default: 3)")
    parser.add_argument("--steps", type=lambda given: given.split(","), default=list(STEPS), help="default: all")
    parser.add_argument("--against", default=".", help="evaluation sets for decontaminate")
    parser.add_argument("--chain", action="store_true", help="each step reads what the one before it kept")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "maetdol-steps")
    given = parser.parse_args()
    rounds: list[list[dict]] = [[] for _ in given.trees]
    for turn in range(given.rounds + 1):
        for number, tree in enumerate(given.trees):
            root = given.scratch / str(number)
            rounds[number].append(once(tree.resolve(), root, given, given.scratch / f"cache-{number}"))
        if turn:
            _print(given, [one[1:] for one in rounds])


def _print(given: argparse.Namespace, rounds: list[list[dict]]) -> None:
    for step in rounds[0][-1]:
        line = f"{step:14}"
        for tree in rounds:
            user = statistics.median(one[step][0] for one in tree)
            both = statistics.median(one[step][0] + one[step][1] for one in tree)
            line += f"  user {user:6.2f} user+sys {both:6.2f} ({tree[-1][step][2]})"
        print(line)
    print(flush=True)


if __name__ == "__main__":
    main()
