"""Bytes per token per language from a tokenizer's card: how many tokens a text would be, without tokenising it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError


def bytes_per_token(path: str) -> dict[str, float]:
    """Bytes per token per language (`all` for the rest) of a tokenizer's store or folder. SourceError where there is no card."""
    root = Path(path)
    for card in (root / "artefact" / "card.json", root / "card.json"):
        if card.is_file():
            found = json.loads(card.read_text("utf-8"))
            costs = found.get("measured", {}).get("by_language", {})
            rates = {
                lang: float(cost["bytes_per_token"]) for lang, cost in costs.items() if cost.get("bytes_per_token")
            }
            if rates:
                return rates
    raise SourceError(f"{path} has no tokenizer card", "give the store of a tokenizer step, or tokenizers/NAME")


def usual(rates: dict[str, float]) -> float:
    """The rate of languages the card does not name."""
    return rates.get("all") or float(np.mean(list(rates.values())))
