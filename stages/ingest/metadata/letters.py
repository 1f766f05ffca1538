"""The letters and digits of a text: what two readings of a page are compared by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

UNMET = 1 << 30
_letter = np.full(0x110000, UNMET, np.uint32)
"""By code point: its small letter, or digit; 0 for what is neither; UNMET for what no text had so far."""
_SMALL, _SIGNS = bytes(range(256)).lower(), bytes(byte for byte in range(128) if not chr(byte).isalnum())


def letters_of(text: str, marks: Iterable[tuple[int, int]] = ()) -> tuple[str, np.ndarray]:
    """Lower-case letters and digits, one character each, and their offsets (int64); what stands in `marks` is left out."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    found = _letter[codes]
    if (unmet := found == UNMET).any():
        for code in np.unique(codes[unmet]).tolist():
            _letter[code] = ord(chr(code).lower()[0]) if chr(code).isalnum() else 0
        found = _letter[codes]
    for start, end in marks:
        found[start:end] = 0
    at = np.flatnonzero(found)
    return found[at].tobytes().decode("utf-32-le", "surrogatepass"), at


def key_of(text: str) -> str:
    """The text's letters and digits alone."""
    if text.isascii():
        return text.encode().translate(_SMALL, _SIGNS).decode()
    return letters_of(text)[0]
