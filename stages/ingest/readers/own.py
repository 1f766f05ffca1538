"""Readers of one's own: `ingest/readers/NAME.py` below a folder of `MAETDOL_PATH` reads files of the endings it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

from pipeline.engine import catalog
from pipeline.errors import RecipeError
from pipeline.options import Options
from pipeline.own_folders import extra_folders
from stages.ingest.row import Raw
from stages.ingest.unpack import Unpacked


class FileReader(Options):
    """Bytes of one file to raw records. Says `records`, or `read` where a file is too large to be held whole."""

    endings: ClassVar[tuple[str, ...]] = ()
    """Endings of the files it reads, in lower case (`.srt`); they go before what ingest knows itself."""

    def read(self, stream: Unpacked, max_bytes: int) -> Iterator[Raw]:
        """Every record of a file, unpacked; faults are rows too. Default: `records` of all its bytes."""
        data = whole(stream, max_bytes)
        if isinstance(data, Raw):
            yield data
            return
        yield from self.records(data)

    def records(self, data: bytes) -> Iterator[Raw]:
        """Every record of a file given whole, each with a locator of its own where there are several."""
        raise TypeError(f"{type(self).__name__} has neither read() nor records()")


def whole(stream: Unpacked, max_bytes: int) -> bytes | Raw:
    """All bytes of a file, or the fault that it is larger than `max_bytes`."""
    pieces, size = [], 0
    while size <= max_bytes and (piece := stream.read(1 << 20)):
        pieces.append(piece)
        size += len(piece)
    return (
        b"".join(pieces)
        if size <= max_bytes
        else Raw("fault", "", reason="ingest.too_large", note=f"over {max_bytes} bytes")
    )


def reader_of(ending: str) -> FileReader | None:
    """The reader of one's own for files that end so."""
    return by_ending().get(ending)


def by_ending() -> Mapping[str, FileReader]:
    """Every reader of one's own, by the ending of the files that it reads."""
    return _by_ending(tuple(extra_folders()))


@cache
def _by_ending(folders: tuple[Path, ...]) -> dict[str, FileReader]:
    found: dict[str, FileReader] = {}
    for name, path in sorted(catalog.member_files("ingest", "readers").items()):
        if not any(path.is_relative_to(folder) for folder in folders):
            continue
        cls = catalog.member("ingest", "readers", name, FileReader)
        for ending in cls.endings:  # type: ignore[attr-defined]
            if ending in found:
                raise RecipeError(
                    f"two readers read {ending}: {type(found[ending]).__name__} and {cls.__name__}",
                    "let one of them name another ending",
                )
            found[ending] = cls()  # type: ignore[assignment]
    return found
