"""Copies that differ in characters nobody sees are copies."""

from __future__ import annotations

import pytest

UNSEEN = ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u200e", "\ufe0f", "\u034f", "\U000e0061"]


@pytest.mark.parametrize(
    "words", [[f"word{n * 7}" for n in range(60)], [f"낱말{n * 7}은" for n in range(60)]], ids=["en", "ko"]
)
def test_copies_with_unseen_characters_are_found(dedup, make_store, decisions, tmp_path, words):
    text = " ".join(words)
    strewn = [sign.join(text) for sign in UNSEEN]
    edited = [sign.join(text.replace(words[30], "other")) for sign in UNSEEN[:2]]
    found = list(
        decisions(
            dedup(
                tmp_path / "out",
                make_store(tmp_path / "in", [text, *strewn, *edited], id=[f"{n:032x}" for n in range(11)]),
                keep="shortest",
            )
        ).values()
    )
    assert [decision[0] for decision in found] == [
        None,
        *["dedup.exact"] * len(UNSEEN),
        *["dedup.near", "dedup.near"],
    ] and all(decision[2] == 1 for decision in found[1:9])
    alone = dedup(tmp_path / "near", make_store(tmp_path / "in2", [text, strewn[0], edited[0]]), levels=["near"])
    assert [decision[0] for decision in decisions(alone).values()].count("dedup.near") == 2


def test_a_score_that_was_not_measured_is_null(dedup, make_store, tmp_path):
    ledger = dedup(
        tmp_path / "out", make_store(tmp_path / "in", ["one text that stays", None, "another one that stays"])
    ).ledgers()
    assert ledger["dedup.score"].to_pylist() == [None] * 3
