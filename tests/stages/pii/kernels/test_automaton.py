"""The automaton says what Python's own engine says, and refuses what it could not say in linear time."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pii.kernels.automaton import compile_patterns, find_words, kept, utf8_sequences
from stages.pii.kernels.rules import rule_book

PATTERNS = [
    "01[016789](?: ?[-.)] ?| )?[1-9][0-9]{2,3}[0-9]{4}",
    "[0-9]{2,3}[가-힣] ?[0-9]{4}",
    "[0-9]{1,3}(?:[.][0-9]{1,3}){3}",
    "(?:ab|a)+c{2,3}x?",
    "a{3}[^b가]*b",
    "[é-ힿ]{2}\\.",
]
COMPILED = compile_patterns(PATTERNS)
SIGNS = st.text(alphabet="0123456789-.() abcx가각나é힣b", max_size=18)


@settings(deadline=None, max_examples=400)
@given(SIGNS)
def test_accepts_what_re_accepts_at_every_end(text):
    wanted = {
        (index, len(text[:end].encode()))
        for index, pattern in enumerate(PATTERNS)
        for end in range(1, len(text) + 1)
        if re.fullmatch(pattern, text[:end])
    }
    assert set(COMPILED.ends(text.encode())) == wanted


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0x7F), (0x61, 0x3A9), (0x7F0, 0x10FF), (0xAC00, 0xD7A3), (0xE000, 0x10FFFF), (0xFFFE, 0x10001)],
)
def test_byte_ranges_spell_exactly_the_code_points(low, high):
    table = [list(map(set, ([range(a, b + 1) for a, b in sequence]))) for sequence in utf8_sequences(low, high)]
    for point in [low, low + 1, (low + high) // 2, high - 1, high, max(0, low - 1), min(0x10FFFF, high + 1)]:
        if 0xD800 <= point <= 0xDFFF:
            continue
        spelled = chr(point).encode()
        inside = any(len(ranges) == len(spelled) and all(b in r for b, r in zip(spelled, ranges)) for ranges in table)
        assert inside == (low <= point <= high)


@pytest.mark.parametrize("pattern", ["a*", "(a)", "^a", "a.b", "(?=a)b", r"\d", "a{3,2}", "[]", "a)"])
def test_refuses_what_is_not_of_the_language(pattern):
    with pytest.raises(ValueError):
        compile_patterns([pattern])


def test_too_many_states_are_refused():
    with pytest.raises(ValueError, match="states"):
        compile_patterns(["(?:a|b){0,12}a(?:a|b){14}"], limit=500)


def test_words_are_found_wherever_they_end():
    words = ["계좌", "은행", "우리은행", "ip", "ipv4", "번"]
    automaton = find_words(words)
    text = "우리은행 IPv4 계좌번호"
    state, found = 1, []
    for at, byte in enumerate(text.encode()):
        state = int(automaton.moves[state * automaton.width + int(automaton.classes[byte])])
        found += [(words[w], at + 1) for w in automaton.rules[automaton.first[state] : automaton.first[state + 1]]]
    ends = {
        word: len(text[: text.lower().index(word) + len(word)].encode())
        for word in ("우리은행", "은행", "ip", "ipv4", "계좌", "번")
    }
    assert dict(found) == ends
    assert found.index(("우리은행", ends["우리은행"])) < found.index(("은행", ends["은행"]))


def test_every_pattern_of_the_rule_book_reads_the_same_in_re():
    """Each accepted end of a random walk through a rule's own automaton is a full match of its pattern."""
    import random

    rng = random.Random(5)
    for rule in rule_book():
        if not rule.pattern:
            continue
        automaton = compile_patterns([rule.pattern])
        moves = automaton.moves.reshape(-1, automaton.width)
        for _ in range(6):
            state, out = 1, bytearray()
            while len(out) < 120:
                steps = [b for b in range(256) if moves[state, automaton.classes[b]]]
                if not steps or (automaton.first[state] != automaton.first[state + 1] and rng.random() < 0.3):
                    break
                out.append(rng.choice(steps))
                state = moves[state, automaton.classes[out[-1]]]
            if automaton.first[state] != automaton.first[state + 1]:
                assert re.fullmatch(rule.pattern, out.decode("utf-8", "surrogatepass")), rule.name


@pytest.mark.parametrize(("build", "words"), [(compile_patterns, PATTERNS), (find_words, ["card", "전화", "car"])])
def test_one_that_was_kept_is_the_same(monkeypatch, tmp_path, build, words):
    monkeypatch.setenv("MAETDOL_CACHE", str(tmp_path))
    fresh = build(words)
    for _ in range(2):
        for one, other in zip(fresh, kept(build, words), strict=True):
            assert type(one) is type(other) and np.array_equal(one, other)
            assert not isinstance(one, np.ndarray) or one.dtype == other.dtype
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def test_the_rule_book_is_made_ahead_and_what_cannot_be_kept_is_said(monkeypatch, tmp_path):
    from stages.pii.warm import warm

    monkeypatch.setenv("MAETDOL_CACHE", str(tmp_path))
    line, kept = warm(lambda _: None, lambda _: None)
    assert kept and str(tmp_path) in line and len(list(tmp_path.rglob("*.npz"))) == 2
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MAETDOL_CACHE", str(tmp_path / "file"))
    line, kept = warm(lambda _: None, lambda _: None)
    assert not kept and "NOT kept" in line
