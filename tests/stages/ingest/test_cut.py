"""A read of object storage that is cut after the file was opened: asked again, or a fault of the storage; never half a file."""

import errno
import gzip
import io
import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InfraError
from pipeline.storage import files
from stages.ingest.readers import read_file
from stages.ingest.sources import File

LINES = "".join(json.dumps({"id": n, "text": f"page {n} " * 40}) + "\n" for n in range(4000)).encode()


def table():
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"text": [f"page {n} " * 40 for n in range(4000)]}), sink, compression="none", row_group_size=500
    )
    return sink.getvalue()


FILES = {"a.jsonl": LINES, "a.jsonl.gz": gzip.compress(LINES, 0), "a.parquet": table(), "a.txt": LINES}


class Handle(io.BytesIO):
    """Fails `times` times where a read reaches beyond the middle; with no fault, it ends there."""

    def __init__(self, data, fault, times, can_seek=True):
        super().__init__(data)
        self.fault, self.times, self.can_seek, self.middle = fault, times, can_seek, len(data) // 2

    def seekable(self):
        return self.can_seek

    def read(self, size=-1):
        if self.tell() + max(size, 0) > self.middle and self.times:
            self.times -= 1
            if self.fault is not None:
                super().read(size // 2)  # the position is lost
                raise self.fault
            return super().read(max(0, self.middle - self.tell()))
        return super().read(size)


def faults():
    boto, aiohttp = pytest.importorskip("botocore.exceptions"), pytest.importorskip("aiohttp")
    return [
        ConnectionResetError("reset"),
        OSError(errno.EIO, "gone"),
        boto.ReadTimeoutError(endpoint_url="x"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        aiohttp.ClientPayloadError("cut"),
    ]


def read(monkeypatch, name, fault, times, can_seek=True):
    data = FILES[name]
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(
        files.Remote, "fsspec", SimpleNamespace(open=lambda *given, **more: Handle(data, fault, times, can_seek))
    )
    return [
        (raw.kind, raw.reason, raw.body) for raw in read_file(File(name, f"s3://b/{name}", len(data), "etag"), 1 << 24)
    ]


@pytest.mark.parametrize("name", list(FILES))
def test_a_piece_that_fails_twice_is_asked_for_again_and_nothing_is_missing(name, monkeypatch):
    whole = read(monkeypatch, name, None, 0)
    assert len(whole) == (1 if name == "a.txt" else 4000) and {kind for kind, _, _ in whole} != {"fault"}
    for fault in faults():
        assert read(monkeypatch, name, fault, 2) == whole, fault


@pytest.mark.parametrize("name", list(FILES))
def test_one_that_goes_on_failing_is_the_storage_s_fault_and_no_half_file(name, monkeypatch):
    for fault in [*faults(), None]:
        with pytest.raises(InfraError, match="s3://b/a"):
            read(monkeypatch, name, fault, 10**6)


def test_a_stream_that_cannot_be_asked_again_is_given_up_at_once(monkeypatch):
    for fault in faults():
        with pytest.raises(InfraError, match="s3://b/a"):
            read(monkeypatch, "a.jsonl", fault, 1, can_seek=False)
