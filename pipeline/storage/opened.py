"""Files of stores as readers open them: shards of a scan held against their receipts, many small files at once, rows by range.

`dataset`: a scan reads a file once, and never one that is not what was written: on local disk its bytes are hashed and then
mapped, from object storage they are fetched, hashed, and read from memory. `at_once` and `rows_of` and `columns_of` ask object storage for
many objects, and for parts of large ones.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from pipeline.schema import fitted
from pipeline.storage.files import Local, Remote, tried

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


def at_once(
    where: Local | Remote, call: Callable[[T], R], items: Sequence[T], readers: int = READERS
) -> Generator[R, None, None]:
    """`call` of every item in their order; of object storage `readers` under way at once. The first fault passes."""
    if isinstance(where, Local):
        yield from map(call, items)
        return
    with ThreadPoolExecutor(readers) as pool:
        for start in range(0, len(items), 16 * readers):  # so many answers are held
            yield from pool.map(call, items[start : start + 16 * readers])


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


def rows_of(
    where: Remote,
    name: str,
    size: int,
    length: int,
    rows: Sequence[int],
    ids: Collection[str],
    most: int,
    readers: int = 1,
) -> pa.Table:
    """The rows of `ids` in an Arrow file of `size` bytes and `length` rows on object storage: they stand at `rows` (ascending) there, and no
    batch has more than `most`. The batches they lie in are fetched: the `row // most`-th, `readers` at once, where all but the last are
    full; else one after another, from there on until all are found."""
    file = RangedFile(where, name, size)
    reader = pa.ipc.open_file(pa.PythonFile(file, mode="r"))
    wanted, waiting, found = pa.array(sorted(ids), pa.large_string()), list(rows), [reader.schema.empty_table()]

    def batch_of(number: int) -> pa.Table:
        own = pa.ipc.open_file(pa.PythonFile(copy(file), mode="r"))  # a reader is not for several threads
        batch = own.get_batch(number)
        return pa.table(batch.filter(pc.is_in(batch["id"], value_set=wanted)))

    if reader.num_record_batches == -(-length // most):
        found += at_once(where, batch_of, sorted({row // most for row in rows}), readers)
        if sum(map(len, found)) == len(rows):
            return pa.concat_tables(found)
        del found[1:]
    at = 0
    while waiting and (at := max(at, waiting[0] // most)) < reader.num_record_batches:
        found.append(batch_of(at))
        waiting, at = waiting[len(found[-1]) :], at + 1
    return pa.concat_tables(found)


def columns_of(where: Remote, name: str, size: int, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` of an Arrow file of `size` bytes on object storage, null where it lacks one: of each batch their bytes
    alone, of many batches at once where Arrow reads the storage by itself."""
    if (native := _arrow(where)) is not None:
        from pyarrow.dataset import IpcFileFormat

        part = IpcFileFormat().make_fragment(where.path(name).partition("://")[2], native, file_size=size)
        return tried(lambda: part.to_table(schema, columns=schema.names, batch_readahead=BATCHES), where.url)
    file = RangedFile(where, name, size)
    names = pa.ipc.open_file(pa.PythonFile(file, mode="r")).schema.names
    only = pa.ipc.IpcReadOptions(included_fields=[number for number, own in enumerate(names) if own in schema.names])
    file.seek(0)
    return fitted(pa.ipc.open_file(pa.PythonFile(file, mode="r"), options=only).read_all(), schema)


BATCHES = 32
"""Batches of a file whose columns are asked for at once."""


def _arrow(where: Remote) -> Any:
    """Object storage as Arrow reads it by itself, without Python between; None where it is asked through fsspec alone."""
    if where.scheme != "s3":
        return None
    pa.set_io_thread_count(max(pa.io_thread_count(), BATCHES))  # each waits for one answer
    scheme, _, endpoint = os.environ.get("AWS_ENDPOINT_URL", "").rpartition("://")
    more = {"endpoint_override": endpoint, "scheme": scheme or "https"} if endpoint else {}
    return fs.S3FileSystem(region=os.environ.get("AWS_DEFAULT_REGION") or None, **more)
