"""What the learnt extractor finds in pages that it has not learnt from: WCXB's development split, five folds, sites apart.

    python tests/bench/ingest/out_of_fold.py FOLDER

fits the model as `maetdol extractor train` does (some twelve minutes of one core; needs the extra `extractor`), with the made-up
Korean training pages among the rest, and writes into FOLDER what `extractors.py --out-of-fold --keep FOLDER` (which starts it) then
measures beside the others. The seconds it states are none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))

from stages.ingest import charset  # noqa: E402
from stages.ingest.commands import TrainExtractor  # noqa: E402
from stages.ingest.extractor.blocks import blocks_of  # noqa: E402
from stages.ingest.extractor.model import Model, scored, taken  # noqa: E402
from stages.ingest.extractor.scan import LINKS  # noqa: E402
from stages.ingest.extractor.training.pages import LabelledPage, example_of, read_pages  # noqa: E402
from stages.ingest.extractor.training.train import fitted  # noqa: E402
from stages.ingest.flat.build import build  # noqa: E402
from stages.ingest.flat.render import render  # noqa: E402
from tests.bench.ingest.extractors import unpacked  # noqa: E402
from tests.bench.ingest.korean.pages import rows  # noqa: E402


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (layout,) = {note.parent.parent for note in unpacked("B-wcxb-dev", folder).rglob("ground-truth/*.json")}
    pages = list(read_pages(str(layout)))
    korean = (
        LabelledPage(str(at), row["html"].encode(), row["text"], row["url"], row["kind"])
        for at, row in enumerate(rows())
    )
    examples = ((page, example_of(page)) for page in (*pages, *korean))
    learnt = [(page, example) for page, example in examples if example is not None]
    model, found, places = fitted([example for _, example in learnt], TrainExtractor.model_fields["trees"].default)
    of = {page.name: found[places.of(place)] for place, (page, _) in enumerate(learnt)}
    for comments, name in ((True, "learned out of fold"), (False, "learned out of fold, no comments")):
        with open(folder / f"wcxb-1 maetdol {name}.jsonl", "w", encoding="utf-8") as file:
            for page in sorted((layout / "html").glob("*.html")):
                text = text_of(page.read_bytes(), of.get(page.stem), model, comments)
                file.write(json.dumps({"name": page.name, "text": text, "seconds": 1e-9, "fault": None}) + "\n")


def text_of(html: bytes, said: np.ndarray | None, model: Model, comments: bool) -> str:
    """The main text by what was `said` of each block; None of a page that nothing was learnt from: too long, or without gold."""
    tree = build(charset.decode(html, None).text).tree
    blocks = blocks_of(tree)
    said = scored(blocks, model) if said is None else said
    kept = taken(tree, blocks, said if blocks.block[:, LINKS].any() else None, comments)
    return render(tree, np.append(kept, False)[blocks.home]).text


if __name__ == "__main__":
    main()
