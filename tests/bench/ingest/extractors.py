"""Extractors side by side on annotated pages: quality by kind of page, snippets, structure, and MB/s of one processor second.

    python -m venv PEERS && PEERS/bin/pip install -U pip && PEERS/bin/pip install -r tests/bench/ingest/peers.txt
    python tests/bench/ingest/extractors.py --peers PEERS/bin/python [--ours main ...] [--out-of-fold] [--sets wcxb aeb korean] [--keep FOLDER]

Sets: `wcxb` the WCXB development split (1,497 pages, seven kinds), `aeb` 61 news articles, both from `../shared/data` beside the
checkout; `korean` the made-up pages of the templates held out. `--ours` takes values of the option `extract`. Each extractor runs in a
process of its own, one after the other; with `--keep` what an extractor found stays, and is not asked for again. `--every N` takes each
N-th page of a set. A model trained on a set (the shipped one on `wcxb`) is not measured fairly by it: `--out-of-fold` fits it in five folds
first (`out_of_fold.py`) and shows what that finds beside the shipped one, which tells the speed. A value with `, no comments` behind it
is read with `comments: false`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))

from tests.bench.ingest import measures  # noqa: E402
from tests.bench.ingest.peers import PEERS  # noqa: E402

OUT_OF_FOLD = ("maetdol learned out of fold", "maetdol learned out of fold, no comments")
"""What `out_of_fold.py` writes; it measures no seconds."""
SHARED = REPO.parent / "shared" / "data"


@dataclass
class Gold:
    name: str
    kind: str
    html: bytes
    encoding: str
    text: str
    must: list[str] = field(default_factory=list)
    must_not: list[str] = field(default_factory=list)
    markdown: str = ""


def wcxb(folder: Path) -> Iterator[Gold]:
    for note in sorted(unpacked("B-wcxb-dev", folder).rglob("ground-truth/*.json")):
        row = json.loads(note.read_text("utf-8"))
        truth = row["ground_truth"]
        html = (note.parent.parent / "html" / f"{note.stem}.html").read_bytes()
        yield Gold(
            f"{note.stem}.html", row["_internal"]["page_type"]["primary"], html, "utf-8", truth.get("main_content") or "",
            truth.get("with") or [], truth.get("without") or [], truth.get("main_content_markdown") or "",
        )  # fmt: skip


def aeb(folder: Path) -> Iterator[Gold]:
    note = next(unpacked("B-aeb-61", folder).rglob("ground-truth.json"))
    for name, row in sorted(json.loads(note.read_text("utf-8")).items()):
        yield Gold(
            f"{name}.html", "article", next(note.parent.rglob(f"{name}.html")).read_bytes(), "utf-8", row["articleBody"]
        )


def korean(folder: Path) -> Iterator[Gold]:
    from tests.bench.ingest.korean.pages import made

    for page in made(held_out=True):
        encoding = "cp949" if b"charset='euc-kr'" in page.html else "utf-8"
        yield Gold(
            f"{page.name}.html", page.kind, page.html, encoding, page.gold, page.must, page.must_not, page.markdown
        )


SETS = {"wcxb": wcxb, "aeb": aeb, "korean": korean}


def unpacked(name: str, folder: Path) -> Path:
    target = folder / name
    if not target.is_dir():
        with tarfile.open(SHARED / f"{name}.tar.xz") as archive:
            archive.extractall(target, filter="data")
    return target


def found_by(extractor: str, python: str, pages: Path, kept: Path) -> dict[str, dict]:
    """What an extractor found, by page; asked for where it was not kept."""
    file = kept / f"{pages.name} {extractor}.jsonl"
    if not file.exists():
        part = file.with_suffix(".part")
        subprocess.run(
            [python, str(Path(__file__).with_name("peers.py")), extractor, str(pages), str(part)], check=True
        )
        part.rename(file)
    return {row["name"]: row for row in map(json.loads, file.read_text("utf-8", "surrogatepass").splitlines())}


def out_of_fold(golds: list[Gold], folder: Path) -> dict[str, dict[str, dict]]:
    """What models that have not learnt from a page's site find in it; fitted where that was not kept."""
    if not all((folder / f"wcxb-1 {name}.jsonl").exists() for name in OUT_OF_FOLD):
        subprocess.run([sys.executable, str(Path(__file__).with_name("out_of_fold.py")), str(folder)], check=True)
    wanted = {gold.name for gold in golds}
    files = {name: (folder / f"wcxb-1 {name}.jsonl").read_text("utf-8").splitlines() for name in OUT_OF_FOLD}
    return {
        name: {row["name"]: row for row in map(json.loads, lines) if row["name"] in wanted}
        for name, lines in files.items()
    }


