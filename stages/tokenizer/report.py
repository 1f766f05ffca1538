"""What the report says of tokenizers."""

from __future__ import annotations

from pipeline.inspection.charts import PageHeading, Paragraph, Part, Table
from pipeline.inspection.sections import Samples, artefact_json
from pipeline.storage.store import Store

TITLE = "Tokenizer"
KOREAN = {
    "bytes per token": "토큰당 바이트", "Tokenizer": "토크나이저", "tokens per word": "단어당 토큰",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Fertility and bytes per token by language, from the card."""
    t, parts = samples.t, list[Part]()
    head = [t(name) for name in ("language", "tokens per word", "bytes per token", "documents")]
    for store in stores:
        if store.shape == "artefact:tokenizer":
            card = artefact_json(store, "card.json")
            measured = card.get("measured", {}).get("by_language", {})
            rows = [
                [lang, *(of.get(name) or 0 for name in ("fertility", "bytes_per_token", "documents"))]
                for lang, of in measured.items()
            ]
            short = {k: v for k, v in card.items() if isinstance(v, (int, float, str)) and len(str(v)) < 40}
            facts = Paragraph(", ".join(f"{name} {value}" for name, value in short.items()))
            parts += [PageHeading(store.name), facts, Table(head, rows)]
    return parts
