"""Answers held to a JSON schema, or to calls of tools, while they are made: llguidance says which tokens may come next, all others are
ruled out.

An extra (`maetdol[json]`): without it a schema is refused, never ignored. Where a model reasons first, the answer behind the reasoning is held.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from stages.models.chat.call_grammar import JSON_BLANKS
from stages.models.teacher.reply import TAG

TAIL = 16
"""Tokens that are decoded in search of the mark that ends reasoning."""


class Grammar(NamedTuple):
    """A schema compiled for one tokenizer. `after_reasoning`: the answer begins behind the end mark of reasoning."""

    compiled: Any
    after_reasoning: bool = False


class Grammars:
    """Compiles schemas for a tokenizer. `size`: entries of the model's last layer; `stops`: ids that end an answer."""

    def __init__(self, tokenizer: Any, size: int, stops: Sequence[int]):
        try:
            from llguidance.hf import from_tokenizer
        except ImportError:
            raise UsageError("it needs llguidance, which is not installed", "pip install 'maetdol[json]'") from None
        self.tokenizer = tokenizer
        self._guide = from_tokenizer(tokenizer, n_vocab=max(size, len(tokenizer)), eos_token=list(stops))

    def compile(self, schema: dict[str, Any]) -> Grammar:
        """UsageError for a schema that is none, or asks for what cannot be held to."""
        from llguidance import LLMatcher

        return self._grammar(
            LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_pattern": JSON_BLANKS})
        )

    def compile_lark(self, lark: str) -> Grammar:
        """A grammar in llguidance's Lark. UsageError where a JSON schema in it cannot be held to."""
        from llguidance import LLMatcher

        return self._grammar(LLMatcher.grammar_from_lark(lark))

    def _grammar(self, text: str) -> Grammar:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._guide, text, log_level=0)
        if matcher.is_error():
            raise UsageError(f"the JSON schema cannot be used: {matcher.get_error()[:300]}", "give another schema")
        return Grammar(matcher)


class AnswerGrammar:
    """A grammar on its way through one answer."""

    def __init__(self, grammar: Grammar, tokenizer: Any, stops: set[int]):
        self.matcher, self.waits = grammar.compiled.deep_copy(), grammar.after_reasoning
        self.tokenizer, self.stops = tokenizer, stops
        self.ended = False
        self._tail: list[int] = []

    def take(self, token: int) -> None:
        """The token that was made."""
        if token in self.stops:
            self.ended = True
        elif self.waits:
            self._tail = [*self._tail[-TAIL:], token]
            self.waits = not any(any(tag.groups()) for tag in TAG.finditer(self.tokenizer.decode(self._tail)))
        elif not self.ended:
            self.matcher.consume_token(token)

    def allowed(self, size: int) -> np.ndarray | None:
        """Which of `size` ids may come next; None for all."""
        if self.waits or self.ended:
            return None
        mask = np.unpackbits(np.frombuffer(self.matcher.compute_bitmask(), np.uint8), bitorder="little")[:size]
        return np.pad(mask, (0, size - len(mask))).astype(bool)


class HeldToGrammars:
    """A logits processor that rules out what the grammars of its rows do not allow."""

    def __init__(self, width: int, rows: Sequence[AnswerGrammar | None]):
        self.width, self.rows = width, rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        for row, grammar in enumerate(self.rows):
            if grammar is None:
                continue
            if input_ids.shape[1] > self.width:
                grammar.take(int(input_ids[row, -1]))
            allowed = grammar.allowed(scores.shape[-1])
            if allowed is not None:
                scores[row, ~torch.from_numpy(allowed).to(scores.device)] = float("-inf")
        return scores
