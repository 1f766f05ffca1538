"""The store: whole or absent, proven last, opened as it is by the libraries its users have."""

import pickle

import pyarrow as pa
import pytest

from pipeline.errors import DamagedStore, DiskFull, SourceError, WorkError
from pipeline.schema import DOCUMENT, doc_id
from pipeline.storage.files import disk_error
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import BATCH_BYTES, Store


@pytest.fixture
def store(tmp_path, make_store):
    return make_store(
        tmp_path / "corpus", [f"문서 {i} number {i}" for i in range(2500)], shards=3, lang=["ko", "en"] * 1250
    )


def test_the_libraries_open_it_as_it_is(store, tmp_path):
    import datasets
    import polars as pl

    assert pl.scan_ipc(store.files()).select(pl.len()).collect().item() == 2500
    assert store.scan().count_rows() == 2500
    loaded = datasets.load_dataset("arrow", data_files=store.files(), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[2400]["text"] == "문서 2400 number 2400"


def test_files_handed_out_are_those_that_were_written(store, tmp_path):
    path = tmp_path / "corpus/shards/00001.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for read in (store.files, lambda: store.scan().to_table(), lambda: store.scan().count_rows()):
        with pytest.raises(DamagedStore, match="00001.arrow is damaged"):
            read()
    path.unlink()
    with pytest.raises(DamagedStore, match="00001.arrow is missing"):
        store.files()


def test_a_scan_holds_each_shard_when_it_is_opened(store, monkeypatch):
    """Nothing is read when the scan is made, each file is hashed once, right before it is mapped, and rows are not copied."""
    from pipeline.storage import proof

    hashed = []
    whole = proof._xxh3
    monkeypatch.setattr(proof, "_xxh3", lambda path: hashed.append(path.name) or whole(path))
    scan = store.scan()
    assert hashed == []
    before = pa.total_allocated_bytes()
    batches = scan.scanner(columns=["id"], fragment_readahead=1, batch_readahead=1).to_batches()
    assert len(next(batches)["id"]) and hashed[0] == "00000.arrow"
    assert sum(map(len, batches)) > 0 and hashed == [f"0000{n}.arrow" for n in range(3)]
    assert pa.total_allocated_bytes() - before < 400_000
    assert pickle.loads(pickle.dumps(scan)).count_rows() == 2500


def test_as_a_dataset_without_a_copy(store):
    before = pa.total_allocated_bytes()
    dataset = store.dataset()
    assert dataset[1700]["text"] == "문서 1700 number 1700"
    assert pa.total_allocated_bytes() - before < 200_000, "the rows were copied"


def test_shards_of_unlike_extra_columns_are_one_table(tmp_path, make_documents):
    """Null where a shard lacks a column, the wider type where they differ; every reader of whole stores says the same."""
    store = Store(tmp_path / "corpus")
    extras = [
        {},
        {"score": pa.array([1, 2], pa.int64())},
        {"v": pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1)), "score": pa.array([0.5, None])},
    ]
    for number, columns in enumerate(extras):
        table = make_documents([f"{number} a", f"{number} b"])
        for name, values in columns.items():
            table = table.append_column(name, values)
        store.put(number, table, Ledger.rows(table["id"].to_pylist()), key="k", stage="test", input_ids=table["id"])
    assert store.schema.names == [*DOCUMENT.names, "score", "v"]
    store.commit_manifest({"stage": "test", "shape": store.shape, "key": "k"}, [0, 1, 2])
    wanted = [(None, None), (None, None), (1.0, None), (2.0, None), (0.5, [1.0]), (None, [2.0])]
    for rows in (store.table(), store.table(["score", "v"]), store.scan().to_table(), store.dataset().data.table):
        assert list(zip(rows["score"].to_pylist(), rows["v"].to_pylist())) == wanted
    assert store.scan().schema == store.schema == store.table().schema

    table = make_documents(["one"]).append_column("score", pa.array(["much"]))
    store.put(3, table, Ledger.rows(table["id"].to_pylist()), key="k", stage="test", input_ids=table["id"])
    store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "k"}, [0, 1, 2, 3])
    with pytest.raises(SourceError, match="'score' is double here and int64 here and string there"):
        store.table()


