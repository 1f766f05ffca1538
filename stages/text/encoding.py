"""Which texts are UTF-8 as Python reads it: Arrow takes any bytes into a string column, Python does not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def valid_rows(text: pa.LargeStringArray) -> np.ndarray:
    """Which rows are UTF-8 as Python reads it (no surrogates, no overlong forms). bool, n; null counts as valid."""
    try:
        text.validate(full=True)
        return np.ones(len(text), bool)
    except pa.ArrowInvalid:
        raw = text.cast(pa.large_binary())
        return np.fromiter((_readable(value) for value in raw), bool, len(raw))


def _readable(value: pa.LargeBinaryScalar) -> bool:
    buffer = value.as_buffer()
    if buffer is None:
        return True
    try:
        str(memoryview(buffer), "utf-8")
        return True
    except UnicodeDecodeError:
        return False
