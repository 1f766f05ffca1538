"""Files of stores as readers open them: shards of a scan held against their receipts, many small files at once, rows by range.

`dataset`: a scan reads a file once, and never one that is not what was written: on local disk its bytes are hashed and then
mapped, from object storage they are fetched, hashed, and read from memory. `at_once` and `rows_of` and `columns_of` ask object storage for
many objects, and for parts of large ones.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from pipeline.storage.files import Local, Remote

T = TypeVar("T")
R = TypeVar("R")


class ShardFiles(fs.FileSystemHandler):
    """What `dataset` reads through."""

    def __init__(self, held: Callable[[str], bytes | str], sizes: dict[str, int]):
        self.held, self.sizes = held, sizes

    def get_type_name(self) -> str:
        return "maetdol-shards"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [
            fs.FileInfo(path, fs.FileType.File, size=self.sizes[path])
            if path in self.sizes
            else fs.FileInfo(path, fs.FileType.NotFound)
            for path in paths
        ]

    def open_input_file(self, path: str) -> pa.NativeFile:
        found = self.held(path)
        return pa.memory_map(found) if isinstance(found, str) else pa.BufferReader(found)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def _refused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("a scan only reads")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refused
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refused


def dataset(
    names: list[str], schema: pa.Schema | None, held: Callable[[str], bytes | str], sizes: dict[str, int]
) -> Any:
    """A `pyarrow.dataset.Dataset` of the shard files `names`. `held(name)` is the content of one, held against its receipt: bytes,
    or the local path to map; `sizes` says how long the files are."""
    import pyarrow.dataset

    there = fs.PyFileSystem(ShardFiles(held, {name: sizes.get(name, 0) for name in names}))
    return pyarrow.dataset.dataset(names, schema=schema, format="ipc", filesystem=there)


# -- parts of object storage -----------------------------------------------------------------------------------------------

READERS = 16
"""Questions to object storage under way at once."""


def at_once(where: Local | Remote, call: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """`call` of every item in their order; of object storage `READERS` under way at once. The first fault passes."""
    if isinstance(where, Local):
        yield from map(call, items)
        return
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(items), 16 * READERS):  # so many answers are held
            yield from readers.map(call, items[start : start + 16 * READERS])


TAIL = 64 << 10
"""Bytes at the end of an Arrow file that are read first: what tells where its batches lie, mostly."""


class RangedFile(io.RawIOBase):
    """An object of which what is read is fetched, by one ranged GET a read; its end once. Not for several threads."""

    def __init__(self, where: Remote, name: str, size: int):
        self.where, self.name, self.size, self.at = where, name, size, 0
        self.tail_at = max(0, size - TAIL)
        self.tail = where.read_range(name, self.tail_at, size - self.tail_at)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self.size, self.at + size)
        first, self.at = self.at, max(self.at, end)
        if first >= self.tail_at:
            return self.tail[first - self.tail_at : end - self.tail_at]
        return self.where.read_range(self.name, first, end - first)


def rows_of(where: Remote, name: str, size: int, rows: Sequence[int], ids: Collection[str], most: int) -> pa.Table:
    """The rows of `ids` in an Arrow file of `size` bytes on object storage: they stand at `rows` (ascending) there, and no batch has more
    than `most`. The batches they lie in are fetched: the `row // most`-th, or, where batches are smaller, one behind it."""
    reader = pa.ipc.open_file(pa.PythonFile(RangedFile(where, name, size), mode="r"))
    wanted, waiting, found = pa.array(sorted(ids), pa.large_string()), list(rows), [reader.schema.empty_table()]
    at = 0
    while waiting and (at := max(at, waiting[0] // most)) < reader.num_record_batches:
        batch = reader.get_batch(at)
        found.append(pa.table(batch.filter(pc.is_in(batch["id"], value_set=wanted))))
        waiting, at = waiting[len(found[-1]) :], at + 1
    return pa.concat_tables(found)


def columns_of(where: Remote, name: str, size: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of an Arrow file of `size` bytes on object storage, those of them that it has: of each batch their bytes alone."""
    file = RangedFile(where, name, size)
    schema = pa.ipc.open_file(pa.PythonFile(file, mode="r")).schema
    fields = [number for number, own in enumerate(schema.names) if own in columns]
    file.seek(0)
    return pa.ipc.open_file(
        pa.PythonFile(file, mode="r"), options=pa.ipc.IpcReadOptions(included_fields=fields)
    ).read_all()
