"""Raw records to output rows: documents, or the conversations and pairs of labelled sets; every input accounted for."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from pipeline.schema import apply_edits, child_id, content_id
from stages.ingest import labelled, table_row
from stages.ingest.row import Document, Raw, clean_name, dropped, line_edits, meta_list
from stages.ingest.vectors import taken

As = Literal["document", "chat", "pair", "ranking"]
SHAPES = {"document": "DOCUMENT", "chat": "CHAT", "pair": "PAIR", "ranking": "PAIR"}
OUR_COLUMNS = frozenset("id text title url lang date licence".split()) | labelled.COLUMNS
"""Names that `columns` may map a file's columns to."""
TEXT_KINDS = frozenset(("text", "markdown", "rst", "python"))


class Outcome(NamedTuple):
    """What became of the inputs `ids`: one output row (`out`, `values`), or a reason why there is none."""

    ids: tuple[str, ...]
    out: str | None
    values: dict[str, Any] | None
    reason: str | None = None
    note: str | None = None
    metrics: dict[str, float] = {}
    source: str | None = None
    """Of a record that gave no row: the file it stands in, so that it can be found again."""
    locator: str | None = None
    """Its locator in that file."""


class Waiting(NamedTuple):
    """A labelled answer that waits for its counterpart, and the row it came in."""

    row_id: str
    given: labelled.Labelled
    row: dict[str, Any]

    def rest(self) -> dict[str, Any]:
        """The columns that have no field of their own."""
        return {name: value for name, value in self.row.items() if name not in self.given.used}


