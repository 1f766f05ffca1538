"""Mutants of every container of pages: no crash, a row for each record, and what was not touched is whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random

import pytest
import zstandard

from tests.stages.ingest.mutation_fuzz.hunt import Edit, Format, Record, Sample, before, hunt, read, untouched

WORDS = "맷돌 barley 물레방아 evening sack 곡식 river stone 가루 wheel miller 새벽".split()


def prose(dice: random.Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(8, 60))) + f" {dice.getrandbits(64):x}."


def warc_records(dice: random.Random, count: int = 6, end: str = "\r\n") -> list[tuple[bytes, str | None]]:
    """Records and the text each must give: page-less ones, texts, an HTTP exchange. `end` ends their header lines."""
    made: list[tuple[bytes, str | None]] = [
        (_warc(dice, "warcinfo", b"software: a mill\r\n", "application/warc-fields", end), None)
    ]
    for _ in range(count):
        text = prose(dice)
        if dice.random() < 0.3:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            made.append(
                (_warc(dice, "response", head + text.encode(), "application/http; msgtype=response", end), text)
            )
        else:
            made.append((_warc(dice, "conversion", text.encode(), "text/plain", end), text))
    return made


def _warc(dice: random.Random, kind: str, body: bytes, medium: str, end: str) -> bytes:
    number = f"{dice.getrandbits(64):016x}"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://x.example/{number}\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
    head += f"WARC-Date: 2026-01-02T03:04:05Z\r\nContent-Type: {medium}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.replace("\r\n", end).encode() + body + 2 * end.encode()


def arc_records(dice: random.Random, count: int = 6) -> list[tuple[bytes, str | None]]:
    about = b"1 0 Mill\nURL IP-address Archive-date Content-type Archive-length\n"
    made: list[tuple[bytes, str | None]] = [
        (b"filedesc://x.arc 0.0.0.0 20260102030405 text/plain %d\n" % len(about) + about + b"\n", None)
    ]
    for _ in range(count):
        text = prose(dice)
        body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode()
        url = f"http://x.example/{dice.getrandbits(48):x}".encode()
        made.append((url + b" 192.0.2.7 20260102030405 text/plain %d\n" % len(body) + body + b"\n", text))
    return made


def joined(pieces: list[tuple[bytes, str | None]], lead: bytes = b"") -> Sample:
    """Pieces one behind the other, each a record of its own bytes."""
    records, at = [], len(lead)
    for piece, text in pieces:
        records.append(Record(at, at + len(piece), text))
        at += len(piece)
    return Sample(lead + b"".join(piece for piece, _ in pieces), records)


def packed_apart(records, pack) -> Sample:
    """A member for each record."""
    return joined([(pack(piece), text) for piece, text in records])


def packed_whole(records, pack) -> Sample:
    """One member for all: no edit leaves anything behind it."""
    data = pack(b"".join(piece for piece, _ in records))
    return Sample(data, [Record(0, len(data), text) for _, text in records])


def with_dictionary(dice: random.Random) -> Sample:
    """WARC-zstd: the dictionary in a skippable frame, then a frame for each record. Without the dictionary none can be read."""
    coder = zstandard.ZstdCompressor(dict_data=DICTIONARY)
    content = zstandard.ZstdCompressor().compress(DICTIONARY.as_bytes())
    lead = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
    return joined([(coder.compress(piece), text) for piece, text in warc_records(dice)], lead)


def _trained() -> zstandard.ZstdCompressionDict:
    dice = random.Random(5)
    return zstandard.train_dictionary(2048, [piece for _ in range(60) for piece, _ in warc_records(dice)])


DICTIONARY = _trained()


def behind_dictionary(sample: Sample, edits: list[Edit]) -> list[Record]:
    """The untouched frames, as long as the dictionary before them is untouched too."""
    return untouched(sample, edits) if all(start >= sample.records[0].start for start, _ in edits) else []


def after_a_line(sample: Sample, edits: list[Edit]) -> list[Record]:
    """Of an ARC: what is put in right before a record becomes the beginning of its first line, which is all that marks it."""
    return [record for record in untouched(sample, edits) if not any(end == record.start for _, end in edits)]


ZSTD = zstandard.ZstdCompressor().compress
FORMATS = {
    "WARC": Format("warc", lambda dice: joined(warc_records(dice))),
    "WARC, LF": Format("warc", lambda dice: joined(warc_records(dice, end="\n"))),
    "WARC.gz": Format("warc.gz", lambda dice: packed_apart(warc_records(dice), gzip.compress)),
    "WARC.gz, one member": Format("warc.gz", lambda dice: packed_whole(warc_records(dice), gzip.compress), before),
    "WARC.zst": Format("warc.zst", lambda dice: packed_apart(warc_records(dice), ZSTD)),
    "WARC.zst with dictionary": Format("warc.zst", with_dictionary, behind_dictionary),
    "WARC.xz": Format("warc.xz", lambda dice: packed_whole(warc_records(dice), lzma.compress), before),
    "WARC.bz2": Format("warc.bz2", lambda dice: packed_whole(warc_records(dice), bz2.compress), before),
    "ARC": Format("arc", lambda dice: joined(arc_records(dice)), after_a_line),
    "ARC.gz": Format("arc.gz", lambda dice: packed_apart(arc_records(dice), gzip.compress)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_mutants(name, tmp_path):
    seen = hunt(FORMATS[name], tmp_path, 300)
    assert seen["mutants"] == 300 and sum(count for word, count in seen.items() if word.startswith("ingest.")) > 0


@pytest.mark.parametrize("name", FORMATS)
def test_sound_files_are_read_whole(name, tmp_path):
    for seed in range(5):
        sample = FORMATS[name].make(random.Random(seed))
        path = tmp_path / f"sound.{FORMATS[name].ending}"
        path.write_bytes(sample.data)
        assert sorted(read(path, {}).texts) == sorted(record.text for record in sample.records if record.text)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_mutants(name, tmp_path):
    assert hunt(FORMATS[name], tmp_path, 20_000, seed=1)["mutants"] == 20_000
