"""Near-copies of prompts are found whatever their spelling, and others are not."""

import random

from stages.dpo import near
from stages.dpo.near import near_copies

WORDS = "맷돌 곡식 콩 두부 물 아침 저녁 마을 할머니 가루 체 절구 메밀 보리 수수 옥수수 천천히 곱게 굵게 씻어서".split()


def question(draw):
    return " ".join(draw.choice(WORDS) for _ in range(9)) + " 알려 주세요?"


def jaccard(a, b):
    one, two = (" ".join(text.replace("?", "").split()) for text in (a, b))
    left, right = ({text[n : n + 5] for n in range(len(text) - 4)} for text in (one, two))
    return len(left & right) / len(left | right)


def test_copies_edits_and_strangers(monkeypatch):
    monkeypatch.setattr(near, "BLOCK", 37)
    draw = random.Random(3)
    trained = [question(draw) for _ in range(200)]
    edited = [text.replace(" 알려 주세요?", " 좀 알려 주세요") for text in trained[:40]]
    strangers = [question(draw) for _ in range(40)]
    found = near_copies([*trained[:40], *edited, *strangers], trained)
    assert found[:40].all()
    close = [jaccard(a, b) >= 0.72 for a, b in zip(edited, trained)]
    assert sum(close) > 30
    assert sum(hit for hit, likely in zip(found[40:80], close) if likely) >= 0.95 * sum(close)
    assert not any(found[80:])


def test_nothing_to_compare():
    assert near_copies([], ["x"]).tolist() == []
    assert near_copies(["맷돌은 무엇인가요?"], []).tolist() == [False]
    assert near_copies([""], [""]).tolist() == [False]