class Shaper:
    """Takes raw records one by one, in order, with the id each has been given."""

    def __init__(self, options: Any, vectors: dict[str, Any] | None = None):
        self.options = options
        self.vectors = vectors or {}
        self._waiting: dict[tuple[bool, str], deque[Waiting]] = defaultdict(deque)

    def take(self, raw: Raw, row_id: str, file: str) -> list[Outcome]:
        """The outcomes of one record; a labelled answer may wait for its counterpart."""
        vectors = taken(raw.body, self.vectors) if raw.kind == "row" and self.vectors else {}
        found = self._shaped(raw, row_id, file)
        if vectors:
            return [o if o.values is None else o._replace(values=o.values | vectors) for o in found]
        return list(found)

    def _shaped(self, raw: Raw, row_id: str, file: str) -> Iterable[Outcome]:
        if raw.kind == "fault":
            return (Outcome((row_id,), None, None, raw.reason, raw.note, raw.metrics),)
        if self.options.as_ == "document":
            return (self._document(raw, row_id, file),)
        found = self._labelled(raw, row_id, file)
        if raw.note:
            return [o._replace(note="; ".join(filter(None, (raw.note, o.note)))) for o in found]
        return found

    def finish(self) -> Iterator[Outcome]:
        """Labelled answers whose counterpart never came."""
        for waiting in self._waiting.values():
            yield from (Outcome((one.row_id,), None, None, "ingest.unpaired") for one in waiting)
        self._waiting.clear()

    # -- documents -------------------------------------------------------------------------------------------------

    def _document(self, raw: Raw, row_id: str, file: str) -> Outcome:
        document = self._read(raw)
        if raw.metrics:
            document.metrics |= raw.metrics
        if raw.note and raw.note != document.note:
            document.note = "; ".join(filter(None, (raw.note, document.note)))
        if document.reason is not None:
            return Outcome((row_id,), None, None, document.reason, document.note, document.metrics)
        values = document.values
        values["id"], values["source"], values["content_id"] = row_id, clean_name(file), content_id(values["text"])
        return Outcome((row_id,), row_id, values, None, document.note, document.metrics)

    def _read(self, raw: Raw) -> Document:
        if raw.kind == "page":
            from stages.ingest.html import page  # with numba, which rows and texts need not load

            given = self.options
            document = page.read(
                raw, given.extract, given.comments, given.headings, given.extractor, given.markup == "markdown"
            )
        elif raw.kind in TEXT_KINDS:
            from stages.ingest.readers import texts

            document = texts.read(raw)
        else:
            document = table_row.read(raw, self.options.columns)
        text = document.values.get("text") or ""
        # A page's markup and a Python source's docstrings may hold such lines; other texts are clean as they are read.
        if raw.kind in ("page", "python") and (edits := line_edits(text)):
            text, blocks = apply_edits(text, edits, document.values["blocks"])
            document.values |= {"text": text, "blocks": blocks}
        if 4 * len(text) > self.options.max_bytes and len(text.encode()) > self.options.max_bytes:
            return dropped("ingest.too_large", f"a text over {self.options.max_bytes} bytes", document.metrics)
        return document

    # -- labelled sets ---------------------------------------------------------------------------------------------

    def _labelled(self, raw: Raw, row_id: str, file: str) -> Iterator[Outcome]:
        if raw.kind != "row":
            yield Outcome(
                (row_id,),
                None,
                None,
                "ingest.wrong_columns",
                f"{self.options.as_} needs rows with columns, not a {raw.kind} file",
            )
            return
        row = table_row.renamed(raw.body, self.options.columns)
        if max(map(len, filter(lambda v: isinstance(v, str), row.values())), default=0) > self.options.max_bytes:
            yield Outcome((row_id,), None, None, "ingest.too_large", f"a text over {self.options.max_bytes} bytes")
            return
        try:
            if self.options.as_ == "chat":
                yield self._chat(labelled.chat(row), row, row_id, file)
            elif self.options.as_ == "pair" and (given := labelled.verdict(row)) is not None:
                yield from self._meet(given, row, row_id, file)
            else:
                pairs = (
                    [labelled.pair(row)] if self.options.as_ == "pair" else labelled.ranking(row, self.options.ranking)
                )
                for ordinal, found in enumerate(pairs):
                    out = row_id if len(pairs) == 1 else child_id(row_id, "ingest", "ranking", ordinal)
                    yield Outcome((row_id,), out, self._pair(found, row, file) | {"id": out}, None, found.note)
        except labelled.Misfit as misfit:
            yield Outcome(
                (row_id,), None, None, "ingest.broken_record" if raw.facts.get("lost") else misfit.reason, misfit.note
            )

    def _chat(self, found: labelled.LabelledChat, row: dict[str, Any], row_id: str, file: str) -> Outcome:
        values = self._provenance(row, found.used, file) | {
            "id": row_id,
            "messages": found.messages,
            "rule": found.rule,
            "tools": found.tools,
        }
        return Outcome((row_id,), row_id, values, None, found.note)

    def _pair(self, found: labelled.LabelledPair, row: dict[str, Any], file: str) -> dict[str, Any]:
        return self._provenance(row, found.used, file) | {
            "prompt": found.prompt,
            "chosen": found.chosen,
            "rejected": found.rejected,
            "rule": found.rule,
            "method": "labelled",
            "score_chosen": found.score_chosen,
            "score_rejected": found.score_rejected,
            "tools": found.tools,
        }

    def _meet(self, given: labelled.Labelled, row: dict[str, Any], row_id: str, file: str) -> Iterator[Outcome]:
        """Pair a labelled answer with the earliest waiting one of the other label to the same prompt and tools."""
        prompt = json.dumps([given.prompt, given.tools], ensure_ascii=False)
        others = self._waiting[not given.good, prompt]
        if not others or others[0].given.answer == given.answer:
            self._waiting[given.good, prompt].append(Waiting(row_id, given, row))
            return
        mine, other = Waiting(row_id, given, row), others.popleft()
        good, bad = (mine, other) if given.good else (other, mine)
        ids = (good.row_id, bad.row_id)
        out = child_id(ids, "ingest", "kto", 0)
        note = "; ".join(dict.fromkeys(filter(None, (good.given.note, bad.given.note)))) or None
        found = labelled.LabelledPair(
            given.prompt, good.given.answer, bad.given.answer, "ingest.kto", good.given.used, tools=given.tools
        )
        beside = {f"rejected.{name}": value for name, value in bad.rest().items() if value != good.row.get(name)}
        yield Outcome(ids, out, self._pair(found, good.row | beside, file) | {"id": out}, None, note)

    def _provenance(self, row: dict[str, Any], used: tuple[str, ...], file: str) -> dict[str, Any]:
        rest = {name: value for name, value in row.items() if name not in used}
        known = {ours: table_row.word(rest, table_row.KNOWN[ours]) for ours in ("lang", "url", "licence")}
        return known | {"source": clean_name(file), "meta": meta_list(rest)}
