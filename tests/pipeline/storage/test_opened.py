"""What is asked of object storage: several objects at once, rows by the batches they lie in, columns without the others' bytes."""

import threading

import pyarrow as pa
import pytest

from pipeline.storage.opened import READERS, at_once, columns_of, rows_of

MOST = 10


class Objects:
    """Object storage in memory that counts what is read."""

    scheme = "memory"

    def __init__(self, **data: bytes):
        self.data, self.read = data, 0

    def read_range(self, name: str, first: int, size: int) -> bytes:
        self.read += size
        return self.data[name][first : first + size]


def laid(batches: list[int]) -> tuple[Objects, pa.Table]:
    """A file of batches of so many rows: ids of 32 digits and long texts."""
    rows = sum(batches)
    table = pa.table({"id": pa.array([f"{n:032x}" for n in range(rows)], pa.large_string()), "text": pa.array(["grain " * 2_000] * rows, pa.large_string()),
                      "url": pa.array([f"https://mill.example/{n}" for n in range(rows)], pa.large_string())})  # fmt: skip
    sink, at = pa.BufferOutputStream(), 0
    with pa.ipc.new_file(sink, table.schema) as out:
        for size in batches:
            out.write_table(table.slice(at, size).combine_chunks())
            at += size
    return Objects(file=sink.getvalue().to_pybytes()), table


@pytest.mark.parametrize(
    "batches",
    [[10, 10, 10, 10, 7], [7, 10, 10, 10, 10], [1, 10, 3, 10, 2, 10, 1, 10], [1] * 47],
    ids=["full", "as many", "uneven", "single"],
)
@pytest.mark.parametrize("readers", [1, 4])
@pytest.mark.parametrize("rows", [[0], [8], [46], [3, 4, 5], [9, 10, 30, 46], list(range(47))], ids=str)
def test_rows_are_found_however_full_batches_are(batches, rows, readers):
    where, table = laid(batches)
    ids = [table["id"][row].as_py() for row in rows]
    found = rows_of(where, "file", len(where.data["file"]), len(table), rows, ids, MOST, readers)
    assert found.equals(table.take(rows).combine_chunks()) or found.to_pylist() == table.take(rows).to_pylist()


def test_one_row_costs_its_batch():
    where, table = laid([10] * 40)
    size = len(where.data["file"])
    rows_of(where, "file", size, len(table), [205], [table["id"][205].as_py()], MOST)
    assert where.read < size / 40 + (80 << 10)


def test_columns_cost_their_own_bytes():
    where, table = laid([10] * 40)
    size = len(where.data["file"])
    assert columns_of(where, "file", size, table.schema.remove(1)).equals(table.select(["id", "url"]))
    assert where.read < size / 20


def test_object_storage_is_asked_for_several_at_once():
    """Each answer waits for the others: asked one after another, none would come."""
    together = threading.Barrier(READERS, timeout=60)
    assert list(at_once(Objects(), lambda n: (together.wait(), n)[1], range(3 * READERS))) == list(range(3 * READERS))


def test_the_first_fault_passes():
    def call(n: int) -> int:
        if n == 5:
            raise FileNotFoundError(n)
        return n

    with pytest.raises(FileNotFoundError):
        list(at_once(Objects(), call, range(40)))
