"""Token layouts, byte by byte as their makers' readers take them apart; tests/bench/export opens them with these readers."""

import json
import struct
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from stages.export import files, tokens
from stages.export.commands import StoreExport
from tests.stages.export.test_tables import digests, export, paths


def rows(store):
    return [row for shard in store.shards() for row in store.read(shard).to_pylist()]


def test_megatron(tokens_store, tmp_path):
    """As IndexedDataset reads it: header, version, code of the type, counts, lengths, pointers, document indices."""
    export(tokens_store, tmp_path, to="megatron")
    prefix = tmp_path / f"{tokens_store.name}-00000-of-00001"
    index, data = prefix.with_suffix(".idx").read_bytes(), prefix.with_suffix(".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, count, documents = struct.unpack("<QBQQ", index[9:34])
    wanted = rows(tokens_store)
    assert (version, code, count, documents) == (1, 8, len(wanted), len(wanted) + 1)
    lengths = np.frombuffer(index, "<i4", count, 34)
    pointers = np.frombuffer(index, "<i8", count, 34 + 4 * count)
    begins = np.frombuffer(index, "<i8", documents, 34 + 12 * count)
    assert len(index) == 34 + 12 * count + 8 * documents and begins.tolist() == list(range(documents))
    found = [np.frombuffer(data, "<u2", n, at).tolist() for n, at in zip(lengths, pointers)]
    assert found == [row["input_ids"] for row in wanted]
    assert (tmp_path / "data-args.txt").read_text() == f"{sum(map(len, found))} {prefix.name}\n"


def test_wide_ids_are_written_wide(tokens_store, tmp_path):
    export(tokens_store, tmp_path, to="megatron", dtype="int32")
    prefix = tmp_path / f"{tokens_store.name}-00000-of-00001"
    assert prefix.with_suffix(".idx").read_bytes()[17] == 4
    flat = [token for row in rows(tokens_store) for token in row["input_ids"]]
    assert np.fromfile(prefix.with_suffix(".bin"), "<i4").tolist() == flat


@pytest.mark.parametrize("greatest, dtype", [(65_499, "uint16"), (65_500, "int32"), (70_000, "int32")])
def test_the_width_follows_the_greatest_id(greatest, dtype, make_rows_store, tmp_path):
    store = make_rows_store("TOKENS", [{"id": "a", "input_ids": [1, greatest], "docs": []}])
    export(store, tmp_path, to="nanotron")
    (data,) = tmp_path.glob("*.ds")
    assert np.fromfile(data, {"uint16": "<u2", "int32": "<u4"}[dtype]).tolist() == [1, greatest]
    if greatest > 0xFFFF:
        with pytest.raises(UsageError, match="16 bits"):
            export(store, tmp_path, to="nanotron", dtype="uint16")


def test_the_width_of_packed_rows_is_known_before_a_row_is_read(tokens_store, monkeypatch):
    """As `pack` notes the greatest id of each shard (tests/stages/pack/test_pack.py); what an earlier one made is read."""
    noted = {number: {"greatest_id": 70_000 - number} for number in tokens_store.shards()}
    wide = {number: replace(receipt, notes=noted[number]) for number, receipt in tokens_store.receipts().items()}
    order = StoreExport(store=tokens_store.path, out="out", to="megatron")
    assert tokens.planned(tokens_store, order).dtype == "uint16"
    monkeypatch.setattr(type(tokens_store), "require_receipt", lambda self, shard: wide[shard])
    monkeypatch.setattr(type(tokens_store), "batches", lambda *_: pytest.fail("a shard was read"))
    assert tokens.planned(tokens_store, order).dtype == "int32"
    with pytest.raises(UsageError, match="70,000 does not fit"):
        tokens.planned(tokens_store, order.model_copy(update={"dtype": "uint16"}))


def test_datatrove(tokens_store, tmp_path):
    export(tokens_store, tmp_path, to="nanotron", size=2000)
    found, names = [], sorted(tmp_path.glob("*.ds"))
    assert len(names) > 2
    for path in names:
        ids, ends = np.fromfile(path, "<u2"), np.fromfile(f"{path}.index", "<u8")
        found += [part.tolist() for part in np.split(ids, ends[:-1].astype(int))]
        assert path.with_name(f"{path.name}.metadata").read_text().split("\n")[:2] == [
            "unknown tokenizer|2",
            str(len(ids)),
        ]
    assert found == [row["input_ids"] for row in rows(tokens_store)]


def mds_samples(folder):
    """As streaming's MDSReader takes a shard apart."""
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        (count,) = struct.unpack("<I", data[:4])
        assert count == shard["samples"]
        offsets = np.frombuffer(data, "<u4", count + 1, 4)
        head = json.loads(data[4 + 4 * (count + 1) : offsets[0]])
        assert head == {k: v for k, v in shard.items() if k not in ("samples", "raw_data", "zip_data")}
        for begin, end in zip(offsets, offsets[1:]):
            sample = data[begin:end]
            first, second = struct.unpack("<II", sample[:8])
            value = sample[8 + first :]
            assert len(value) == second and value[0] >> 2 == 1  # one axis
            width = 1 << (value[0] % 4)
            (size,) = np.frombuffer(value[1 : 1 + width], f"<u{width}")
            ids = np.frombuffer(value[1 + width :], "<u2")
            assert len(ids) == size
            yield sample[8 : 8 + first].decode(), ids.tolist()


def test_mds(tokens_store, tmp_path):
    export(tokens_store, tmp_path, to="mds", size=2000)
    assert len(list(tmp_path.glob("shard.*.mds"))) > 2
    assert list(mds_samples(tmp_path)) == [(row["id"], row["input_ids"]) for row in rows(tokens_store)]


@pytest.mark.parametrize("size", [255, 256, 65_535, 65_536])
def test_mds_says_lengths_in_the_least_width(size, make_rows_store, tmp_path):
    store = make_rows_store("TOKENS", [{"id": f"{7:032x}", "input_ids": [7] * size, "docs": []}])
    export(store, tmp_path, to="mds")
    assert list(mds_samples(tmp_path)) == [(f"{7:032x}", [7] * size)]


def test_litdata(tokens_store, tmp_path):
    page = export(tokens_store, tmp_path, to="litdata", size=2000)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["config"]["data_format"] == ["no_header_tensor:20"] and len(index["chunks"]) == len(page["parts"]) > 2
    found = []
    for chunk in index["chunks"]:
        data = (tmp_path / chunk["filename"]).read_bytes()
        (count,) = struct.unpack("<I", data[:4])
        offsets = np.frombuffer(data, "<u4", count + 1, 4)
        assert (len(data), count, offsets[0], offsets[-1]) == (
            chunk["chunk_bytes"],
            chunk["chunk_size"],
            8 + 4 * count,
            len(data),
        )
        items = [np.frombuffer(data[a:b], "<u2").tolist() for a, b in zip(offsets, offsets[1:])]
        assert chunk["dim"] == sum(map(len, items))
        found += items
    assert found == [row["input_ids"] for row in rows(tokens_store)]


def test_parquet_of_ids(tokens_store, tmp_path):
    page = export(tokens_store, tmp_path, to="parquet")
    assert pq.read_table(paths(tmp_path, page)[0]).to_pylist() == rows(tokens_store)


def test_documents_are_put_together_again(tokens_store, tmp_path):
    """Cut by rows and out of order, each is whole, and stands where its first piece was met."""
    export(tokens_store, tmp_path, to="mds", unit="documents", size=2000)
    wanted = {}
    for number in tokens_store.shards():
        pieces = {}
        for row in tokens_store.read(number).to_pylist():
            for doc in row["docs"]:
                pieces.setdefault(doc["id"], []).append((doc["offset"], row["input_ids"][doc["start"] : doc["end"]]))
        for name, parts in pieces.items():
            wanted.setdefault((number, name), [t for _, part in sorted(parts) for t in part])
    assert sum(len(row["docs"]) for row in rows(tokens_store)) > len(wanted) > 100
    assert list(mds_samples(tmp_path)) == [(name, ids) for (_, name), ids in wanted.items()]


def test_rows_held_out_are_told_by_their_mark(make_rows_store, tokens_store, tmp_path):
    with pytest.raises(UsageError, match="held out"):
        export(tokens_store, tmp_path, to="mds", part="train")


def test_empty_rows_are_counted(make_rows_store, tmp_path):
    store = make_rows_store(
        "TOKENS", [{"id": "a", "input_ids": [], "docs": []}, {"id": "b", "input_ids": [3], "docs": []}], shards=2
    )
    page = export(store, tmp_path, to="mds", size=1)
    assert page["left_out"] == {"export.empty": 1} and list(mds_samples(tmp_path)) == [("b", [3])]


@pytest.mark.parametrize("to", list(tokens.FORMS))
def test_killed_layouts_go_on(to, tokens_store, tmp_path, monkeypatch):
    export(tokens_store, tmp_path / "clean", to=to, size=2000)
    real, made = files.run_task, []

    def run(task):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(task.number)
        return real(task)

    monkeypatch.setattr(files, "run_task", run)
    with pytest.raises(KeyboardInterrupt):
        export(tokens_store, tmp_path / "out", to=to, size=2000)
    monkeypatch.setattr(files, "run_task", real)
    export(tokens_store, tmp_path / "out", to=to, size=2000)
    assert digests(tmp_path / "out") == digests(tmp_path / "clean")


def test_pieces_of_a_document_are_ordered_by_where_they_stand_in_it(make_rows_store, tmp_path):
    """best_fit puts the end of a long document into an earlier row than its begin."""

    def piece(name, start, end, offset):
        return {"id": name, "start": start, "end": end, "offset": offset}

    rows = [
        {"id": f"{0:032x}", "input_ids": [4, 5, 9], "docs": [piece("a", 0, 2, 3), piece("b", 2, 3, 0)]},
        {"id": f"{1:032x}", "input_ids": [1, 2, 3], "docs": [piece("a", 0, 3, 0)]},
    ]
    export(make_rows_store("TOKENS", rows), tmp_path, to="mds", unit="documents")
    assert list(mds_samples(tmp_path)) == [("a", [1, 2, 3, 4, 5]), ("b", [9])]
