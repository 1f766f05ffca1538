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
from collections.abc import Callable
from typing import Any, BinaryIO

CHUNK = 1 << 18
"""Packed bytes read at a time."""
GZIP, ZSTD, XZ, BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh"
FEED = {"gzip": 16_384, "xz": 65_536, "bzip2": 65_536, "zstd": 2_048}
"""Packed bytes given to a decoder at a time. zstandard cannot be told how much to put out, and one block of 4 bytes may give
128 KiB; of gzip what a member leaves over is copied, and members may be small."""
SALVAGE = 64
"""Packed bytes given at a time to find how far a damaged member can be read."""
KEPT = 1 << 20
"""Packed bytes of the member under way that are kept behind the reading position: in them a member may begin that a damaged one ran over."""
AGAIN = 4
"""How many times the packed bytes may be searched again, all damaged members together."""
OPENS = 4_096
"""Packed bytes from which it is told whether a member begins."""
SKIPPABLE = tuple(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))
"""First bytes of the frames of zstandard that hold no data."""
ZSTD_DICTIONARY = SKIPPABLE[0xD]
"""A skippable frame at the head of a WARC-zstd file that holds its dictionary."""
WINDOW = 1 << 27
"""Largest zstandard window accepted, bytes (128 MiB, what `zstd --ultra --long` writes)."""


def packing(head: bytes) -> str | None:
    """`gzip`, `zstd`, `xz`, `bzip2`, or None for bytes that are not packed."""
    if head.startswith(GZIP):
        return "gzip"
    if head.startswith((ZSTD, *SKIPPABLE)):
        return "zstd"
    if head.startswith(XZ):
        return "xz"
    return "bzip2" if head.startswith(BZIP2) and head[3:4].isdigit() else None


