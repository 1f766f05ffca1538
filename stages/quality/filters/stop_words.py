"""No running prose: the commonest words of the language are not there."""

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule, languages_of
from stages.text.words import stopwords


class StopWords(Rule):
    """How many different words of the language's short list stand in the text. Gopher: Rae et al. 2021, section A.1."""

    min: int | None = 2
    "Fewest different stop words (Gopher: 2)."
    words: dict[str, tuple[str, ...]] = stopwords.DEFAULT
    "Stop words by language; languages without a list are not judged, documents of unknown language by `en`."
    bounds = (Bound("distinct", low="min"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"distinct": stopwords.distinct(docs, languages_of(docs.batch), self.words)}

    def limits(self, option: str | None, langs: pa.Array | None) -> np.ndarray:
        limit = super().limits(option, langs)
        return stopwords.where_listed(limit, langs, self.words) if option == "min" else limit
