"""The probe says 0.5 of sides drawn alike, 1 of sides with a mark, and what length alone would say."""

import random

from stages.dpo.probe import TRIVIAL, separability

WORDS = "맷돌은 곡식을 간다 물을 붓고 천천히 돌리면 가루가 나온다 the stone turns slowly and grinds".split()


def sides(count, seed, mark=""):
    draw = random.Random(seed)

    def say():
        return " ".join(draw.choice(WORDS) for _ in range(12))

    return (
        [say() for _ in range(count)],
        [say() + mark for _ in range(count)],
        [draw.getrandbits(63) for _ in range(count)],
    )


def test_alike():
    facts = separability(*sides(1200, 1))
    assert 0.4 < facts["probe_accuracy"] < 0.6 and 0.4 < facts["length_accuracy"] < 0.6 and "warning" not in facts


def test_a_mark_is_trivial():
    facts = separability(*sides(300, 2, "!!"))
    assert facts["probe_accuracy"] >= TRIVIAL and "warning" in facts


def test_length_is_told():
    chosen, rejected, keys = sides(300, 3)
    assert separability([text * 2 for text in chosen], rejected, keys)["length_accuracy"] > 0.95
    assert separability(chosen, [text * 2 for text in rejected], keys)["length_accuracy"] > 0.95


def test_few_pairs_say_nothing():
    assert separability(*sides(30, 4)) == {}
