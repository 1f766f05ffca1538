"""Compiled checks against the standard library's and plain Python's opinion."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stages.pii.engines.reference_checks import luhn, verdict
from stages.pii.kernels.rules import NUMBER, rule_book

NUMERIC = sorted(
    {rule.check for rule in rule_book() if rule.pattern}
    - {"strong", "pem", "base58", "mixed", "iban", "mac", "bech32", "plate"}
)


def compiled(check: str, value: str, following: str = "") -> int:
    from stages.pii.kernels.checks import DIGITS
    from stages.pii.kernels.checks import check as run

    data = np.frombuffer((value + following).encode(), np.uint8)
    return int(
        run(
            np.int64(NUMBER[check]),
            data,
            np.int64(0),
            np.int64(len(value.encode())),
            np.int64(data.size),
            np.zeros(DIGITS, np.int64),
        )
    )


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([c for c in NUMERIC if not c.startswith("ip")]),
    st.from_regex(r"\A[0-9]{13}\Z|\A[0-9]{16}\Z|\A[0-9]{6}-[0-9]{7}\Z|\A[0-9]{9,12}\Z|\A01[0-9]-[0-9]{4}-[0-9]{4}\Z"),
)
@example("rrn", "0002294123456")
@example("rrn", "0102294123456")
@example("bank", "0000000000000")
@example("frn", "9912315000000")
def test_numbers(check, value):
    assume(check != "ssn" or sum(map(str.isdigit, value)) == 9)  # its patterns let no other number through
    assert compiled(check, value) == verdict(check, value)


@settings(deadline=None, max_examples=200)
@given(st.ip_addresses(v=4), st.sampled_from(["ipv4_public", "ipv4_private"]))
def test_every_ipv4_address(address, check):
    assert compiled(check, str(address)) == verdict(check, str(address))


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(st.ip_addresses(v=6).map(str), st.from_regex(r"\A[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,8}\Z")),
    st.sampled_from(["ipv6_public", "ipv6_private"]),
)
@example("::", "ipv6_public")
@example("1::2::3:4444", "ipv6_public")
@example("fe80::1:2:3:4:5:6:7", "ipv6_private")
@example("1:2:3:4:5:6:7::", "ipv6_public")
@example("12345::6789", "ipv6_public")
def test_ipv6_text(value, check):
    assert compiled(check, value) == verdict(check, value)


@pytest.mark.parametrize(("check", "value", "wanted"), [
    ("iban", "DE89370400440532013000", 1), ("iban", "DE89370400440532013001", -1), ("iban", "XX89370400440532013000", -1),
    ("bech32", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1), ("bech32", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", -1),
    ("bech32", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", 1),
    ("mac", "33:33:00:00:00:01", -1), ("mac", "ff-ff-ff-ff-ff-ff", -1), ("mac", "12-34-56-78-90-12", 0),
    ("mixed", "ghp_" + "x" * 36, -1), ("mixed", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", 1),
])  # fmt: skip
def test_known_values(check, value, wanted):
    assert compiled(check, value) == wanted == verdict(check, value)


def test_a_unit_behind_a_plate_refuses_it():
    assert compiled("plate", "12조3456", "억") == -1 == verdict("plate", "12조3456", "억")
    assert compiled("plate", "12가3456", "만") == 1 == verdict("plate", "12가3456", "만")


def test_resident_numbers_over_the_end_of_the_check_digit(korean):
    source = korean(11)
    for _ in range(300):
        assert compiled("rrn", source.resident()) == 1
        assert compiled("rrn", source.resident(late=True)) == 1
        assert compiled("rrn", source.resident(valid=False)) == 0
        assert compiled("frn", source.resident(foreign=True)) == 1
        assert compiled("rrn_bare", source.resident(late=True)) in (0, 1)
        assert compiled("brn", source.business()) == 1
        assert compiled("brn", source.business(valid=False)) == -1
        assert luhn(source.card()) and not luhn(source.card(valid=False))
