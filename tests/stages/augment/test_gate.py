"""The gate against the plain reading of its definition."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.augment.gate import DiversityGate, rouge_l, stems


def plain(one, two) -> float:
    """ROUGE-L by recursion over all subsequences of the shorter text."""
    best = 0
    for mask in range(1 << len(one)):
        picked = [token for i, token in enumerate(one) if mask >> i & 1]
        rest = iter(two)
        if all(token in rest for token in picked):
            best = max(best, len(picked))
    return 2 * best / (len(one) + len(two)) if one and two else float(not one and not two)


texts = st.lists(st.sampled_from("mill stone water flour grain wheel".split()), max_size=7)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(texts, texts)
def test_rouge_l(one, two):
    assert rouge_l(one, two) == plain(one, two)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(texts, max_size=8), texts, st.sampled_from([0.3, 0.5, 0.7, 0.9]))
def test_the_index_leaves_none_out(known, text, similarity):
    gate = DiversityGate(similarity)
    for other in known:
        gate.add(" ".join(other))
    assert gate.alike(" ".join(text)) == any(text and other and plain(text, other) >= similarity for other in known)


def test_korean_particles_do_not_make_another_instruction():
    gate = DiversityGate(0.7)
    gate.add("맷돌을 돌리는 방법을 알려 주세요.")
    assert gate.alike("맷돌은 돌리는 방법이 알려 주세요") and not gate.alike(
        "도서관에서 책을 몇 권까지 빌릴 수 있나요?"
    )
    assert stems("맷돌을") == stems("맷돌은")


def test_the_one_it_says_otherwise_is_left_out():
    gate = DiversityGate(0.7)
    gate.add("How do I dress a millstone?")
    assert gate.alike("How do I dress a millstone well?") and not gate.alike(
        "How do I dress a millstone well?", "How do I dress a millstone?"
    )
