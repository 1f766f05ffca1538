"""A trained classifier's opinion."""

from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import field_validator

from pipeline.docs import Docs
from pipeline.filter import Verdict
from pipeline.options import CONTENT
from stages.text.classify.classifier import Probability, model_file
from stages.text.rules import Bound, Rule, languages_of


class QualityModel(Rule):
    """Probability of a label under a fastText classifier, as a column and a limit; train one with `quality-model train`.

    Any supervised fastText model will do: DCLM's keeps `__label__hq` from 0.018112 on.
    """

    model: Annotated[str, CONTENT]
    "A store made by `maetdol quality-model train`, or a fastText model file."
    label: str = "positive"
    "The label whose probability is the score."
    column: str = "quality_score"
    "Column the score is written to."
    min: float | None = 0.5
    "Least score; null scores and keeps all."
    max: float | None = None
    "Greatest score, for models of what is not wanted (toxicity, advertising)."
    libraries: ClassVar[tuple[str, ...]] = ("fasttext-numpy2",)
    bounds = (Bound("score", low="min", high="max"),)

    @field_validator("model")
    @classmethod
    def _file(cls, path: str) -> str:
        return model_file(path)

    def evaluate(self, docs: Docs) -> Verdict:
        scores = docs.cached(Probability(self.model, self.label))
        metrics = {"score": scores}
        return Verdict(
            reason=self.decide(metrics, languages_of(docs.batch)),
            metrics=metrics,
            columns={self.column: pa.array(scores, pa.float64(), from_pandas=True)},
        )
