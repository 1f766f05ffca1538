"""Has the answer the form that was asked for?"""

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from stages.train.objective.judging import JudgedAnswer, RewardFunction


class FormatReward(RewardFunction):
    """1 where the answer has the form, else 0: a pattern the whole text matches, or JSON (alone, without words around it)."""

    pattern: str | None = None
    r"A regular expression for all of the text, reasoning included; `.` matches line feeds: `<think>.+</think>\s*\S.*`."
    json_: bool = Field(False, alias="json")
    "A JSON object, reasoning in front of it left aside."
    keys: tuple[str, ...] = ()
    "Names the JSON object must have."

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "", re.DOTALL)
        except re.error as fault:
            raise ValueError(f"is no regular expression: {fault}") from None
        return pattern

    @model_validator(mode="after")
    def _one_of(self) -> "FormatReward":
        if (self.pattern is None) == (not self.json_ and not self.keys):
            raise ValueError("give `pattern`, or `json: true` (and `keys`)")
        return self

    def score(self, answers: Sequence[JudgedAnswer]) -> list[float]:
        if self.pattern is not None:
            form = re.compile(self.pattern, re.DOTALL)
            return [float(form.fullmatch(one.text.strip()) is not None) for one in answers]
        return [
            float(isinstance(found := _object(one.answer), dict) and set(self.keys) <= found.keys()) for one in answers
        ]


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
