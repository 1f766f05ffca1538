"""Prompts for a teacher or judge: four slots, examples, a persona, and how to think.

A prompt is instruction, context, input and output indicator. What is constant (instruction, indicator, examples, persona)
stands in a `Prompt`; context and input come with each request. Zero, one or a few examples are given as earlier turns of
the conversation, so that they pass through the model's own chat template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from stages.models.teacher.base import Message

Lang = Literal["ko", "en"]
LABELS = {
    "ko": {"context": "맥락", "input": "입력", "indicator": "출력"},
    "en": {"context": "Context", "input": "Input", "indicator": "Output"},
}
STEPS = {
    "ko": "먼저 차례대로 따져 본 다음, 마지막에 출력만 따로 적으세요.",
    "en": "Reason step by step first, then give the output on its own at the end.",
}


@dataclass(frozen=True)
class FewShotExample:
    """One worked example: its input (and context), and the output wanted."""

    input: str
    output: str
    context: str = ""


@dataclass(frozen=True)
class PromptTemplate:
    """A template in one language; `render` makes the messages of one request."""

    lang: Lang
    instruction: str
    indicator: str = ""
    examples: tuple[FewShotExample, ...] = field(default_factory=tuple)
    persona: str = ""
    steps: bool = False

    def render(self, input: str, context: str = "") -> tuple[Message, ...]:
        """system (persona and instruction), the examples as turns, then the request itself."""
        head = "\n\n".join(
            part for part in (self.persona, self.instruction, STEPS[self.lang] if self.steps else "") if part
        )
        messages: list[Message] = [("system", head)]
        for example in self.examples:
            messages += [("user", self._turn(example.input, example.context)), ("assistant", example.output)]
        messages.append(("user", self._turn(input, context)))
        return tuple(messages)

    def _turn(self, input: str, context: str) -> str:
        labels = LABELS[self.lang]
        parts = [
            f"[{labels['context']}]\n{context}" if context else "",
            f"[{labels['input']}]\n{input}" if input else "",
        ]
        parts.append(f"[{labels['indicator']}]\n{self.indicator}" if self.indicator else "")
        return "\n\n".join(part for part in parts if part)
