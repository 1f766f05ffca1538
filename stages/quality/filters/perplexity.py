"""How surprised a language model is: garbage and lists above, boilerplate below; head, middle and tail as CCNet cuts them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from pipeline.docs import Docs
from pipeline.filter import Verdict
from pipeline.options import CONTENT
from stages.text.rules import Bound, Rule, languages_of, primary

BUCKETS = ("head", "middle", "tail")


@dataclass(frozen=True)
class Surprise:
    """The measure: (n x 2: perplexity per token, bits per byte); NaN where a text has no token."""

    model: str
    tokens: int

    def __call__(self, docs: Docs) -> np.ndarray:
        texts = docs.text.to_pylist()
        logp, counts, sizes = (
            _by_ngrams(self.model, texts, self.tokens)
            if ".arpa" in self.model
            else _by_model(self.model, texts, self.tokens)
        )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = np.stack([np.exp(-logp / counts), -logp / np.log(2) / sizes], axis=1)
        found[(counts == 0) | (sizes == 0)] = np.nan
        return found


def _by_model(model: str, texts: list[str], tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from stages.models.inference.perplexity import foreteller

    return foreteller(model).read(texts, tokens)


def _by_ngrams(model: str, texts: list[str], tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words between blanks, a line at a time."""
    from stages.quality.arpa import read

    ngrams = read(model)
    out = np.zeros((3, len(texts)))
    for row, text in enumerate(texts):
        for words in filter(None, (line.split() for line in text.splitlines())):
            words = words[: tokens - int(out[1, row])]
            if not words:
                break
            out[0, row] += ngrams.logp(words)
            out[1, row] += len(words) + 1
            out[2, row] += sum(len(word.encode("utf-8", "replace")) + 1 for word in words)
    return out[0], out[1], out[2]


class Perplexity(Rule):
    """Perplexity under a language model, as a number, a limit, and a bucket per language.

    `cuts` names for each language where the head ends and the tail begins: CCNet takes the 30th and 60th percentile of each
    language of its own corpus (Wenzek et al. 2019), which `maetdol what-if STORE --top perplexity.perplexity@ko=70` gives.
    """

    model: Annotated[str, CONTENT]
    "A causal model (a store made by `maetdol train`, or a Hugging Face folder in safetensors), or an n-gram model (.arpa, .arpa.gz)."
    max: float | None = None
    "Greatest perplexity per token. Set it from your own texts: it depends on the model's tokens."
    min: float | None = None
    "Least perplexity per token: boilerplate that the model knows by heart."
    max_bits: float | None = None
    "Greatest number of bits per byte of text, which models with other tokens share."
    tokens: int = Field(512, ge=2)
    "Tokens (n-gram models: words) read from the start of each text."
    cuts: dict[str, tuple[float, float]] = Field(default_factory=dict)
    "Per language, the perplexity up to which a text is of the head and from which on it is of the tail: `{ko: [120, 300]}`."
    drop: tuple[Literal["head", "middle", "tail"], ...] = ()
    "Buckets whose documents are dropped."
    column: str = "perplexity_bucket"
    "Column for head, middle or tail; null for documents of languages without cuts. Made where `cuts` are given."
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    bounds = (Bound("perplexity", low="min", high="max"), Bound("bits_per_byte", high="max_bits"))

    @field_validator("cuts")
    @classmethod
    def _rising(cls, cuts: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for lang, (head, tail) in cuts.items():
            if not 0 < head <= tail:
                raise ValueError(f"cuts.{lang}: the head ends ({head:g}) before the tail begins ({tail:g})")
        return cuts

    def evaluate(self, docs: Docs) -> Verdict:
        found = docs.cached(Surprise(self.model, self.tokens))
        metrics = {"perplexity": found[:, 0], "bits_per_byte": found[:, 1]}
        langs = languages_of(docs.batch)
        columns = {self.column: pa.array(self.buckets(metrics, langs), pa.large_string())} if self.cuts else {}
        return Verdict(self.decide(metrics, langs), metrics, columns=columns)

    def decide(self, metrics: Mapping[str, np.ndarray], langs: pa.Array | None) -> list[str | None]:
        """As every rule; then by bucket. What has no perplexity is dropped where anything may be."""
        has_limits = self.drop or any(limit is not None for limit in (self.min, self.max, self.max_bits))
        nothing = np.isnan(np.asarray(metrics["perplexity"], np.float64))
        return [
            why
            or ("perplexity.empty" if has_limits and empty else f"perplexity.{bucket}" if bucket in self.drop else None)
            for why, empty, bucket in zip(
                super().decide(metrics, langs), nothing.tolist(), self.buckets(metrics, langs)
            )
        ]

    def buckets(self, metrics: Mapping[str, np.ndarray], langs: pa.Array | None) -> list[str | None]:
        """Head, middle or tail per text; None where the language has no cuts or there is no perplexity."""
        words = (
            [primary(lang) for lang in langs.to_pylist()] if langs is not None else [None] * len(metrics["perplexity"])
        )
        out: list[str | None] = []
        for lang, value in zip(words, np.asarray(metrics["perplexity"], np.float64).tolist()):
            cut = self.cuts.get(lang or "")
            out.append(
                None
                if cut is None or np.isnan(value)
                else BUCKETS[(value > cut[0]) + (value >= cut[1] and value > cut[0])]
            )
        return out
