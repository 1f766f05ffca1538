"""What the report says of tokenizers."""

from __future__ import annotations

from html import escape

from pipeline.inspection.charts import number, table
from pipeline.inspection.sections import Samples, artefact_json
from pipeline.storage.store import Store

TITLE = "Tokenizer"


def section(stores: list[Store], samples: Samples) -> str:
    """Fertility and bytes per token by language, from the card."""
    parts = []
    for store in stores:
        if store.shape == "artefact:tokenizer":
            card = artefact_json(store, "card.json")
            by_lang = card.get("measured", {}).get("by_language", {})
            rows = [
                [escape(lang), *(number(v.get(k) or 0) for k in ("fertility", "bytes_per_token", "documents"))]
                for lang, v in by_lang.items()
            ]
            facts = ", ".join(
                f"{escape(str(k))} {escape(str(v))}"
                for k, v in card.items()
                if isinstance(v, (int, float, str)) and len(str(v)) < 40
            )
            measured = table(["language", "tokens per word", "bytes per token", "documents"], rows, (1, 2, 3))
            parts.append(f"<h3>{escape(store.name)}</h3><p>{facts}</p>{measured}")
    return "".join(parts)
