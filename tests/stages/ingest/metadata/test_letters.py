"""Letters and digits of a text: the short way for ASCII, and what is left of anything else."""

from __future__ import annotations

import pytest

from stages.ingest.metadata.letters import key_of, letters_of


@pytest.mark.parametrize("text", ["".join(map(chr, range(128))), "A-z_0 9\x00\x7f", "", "Größe", "맷돌 1\u00b2", "İX"])
def test_a_key_is_the_letters_in_lower_case(text: str) -> None:
    assert key_of(text) == letters_of(text)[0] == "".join(c.lower()[0] for c in text if c.isalnum())
