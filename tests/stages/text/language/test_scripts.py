"""Guesses held to the scripts of a text: all at once, as one language after the other would be."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text.language import identify
from stages.text.language.writing import HAN, HANGUL, KANA, LATIN, OTHER, OWNERS, SCRIPTS, written


def one_by_one(labels: np.ndarray, scores: np.ndarray, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = np.maximum(letters.sum(axis=1), 1)
    main = letters.argmax(axis=1)
    decided = letters.max(axis=1) >= identify.MAIN_SHARE * total
    kana = letters[:, KANA] >= np.maximum(identify.KANA_SHARE * (letters[:, KANA] + letters[:, HAN]), 1)
    scores = scores.copy()
    for lang in set(labels.ravel().tolist()) & set(written()):
        share = letters[:, sorted(written()[lang])].sum(axis=1) / total
        least = np.where(main == LATIN, 0.0, np.where(decided, identify.MAIN_SHARE, identify.SOME_SHARE))
        out = (share < least) | (share == 0.0) | (kana & (main != LATIN) & (lang in identify.CHINESE))
        scores[(labels == lang) & out[:, None]] = 0.0
    scores[decided & (main == OTHER)] = 0.0
    owners = np.array([OWNERS.get(name, "") for name in SCRIPTS], object)[main]
    owners = np.where(decided & (main == HAN) & kana, "ja", owners)
    owned = decided & (owners != "") & (main != HANGUL) & (scores.max(axis=1) <= 0)
    share = np.where(owned, np.maximum(letters.max(axis=1) / total, identify.SCRIPT_SCORE), 0.0)
    return np.column_stack([labels, np.where(owned, owners, "und")]), np.column_stack([scores, share])


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 1 << 32), st.integers(0, 40))
def test_all_languages_at_once(seed, rows):
    draws = np.random.default_rng(seed)
    names = np.array([*sorted(written()), "xx", "und"], object)
    labels, scores = names[draws.integers(0, len(names), (rows, 4))], draws.random((rows, 4))
    letters = draws.integers(0, 9, (rows, len(SCRIPTS))) * (draws.random((rows, len(SCRIPTS))) < 0.15)
    letters[:, LATIN] += draws.integers(0, 3, rows) * 5
    for found, wanted in zip(identify._possible(labels, scores, letters), one_by_one(labels, scores, letters)):
        assert np.array_equal(found, wanted)