class Unpacked(io.RawIOBase):
    """A readable stream over `handle`; `fault` is None, `truncated` or `damaged`.

    `expected` is the packing that the file's name promises: where its first bytes do not show it and are no text either, the
    head is damaged, and `resume()` finds the first member that is not.
    """

    def __init__(self, handle: BinaryIO, expected: str | None = None):
        super().__init__()
        self._handle = handle
        self._held, self._at, self._begun = handle.read(CHUNK), 0, 0
        self.packing = packing(self._held)
        self._dictionary: bytes | None = None
        self._frames: Any = None
        self._offset = self._again = 0
        self._ready, self._taken = b"", 0
        self._decoder: Any = None
        self._given = 0
        self._back: tuple[Any, int, int] | None = None
        self.unpacked = 0
        """Bytes given out or ready to be, of the whole file."""
        self.unproven: int | None = None
        """Where in them the last damaged member ceases to be proven: what stands behind may be garbled."""
        self.fault: str | None = None
        if self.packing is None and expected in ("gzip", "zstd") and b"\0" in self._held[:4096]:
            self.packing, self.fault = expected, "damaged"
        elif self.packing == "zstd":
            self._read_dictionary()

    @property
    def position(self) -> int:
        """Where in the unpacked bytes of the file the next read begins."""
        return self.unpacked - len(self._ready) + self._taken

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
            data, self._held = self._held or self._handle.read(max(CHUNK, min(size, 1 << 22))), b""
            self.unpacked += len(data)
            return data
        while self.fault is None:
            if self._at >= len(self._held) and not self._waiting() and not self._refill():
                self.fault = "truncated" if self._decoder is not None else None
                return b""
            if self._decoder is None and not self._begin():
                return b""
            try:
                data = self._step(max(size, 1 << 16))
            except _faults():
                data = self._salvaged()
                self.unproven, self.fault = self.unpacked, "damaged"
            self.unpacked += len(data)
            self._given += len(data)
            if data:
                return data
        return b""

    def _refill(self) -> bool:
        """More packed bytes behind those held; of those before the reading position the last KEPT of this member stay."""
        more = self._handle.read(CHUNK)
        if more:
            start = max(self._begun, self._at - KEPT)
            self._held = self._held[start:] + more
            self._at, self._begun, self._offset = self._at - start, max(0, self._begun - start), self._offset + start
            if self.packing == "gzip" and self._decoder is not None:
                self._back = self._decoder.copy(), self._at, self._given
            elif self._back is not None:
                decoder, at, given = self._back
                self._back = (decoder, at - start, given) if at >= start else None
        return bool(more)

    def _waiting(self) -> bool:
        """Does the decoder hold output for which it needs no further input?"""
        return (
            self.packing in ("xz", "bzip2")
            and self._decoder is not None
            and not self._decoder.needs_input
            and not self._decoder.eof
        )

    def _begin(self) -> bool:
        """Start the next member; False at the end (zero padding included) and where what follows is no member."""
        self._skip_zeros()
        while len(self._held) - self._at < 6 and self._refill():
            self._skip_zeros()
        head = self._held[self._at : self._at + 6]
        if packing(head) != self.packing:
            self._begun = self._at
            if head:
                self.fault = "damaged"
            return False
        self._decoder, self._begun, self._given = self._make(), self._at, 0
        self._back = (None, self._at, 0)
        return True

    def _skip_zeros(self) -> None:
        while self._at < len(self._held) and not self._held[self._at]:
            piece = self._held[self._at : self._at + 4096]
            self._at += len(piece) - len(piece.lstrip(b"\0"))
            self._begun = self._at

    def _make(self) -> Any:
        if self.packing == "gzip":
            return zlib.decompressobj(wbits=31)
        if self.packing == "xz":
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
        if self.packing == "bzip2":
            return bz2.BZ2Decompressor()
        if self._frames is None:
            import zstandard

            given = zstandard.ZstdCompressionDict(self._dictionary) if self._dictionary else None
            self._frames = zstandard.ZstdDecompressor(dict_data=given, max_window_size=WINDOW)
        return self._frames.decompressobj()

    def _step(self, size: int) -> bytes:
        """What one piece of packed bytes gives; at the end of a member no decoder is left."""
        decoder = self._decoder
        piece = b"" if self._waiting() else self._held[self._at : self._at + FEED[self.packing]]
        data = decoder.decompress(piece) if self.packing == "zstd" else decoder.decompress(piece, size)
        left = decoder.unused_data if decoder.eof else decoder.unconsumed_tail if self.packing == "gzip" else b""
        self._at += len(piece) - len(left)
        if decoder.eof:
            self._decoder, self._begun = None, self._at
        return data

    def _salvaged(self) -> bytes:
        """What the piece that holds the damage gives before it: the decoder is set back and fed by the drop."""
        self._decoder = None
        if self._back is None or self.packing not in ("gzip", "zstd"):
            return b""
        decoder, at, given = self._back
        decoder = decoder or self._make()
        end = self._at + FEED[self.packing]
        pieces: list[bytes] = []
        try:
            while at < end and not decoder.eof and (piece := self._held[at : min(at + SALVAGE, end)]):
                data = decoder.decompress(piece)
                at += len(piece)
                pieces.append(data[max(0, self._given - given) :])
                given += len(data)
        except _faults():
            pass
        return b"".join(pieces)

    def resume(self, begins: Callable[[bytes], bool] = bool) -> bool:
        """After a fault: go to the next gzip or zstandard member that begins well. False where there is none.

        It may begin inside what the damaged one was taken to be, so that is searched again, at most AGAIN times the file's size.
        In a member that the end of the file cut, only one whose unpacked bytes satisfy `begins` is another.
        """
        if self.fault is None or self.packing not in ("gzip", "zstd"):
            return False
        wanted = begins if self.fault == "truncated" else None
        mark = GZIP + b"\x08" if self.packing == "gzip" else ZSTD
        again = self._at - self._begun
        at = self._begun + 1
        if self._again + again > AGAIN * (self._offset + self._at) + KEPT:
            at = max(at, self._at)
        else:
            self._again += again
        self._decoder = None
        while True:
            at = self._held.find(mark, at)
            if at < 0:
                self._at = self._begun = max(0, len(self._held) - len(mark) + 1)
                if not self._refill():
                    return False
                at = self._at
                continue
            if len(self._held) - at < OPENS:
                self._at = self._begun = at
                self._refill()
                at = self._at
            if self._opens(self._held[at : at + OPENS], wanted):
                self._at = self._begun = at
                self.fault = self.unproven = None
                self._ready, self._taken = b"", 0
                return True
            at += 1

    def _opens(self, head: bytes, wanted: Callable[[bytes], bool] | None) -> bool:
        try:
            decoder = self._make()
            data = decoder.decompress(head)
            return wanted(data) if wanted else bool(data) or decoder.eof or self.packing == "zstd"
        except _faults():
            return False

    def _read_dictionary(self) -> None:
        """WARC-zstd: a skippable frame with the dictionary, itself packed or not, stands before the first member."""
        if not self._held.startswith(ZSTD_DICTIONARY):
            return
        import zstandard

        end = 8 + int.from_bytes(self._held[4:8], "little")
        pieces, size = [self._held], len(self._held)
        while size < end <= WINDOW and (more := self._handle.read(end - size)):
            pieces.append(more)
            size += len(more)
        self._held = b"".join(pieces)
        if size < end:
            self.fault = "truncated" if end <= WINDOW else "damaged"
            return
        held = self._held[8:end]
        self._at = self._begun = end
        if held.startswith(ZSTD):
            try:
                held = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(io.BytesIO(held)).read(WINDOW)
            except zstandard.ZstdError:
                held = b""
            if not held:
                self._begun, self.fault = 0, "damaged"
                return
        self._dictionary = held
        try:
            self._make()
        except _faults():
            self._dictionary, self._begun, self.fault = None, 0, "damaged"

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


def _faults() -> tuple[type[Exception], ...]:
    """What a decoder raises over bytes that it cannot read."""
    import zstandard

    return (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, zstandard.ZstdError)
