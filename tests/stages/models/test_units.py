"""Units tile their texts, equal bytes share a number, and room that runs out loses nothing."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.models.units import join, known, lengths, number

TEXTS = st.lists(st.text(alphabet="ab 콩\n▁\t👍", max_size=30), max_size=12)


def buffers(texts):
    array = pa.array(texts, pa.large_string())
    _, offsets, data = array.buffers()
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), np.frombuffer(
        offsets, np.int64
    )[: len(texts) + 1]


def spelled(store):
    filled = int(store.filled[0])
    return [store.arena[store.ends[n] : store.ends[n + 1]].tobytes() for n in range(filled)]


@settings(deadline=None, max_examples=300)
@given(texts=TEXTS)
def test_units_tile_the_texts(texts):
    store = known(400, 4000)
    numbers, bounds, done = number(*buffers(texts), store)
    units = spelled(store)
    assert done == len(texts) and len(set(units)) == len(units)
    for text, a, b in zip(texts, bounds, bounds[1:]):
        parts = [units[n] for n in numbers[a:b]]
        assert b"".join(parts) == text.encode()
        for part, following in zip(parts, parts[1:]):
            assert b"\n" in (part, following) or (
                following.startswith(b" ") and not part.endswith((b" ", "▁".encode()))
            )
        assert all(part == b"\n" or b"\n" not in part for part in parts)


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, units=st.integers(1, 8), room=st.integers(1, 60))
def test_a_text_is_numbered_whole_or_not_at_all(texts, units, room):
    data, offsets = buffers(texts)
    store = known(units, room)
    numbers, bounds, done = number(data, offsets, store)
    words = spelled(store)
    assert [b"".join(words[n] for n in numbers[a:b]) for a, b in zip(bounds, bounds[1:])] == [
        text.encode() for text in texts[:done]
    ]
    again, _, more = number(data, offsets[: done + 1], store)
    assert more == done and again.tolist() == numbers.tolist() and spelled(store) == words


def test_hashes_that_meet_are_told_apart():
    """Every unit is verified by its bytes: with two slots in all, chains hold units of every hash."""
    store = known(2000, 20_000)
    texts = [f"{n}" for n in range(1500)]
    numbers, _, done = number(*buffers(texts), store)
    assert done == 1500 and sorted(numbers.tolist()) == list(range(1500))
    assert [spelled(store)[n].decode() for n in numbers] == texts


def test_join_and_lengths():
    numbers, bounds, starts = np.array([1, 0, 1], np.int32), np.array([0, 2, 2, 3]), np.array([0, 2, 5])
    tokens = np.array([10, 11, 20, 21, 22], np.int32)
    assert lengths(numbers, bounds, starts).tolist() == [5, 0, 3]
    assert join(numbers, starts, tokens, 8).tolist() == [20, 21, 22, 10, 11, 20, 21, 22]
