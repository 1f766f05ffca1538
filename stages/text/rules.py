"""What most filters are: measures with limits, and other limits for some languages.

A Rule says which measures it takes (`measure`) and which options bound them (`bounds`); the decision follows from the
numbers alone, so that it can be made again from a ledger without reading a text (`maetdol what-if`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline.docs import Docs
from pipeline.errors import did_you_mean
from pipeline.filter import Filter, Verdict
from stages.text.language.codes import fault_of


class Bound(NamedTuple):
    """One measure and the options that hold its least and greatest allowed value (None: that side is not bounded)."""

    measure: str
    low: str | None = None
    high: str | None = None


class Rule(Filter):
    """A filter whose verdict is measures against limits. An undefined measure (NaN: nothing to measure) fails as `.empty`."""

    bounds: ClassVar[tuple[Bound, ...]] = ()
    calibrated: ClassVar[dict[str, dict[str, float | None]]] = {}
    """Limits of languages whose defaults differ from the published (English) ones; used where the option is not given."""

    languages: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    "Other limits for documents of a language, by `lang`: `{ko: {max: 8}}`; null switches a limit off."

    @model_validator(mode="before")
    @classmethod
    def _merge_calibrated(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        languages = {lang: dict(limits) for lang, limits in (given.get("languages") or {}).items()}
        known = sorted(option for bound in cls.bounds for option in (bound.low, bound.high) if option)
        for lang, limits in languages.items():
            if fault := fault_of(str(lang), other_model=True):
                raise ValueError(f"languages: {fault}")
            for option in limits:
                if option not in known:
                    raise ValueError(f"languages.{lang}: no limit {option!r}: {did_you_mean(option, known)}")
        for lang, limits in cls.calibrated.items():
            fresh = {option: value for option, value in limits.items() if option not in given}
            if fresh:
                languages[lang] = {**fresh, **languages.get(lang, {})}
        return {**given, "languages": languages}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        """One float per text and measure named in `bounds` (others may be added); NaN where there is nothing to measure."""
        raise TypeError(f"{type(self).__name__} has no measure()")

    def evaluate(self, docs: Docs) -> Verdict:
        metrics = {name: np.asarray(values, np.float64) for name, values in self.measure(docs).items()}
        return Verdict(reason=self.decide(metrics, languages_of(docs.batch)), metrics=metrics)

    def decide(self, metrics: Mapping[str, np.ndarray], langs: pa.Array | None) -> list[str | None]:
        """The reason per text from its numbers and language; of several bounds that fail, the first in `bounds`."""
        words: list[str | None] = [None]
        codes = np.zeros(len(metrics[self.bounds[0].measure]), np.int64)
        stem = word_of(type(self))
        for bound in self.bounds:
            values = np.asarray(metrics[bound.measure], np.float64)
            low, high = self.limits(bound.low, langs), self.limits(bound.high, langs)
            name = f"{stem}.{bound.measure}" if len(self.bounds) > 1 else stem
            active = ~(np.isnan(low) & np.isnan(high))
            for failed, end in ((np.isnan(values) & active, "empty"), (values < low, "low"), (values > high, "high")):
                words.append(f"{name}.{end}")
                codes = np.where((codes == 0) & failed, len(words) - 1, codes)
        return [words[code] for code in codes.tolist()]

    def limits(self, option: str | None, langs: pa.Array | None) -> np.ndarray:
        """The limit per text (or one for all): NaN where there is none."""
        if option is None:
            return np.array(np.nan)
        usual = _number(getattr(self, option))
        others = {lang: limits[option] for lang, limits in self.languages.items() if option in limits}
        if langs is None or not others:
            return np.array(usual)
        coded = langs.dictionary_encode() if not pa.types.is_dictionary(langs.type) else langs
        per_lang = [
            _number(others[lang]) if lang in others else usual for lang in map(primary, coded.dictionary.to_pylist())
        ]
        index = pc.fill_null(coded.indices, len(per_lang)).to_numpy(zero_copy_only=False)
        return np.array([*per_lang, usual])[index]


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def primary(lang: str | None) -> str | None:
    """`ko-KR` and `KO` are `ko`."""
    return lang.replace("_", "-").split("-")[0].lower() if lang else lang


def languages_of(batch: pa.RecordBatch) -> pa.Array | None:
    """The `lang` column of a batch, or None."""
    return batch.column("lang") if "lang" in batch.schema.names else None


def word_of(cls: type[Filter]) -> str:
    """The word a filter goes by in YAML, reasons and metrics: the name of its file."""
    return cls.__module__.rsplit(".", 1)[-1]
