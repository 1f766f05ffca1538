"""Adversarial strings of growing length: eight times the text may not cost much more than eight times the work.

Measured in the processor time of this process against itself, so that a slow or busy machine changes nothing.
"""

import random
import time

import pytest

from stages.pii.kernels.automaton import compile_patterns
from stages.pii.kernels.rules import rule_book

SEEDS = {
    "digits": "1", "zeros": "0", "separated digits": "1-", "spaced digits": "1 ", "dotted": "1.", "hex colons": "a:", "colons": ":", "ats": "@",
    "mail without end": "a@", "dotted locals": "a.", "mail chains": "a@b.", "percent": "%40", "plus": "+1", "brackets": "(1", "tokens": "eyJ-", "jwt": "eyJaaaaaaaaaa.",
    "keys": "-----BEGIN PRIVATE KEY-----", "half keys": "-----BEGIN RSA ", "prefixes": "sk-", "passwords": "Password=", "credentials": "a://b:c", "at credentials": "://a:b@",
    "cards": "4111 ", "iban": "GB82 ", "base58": "1B", "addresses": "강남구 로 1 ", "roads": "테헤란로 1", "districts": "강남구 ", "brackets ko": "로 1 (", "plates": "12가",
    "labels": "주민등록번호", "wide digits": "１", "zero width": "\u200b", "jamo": "\u1112", "rtl": "\u202e1", "nul": "\x00", "hangul": "가", "base64": "A-_", "underscores": "_1",
    "spelled": "a [at] ", "snails": "골뱅이a", "spelled dots": "a[at]b[dot]", "hangul locals": "가@", "hangul hosts": "a@가.", "nfd": "\u1112\u1161\u11ab1", "mixed width": "１1－-",
}  # fmt: skip


def cost(detect, texts) -> float:
    best = 9e9
    for _ in range(3):
        began = time.process_time()
        detect(texts)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_work_grows_with_the_text(find, seed):
    small = (seed * 40_000)[:40_000]
    once, more = cost(find, [small]), cost(find, [small * 8])
    assert more <= 24 * once + 0.02, f"{more / once:.1f} times the work for 8 times the text"


def member(pattern: str, rng: random.Random) -> str:
    """A random text of the pattern's language, as long as its loops and choices allow within 200 bytes."""
    automaton = compile_patterns([pattern])
    moves = automaton.moves.reshape(-1, automaton.width)
    state, out, done = 1, bytearray(), b""
    while len(out) < 200:
        steps = [b for b in range(32, 240) if moves[state, automaton.classes[b]]]
        if not steps:
            break
        out.append(rng.choice(steps))
        state = moves[state, automaton.classes[out[-1]]]
        if automaton.first[state] != automaton.first[state + 1]:
            done = bytes(out)
    return done.decode("utf-8", "ignore")


@pytest.mark.parametrize("rule", [rule for rule in rule_book() if rule.pattern], ids=lambda rule: rule.name)
def test_no_pattern_of_the_book_backtracks(find, rule):
    """Members end to end, and members that break off at their last sign: what makes a backtracking engine start over."""
    rng = random.Random(rule.name)
    whole = member(rule.pattern, rng)
    for seed in (whole, whole[:-1], whole[:-1] + "\x00", whole[: len(whole) // 2]):
        small = (seed * 40_000)[:20_000]
        once, more = cost(find, [small]), cost(find, [small * 8])
        assert more <= 24 * once + 0.03, f"{more / once:.1f} times the work for 8 times the text"


def test_a_megabyte_of_digits_is_nothing(find):
    assert find(["7" * 1_000_000, "주민번호 " + "9" * 1_000_000]) == []


def test_kilometres_of_addresses_do_not_hide_a_number(find):
    text = "강남구 " * 20_000 + "010-1234-5678" + " 테헤란로" * 20_000
    assert [text[f.start : f.end] for f in find([text])] == ["010-1234-5678"]


def test_a_row_with_thousands_of_findings_costs_what_they_cost(make_documents):
    """One page of a phone book, with blocks, against one eight times as long: found, resolved, edited, moved along."""
    from stages.pii import Pii

    def rows(n):
        lines = [f"회원 {k} 010-{1000 + k % 9000}-{2000 + k % 7000}" for k in range(n)]
        text, at, blocks = "\n".join(lines), 0, []
        for line in lines:
            blocks.append(
                {"kind": "paragraph", "text": line, "start": at, "end": at + len(line), "level": None, "group": None}
            )
            at += len(line) + 1
        return make_documents([text], blocks=[blocks]).combine_chunks().to_batches()[0]

    small, large = rows(300), rows(2_400)
    stage = Pii()
    once, more = cost(stage.work, small), cost(stage.work, large)
    work = stage.work(large)
    assert work.notes["entities"] == {"phone": 2_400} and "010-" not in work.kept.column("text")[0].as_py()
    assert more <= 24 * once + 0.05, f"{more / once:.1f} times the work for 8 times the row"
