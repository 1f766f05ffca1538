"""Shards as files of pyarrow's own file system interface: each is held against its receipt where a reader opens it.

So that a scan reads a file once, and never one that is not what was written: on local disk its bytes are hashed and then
mapped, from object storage they are fetched, hashed, and read from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import fs


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