def test_random_access_by_id_and_row(store):
    for number in (0, 834, 2499):
        shard, row = store.find(doc_id("test", str(number)))
        assert store.row(shard, row)["text"] == f"문서 {number} number {number}"
    assert store.find(doc_id("test", "absent")) is None and store.find("no id") is None


def test_the_manifest_counts(store):
    manifest = store.require()
    assert manifest["rows"] == 2500 and manifest["counts"]["lang"] == {"en": 1250, "ko": 1250}
    assert [entry["rows"] for entry in manifest["shards"]] == [834, 834, 832]


def test_a_shard_without_receipt_does_not_exist(store):
    store.invalidate_manifest()
    store.fs.delete("receipts/00001.json")
    assert store.shards() == [0, 2]
    with pytest.raises(DamagedStore, match="no receipt"):
        store.commit_manifest({"shape": "DOCUMENT"}, [0, 1, 2])
    store.commit_manifest({"shape": "DOCUMENT"}, [0, 2])
    assert not store.fs.exists("shards/00001.arrow"), "the orphan must go"


def test_an_interrupted_write_leaves_nothing(store, make_documents):
    with pytest.raises(KeyboardInterrupt), store.writer(7, stage="test", key="k") as writer:
        writer.write(make_documents(["half"]).to_batches()[0])
        raise KeyboardInterrupt
    assert not [n for n in store.fs.names("shards") if n.startswith("00007")]
    assert not list((store.fs.root / "shards").glob("*.part-*"))


def test_redoing_a_shard_takes_its_proof_away_first(store, make_documents):
    with pytest.raises(RuntimeError), store.writer(0, stage="test", key="k") as writer:
        writer.write(make_documents(["half"]).to_batches()[0])
        raise RuntimeError
    assert store.receipt(0) is None


def test_bytes_depend_on_rows_alone(tmp_path, make_documents):
    table = make_documents([f"row {i} " * 50 for i in range(3000)])
    ledger = Ledger.rows(table["id"].to_pylist())
    whole = Store(tmp_path / "a").put(0, table, ledger, key="k")
    pieces = Store(tmp_path / "b").put(0, iter(table.to_batches(max_chunksize=17)), ledger, key="k")
    assert whole.content_hash == pieces.content_hash
    assert [len(b) for b in Store(tmp_path / "b").batches(0)] == [1024, 1024, 952]


def test_large_rows_stand_in_small_batches(tmp_path, make_documents):
    table = make_documents(["x" * (9 << 20)] * 4 + ["y" * (20 << 20), "z"])
    store = Store(tmp_path / "big")
    store.put(0, table, Ledger.rows(table["id"].to_pylist()), key="k")
    sizes = [(len(b), b.nbytes) for b in store.batches(0)]
    assert sum(n for n, _ in sizes) == 6 and all(n == 1 or size <= BATCH_BYTES for n, size in sizes)


def test_an_empty_shard_has_its_columns(tmp_path):
    store = Store(tmp_path / "empty")
    store.put(0, DOCUMENT.empty_table(), Ledger.rows([]), key="k")
    assert store.read(0).schema == DOCUMENT and list(store.batches(0)) == []


