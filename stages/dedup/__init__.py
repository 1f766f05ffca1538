"""Duplicates on every level: the same text, address, words or sense; removed only for a direct match with a row that stays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.errors import OptionError
from pipeline.options import CONTENT, UNKEYED
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup import keep
from stages.text.minhash import lsh
from stages.text.minhash.lsh import Banding
from stages.text.minhash.shingles import Shingling

ROWS = "DOCUMENT|CHAT|PAIR"
PRESETS: dict[str, dict[str, Any]] = {"fineweb": {"bands": 14, "rows": 8, "fold_digits": True}}


class Dedup(Stage):
    """Remove duplicates: exact texts, and near-duplicates whose exact Jaccard similarity with a kept document is proven."""

    ports: ClassVar = {
        "of": Port(ROWS, many=True),
        "against": Port(
            ROWS,
            optional=True,
            many=True,
            help="Stores to compare with and leave alone: what stands there is not kept again.",
        ),
    }
    output_shape: ClassVar = None
    version: ClassVar[int] = 7

    levels: list[Literal["exact", "near", "url", "semantic"]] = Field(default_factory=lambda: ["exact", "near"])
    """What counts as a duplicate. exact: the same text but for white space and Unicode form; near: similar shingles; url: the
    same address (canonical spelling, RFC 3986, without tracking parameters); semantic: vectors of a small angle (SemDeDup)."""
    threshold: float = Field(default=0.8, gt=0.0, le=1.0)
    "Least exact similarity (0..1) of shingle sets at which a document goes (0.8: the field's usual line)."
    measure: Literal["jaccard", "containment"] = "jaccard"
    """What is measured of a document and its representative: shared shingles of all that either has, or (containment) of those that the
    document has, so that a page quoted whole in a longer one goes too. Pairs are still met through bands: for a page much
    shorter than its representative give more `bands` of fewer `rows`."""
    keep: str = "longest"
    """Who stays: rules joined by ' > ', the first that tells two rows apart decides, then the smaller id. source (order
    of `sources`), score (highest `score`), longest, shortest (characters), newest, oldest (`date`)."""
    sources: list[str] = Field(default_factory=list)
    "For keep rule `source`: sources from most to least wanted; a row's source equals an entry or begins with it."
    score: str | None = None
    "For keep rule `score`: a number column of the rows, a key of `meta`, or a path (`meta.author.rank`)."
    fields: list[str] = Field(default_factory=list)
    """What is compared. DOCUMENT: text (default), title, url. CHAT: messages (default), prompt, answer. PAIR: prompt,
    chosen, rejected (default: all three)."""
    shingle: Literal["word", "eojeol", "char"] = "word"
    "A shingle is `width` words (runs of letters and digits, lower-cased, NFC), eojeol (between white space) or characters."
    width: int = Field(default=5, ge=1, le=64)
    "Tokens a shingle; a text of fewer is one shingle. 5 words is FineWeb's and datatrove's; for characters take 20 and more."
    by_language: list[str] = Field(
        default_factory=lambda: [f"{code}=char:24" for code in ("ja", "km", "lo", "my", "th", "zh")]
    )
    """Languages (`lang` of a row) cut in another way: `ko=eojeol`, `zh=char:24`. Default: those written without spaces take 24
    characters, NeMo Curator's shingle; everything else, Korean included, takes `shingle` and `width`."""
    fold_digits: bool = False
    "Read every digit as 0, so that pages that differ in numbers alone are alike (datatrove's normaliser)."
    permutations: int = Field(default=128, ge=8, le=4096)
    "This many MinHash values a document, of which bands and rows take what they need; 4 bytes each while the stage runs."
    signatures: Annotated[str | None, UNKEYED] = None
    """Folder in which signatures are kept from run to run, by content: what was signed there before is not signed again,
    whatever store it comes from. Other bands, threshold, levels or keep policy find the same signatures."""
    recall: float = Field(default=0.995, gt=0.0, lt=1.0)
    "Least share of pairs at the threshold that meet in a band; bands and rows follow from it."
    weights: list[float] | None = Field(default=None, min_length=2, max_length=2)
    "Instead of `recall`: weights of false positives and false negatives for datasketch's optimiser, adding up to 1."
    bands: int | None = Field(default=None, ge=1)
    "Instead of `recall`: this many bands, with `rows`."
    rows: int | None = Field(default=None, ge=1)
    "Signature values a band, with `bands`."
    preset: Literal["fineweb"] | None = None
    "fineweb: 14 bands of 8 rows over words with digits folded."
    hash_seed: int = Field(default=1, ge=0, lt=2**32)
    "Seed of the permutations; 1 is datasketch's and datatrove's."
    encoder: Annotated[str | None, CONTENT] = None
    "For level `semantic`: folder of a local encoder (Hugging Face or Sentence Transformers, safetensors) of the compared text."
    vectors: str | None = None
    "For level `semantic`, instead of `encoder`: a column of the rows that holds vectors (lists of numbers)."
    cosine: float = Field(default=0.95, gt=0.0, le=1.0)
    """Least cosine with the representative at which level `semantic` removes a row: SemDeDup's 1 - epsilon. What it means depends on the
    encoder (NeMo Curator's guide goes from .93 to .99): look at a plan's clusters first."""
    cells: int | None = Field(default=None, ge=1, le=1_000_000)
    """k-means cells in which level `semantic` compares. Default: one for 1,024 rows, as far as a sample of 256 MiB of vectors
    has 39 points for each. Pairs that fall into two cells are not found."""
    cluster_memory: Annotated[int, UNKEYED] = Field(default=2048, ge=64)
    """MiB that a task may take to find components, beside some 200 for the process itself. One task finds them all where 16 bytes
    a document fit (134 million in the default); a larger corpus is spread over tasks of ranges of documents, and the same goes."""
    merge_empty: bool = False
    "Count empty texts as one text and keep one of them."
    copies: Literal["keep-one", "drop-all"] = "keep-one"
    "drop-all: what has a duplicate goes altogether, the one that would stay included (for sets that must hold nothing twice seen)."
    spans: Literal["line", "paragraph", "substring"] | None = None
    """Also cut repeated spans out of the documents that stay, wherever they stand in the corpus; one copy stays, in the
    document the keep policy prefers. substring: any run of `span_tokens` tokens, as a suffix array finds them. Chats and pairs
    lose text in the user and assistant turns that `fields` names; a row that would lose a turn whole goes, with a reason."""
    span_tokens: int | None = Field(default=None, ge=1, le=4096)
    "Shortest span in tokens. Default: 50 for substrings (Lee et al. 2021), 10 for lines and paragraphs."
    span_memory: Annotated[int, UNKEYED] = Field(default=512, ge=1)
    """MiB that a task of `spans` may take for the spans it sorts. Less of it is more and smaller tasks, and a long text goes in
    pieces; what is cut is the same. A suffix array wants two to three times the whole corpus."""
    caps: float | None = Field(default=None, gt=0.0, le=1.0)
    """Stop before anything is written when a source of ten rows and more would lose more than this share of them. Without
    it, sources that lose over half are named in a warning."""
    apply: Annotated[str | None, UNKEYED] = None
    "Commit this plan (of `--plan`) and no other; its options are taken from it. Refused where an input has changed since."

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("apply"):
            from stages.dedup import plan

            given = {**plan.read(Path(given["apply"]))["options"], **given}
        return {**PRESETS.get(str(given.get("preset")), {}), **given}

    @field_validator("keep")
    @classmethod
    def _keep(cls, line: str) -> str:
        return " > ".join(keep.parse(line))

    @field_validator("by_language")
    @classmethod
    def _by_language(cls, entries: list[str]) -> list[str]:
        from stages.text.language.codes import fault_of

        for entry in entries:
            lang, sign, how = entry.partition("=")
            if not sign or not lang.strip():
                raise ValueError(f"{entry!r}: write a language and its shingle, such as ko=eojeol or zh=char:24")
            if fault := fault_of(lang.strip(), other_model=True):
                raise ValueError(fault)
            Shingling.parse(how.strip())
        return sorted(entry.replace(" ", "") for entry in entries)

    @field_validator("levels")
    @classmethod
    def _levels(cls, levels: list[str]) -> list[str]:
        if not levels:
            raise ValueError("name at least one level")
        return sorted(set(levels))

    @model_validator(mode="after")
    def _fits(self) -> Dedup:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("give `bands` and `rows` together")
        if "source" in keep.parse(self.keep) and not self.sources:
            raise ValueError("keep rule 'source' needs `sources:`, from most to least wanted")
        if self.spans and self.shingle == "char":
            raise ValueError("`spans` are counted in words or eojeol: set `shingle` to one of them")
        if "semantic" in self.levels and (self.encoder is None) == (self.vectors is None):
            raise ValueError("level 'semantic' needs `encoder` (a folder) or `vectors` (a column), one of them")
        if self.weights is not None and abs(sum(self.weights) - 1.0) > 1e-9:
            raise ValueError("`weights` must add up to 1")
        return self

    def banding(self) -> Banding:
        """Bands and rows under these options; OptionError where no banding reaches the recall."""
        if self.bands is not None and self.rows is not None:
            return Banding(self.bands, self.rows)
        if self.weights is not None:
            return lsh.by_weights(self.threshold, self.permutations, *self.weights)
        # Two texts of one length that contain each other to a share c have the Jaccard similarity c / (2 - c).
        least = self.threshold if self.measure == "jaccard" else self.threshold / (2.0 - self.threshold)
        found = lsh.for_recall(least, self.recall, self.permutations)
        if found is None:
            raise OptionError(
                f"dedup: no banding of {self.permutations} values reaches recall {self.recall:g} at {self.threshold:g}",
                "raise `permutations`, or lower `recall`",
            )
        return found

    def shingling(self) -> Shingling:
        """How texts are cut into shingles."""
        return Shingling(self.shingle, self.width, self.fold_digits)

    def languages(self) -> tuple[tuple[str, Shingling], ...]:
        """Languages cut in another way, and how; sorted."""
        pairs = (entry.partition("=") for entry in self.by_language)
        return tuple(
            sorted((lang.strip(), Shingling.parse(how.strip(), self.width, self.fold_digits)) for lang, _, how in pairs)
        )

    def least_span(self) -> int:
        """Shortest repeated span, in tokens."""
        return self.span_tokens or (50 if self.spans == "substring" else 10)

    def validate_inputs(self, inputs: Inputs) -> None:
        """Refuse a plan of other inputs or options, or one that its caps stopped, before the output is touched."""
        from stages.dedup import plan

        if self.apply is not None:
            plan.check(plan.read(Path(self.apply)), self.key(inputs), inputs, Path(self.apply))

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        """The levels of `stages/dedup/levels.py`: what is proven of them is not done again."""
        from stages.dedup import levels, plan
        from stages.dedup.run import Run

        if self.apply is None:
            return levels.write(Run.of(self, inputs, sink), pool)
        self.validate_inputs(inputs)
        path = Path(self.apply)
        page, run = plan.read(path), Run.of(self, inputs, sink, Store(plan.passes_of(path)))
        return levels.write(run, pool, lambda: plan.check_decisions(page, run, path))
