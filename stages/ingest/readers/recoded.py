"""Bytes to text for files of many records, where each record must say what of it could not be read."""

from __future__ import annotations

import codecs
import io

from stages.ingest import charset
from stages.ingest.unpack import Unpacked


class Recoded(io.RawIOBase):
    """A stream of UTF-16, UTF-32 or ISO-2022 as UTF-8. What cannot be decoded is a byte of no UTF-8, to be counted where it is read."""

    def __init__(self, stream: Unpacked, codec: str, mark: int):
        super().__init__()
        self.stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)("maetdol.unreadable")
        self._held = b""
        self._ended = False
        while mark and (skipped := stream.read(mark)):
            mark -= len(skipped)

    @property
    def fault(self) -> str | None:
        return self.stream.fault

    @property
    def packing(self) -> str | None:
        return self.stream.packing

    def _fill(self, size: int) -> bool:
        while len(self._held) < size and not self._ended:
            data = self.stream.read(1 << 18)
            self._ended = not data
            self._held += self._decoder.decode(data, final=not data).encode("utf-8", "surrogateescape")
        return bool(self._held)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, at least one before the end."""
        self._fill(1)
        size = len(self._held) if size is None or size < 0 else size
        data, self._held = self._held[:size], self._held[size:]
        return data

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes that the next reads will give."""
        self._fill(size)
        return self._held[:size]


def recoded(stream: Unpacked) -> Unpacked | Recoded:
    """The stream itself where its quotes and line ends are single bytes, else the same as UTF-8."""
    found = charset.file_codec(stream.peek(charset.HEAD))
    return stream if found is None else Recoded(stream, *found)


class Decoder:
    """Lines of one file to text: UTF-8 where they are that, else the charset that the other lines around them are of too.

    What cannot be read stands as `charset.UNREADABLE`, once for each position.
    """

    def __init__(self, stream: Unpacked | Recoded):
        self._only_utf8 = isinstance(stream, Recoded)
        self._other: str | None = None
        self.near = b""
        """Bytes of the file around the line, from which its charset is learnt."""

    def decode(self, line: bytes) -> tuple[str, str]:
        """The text and the codec it was read with."""
        try:
            return line.decode(), "utf-8"
        except UnicodeDecodeError:
            name = "utf-8" if self._only_utf8 or charset.mostly_utf8(line) else self._learnt(line)
            return line.decode(name, "maetdol.unreadable"), name

    def _learnt(self, line: bytes) -> str:
        if self._other is None:
            others = b"\n".join(part for part in self.near.split(b"\n") if not charset.mostly_utf8(part))
            if not others:
                return "utf-8"
            self._other = charset.detect(others[: charset.DETECT])
        text = line.decode(self._other, "maetdol.unreadable")
        return self._other if 20 * text.count(charset.UNREADABLE) <= len(text) else charset.detect(line)


def replace_unreadable(text: str, codec: str) -> tuple[str, str | None]:
    """The text with U+FFFD for what could not be read (NUL characters included), and the note that says so; None where all is UTF-8."""
    lost = text.count(charset.UNREADABLE) + text.count("\0")
    if lost:
        text = text.replace(charset.UNREADABLE, "\ufffd").replace("\0", "\ufffd")
    return text, note(codec, lost)


def note(codec: str, lost: int) -> str | None:
    """What a record's ledger row says of its charset; None where there is nothing to say."""
    return f"ingest.bad_utf8: read as {codec}, {lost} characters unreadable" if lost or codec != "utf-8" else None
