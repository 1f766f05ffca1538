"""All quality rules of Gopher."""

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule, languages_of, primary
from stages.text.words import stopwords
from stages.text.words.counts import read, share


class GopherQuality(Rule):
    """Gopher's quality rules (Rae et al. 2021, section A.1), decided as datatrove decides them on words between blanks.

    Korean limits: FineWeb-2's count Kiwi morphemes and do not hold for eojeol. Over manuals that stand in both languages
    the Korean text has .72 to .86 of the English words and their mean length is .69 to .86 of the English: hence 38 words
    and a mean of 2 to 9 code points. The stop words are eojeol. The other limits are Gopher's.
    """

    min_words: int | None = 50
    "Fewest words that are not only punctuation."
    max_words: int | None = 100_000
    "Most words that are not only punctuation."
    min_mean_length: float | None = 3
    "Shortest mean length of those words, in code points."
    max_mean_length: float | None = 10
    "Longest mean length of those words, in code points."
    max_hashes: float | None = 0.1
    "Most hash signs per word."
    max_ellipses: float | None = 0.1
    "Most ellipses per word."
    max_bullet_lines: float | None = 0.9
    "Most lines that begin with `•` or `-`; of documents in Korean (`lang`), with any mark that `bullet_lines` knows."
    max_ellipsis_lines: float | None = 0.3
    "Most lines that end with an ellipsis."
    min_alphabetic: float | None = 0.8
    "Least share of words that hold a letter."
    min_stop_words: int | None = 2
    "Fewest different stop words of the language."
    stop_words: dict[str, tuple[str, ...]] = stopwords.DEFAULT
    "Stop words by language; languages without a list are not judged by them, documents of unknown language by `en`."
    bounds = (
        Bound("words", low="min_words", high="max_words"),
        Bound("mean_length", low="min_mean_length", high="max_mean_length"),
        Bound("hashes", high="max_hashes"),
        Bound("ellipses", high="max_ellipses"),
        Bound("bullet_lines", high="max_bullet_lines"),
        Bound("ellipsis_lines", high="max_ellipsis_lines"),
        Bound("alphabetic", low="min_alphabetic"),
        Bound("stop_words", low="min_stop_words"),
    )
    calibrated = {"ko": {"min_words": 38, "min_mean_length": 2, "max_mean_length": 9}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        langs = languages_of(docs.batch)
        bullets = reading.bullets
        if langs is not None:  # datatrove's decision everywhere else
            bullets = np.where([primary(lang) == "ko" for lang in langs.to_pylist()], reading.items, bullets)
        return {
            "words": reading.plain,
            "mean_length": reading.mean_length,
            "hashes": share(reading.sharps, reading.words),
            "ellipses": share(reading.ellipses, reading.words),
            "bullet_lines": share(bullets, reading.lines),
            "ellipsis_lines": share(reading.trailing, reading.lines),
            "alphabetic": share(reading.alpha, reading.words),
            "stop_words": stopwords.distinct(docs, langs, self.stop_words),
        }

    def limits(self, option: str | None, langs: pa.Array | None) -> np.ndarray:
        limit = super().limits(option, langs)
        return stopwords.where_listed(limit, langs, self.stop_words) if option == "min_stop_words" else limit
