"""From raw pages in a warc.gz to packed tokens, beside datatrove on the same archive: processor seconds of whole processes, by part.

    python -m venv PEER && PEER/bin/pip install -r tests/bench/ingest/end_to_end_peer.txt
    python tests/bench/ingest/end_to_end.py --peer PEER/bin/python [--every N] [--rounds N] [--keep FOLDER]

Pages: WCXB's development split, AEB, the Debian manuals in English and Korean and the Korean help of LibreOffice, each page once
(`../shared/data` beside the checkout): 4,321 pages. Both chains: records of the archive, main text, language (lid.176.ftz, English and Korean),
Gopher's repetition and quality, C4 (lines without a stop stay, as in FineWeb), FineWeb, MinHash with 14 bands of 8 rows, tokens by the
project's own `tokenizers/maetdol-site`. Seconds are user and system time of a process with all it started, imports and the reading and writing of
each part's files included; numba's kernels and Python's bytecode are compiled before, once, by a run over a few pages, as pip compiles what it
installs. Rounds run both chains in turns, and medians count. Ours by part, in the first round: the recipe is run as far as
each step in turn, and a part is what its run took less what the run before took of it (a run that finds all done, imports alone).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))

from tests.bench.ingest.extractor_parts import SETS, SHARED, archive_of, sources  # noqa: E402

MANUALS = (
    "debian-faq-en", "debian-faq-ko", "installation-guide-amd64-12-en", "installation-guide-amd64-12-ko", "libreoffice-help-7.4-ko",
)  # fmt: skip
FILTERS = [
    {"language": {"keep": ["en", "ko"], "min": 0.65}},
    "gopher_repetition",
    "gopher_quality",
    {"c4": {"ended": False}},
    "fineweb",
]
WARM = 8
"""Pages of the run that compiles what is not compiled yet."""


def pages_of(every: int) -> list[bytes]:
    found = [data for name in SETS for data in sources(name, every)]
    for name in MANUALS:
        with tarfile.open(SHARED / "C-starter" / f"{name}.tar.xz") as archive:
            members = sorted((m for m in archive if m.isfile() and m.name.endswith(".html")), key=lambda m: m.name)
            found += [archive.extractfile(member).read() for member in members[::every]]  # type: ignore[union-attr]
    return found


def spent(command: list[str]) -> float:
    """Processor seconds of a command and all it waited for. Ends with its output where it fails."""
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=REPO, env=compiled)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            said.seek(0)
            sys.exit(f"{command} ended with {process.returncode}\n{said.read().decode(errors='replace')[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def steps_of(archive: Path, tokenizer: Path) -> list[dict]:
    return [
        {"ingest": {"from": str(archive)}},
        {"quality": {"filters": FILTERS}},
        {"dedup": {"preset": "fineweb"}},
        {"pack": {"tokenizer": str(tokenizer)}},
    ]


def command_of(folder: Path, name: str, steps: list[dict]) -> list[str]:
    """The command that runs a recipe, inline, without a report. JSON is YAML."""
    recipe = folder / f"{name}-{len(steps)}.yaml"
    recipe.write_text(
        json.dumps({"name": name, "root": str(folder / name), "seed": 17, "steps": steps, "run": {"pool": "inline"}})
    )
    return [sys.executable, "-m", "pipeline.cli", "run", str(recipe), "--quiet", "--no-report"]


def by_part(folder: Path, name: str, archive: Path, tokenizer: Path) -> dict[str, float]:
    """Seconds of each step of the recipe."""
    steps = steps_of(archive, tokenizer)
    found = {}
    for count, step in enumerate(steps, 1):
        command = command_of(folder, name, steps[:count])
        found[next(iter(step))] = spent(command) - spent(command)
    return found


def counted(folder: Path, name: str) -> dict[str, int]:
    """Rows of each step's store, and tokens of the last."""
    from pipeline.storage.store import Store

    rows = {}
    for step in ("ingest", "quality", "dedup", "pack"):
        store = Store(folder / name / step)
        rows[step] = sum(store.receipt(shard).rows for shard in store.shards())
    store = Store(folder / name / "pack")
    rows["tokens"] = sum(
        len(column.values) for shard in store.shards() for column in store.read(shard)["input_ids"].chunks
    )
    return rows


def peers(python: str, folder: Path, name: str, archive: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds by part and of all of them, and documents and tokens behind each."""
    from stages.text.language.identify import bundled_model

    script = str(Path(__file__).with_name("end_to_end_peer.py"))
    found = {}
    for part in ("read", "filter", "dedup", "tokens"):
        found[part] = spent(
            [
                python,
                script,
                part,
                str(archive.parent),
                str(folder / name),
                str(bundled_model()),
                str(REPO / "tokenizers/maetdol-site/tokenizer.json"),
            ]  # fmt: skip
        )
    found["all"] = sum(found.values())
    return found, json.loads((folder / name / "counts.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", help="the Python of an environment with end_to_end_peer.txt; without it ours alone")
    parser.add_argument("--every", type=int, default=1, help="each N-th page (default 1)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of both chains in turns (default 1)")
    parser.add_argument("--keep", type=Path, help="a folder for archive and stores")
    given = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("the real pages (../shared/data) are not beside this checkout")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        archive, few = folder / f"pages-{given.every}" / "pages.warc.gz", folder / "few" / "pages.warc.gz"
        if not archive.exists():
            pages = pages_of(given.every)
            for some, file in ((pages, archive), (pages[:WARM], few)):
                file.parent.mkdir(parents=True, exist_ok=True)
                archive_of(some, file)
            size = {"pages": len(pages), "bytes": sum(map(len, pages))}
            (archive.parent / "size").write_text(json.dumps(size))
        size = json.loads((archive.parent / "size").read_text())
        tokenizer = folder / "tokenizer"
        if not tokenizer.exists():
            spent([sys.executable, "-m", "pipeline.cli", "tokenizer", "adopt", str(REPO / "tokenizers/maetdol-site"), str(tokenizer)])  # fmt: skip
        spent(command_of(folder, "warm", steps_of(few, tokenizer)))
        print(
            f"{size['pages']:,} pages, {size['bytes'] / 1e6:.1f} MB of HTML in {archive.stat().st_size / 1e6:.1f} MB of warc.gz"
        )
        print(f"maetdol by part: {_told(by_part(folder, 'parts', archive, tokenizer))}", flush=True)
        mine: list[float] = []
        theirs: list[dict[str, float]] = []
        for number in range(given.rounds):
            mine.append(spent(command_of(folder, f"ours{number}", steps_of(archive, tokenizer))))
            print(f"maetdol: {mine[-1]:.1f} s, {counted(folder, f'ours{number}')}", flush=True)
            if given.peer:
                seconds, rows = peers(given.peer, folder, f"peer{number}", archive)
                theirs.append(seconds)
                print(f"datatrove: {_told(seconds)}, {rows}", flush=True)
        if theirs:
            medians = statistics.median(mine), statistics.median(each["all"] for each in theirs)
            print(f"medians {medians[0]:.1f} and {medians[1]:.1f} s: {medians[1] / medians[0]:.2f} times less")


def _told(seconds: dict[str, float]) -> str:
    return ", ".join(f"{part} {each:.1f} s" for part, each in seconds.items())


if __name__ == "__main__":
    main()