def lay_out(golds: list[Gold], target: Path) -> None:
    target.mkdir(exist_ok=True)
    for gold in golds:
        (target / gold.name).write_bytes(gold.html)
    rows = (json.dumps({"name": gold.name, "encoding": gold.encoding}) for gold in golds)
    (target / "pages.jsonl").write_text("\n".join(rows), "utf-8")


def mean(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f}".removeprefix("0") if values else "-"


def quality(golds: list[Gold], extractors: dict[str, dict[str, dict]]) -> None:
    """One line an extractor: F1, precision, recall of words, of runs of four words, snippets, speed, pages that raised."""
    size = sum(len(gold.html) for gold in golds) / 1e6
    print(
        f"\n| {len(golds)} pages, {size:.1f} MB | F1 | precision | recall | F1 of 4 words | must | must not | MB/s | raised |\n|"
        + "---|" * 9
    )
    for name, rows in extractors.items():
        scores = [measures.words(rows[gold.name]["text"], gold.text) for gold in golds]
        runs = [measures.shingles(rows[gold.name]["text"], gold.text).f1 for gold in golds]
        must = [share for gold in golds if (share := measures.share(gold.must, rows[gold.name]["text"])) is not None]
        must_not = [
            share for gold in golds if (share := measures.share(gold.must_not, rows[gold.name]["text"])) is not None
        ]
        seconds = sum(rows[gold.name]["seconds"] for gold in golds)
        speed = f"{size / seconds:.1f}" if name not in OUT_OF_FOLD else ""
        print(
            f"| {name} | {mean([s.f1 for s in scores])} | {mean([s.precision for s in scores])} | {mean([s.recall for s in scores])} | {mean(runs)} "
            f"| {mean(must)} | {mean(must_not)} | {speed} | {sum(row['fault'] is not None for row in rows.values())} |"
        )


def by_kind(golds: list[Gold], extractors: dict[str, dict[str, dict]]) -> None:
    kinds = sorted({gold.kind for gold in golds})
    if len(kinds) < 2:
        return
    numbers = {kind: sum(gold.kind == kind for gold in golds) for kind in kinds}
    print(
        "\n| F1 / precision / recall | "
        + " | ".join(f"{kind} ({numbers[kind]})" for kind in kinds)
        + " |\n|"
        + "---|" * (len(kinds) + 1)
    )
    for name, rows in extractors.items():
        scores = defaultdict(list)
        for gold in golds:
            scores[gold.kind].append(measures.words(rows[gold.name]["text"], gold.text))
        cells = [" / ".join(mean([score[part] for score in scores[kind]]) for part in range(3)) for kind in kinds]
        print(f"| {name} | " + " | ".join(cells) + " |")


def structures(golds: list[Gold], extractors: dict[str, dict[str, dict]]) -> None:
    if not any(gold.markdown for gold in golds):
        return
    print(
        "\n| kept / on a line of its own | headings | list items | cells, by rows | lines of code, unchanged |\n|"
        + "---|" * 5
    )
    for name, rows in extractors.items():
        total = measures.Structure()
        for gold in golds:
            total.update(measures.structure(gold.markdown, rows[gold.name]["text"]))
        cells = [
            f"{total[f'{what} kept'] / max(1, total[what]):.3f} / {total[f'{what} on a line'] / max(1, total[what]):.3f}"
            for what in ("headings", "items", "cells", "code")
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(
        f"\n(of {total['headings']} headings, {total['items']} items, {total['cells']} cells, {total['code']} lines of code in the gold)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="the Python of an environment with peers.txt; without it ours alone")
    parser.add_argument("--ours", nargs="*", default=["main"], help="values of extract (default main)")
    parser.add_argument(
        "--out-of-fold",
        action="store_true",
        help="of wcxb also what models find that have not learnt from a page's site",
    )
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--keep", type=Path, help="a folder for pages and what was found in them")
    parser.add_argument("--every", type=int, default=1, help="each N-th page of a set (default 1)")
    given = parser.parse_args()
    if not SHARED.is_dir() and set(given.sets) - {"korean"}:
        sys.exit("the annotated pages (../shared/data) are not beside this checkout")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in given.sets:
            golds = list(SETS[name](folder))[:: given.every]
            target = folder / f"{name}-{given.every}"
            lay_out(golds, target)
            extractors = {
                f"maetdol {mode}": found_by(f"maetdol {mode}", sys.executable, target, folder) for mode in given.ours
            }
            if given.out_of_fold and name == "wcxb":
                extractors = out_of_fold(golds, folder) | extractors
            if given.peers:
                extractors |= {extractor: found_by(extractor, given.peers, target, folder) for extractor in PEERS}
            print(f"\n## {name}")
            quality(golds, extractors)
            by_kind(golds, extractors)
            structures(golds, extractors)


if __name__ == "__main__":
    main()
