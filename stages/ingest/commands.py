"""Verbs of ingest: train the extractor."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.options import UNKEYED, Options


class TrainExtractor(Options):
    """Train the extractor of `extract: main` from pages with gold text, with figures out of fold by kind of page.

    A source is a folder in the layout of WCXB (`html/NAME.html`, `ground-truth/NAME.json`) or a table file (JSONL, Parquet, ...) of rows with `html`,
    `text` (the gold), and perhaps `url` and `kind`. Needs LightGBM: pip install maetdol[extractor].
    """

    verb: ClassVar[str] = "extractor train"
    arguments: ClassVar[tuple[str, ...]] = ("pages",)

    pages: Annotated[tuple[str, ...], UNKEYED] = Field(min_length=1)
    "Folders and files of pages with gold text; some hundred sites at least."
    out: Annotated[str, UNKEYED] = "extractor"
    "Folder to make: `model.npz`, and its card as `card.json` and `card.md`."
    trees: int = Field(300, ge=1)
    "Trees of a forest; each of the two stages is the mean of two forests."
    licence: str | None = None
    "Licence of the gold texts, for the card."
    attribution: str | None = None
    "Whom the licence asks to be named, for the card."

    def run(self) -> int:
        from stages.ingest.extractor.training.train import train

        card = train(self)
        print(f"model     {self.out}")
        for kind, found in card["out_of_fold"].items():
            print(f"{kind:<14}{found['pages']:>6,} pages   word F1 {found['f1']:.4f} out of fold")
        return 0