class TestLedgerLaw:
    def put(self, tmp_path, ids, ledger, make_documents, input_ids=None):
        table = make_documents(["t"] * len(ids), id=ids)
        return Store(tmp_path / "law").put(0, table, ledger, key="k", input_ids=input_ids)

    def test_a_lost_input_is_refused(self, tmp_path, make_documents):
        a, b = doc_id("s", "a"), doc_id("s", "b")
        with pytest.raises(DamagedStore, match="no ledger row"):
            self.put(tmp_path, [a], Ledger.rows([a]), make_documents, pa.array([a, b], pa.large_string()))

    def test_an_output_the_ledger_does_not_know_is_refused(self, tmp_path, make_documents):
        a, b = doc_id("s", "a"), doc_id("s", "b")
        with pytest.raises(DamagedStore, match="no ledger row"):
            self.put(tmp_path, [a, b], Ledger.rows([a]), make_documents)

    def test_a_kept_row_that_was_not_written_is_refused(self, tmp_path, make_documents):
        a, b = doc_id("s", "a"), doc_id("s", "b")
        with pytest.raises(DamagedStore, match="not written"):
            self.put(tmp_path, [a], Ledger.rows([a, b]), make_documents)

    def test_outputs_of_many_inputs_each(self, tmp_path, make_documents):
        """Their names repeat in the ledger, one after the other: each is still held against what was written."""
        names = [doc_id("s", str(n)) for n in range(30)]
        a, b, c = names[:3]
        ledger = Ledger.rows(names + names[:5], out=[a] * 15 + [b] * 20)
        receipt = self.put(tmp_path, [a, b], ledger, make_documents, pa.array(names, pa.large_string()))
        assert receipt.rows_in == 30
        with pytest.raises(DamagedStore, match=f"{c} that was not written"):
            self.put(tmp_path, [a, b], Ledger.rows(names, out=[a] * 15 + [c] + [b] * 14), make_documents)
        with pytest.raises(DamagedStore, match=f"output {b} stands in no ledger row"):
            self.put(tmp_path, [a, b], Ledger.rows(names, out=[a] * 30), make_documents)

    def test_an_id_twice_is_refused(self, tmp_path, make_documents):
        a = doc_id("s", "a")
        with pytest.raises(DamagedStore, match="twice"):
            self.put(tmp_path, [a, a], Ledger.rows([a, a]), make_documents)

    def test_reasons_are_a_closed_vocabulary(self):
        with pytest.raises(WorkError, match="form"):
            Ledger.rows([doc_id("s", "a")], reason=["too short: 3 words"])


def test_metrics_join_across_tables():
    a, b = doc_id("s", "a"), doc_id("s", "b")
    table = Ledger.concat(
        [Ledger.rows([a], metrics={"x.n": [1.0]}), Ledger.rows([b], reason=["y.low"], metrics={"y.n": [2.0]})]
    )
    assert table["x.n"].to_pylist() == [1.0, None] and table["out"].to_pylist() == [a, None]


def test_damage_is_named(store):
    path = store.fs.root / "shards" / "00000.arrow"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedStore, match="00000.arrow"):
        store.read(0)
    (store.fs.root / "receipts" / "00000.json").write_text("{")
    with pytest.raises(DamagedStore, match="damaged"):
        store.receipt(0)
    with pytest.raises(SourceError, match="not a finished store"):
        Store(store.fs.root / "nowhere").require()


def test_a_newer_format_is_refused(store):
    store.write_manifest({**store.require(), "format": 99})
    with pytest.raises(DamagedStore, match="upgrade"):
        store.manifest()


def test_a_full_disk_is_one_clear_error():
    fault = disk_error(OSError(28, "No space left on device"), "x")
    assert isinstance(fault, DiskFull) and "finished shards are kept" in fault.hint


def test_artefacts_are_proven_by_their_files(tmp_path):
    folder = tmp_path / "trained"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"abc")
    (folder / "sub" / "card.json").write_text("{}")
    store = Store(tmp_path / "store")
    first = store.put_artefact(folder, Ledger.rows([]), key="k")
    assert (store.artefact() / "sub" / "card.json").read_text() == "{}"
    (folder / "model.bin").write_bytes(b"abd")
    assert store.put_artefact(folder, Ledger.rows([]), key="k").content_hash != first.content_hash
    with pytest.raises(SourceError, match="no artefact"):
        Store(tmp_path / "none").artefact()


def test_receipts_survive_the_round_trip():
    receipt = Receipt("s", 1, "k", "c", "l", reasons={"a.b": 2}, notes={"n": [1]})
    assert Receipt.loads(receipt.dumps()) == receipt


@pytest.mark.parametrize("dropped", [[], [1], [0, 1, 2]])
def test_a_ledgers_derived_columns_are_those_that_could_be_given(dropped):
    """In their buffers too, which reach the file: nothing of a dropped id stands behind its null."""
    ids = ["one", "two", "three"]
    why = ["quality.low" if row in dropped else None for row in range(3)]
    derived = Ledger.rows(pa.array(ids, pa.large_string()), reason=why)
    given = Ledger.rows(
        ids,
        reason=why,
        out=[None if reason else one for one, reason in zip(ids, why, strict=True)],
        reasons=[[reason] if reason else [] for reason in why],
    )
    assert derived.equals(given)
    size = {name: pa.concat_arrays(derived[name].chunks).nbytes for name in ("out", "reasons")}
    assert size == {name: pa.concat_arrays(given[name].chunks).nbytes for name in ("out", "reasons")}
