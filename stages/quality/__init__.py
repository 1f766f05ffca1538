"""Quality: every filter judges every document; the first that fails says why, the ledger keeps all numbers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BeforeValidator, Field, SerializeAsAny

from pipeline.engine.stage import Port, ShardStage, Work
from pipeline.errors import MaetdolError
from pipeline.filter import Filter

MEMBERS = ("filters",)
DEFAULT = ("language", "gopher_quality", "gopher_repetition", "fineweb")


def _built(entries: Any) -> Any:
    """Filter objects of what stands in a recipe: bare names or one-key mappings."""
    from stages.quality.build import build

    try:
        return build(entries)
    except MaetdolError as fault:  # pydantic shows the words of a ValueError and names the option
        raise ValueError(f"{fault.message}; {fault.hint}" if fault.hint else fault.message) from None


class Quality(ShardStage):
    """Drop documents by quality rules and edit lines, with every measure kept in the ledger.

    Filters run in the order given. Each judges every document as it stands after the edits of those before it, also
    documents that have failed already, so that the ledger can answer what other limits would have kept
    (`maetdol what-if`). Texts that are null, blank, not UTF-8 or larger than `max_bytes` are dropped with a reason of
    their own and judged by no filter.
    """

    version: ClassVar[int] = 2
    renamed: ClassVar[dict[str, str]] = {"spare": "exempt"}
    filters: Annotated[tuple[SerializeAsAny[Filter], ...], BeforeValidator(_built)] = Field(
        default=DEFAULT, validate_default=True
    )  # type: ignore[assignment]
    "Filters in order: names, or mappings such as `{word_count: {min: 30}}`; see `maetdol list filters`."
    exempt: tuple[Literal["faq", "code", "list"], ...] = ("faq",)
    "Do not drop documents with question and answer blocks (code blocks, lists) for being short or shaped like a list."
    fields: tuple[str, ...] = ()
    "Text columns judged, joined by line feeds; default: the main one. Filters that edit need the main one alone."
    max_bytes: int = 64 << 20
    "Larger texts are dropped unread (bytes of UTF-8; default 64 MiB, as in ingest)."

    ports = {"of": Port("DOCUMENT|CHAT|PAIR", many=True)}
    output_shape = None

    def needs(self) -> tuple[str, ...]:
        return tuple(sorted({name for each in self.filters for name in each.libraries}))

    def not_estimated(self) -> str:
        return "calls a teacher" if any(each.calls for each in self.filters) else ""

    def repeatable(self) -> bool:
        return not any(each.calls for each in self.filters)

    def work(self, batch: pa.RecordBatch) -> Work:
        from stages.quality.evaluate import evaluated

        return evaluated(self, batch)
