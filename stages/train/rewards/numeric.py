"""Does the answer come to the row's number?"""

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from stages.models.final_number import number_of
from stages.train.objective.judging import JudgedAnswer, RewardFunction

DIGITS = 40
"""Of a number that is compared by its size; longer ones by their digits."""


class NumericReward(RewardFunction):
    """1 where the number the answer comes to (behind `####`, else its last one) is that of the row's own answer, else 0."""

    needs_reference: ClassVar[bool] = True
    within: float = Field(0.0, ge=0, allow_inf_nan=False)
    "How far off it may be, as a share of the right number."

    def score(self, answers: Sequence[JudgedAnswer]) -> list[float]:
        return [float(self._right(number_of(one.answer), number_of(one.reference or ""))) for one in answers]

    def _right(self, found: str, wanted: str) -> bool:
        if not found or not wanted or max(len(found), len(wanted)) > DIGITS:
            return found == wanted != ""
        return abs(Decimal(found) - Decimal(wanted)) <= Decimal(self.within) * abs(Decimal(wanted))
