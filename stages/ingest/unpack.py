"""A file's bytes, unpacked as they are read: gzip, zstandard, xz and bzip2, told by their first bytes, never by the name.

What is read is bounded by what is asked for, so a bomb unpacks only as far as someone reads. A file that ends too early
or holds garbage does not raise: reading ends there, `fault` says why, and `resume()` goes on at the next member that can
be unpacked (archives of one record per gzip member survive a damaged one).
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import Any, BinaryIO

CHUNK = 1 << 18
"""Packed bytes read at a time."""
GZIP, ZSTD, XZ, BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh"
PIECE = 2_048
"""Bytes given to zstandard at a time: it cannot be told how much to put out, and one block of 4 bytes may give 128 KiB."""
ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"
"""A skippable frame at the head of a WARC-zstd file that holds its dictionary."""
WINDOW = 1 << 27
"""Largest zstandard window accepted, bytes (128 MiB, what `zstd --ultra --long` writes)."""


def packing(head: bytes) -> str | None:
    """`gzip`, `zstd`, `xz`, `bzip2`, or None for bytes that are not packed."""
    if head.startswith(GZIP):
        return "gzip"
    if head.startswith((ZSTD, ZSTD_DICTIONARY)):
        return "zstd"
    if head.startswith(XZ):
        return "xz"
    return "bzip2" if head.startswith(BZIP2) and head[3:4].isdigit() else None


class Unpacked(io.RawIOBase):
    """A readable stream over `handle`; `fault` is None, `truncated` or `damaged`."""

    def __init__(self, handle: BinaryIO):
        super().__init__()
        self._handle = handle
        self._packed = handle.read(CHUNK)
        self.packing = packing(self._packed)
        self._dictionary: bytes | None = None
        self._ready, self._taken = b"", 0
        self._decoder: Any = None
        self.fault: str | None = None
        if self.packing == "zstd":
            self._read_dictionary()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; all where negative. Empty at the end, or where a fault was met (see `fault`)."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if self._taken >= len(self._ready):
            self._ready, self._taken = self._more(max(size, 1)), 0
        data = self._ready[self._taken : self._taken + size]
        self._taken += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes that the next reads will give."""
        while len(self._ready) - self._taken < size and (more := self._more(size)):
            self._ready, self._taken = self._ready[self._taken :] + more, 0
        return self._ready[self._taken : self._taken + size]

    def _more(self, size: int) -> bytes:
        """The next unpacked bytes, at least one unless the stream has ended."""
        if self.packing is None:
            data, self._packed = self._packed or self._handle.read(max(CHUNK, min(size, 1 << 22))), b""
            return data
        while self.fault is None:
            if not self._packed and not self._waiting():
                self._packed = self._handle.read(CHUNK)
                if not self._packed:
                    self.fault = "truncated" if self._decoder is not None else None
                    return b""
            if self._decoder is None and not self._begin():
                return b""
            try:
                data = self._step(max(size, 1 << 16))
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, *_zstd_errors()):
                self.fault = "damaged"
                return b""
            if data:
                return data
        return b""

    def _waiting(self) -> bool:
        """Does the decoder hold output for which it needs no further input?"""
        if self._decoder is None:
            return False
        if self.packing == "gzip":
            return bool(self._decoder.unconsumed_tail)
        return self.packing in ("xz", "bzip2") and not self._decoder.needs_input and not self._decoder.eof

    def _begin(self) -> bool:
        """Start the next member; False at the end (zero padding included) and where what follows is no member."""
        while len(self._packed) < 6 or not self._packed.lstrip(b"\0"):
            self._packed = self._packed.lstrip(b"\0")
            more = self._handle.read(CHUNK)
            if not more:
                break
            self._packed += more
        self._packed = self._packed.lstrip(b"\0")
        if packing(self._packed) != self.packing:
            if self._packed:
                self.fault = "damaged"
            return False
        self._decoder = self._make()
        return True

    def _make(self) -> Any:
        if self.packing == "gzip":
            return zlib.decompressobj(wbits=31)
        if self.packing == "xz":
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
        if self.packing == "bzip2":
            return bz2.BZ2Decompressor()
        import zstandard

        given = zstandard.ZstdCompressionDict(self._dictionary) if self._dictionary else None
        return zstandard.ZstdDecompressor(dict_data=given, max_window_size=WINDOW).decompressobj()

    def _step(self, size: int) -> bytes:
        if self.packing == "gzip":
            data = self._decoder.decompress(self._decoder.unconsumed_tail or self._packed, size)
            self._packed = b"" if not self._decoder.unused_data else self._decoder.unused_data
        elif self.packing == "zstd":
            piece, self._packed = self._packed[:PIECE], self._packed[PIECE:]
            data = self._decoder.decompress(piece)
            self._packed = self._decoder.unused_data + self._packed
        else:
            data = self._decoder.decompress(self._packed, size)
            self._packed = self._decoder.unused_data if self._decoder.eof else b""
        if self._decoder.eof:
            self._decoder = None
        return data

    def resume(self) -> bool:
        """After a fault: go to the next gzip or zstandard member that begins well. False where there is none."""
        if self.fault != "damaged" or self.packing not in ("gzip", "zstd"):
            return False
        mark = b"\x1f\x8b\x08" if self.packing == "gzip" else ZSTD
        held = self._rest()
        while True:
            at = held.find(mark, 1)
            while at >= 0:
                if len(held) - at < 4096:
                    held += self._handle.read(CHUNK)
                if self._opens(held[at : at + 4096]):
                    self._packed, self._decoder, self.fault = held[at:], None, None
                    self._ready, self._taken = b"", 0
                    return True
                at = held.find(mark, at + 1)
            more = self._handle.read(CHUNK)
            if not more:
                return False
            held = held[-len(mark) :] + more

    def _rest(self) -> bytes:
        """Packed bytes in hand; what the decoder did not consume is the end of them, not more of them."""
        return self._packed or (self._decoder.unconsumed_tail if self.packing == "gzip" and self._decoder is not None else b"")

    def _opens(self, head: bytes) -> bool:
        try:
            return bool(self._make().decompress(head))
        except (zlib.error, *_zstd_errors()):
            return False

    def _read_dictionary(self) -> None:
        """WARC-zstd: a skippable frame with the dictionary, itself packed or not, stands before the first member."""
        if not self._packed.startswith(ZSTD_DICTIONARY):
            return
        import zstandard

        length = int.from_bytes(self._packed[4:8], "little")
        while len(self._packed) < 8 + length and length <= WINDOW and (more := self._handle.read(CHUNK)):
            self._packed += more
        held, self._packed = self._packed[8 : 8 + length], self._packed[8 + length :]
        if held.startswith(ZSTD):
            held = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompress(held, max_output_size=WINDOW)
        self._dictionary = held

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


def _zstd_errors() -> tuple[type[Exception], ...]:
    import zstandard

    return (zstandard.ZstdError,)
