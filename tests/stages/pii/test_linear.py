"""Adversarial strings of growing length: eight times the text may not cost much more than eight times the work.

Measured in the processor time of this process against itself, so that a slow or busy machine changes nothing.
"""

import time

import pytest

SEEDS = {
    "digits": "1", "zeros": "0", "separated digits": "1-", "spaced digits": "1 ", "dotted": "1.", "hex colons": "a:", "colons": ":", "ats": "@",
    "mail without end": "a@", "dotted locals": "a.", "mail chains": "a@b.", "percent": "%40", "plus": "+1", "brackets": "(1", "tokens": "eyJ-", "jwt": "eyJaaaaaaaaaa.",
    "keys": "-----BEGIN PRIVATE KEY-----", "half keys": "-----BEGIN RSA ", "prefixes": "sk-", "passwords": "Password=", "credentials": "a://b:c", "at credentials": "://a:b@",
    "cards": "4111 ", "iban": "GB82 ", "base58": "1B", "addresses": "강남구 로 1 ", "roads": "테헤란로 1", "districts": "강남구 ", "brackets ko": "로 1 (", "plates": "12가",
    "labels": "주민등록번호", "wide digits": "１", "zero width": "\u200b", "jamo": "\u1112", "rtl": "\u202e1", "nul": "\x00", "hangul": "가", "base64": "A-_", "underscores": "_1",
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


def test_a_megabyte_of_digits_is_nothing(find):
    assert find(["7" * 1_000_000, "주민번호 " + "9" * 1_000_000]) == []


def test_kilometres_of_addresses_do_not_hide_a_number(find):
    text = "강남구 " * 20_000 + "010-1234-5678" + " 테헤란로" * 20_000
    assert [text[f.start : f.end] for f in find([text])] == ["010-1234-5678"]
