"""Verbs of quality: train a classifier."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.options import UNKEYED, Options


class TrainModel(Options):
    """Train a fastText quality classifier from good and bad texts, with a card of what it tells apart."""

    verb: ClassVar[str] = "quality-model train"
    arguments: ClassVar[tuple[str, ...]] = ("sink",)
    writes: ClassVar[str] = "sink"

    sink: Annotated[str, UNKEYED]
    "Store to make; its artefact holds the model and the card."
    positive: Annotated[tuple[str, ...], UNKEYED] = Field(min_length=1)
    "Good texts: stores or files, rows chosen by a column as in `docs.jsonl.xz[label=good]`."
    negative: Annotated[tuple[str, ...], UNKEYED] = Field(min_length=1)
    "Bad (or merely usual) texts, likewise."
    field: str = "text"
    "Column that holds the text."
    group: str | None = None
    "Column whose rows stay on one side of the split (a site, an author); default: each text by itself."
    held_out: float = Field(0.1, gt=0, lt=1)
    "Share of the groups kept for measuring."
    max_ratio: float = Field(5.0, ge=1)
    "Of the larger class at most so many times the smaller is trained on."
    chars: int = Field(10_000, ge=1)
    "Code points read from the start of each text."
    lower: bool = True
    "Read everything in lower case."
    word_ngrams: int = Field(2, ge=1, le=5)
    "Longest word n-gram, hashed (DCLM: 2)."
    min_chars: int = Field(2, ge=0)
    "Shortest character n-gram of a word; 0 for none. Korean words need them: an eojeol seldom comes twice."
    max_chars: int = Field(4, ge=0)
    "Longest character n-gram; 0 for none."
    buckets: int = Field(1 << 18, ge=1)
    "Slots n-grams are hashed into; each costs `dim` times 4 bytes."
    dim: int = Field(64, ge=1)
    "Size of the vectors."
    epochs: int = Field(10, ge=1)
    "Passes over the texts."
    learning_rate: float = Field(0.3, gt=0)
    "Step size; fastText's own default is 0.1."
    min_count: int = Field(2, ge=1)
    "Rarer words are left out."
    quantise: bool = False
    "Compress the model (.ftz), some ten times smaller."
    seed: int = 17
    "Decides the split and the training."

    def run(self) -> int:
        from stages.quality.train_classifier import train_classifier

        receipt = train_classifier(self)
        held = receipt.notes["quality_model"]
        print(f"model     {self.sink}/artefact")
        print(
            f"held out  {held['positive']:,} positive, {held['negative']:,} negative: AUC {held['auc']} ({held['auc_interval'][0]} to {held['auc_interval'][1]}), average precision {held['average_precision']}"
        )
        return 0


class WhatIf(Options):
    """What other limits would have kept, from the ledger of a finished quality step alone.

    maetdol what-if runs/web/quality --set word_count.min=30 --sweep language.min=0.3:0.9:0.1 --top quality_model.score=10
    """

    verb: ClassVar[str] = "what-if"
    arguments: ClassVar[tuple[str, ...]] = ("store",)

    store: str
    "Store of a quality step."
    set: tuple[str, ...] = ()
    "Another limit: `word_count.min=30`, `gopher_quality.languages.ko.min_words=20`, `language.keep=[ko]`; null switches one off."
    without: tuple[str, ...] = ()
    "Filters to leave out."
    sweep: tuple[str, ...] = ()
    "A limit over a range, beside the changes of `set`: `word_count.min=10:100:10` (from, to, step)."
    top: tuple[str, ...] = ()
    "The limit of a metric that so many percent of the documents (of a language) reach: `quality_model.score=10`, `perplexity.perplexity@ko=70`."
    tokenizer: str | None = None
    "A trained tokenizer (store or folder): kept tokens are reckoned from its card's bytes per token per language."
    out: str | None = None
    "HTML page to write the sweeps to, with a line per sweep."

    def run(self) -> int:
        from stages.quality.whatif_page import answer

        return answer(self)


class Calibrate(Options):
    """Limits per language from a sample of your own texts, as a recipe fragment with a report of what each keeps.

    With `--labels` the source is a finished quality step, and its limits (a judge's among them) are held against what people said of its
    rows: precision, recall and F1 of what it drops, kappa, and limits that agree better.

    maetdol calibrate runs/web/quality --labels runs/web/labels --report agreement.md
    """

    verb: ClassVar[str] = "calibrate"
    arguments: ClassVar[tuple[str, ...]] = ("source",)

    source: tuple[str, ...]
    "Stores or files to sample; rows chosen by a column as in `docs.jsonl[lang=ko]`."
    reference: tuple[str, ...] = ()
    "Texts known to be good: limits are set so that these pass."
    labels: str | None = None
    "Labels keep and drop, as `maetdol view` writes them (ROOT/labels); another store or file with columns `id`, `text` and `label`."
    out: str = "calibrated.yaml"
    "Recipe fragment to write: a `quality` step."
    report: str | None = None
    "Markdown page to write: every limit, published and calibrated, and what each keeps of the sample."
    field: str = "text"
    "Column that holds the text."
    documents: int = Field(20_000, ge=1)
    "Documents drawn from each side, by hash of their id."
    languages: tuple[str, ...] = ()
    "Languages to calibrate; default: every one with 50 documents."
    tail: float = Field(0.05, gt=0, lt=0.5)
    "Share of the texts a single limit may drop."
    stop_words: int = Field(60, ge=2)
    "Words in each language's list."

    def run(self) -> int:
        if self.labels:
            return self._against_labels()
        from stages.quality.calibrate import calibrate

        for lang, limits in calibrate(self).items():
            moved = [limit for limit in limits if limit.calibrated != limit.published]
            print(f"{lang}: {len(moved)} of {len(limits)} limits moved")
            for limit in moved:
                print(
                    f"  {limit.family}.{limit.option:<28}{limit.published!s:>8} -> {limit.calibrated!s:>8}   keeps {limit.kept_published:.3f} -> {limit.kept_calibrated:.3f}"
                )
        print(f"fragment  {self.out}")
        return 0

    def _against_labels(self) -> int:
        from stages.quality.agreement import agreements, lines

        table = lines(agreements(self))
        widths = [max(map(len, column)) for column in zip(*table)]
        for first, *rest in table:
            print("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip())
        print(f"fragment  {self.out}")
        return 0
