"""One file to raw records, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import InfraError
from stages.ingest import charset, kinds
from stages.ingest.readers import arrays, lines, own, packages, tables, warc
from stages.ingest.row import Raw
from stages.ingest.sources import NOT_A_FILE, SKIPPED, File, opened
from stages.ingest.unpack import Unpacked

READ_FROM = {"html": "page", "text": "text", "markdown": "markdown", "rst": "rst", "python": "python"}


def read_file(file: File, max_bytes: int) -> Iterator[Raw]:
    """Every record of `file`, in order; a file that cannot be read is one fault. InfraError where object storage failed."""
    if file.within.startswith(NOT_A_FILE):
        yield Raw("fault", "", reason="ingest.not_a_file", note=file.within.removeprefix(NOT_A_FILE))
        return
    try:
        if file.within not in ("", SKIPPED):
            yield from packages.read(file)
            return
        handle = opened(file)
    except OSError as fault:
        yield Raw("fault", "", reason="ingest.open_failed", note=fault.strerror or type(fault).__name__)
        return
    with handle:
        try:
            if file.within == SKIPPED:
                yield from _skipped(handle)
                return
            none = True
            for raw in _read(file, handle, max_bytes):
                none = False
                yield raw
            if none:
                yield Raw("fault", "", reason="ingest.empty", note="no record in it")
        except InfraError:
            raise
        except (TimeoutError, ConnectionError) as fault:
            raise InfraError(
                f"reading {file.path} failed: {type(fault).__name__}", "check the endpoint, then run again"
            ) from None
        except OSError as fault:
            yield Raw(
                "fault",
                "end",
                reason="ingest.open_failed",
                note=f"reading failed: {fault.strerror or type(fault).__name__}",
            )


def _read(file: File, handle, max_bytes: int) -> Iterator[Raw]:
    stream = Unpacked(handle, kinds.packed(file.name))
    head = stream.peek(kinds.HEAD)
    archive = kinds.BY_NAME.get(kinds.ending(file.name)) in ("warc", "arc")
    if not head and not (archive and stream.fault):
        reason = (
            "ingest.empty"
            if stream.fault is None
            else "ingest.truncated_gzip"
            if stream.fault == "truncated"
            else "ingest.broken_file"
        )
        yield Raw("fault", "", reason=reason)
        return
    if (reader := own.reader_of(kinds.ending(file.name))) is not None:
        yield from reader.read(stream, max_bytes)
        yield from lines.faults(stream)
        return
    kind = kinds.kind(file.name, charset.as_utf8(head))
    if kind == "warc":
        yield from warc.read_warc(stream, max_bytes)
    elif kind == "arc":
        yield from warc.read_arc(stream, max_bytes)
    elif kind == "jsonl":
        yield from lines.read_jsonl(stream, max_bytes)
    elif kind == "json":
        yield from arrays.read_json(stream, max_bytes)
    elif kind in ("csv", "tsv"):
        yield from tables.read_csv(stream, max_bytes, kind == "tsv")
    elif kind in ("parquet", "arrow"):
        yield from _columns(kind, stream, handle, max_bytes)
    elif (apart := kinds.apart(head, code=kind in (None, "html"))) is not None:
        yield Raw("fault", "", reason=f"ingest.{apart}", note=_ending(file))
    elif kind is None:
        yield Raw("fault", "", reason="ingest.unknown_kind", note=_ending(file))
    else:
        yield from _whole(READ_FROM[kind], stream, max_bytes)


def _ending(file: File) -> str:
    """The ending of a file's name for a note; one that is not known here may be part of a name."""
    ending = kinds.ending(file.name)
    return (
        ending
        if ending in kinds.BY_NAME or ending in kinds.NOT_TEXT
        else "an unknown ending"
        if ending
        else "no ending"
    )


def _skipped(handle) -> Iterator[Raw]:
    """The addresses a crawl did not fetch, each with the crawler's own reason."""
    for raw in lines.read_jsonl(Unpacked(handle), 1 << 20):
        if raw.kind != "row":
            yield raw
            continue
        details = [str(raw.body[name]) for name in ("status", "note") if raw.body.get(name) is not None]
        yield Raw(
            "fault",
            "crawl",
            reason=str(raw.body["reason"]),
            note=", ".join(details) or None,
            source=str(raw.body["url"]),
        )


def _columns(kind: str, stream: Unpacked, handle, max_bytes: int) -> Iterator[Raw]:
    """Parquet and Arrow are read by seeking, so they cannot be packed as a whole."""
    if stream.packing is not None:
        yield Raw(
            "fault", "", reason="ingest.broken_file", note=f"a {kind} file inside {stream.packing}: unpack it first"
        )
        return
    from stages.ingest.readers import columnar

    handle.seek(0)
    yield from (columnar.read_parquet if kind == "parquet" else columnar.read_arrow)(handle, max_bytes)


def _whole(kind: str, stream: Unpacked, max_bytes: int) -> Iterator[Raw]:
    """A file that is one document."""
    data = own.whole(stream, max_bytes)
    if isinstance(data, Raw):
        yield data
        return
    yield Raw(kind, "", data)
    yield from lines.faults(stream)
