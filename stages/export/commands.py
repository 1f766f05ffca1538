"""Verb of the hand-over: write a store's rows in the formats that other programs read."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.deletion.forgotten import Reading
from pipeline.engine import progress
from pipeline.engine.pool import Inline, OnRay, Pool
from pipeline.engine.stage import versions
from pipeline.engine.tasks import resumed
from pipeline.errors import MaetdolError, SourceError, UsageError, WorkError
from pipeline.options import SECRET, UNKEYED, Options, digest, identity
from pipeline.storage import sinks
from pipeline.storage.files import is_remote
from pipeline.storage.store import Store
from stages.models.holdout import SHARE

Tables = Literal["parquet", "jsonl.zst", "csv", "datasets", "webdataset"]
Trainers = Literal[
    "openai",
    "trl",
    "trl-completion",
    "trl-kto",
    "trl-reward",
    "llamafactory-alpaca",
    "llamafactory-sharegpt",
    "axolotl",
    "axolotl-chatml",
]
Tokens = Literal["megatron", "mds", "litdata", "nanotron"]
USED_BY = {
    "columns": Tables.__args__,
    "meta": Tables.__args__,
    "size": (*Tables.__args__, *Tokens.__args__),
    "unit": Tokens.__args__,
    "dtype": Tokens.__args__,
}
"""Options that only some formats use."""


class StoreExport(Options):
    """Write a store's rows in the formats that other programs read, and print the line that opens them.

    Tables, for rows of every shape: parquet, jsonl.zst (a row a line), csv (lists and records as JSON text), datasets (a folder for
    load_from_disk), webdataset (tar files). Formats of trainers, for CHAT and PAIR, one JSONL file: OpenAI's fine-tuning, TRL,
    LLaMA-Factory, axolotl; a row that has no form there is named in NAME.left-out.jsonl with the reason. Layouts of token ids, for
    TOKENS: megatron (.bin and .idx), mds (MosaicML's StreamingDataset), litdata (for its TokensLoader), nanotron (datatrove's .ds).

    Rows keep their order, and the same store and options give the same bytes with any number of workers. Killed, the same
    command goes on: files whose receipt is there stay. export.json lists every file with rows, bytes and SHA-256. OUT may be a
    folder or object storage (s3://bucket/folder); files of an earlier export there are replaced, others are left alone.
    """

    verb: ClassVar[str] = "export"
    formerly: ClassVar[tuple[str, ...]] = ("dpo-export",)
    renamed: ClassVar[dict[str, str]] = {"folder": "out"}
    arguments: ClassVar[tuple[str, ...]] = ("store", "out")
    writes: ClassVar[str] = "out"

    store: Annotated[str, UNKEYED]
    "A store of any shape."
    out: Annotated[str, UNKEYED]
    "Folder to write into."
    to: Literal[Tables, Trainers, Tokens] | None = None
    """Format; default: trl for conversations and pairs, else parquet. trl-completion is for conversations; trl-kto, trl-reward and
    axolotl-chatml are for pairs."""
    size: int | str | None = None
    """Tables and tokens: about so many bytes of the store (before compression) go into a file; default: 512MB, 64MB of mds and
    litdata, 4GB of megatron and nanotron."""
    columns: list[str] = Field(default_factory=list)
    """Tables: the columns to write, in this order, as PATH or PATH=NAME (`id,text,url=link,meta.author.name=author`); a path into
    `meta` gives text. Default: all."""
    meta: Literal["nested", "flat", "json"] = "nested"
    """Tables: `meta` as the list of (key, value, type) it is; a typed column `meta.KEY` for each of its keys; or one JSON text."""
    unit: Literal["rows", "documents"] = "rows"
    """Tokens: what a sequence is: a packed row, or a document, put together again from the rows of its shard, in the order of its
    first piece (for trainers that pack themselves)."""
    dtype: Literal["auto", "uint16", "int32"] = "auto"
    "Tokens: width of an id; auto: 16 bits where all are below 65,500. nanotron's 32 bits have no sign."
    part: Literal["all", "train", "heldout"] = "all"
    "All rows, or those that are (not) held out by pack, train and evaluate: by content, by prompt, or as pack marked them."
    holdout: float = Field(SHARE, ge=0.0, lt=1.0)
    "The share train holds out; packed rows are marked already."
    workers: Annotated[int, UNKEYED] = Field(1, ge=1)
    "Files written at once; more than 1 starts Ray."

    card: Annotated[bool, UNKEYED] = True
    """Write README.md, a dataset card with the front matter the Hugging Face Hub reads: counts, languages, licences by share, every step
    with its limits and what it dropped, known limits. One that is there and is not ours stays."""
    push: Annotated[str | None, UNKEYED] = None
    "Then upload OUT to the Hugging Face Hub (or HF_ENDPOINT): hf://datasets/ORG/NAME, or hf://datasets/ORG/NAME@BRANCH."
    token_env: Annotated[str, SECRET] = "HF_TOKEN"
    "Name of the environment variable that holds the hub's token; the token itself is never an option."
    private: Annotated[bool, UNKEYED] = True
    "Where `push` makes the repository, only its owners see it."

    @field_validator("push")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        from stages.export.push import ADDRESS

        if value is not None and not ADDRESS.fullmatch(value):
            raise ValueError("give hf://datasets/ORG/NAME")
        return value

    @field_validator("size")
    @classmethod
    def _bytes(cls, value: str | int | None) -> int | None:
        from pipeline.engine.recipe import parse_bytes

        size = parse_bytes(value) if isinstance(value, str) else value
        if size is not None and size <= 0:
            raise ValueError("a size is a positive number of bytes")
        return size

    def run(self) -> int:
        """UsageError for a format that does not take these rows; WorkError where the store was written anew, or forgotten from,
        meanwhile: nothing stays then."""
        from stages.export import card, files, push

        source = Store(self.store)
        self._check(source)
        token = push.token_of(self.token_env) if self.push else ""
        order = (
            self
            if self.to
            else self.model_copy(update={"to": "trl" if source.shape in ("CHAT", "PAIR") else "parquet"})
        )
        reading = Reading(self.store)
        key = digest([files.FORMAT, source.content_hash, identity(order), versions(LIBRARIES)])
        plan, tasks = _tasks(order, source, key)
        earlier = files.Earlier(self.out)
        valid = {task.number: receipt for task in tasks if (receipt := earlier.valid(task.number, task.key))}
        if len(valid) < len(tasks) or len(earlier.receipts) != len(tasks):
            earlier.reopen(valid)
        progress.current.begin("export")
        try:
            receipts = self._written(tasks, valid)
        except MaetdolError:
            self._check_again(reading)
            raise
        finally:
            progress.current.end()
        self._check_again(reading)
        page = _page(order, source, key, receipts)
        beside = _beside(order, source, plan, page)
        if self.card and ("README.md" in earlier.more or not earlier.fs.exists("README.md")):
            beside["README.md"] = card.card(
                source, page, _load(order.model_copy(update={"out": "."}), source, plan, page)
            )
        files.finish(self.out, page, beside)
        self._check_again(reading)
        code = _print_result(order, source, plan, page)
        if self.push and not code:
            names = [name for part in receipts for name in part["files"]] + [*beside, files.DONE]
            print(f"pushed to {push.push(self.out, names, self.push, token, self.private)}")
        return code

    def _check(self, source: Store) -> None:
        manifest = source.require()
        if not source.shape or source.shape.startswith("artefact:"):
            raise SourceError(f"{self.store} holds {source.shape or 'no known rows'}", "give a store of rows")
        if manifest.get("dropped_text") or not all(entry["written"] for entry in manifest["shards"]):
            raise SourceError(
                f"{self.store} has no rows on disk", "run its recipe with fuse: false, or give the step after it"
            )
        sinks.outside(self.out, self.store)
        if self.push and is_remote(self.out):
            raise UsageError("only a local folder can be pushed", "export to a folder of this machine")
        for option, forms in USED_BY.items():
            if option in self.model_fields_set and self.to is not None and self.to not in forms:
                raise UsageError(f"{self.to} does not use --{option}", f"leave it out; {', '.join(forms)} do")
        if self.to in Tokens.__args__ and source.shape != "TOKENS":
            raise SourceError(
                f"{self.to} is for token ids, and {self.store} holds {source.shape}", "give the store of a pack step"
            )

    def _written(self, tasks: list[Any], valid: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        from stages.export.files import run_task

        pool: Pool = OnRay(self.workers) if self.workers > 1 and len(valid) < len(tasks) else Inline()
        try:
            return resumed(pool, run_task, tasks, "export", lambda task: valid.get(task.number))
        finally:
            pool.close()

    def _check_again(self, reading: Reading) -> None:
        """WorkError, and none of its files, where a takedown went by or the store was written anew."""
        from stages.export import files

        try:
            reading.check()
        except WorkError:
            files.Earlier(self.out).forget()
            raise


LIBRARIES = ("pyarrow", "polars", "zstandard", "datasets")
"""They decide the bytes of some format."""


def _tasks(order: StoreExport, source: Store, key: str) -> tuple[Any, list[Any]]:
    """What holds for the whole store, and a task per file."""
    from stages.export import columns, files, lines, tables, tokens

    manifest, to = source.require(), str(order.to)
    if to in tables.FORMS:
        chosen = columns.chosen(source.schema, order.columns, order.meta, tables.metas(source))
        plan: Any = tables.TablePlan(chosen, source.shape)
        parts, write = files.cut(manifest, order.size or tables.SIZE), tables.write_table  # type: ignore[arg-type]
        names = [tables.FORMS[to].name(source.name, number, len(parts)) for number in range(len(parts))]
    elif to in tokens.FORMS:
        form, plan = tokens.FORMS[to], tokens.planned(source, order)
        parts = files.cut(manifest, order.size or form.size, order.unit == "documents")  # type: ignore[arg-type]
        write, names = tokens.write_tokens, [form.name(source.name, number, len(parts)) for number in range(len(parts))]
    else:
        plan = lines.planned(to, source.shape or "")
        parts, write, names = files.cut(manifest, None), lines.write_rows, [source.name]
    return plan, [
        files.FileTask(write, order, plan, number, len(parts), digest([key, number]), name, part)
        for number, (name, part) in enumerate(zip(names, parts))
    ]


def _page(order: StoreExport, source: Store, key: str, receipts: list[dict[str, Any]]) -> dict[str, Any]:
    """The receipt of the whole export: nothing in it depends on time, host or path."""
    from stages.export.tables import total

    return {
        "store": source.name,
        "shape": source.shape,
        "to": order.to,
        "part": order.part,
        "key": key,
        "rows": sum(receipt["rows"] for receipt in receipts),
        "left_out": total([receipt["left_out"] for receipt in receipts]),
        "parts": receipts,
    }


def names_of(page: dict[str, Any]) -> list[str]:
    """The files that hold rows, in order."""
    return [name for receipt in page["parts"] for name in receipt["files"] if not name.endswith(".left-out.jsonl")]


def _beside(order: StoreExport, source: Store, plan: Any, page: dict[str, Any]) -> dict[str, bytes]:
    """Files that describe the others."""
    from stages.export import tables, tokens, trainers

    to = str(order.to)
    if to in tables.FORMS:
        describe = tables.FORMS[to].beside
        return describe(page, plan, names_of(page)) if describe else {}
    if to in tokens.FORMS:
        facts = [receipt["facts"] for receipt in page["parts"] if receipt["facts"]]
        index = tokens.FORMS[to].index
        return index(facts, plan) if index and facts else {}
    beside = trainers.FORMATS[to].beside
    if beside is None:
        return {}
    name, text = beside(source.shape or "", f"{order.out}/{source.name}.jsonl")
    return {name: text.encode()}


def _print_result(order: StoreExport, source: Store, plan: Any, page: dict[str, Any]) -> int:
    """Say what was written; 1 where there were rows and none was."""
    from stages.export import trainers

    out, names, to = order.out.rstrip("/"), names_of(page), str(order.to)
    size = sum(proof["bytes"] for receipt in page["parts"] for proof in receipt["files"].values())
    where = f"{out}/{names[0]}" if len(names) == 1 else out
    print(f"{page['rows']:,} rows  {len(names):,} files, {size:,} bytes  {where}")
    if page["left_out"]:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in page["left_out"].items())
        listed = f"; see {out}/{source.name}.left-out.jsonl" if to in trainers.FORMATS else ""
        print(f"left out: {counts}{listed}")
    if not page["rows"] and source.require()["rows"]:
        return 1
    print(f"load with: {_load(order, source, plan, page)}")
    return 0


def _load(order: StoreExport, source: Store, plan: Any, page: dict[str, Any]) -> str:
    """The line that opens what was written."""
    from stages.export import tables, tokens, trainers

    out, names, to = order.out.rstrip("/"), names_of(page), str(order.to)
    if not names:
        return "# there are no rows"
    if to in tables.FORMS:
        return tables.FORMS[to].load(out, names)
    if to in tokens.FORMS:
        return tokens.FORMS[to].load(out, names, plan)
    return trainers.FORMATS[to].load(source.shape or "", f"{out}/{names[0]}")
