"""CPU seconds of the first use of each stage on a machine: ten documents, an empty cache of kernels, a process each.

    python tests/bench/start/cold.py TREE [TREE ...]

Each TREE is a checkout of the project, measured with the Python this runs in; two trees are two states of the code, taken in
turns. A stage is run three times: with an empty cache, again from another working directory (what a second job of a cluster
does), and again from the first. User and system time of the process and its children.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

STAGES = {
    "ingest": ["{root}/pages"],
    "quality": ["{root}/ingest-0"],
    "dedup": ["{root}/ingest-0"],
    "pii": ["{root}/ingest-0"],
    "decontaminate": ["{root}/ingest-0", "--against", "{root}/items.jsonl"],
}
SITE = Path(__file__).parents[3] / "configs" / "site"


def write_inputs(root: Path) -> None:
    """Five English and five Korean pages of the quickstart's site, and its evaluation items."""
    (root / "pages").mkdir()
    for host in ("en.maetdol.example", "maetdol.example"):
        for path in sorted((SITE / "pages" / host).rglob("*.html"), key=lambda path: path.stat().st_size)[-5:]:
            shutil.copy(path, root / "pages" / f"{host}-{path.name}")
    shutil.copy(SITE / "benchmark.jsonl", root / "items.jsonl")


def seconds(tree: Path, command: list[str], cache: Path, cwd: Path) -> float:
    """User and system seconds of one command."""
    # The folders older states of the code take for the cache are set as well.
    environment = os.environ | {"PYTHONPATH": str(tree), "MAETDOL_CACHE": str(cache), "NUMBA_CACHE_DIR": str(cache)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *command],
        env=environment, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(tree: Path) -> dict[str, list[float]]:
    """Per stage: empty cache, another working directory, the first again."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_inputs(root)
        cwds = [root / "a", root / "b"]
        for cwd in cwds:
            cwd.mkdir()
        for name, command in STAGES.items():
            source, *flags = [part.format(root=root) for part in command]
            found[name] = [
                seconds(tree, [name, source, f"{root}/{name}-{turn}", *flags], root / f"cache-{name}", cwds[turn % 2])
                for turn in range(3)
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE", help="a checkout of the project")
    for tree in parser.parse_args().trees:
        found = measure(tree.resolve())
        print(tree)
        for name, (empty, other, again) in found.items():
            print(f"  {name:14} empty {empty:6.1f}   another directory {other:6.1f}   again {again:6.1f}")
        print(f"  {'all':14} " + "   ".join(f"{sum(column):6.1f}" for column in zip(*found.values(), strict=True)))


if __name__ == "__main__":
    main()
