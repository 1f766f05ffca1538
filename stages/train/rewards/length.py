"""Is the answer neither too short nor too long?"""

from collections.abc import Sequence

from pydantic import Field, model_validator

from stages.train.objective.judging import JudgedAnswer, RewardFunction


class LengthReward(RewardFunction):
    """1 between `least` and `most` characters, reasoning left aside; outside as much less as it is shorter or longer (half at twice `most`)."""

    least: int = Field(0, ge=0)
    "Characters at least."
    most: int | None = Field(None, ge=1)
    "Characters at most."

    @model_validator(mode="after")
    def _ordered(self) -> "LengthReward":
        if not self.least and self.most is None:
            raise ValueError("give `least`, `most`, or both")
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least {self.least} is above most {self.most}")
        return self

    def score(self, answers: Sequence[JudgedAnswer]) -> list[float]:
        sizes = [len(one.answer) for one in answers]
        most = [size if self.most is None else self.most for size in sizes]
        return [
            min(1.0, size / max(1, self.least) if self.least else 1.0, top / max(1, size) if size else 1.0)
            for size, top in zip(sizes, most)
        ]
