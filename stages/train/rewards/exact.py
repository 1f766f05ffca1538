"""Is the answer the row's own one?"""

import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Literal

from stages.train.objective.judging import JudgedAnswer, RewardFunction


class ExactReward(RewardFunction):
    """1 where the answer is the row's own, else 0. Reasoning in front of it does not count; blanks are one, letters are NFC."""

    needs_reference: ClassVar[bool] = True
    match: Literal["whole", "contains", "starts"] = "whole"
    "The answer is it, contains it, or starts with it."
    case: bool = False
    "Do small and capital letters differ?"

    def score(self, answers: Sequence[JudgedAnswer]) -> list[float]:
        return [float(self._same(self._plain(one.answer), self._plain(one.reference or ""))) for one in answers]

    def _plain(self, text: str) -> str:
        words = " ".join(unicodedata.normalize("NFC", text).split())
        return words if self.case else words.casefold()

    def _same(self, answer: str, wanted: str) -> bool:
        if self.match == "whole":
            return answer == wanted
        return answer.startswith(wanted) if self.match == "starts" else wanted in answer
