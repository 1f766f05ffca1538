"""Operations on eight and sixty-four bytes against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.text.compiled import kernel
from stages.text.minhash.words64 import copy64, load64, ones, others64, store64, trailing_zeros

ROOM = 160
BYTES = st.binary(min_size=ROOM, max_size=ROOM)
NUMBERS = st.integers(0, 2**64 - 1)


@kernel
def _load(array, at):
    return load64(array, at)


@kernel
def _store(array, at, value):
    store64(array, at, value)


@kernel
def _copy(source, at, sink, position):
    copy64(source, at, sink, position)


@kernel
def _others(array, at, byte):
    return others64(array, at, byte)


@kernel
def _bits(value):
    return trailing_zeros(value), ones(value)


def array_of(data: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(data), np.uint8)


@settings(deadline=None, max_examples=100)
@given(data=BYTES, at=st.integers(0, ROOM - 8), value=NUMBERS)
def test_eight_bytes_are_one_little_endian_number(data, at, value):
    array = array_of(data)
    assert int(_load(array, at)) == int.from_bytes(data[at : at + 8], "little")
    _store(array, at, np.uint64(value))
    assert array.tobytes() == data[:at] + value.to_bytes(8, "little") + data[at + 8 :]


@settings(deadline=None, max_examples=100)
@given(source=BYTES, sink=BYTES, at=st.integers(0, ROOM - 64), position=st.integers(0, ROOM - 64))
def test_copy64_moves_64_bytes_and_no_other(source, sink, at, position):
    target = array_of(sink)
    _copy(array_of(source), at, target, position)
    assert target.tobytes() == sink[:position] + source[at : at + 64] + sink[position + 64 :]


@settings(deadline=None, max_examples=200)
@given(
    data=st.one_of(BYTES, st.lists(st.sampled_from([0, 32, 200]), min_size=ROOM, max_size=ROOM).map(bytes)),
    at=st.integers(0, ROOM - 64),
    byte=st.sampled_from([0, 32, 200, 255]),
)
@example(data=bytes(ROOM), at=0, byte=0)
@example(data=b"\xff" * ROOM, at=3, byte=0)
def test_others64_has_a_bit_for_every_byte_that_differs(data, at, byte):
    expected = sum(1 << position for position in range(64) if data[at + position] != byte)
    assert int(_others(array_of(data), at, np.uint8(byte))) == expected


@settings(deadline=None, max_examples=200)
@given(value=st.one_of(NUMBERS, st.integers(0, 63).map(lambda bit: 1 << bit)))
@example(value=0)
@example(value=2**64 - 1)
def test_bits_are_counted(value):
    zeros, set_bits = _bits(np.uint64(value))
    assert int(zeros) == (64 if value == 0 else (value & -value).bit_length() - 1)
    assert int(set_bits) == value.bit_count()
