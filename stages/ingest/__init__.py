"""Read pages, texts, tables and labelled sets into rows: charset, main text, structure, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs, InputSample, InputSampler, Port, Stage
from pipeline.engine.tasks import Proofs, collect, resumed
from pipeline.errors import SourceError
from pipeline.options import CONTENT, UNKEYED, digest
from pipeline.storage import input_hashes
from pipeline.storage.store import Store
from stages.ingest.crawl import CrawlOptions
from stages.ingest.readers.packages import Packages

if TYPE_CHECKING:
    from stages.ingest.sources import Files

READ_BY_MODEL = "main", "learned"
"""Values of `extract` by which the learnt extractor reads."""


class Ingest(Stage):
    """Read pages, texts, tables and labelled sets into rows: charset, main text, structure, provenance.

    SOURCE is a file, a folder, a glob (`raw/*.warc.gz`), an address on object storage (`s3://bucket/raw/*.warc.gz`), or
    `installed-packages`. Kinds are told by content, then name: WARC, WET, ARC, HTML, text, Markdown, reST, JSONL, JSON, CSV,
    TSV, Parquet, Arrow, folders of `datasets.save_to_disk`; packed with gzip, zstandard, xz or bzip2 or not. Other columns keep their
    types in `meta`; lists of numbers in Parquet and Arrow become columns of their own behind the shape's.
    """

    version: ClassVar[int] = 18
    ports: ClassVar[dict[str, Port]] = {}
    output_shape: ClassVar[str | None] = None
    reads_from: ClassVar[tuple[str, ...]] = ("from_", "crawl")
    libraries: ClassVar[tuple[str, ...]] = ("trafilatura", "resiliparse", "lxml")

    from_: Annotated[str | list[str] | None, UNKEYED] = Field(default=None, alias="from")
    "Paths, globs, folders or addresses to read, or `installed-packages`; names below their roots and contents are keyed."
    follow_links: Annotated[bool, UNKEYED] = False
    "Read files that links inside a folder name outside of it; links that stay inside are read anyway."
    crawl: CrawlOptions | None = None
    "Crawl into WARC files first, inside the store, and read those; see CrawlOptions."
    extract: Literal["main", "learned", "trafilatura", "resiliparse", "all"] = "main"
    """Text of a page: its main text, by the learnt extractor (`main`; `learned` is the same); what trafilatura finds (or Resiliparse, where
    trafilatura finds little); Resiliparse's main content; or all of it."""
    extractor: Annotated[str | None, CONTENT] = None
    "Model of your own for `extract: main`: the `model.npz` of `maetdol extractor train`; default: the shipped one."
    markup: Literal["plain", "markdown"] = "plain"
    """What the text of a page is written in. Markdown has signs before headings, fences around code, tables with bars and a rule, `>` before
    quotes; words are not escaped, but for bars in cells. For `extract: main` and `all`; texts of other files stay as they are."""
    comments: bool = True
    "Keep readers' comments and forum answers that stand below the main text."
    headings: bool = True
    "With `extract: trafilatura`, put headings back that it left out, where the text under them was kept (Resiliparse's reading knows them)."
    as_: Literal["document", "chat", "pair", "ranking"] = Field(default="document", alias="as")
    "What rows become: documents, conversations, preference pairs, or pairs of several ranked answers."
    columns: dict[str, str] = Field(default_factory=dict)
    "Our column to the file's, such as `{text: body, title: headline}` or, for labelled sets, `{prompt: Q, completion: A}`."
    ranking: Literal["best-worst", "best-rest", "all"] = "best-worst"
    "Pairs made of several ranked answers: one, the best against each, or every two of unlike score."
    packages: Packages = Packages()
    "What `installed-packages` takes: `{kinds: [readme, licence, docstring], max_files: 4000, max_bytes: 16777216}`."
    max_bytes: int = Field(default=64 << 20, ge=1024)
    "Bytes of one text or record; larger ones are dropped (ingest.too_large). 64 MiB is the format's limit."
    _group_bytes: int | None = PrivateAttr(None)
    """Mean bytes of a group of files in a sample that is to have so many shards (`plan.GROUP_BYTES` otherwise)."""

    @field_validator("columns")
    @classmethod
    def _columns(cls, columns: dict[str, str]) -> dict[str, str]:
        from stages.ingest.shape import OUR_COLUMNS

        for name in columns:
            if name not in OUR_COLUMNS:
                from pipeline.errors import did_you_mean

                raise ValueError(
                    f"{name!r} is no column of ours: {did_you_mean(name, sorted(OUR_COLUMNS))}; write {{ours: theirs}}"
                )
        return columns

    @model_validator(mode="after")
    def _something(self) -> Ingest:
        if not self.sources() and self.crawl is None:
            raise ValueError("nothing to read: give `from:` (paths, globs, folders, installed-packages) or `crawl:`")
        if self.extractor is not None and self.extract not in READ_BY_MODEL:
            raise ValueError(f"extract: {self.extract} reads no model: leave `extractor` out, or write extract: main")
        if self.markup == "markdown" and self.extract not in (*READ_BY_MODEL, "all"):
            raise ValueError(
                f"extract: {self.extract} writes no Markdown: leave `markup` out, or write extract: main (or all)"
            )
        return self

    def sources(self) -> list[str]:
        """What `from` names, as a list."""
        return [self.from_] if isinstance(self.from_, str) else list(self.from_ or [])

    def reads(self) -> list[str]:
        from stages.ingest.sources import PACKAGES

        return [entry for entry in self.sources() if entry != PACKAGES]

    def sampler(self) -> InputSampler | None:
        """Samples are files in the order of a hash of their names, as many as fit; the smallest where none does."""
        from stages.ingest import plan
        from stages.ingest.sources import PACKAGES, drawn, listing, requests_of

        if not self.reads():
            return None
        files = listing(self.reads(), follow=self.follow_links, digest=lambda marks: [""] * len(marks))

        def draw(most: int, shards: int) -> InputSample:
            some = drawn(files, most)
            others = [entry for entry in self.sources() if entry == PACKAGES]
            stage, taken = self.model_copy(update={"from_": [file.path for file in some] + others}), plan.weight(some)
            stage._group_bytes = max(1, taken // shards) if shards else None
            return InputSample(stage, sum(file.size for file in some), sum(files.sizes))

        return InputSampler(draw, len(plan.groups(files)), requests_of(files))

    def not_estimated(self) -> str:
        return "a crawl takes as long as its sites allow" if self.crawl is not None else ""

    def output(self, of: str | None = None) -> str:
        from stages.ingest.shape import SHAPES

        return SHAPES[self.as_]

    def needs(self) -> tuple[str, ...]:
        """Libraries decide the bytes of documents only."""
        return self.libraries if self.as_ == "document" else ()

    def key(self, inputs: Inputs, *extra: Any, without: Sequence[str] = ()) -> str:
        """Options, and the names and contents of the files; of a crawl its options, for it is a recording."""
        files = self._listing(inputs)
        return super().key(inputs, digest(list(zip(files.names, files.digests))), *extra, without=without)

    def run(self, inputs: Inputs, sink: Store, pool: Any) -> list:
        """Crawl where asked, then make every shard that is not proven; returns the receipts of all of them."""
        from stages.ingest import plan
        from stages.ingest.task import proven, run_task

        files = [*self._listing(inputs), *self._crawled(sink, pool)]
        # The key without the listing: a shard depends on its own files alone.
        tasks = plan.tasks(files, self, sink, super().key(inputs))
        proofs = Proofs.taken(sink)
        there = {int(name): found for name in proofs.names if name.isdigit() and (found := proofs.whole(name))}

        def valid(task: Any) -> list | None:
            receipts, whole = proven(task, there)
            return receipts if whole else None

        made = resumed(pool, run_task, tasks, "ingest", valid)
        done = {task.number: receipts for task, receipts in zip(tasks, made)}
        self._tell_apart(sink, pool, {task.number: task for task in tasks}, done)
        return [receipt for number in sorted(done) for receipt in done[number]]

    def _tell_apart(self, sink: Store, pool: Any, tasks: dict[int, Any], done: dict[int, list]) -> None:
        """Ids that two tasks gave alike get an ordinal in the later one. Tasks are redone one by one, earlier ones first, until all fit,
        so that what comes out does not tell in which order files came."""
        from stages.ingest import plan
        from stages.ingest.task import run_task

        while redo := plan.to_redo(sink, pool, tasks, done):
            number = min(redo)
            done[number] = collect(pool, run_task, [replace(tasks[number], against=redo[number])], "ingest")[0]

    def prepare(self, inputs: Inputs, pool: Any) -> None:
        """Hash the input files whose hashes are not known: in tasks, where it is more than one task's work."""
        hashes = input_hashes.begin(inputs.home)
        files = self._files(hashes.peek)
        hashes.listing = [self.sources(), files] if not hashes.wanted else None
        tasks = input_hashes.tasks(hashes.wanted)
        where = pool if len(tasks) > 1 else Inline()
        found = collect(where, input_hashes.hash_all, tasks, "ingest hashes") if tasks else []
        hashes.take(made for some in found for made in some)

    def _files(self, digest_of: Any) -> Files:
        from stages.ingest.readers import packages
        from stages.ingest.sources import listing

        return listing(self.sources(), lambda: packages.listing(self.packages), self.follow_links, digest_of)

    def _listing(self, inputs: Inputs) -> Files:
        """The files of `from`; what a reader of one's own reads is keyed by that reader too."""
        from stages.ingest.kinds import ending
        from stages.ingest.readers import own

        hashes = input_hashes.of_store(inputs.home)
        listed, hashes.listing = hashes.listing, None
        files = listed[1] if listed and listed[0] == self.sources() else self._files(hashes.of)
        readers = own.by_ending()
        for at, name in enumerate(files.names) if readers else ():
            if (reader := readers.get(ending(name))) is not None:
                files.digests[at] = digest([files.digests[at], reader.fingerprint()])
        return files

    def _crawled(self, sink: Store, pool: Any) -> list:
        """The files of the crawl, recorded below the store; first of all they are fetched."""
        if self.crawl is None:
            return []
        from pathlib import Path

        from pipeline.deletion.forgotten import load
        from pipeline.storage.files import Local, filesystem
        from stages.ingest.crawl import crawl, summaries
        from stages.ingest.sources import recorded
        from stages.ingest.takedown import clean

        if not isinstance(sink.fs, Local):
            raise SourceError(
                "a crawl is recorded on a local disk, and this store is not on one",
                "crawl into a local store; read its WARC files from there",
            )
        folder = sink.fs.path("passes/crawl")
        made = crawl(self.crawl, folder, pool)
        if forgotten := load(filesystem(sink.path.rstrip("/").rpartition("/")[0] or ".")):
            clean(Path(folder), forgotten)
            made = summaries(self.crawl, folder)
        return [file for summary in made for file in recorded(summary)]
