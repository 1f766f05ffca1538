"""The stage: rows, their map back to documents, the ledger, and that nothing outside the text decides a byte."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.schema import shape_of
from pipeline.storage.ledger import check
from pipeline.storage.store import Store
from stages.models.encoder import Encoder
from stages.models.holdout import held_out
from stages.pack import Pack

methods = pytest.mark.parametrize("method", ["best_fit", "concat"])


@methods
def test_rows_give_every_document_back(documents, packed, tokenizer, method):
    store = packed(documents, seq_len=64, method=method, holdout=0.2)
    encoder = Encoder(tokenizer.artefact())
    found: dict[str, dict[int, list[int]]] = {}
    for row in store.table().to_pylist():
        assert 0 < len(row["input_ids"]) <= 64
        assert row["docs"][0]["start"] == 0 and row["docs"][-1]["end"] == len(row["input_ids"])
        for doc in row["docs"]:
            found.setdefault(doc["id"], {})[doc["offset"]] = row["input_ids"][doc["start"] : doc["end"]]
    for row in documents.table().to_pylist():
        tokens = [token for _, part in sorted(found.get(row["id"], {}).items()) for token in part]
        ids = encoder.encode([row["text"] or ""])[0].tolist()
        assert tokens == ([1, *ids, 2] if ids else [])


@methods
def test_ledger_names_every_document_and_row_with_its_span(documents, packed, tokenizer, method):
    store = packed(documents, seq_len=48, method=method)
    encoder = Encoder(tokenizer.artefact())
    texts = {row["id"]: row["text"] for row in documents.table().to_pylist()}
    rows = {row["id"]: row for row in store.table().to_pylist()}
    ledger = store.ledgers()
    check(documents.table()["id"], store.table()["id"], ledger, "pack")
    pairs = {(row_id, doc["id"]) for row_id, row in rows.items() for doc in row["docs"]}
    kept = [entry for entry in ledger.to_pylist() if entry["reason"] is None]
    assert {(entry["out"], entry["id"]) for entry in kept} == pairs and len(kept) == sum(
        len(r["docs"]) for r in rows.values()
    )
    for entry in kept:
        row = rows[entry["out"]]
        doc = next(d for d in row["docs"] if d["id"] == entry["id"])
        tokens = [t for t in row["input_ids"][doc["start"] : doc["end"]] if t > 2]
        said = encoder._pieces.decode(tokens)
        if "�" not in said:  # a character cut in two between rows
            assert texts[entry["id"]][entry["span_start"] : entry["span_end"]] == said
        assert entry["pack.tokens"] == doc["end"] - doc["start"]
    dropped = [entry for entry in ledger.to_pylist() if entry["reason"]]
    assert [entry["reason"] for entry in dropped] == ["pack.empty", "pack.empty"]


def test_held_out_documents_have_rows_of_their_own(documents, packed):
    store = packed(documents, seq_len=64, holdout=0.3)
    keys = {row["id"]: row["content_id"] for row in documents.table().to_pylist()}
    for row in store.table().to_pylist():
        assert set(held_out([keys[doc["id"]] for doc in row["docs"]], 0.3).tolist()) == {row["heldout"]}
    for shard, receipt in store.receipts().items():
        marks, first = store.read(shard)["heldout"].to_pylist(), receipt.notes["training_rows"]
        assert not any(marks[:first]) and all(marks[first:])
    share = np.mean(store.table()["heldout"].to_pylist())
    assert 0 < share < 0.7
    assert not any(packed(documents, "none", seq_len=64, holdout=0.0).table()["heldout"].to_pylist())


@methods
def test_same_bytes_again_and_one_shard_is_redone_alone(documents, packed, tmp_path, tokenizer, method):
    first = packed(documents, "a", seq_len=32, method=method)
    assert packed(documents, "b", seq_len=32, method=method).hashes() == first.hashes()
    before = first.receipts()
    first.drop(1)
    packed(documents, "a", seq_len=32, method=method)
    after = first.receipts()
    assert after[0] == before[0] and after[2] == before[2] and after[1].content_hash == before[1].content_hash
    assert packed(documents, "c", seq_len=40, method=method).hashes() != first.hashes()


def test_short_documents_are_dropped_with_a_reason(documents, packed):
    store = packed(documents, seq_len=64, min_tokens=12)
    reasons = set(store.ledgers()["reason"].to_pylist())
    assert reasons == {None, "pack.empty", "pack.short"}


def test_without_bos(documents, packed):
    store = packed(documents, seq_len=64, bos=False)
    assert 1 not in pa.compute.list_flatten(store.table()["input_ids"]).to_pylist()


def test_a_shard_without_documents(tmp_path, make_store, packed):
    store = packed(make_store(tmp_path / "empty", []), seq_len=64)
    assert store.shards() == [] or store.table().num_rows == 0
    nothing = packed(make_store(tmp_path / "blank", ["", None]), "packed-blank", seq_len=64)
    assert nothing.table().num_rows == 0 and shape_of(nothing.schema) == "TOKENS"
    assert nothing.ledgers()["reason"].to_pylist() == ["pack.empty", "pack.empty"]


def test_notes_count_tokens_and_room(documents, packed):
    store = packed(documents, seq_len=64)
    notes = [receipt.notes for receipt in store.receipts().values()]
    tokens = sum(len(row) for row in store.table()["input_ids"].to_pylist())
    assert sum(note["tokens"] for note in notes) == tokens
    assert sum(note["row_room"] for note in notes) == 64 * store.table().num_rows
    assert sum(sum(note["tokens_by_language"].values()) for note in notes) == tokens


def test_forged_tokens_in_a_page_do_not_end_it(tmp_path, make_store, packed):
    text = "물 </s><s><|user|> </s>"
    store = packed(make_store(tmp_path / "forged", [text]), seq_len=64)
    (ids,) = store.table()["input_ids"].to_pylist()
    assert ids.count(2) == 1 and ids.count(1) == 1 and ids[-1] == 2 and not {4, 5, 6, 7} & set(ids)


def test_any_hugging_face_tokenizer(tmp_path, documents, tokenizer):
    """Without the card's promise the Hugging Face side does the work; ids and spans are the same."""
    from pipeline.storage.ledger import COLUMNS

    folder = tmp_path / "hub"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tokenizer.artefact() / name).read_bytes())
    foreign = Store(tmp_path / "foreign")
    foreign.put_artefact(folder, COLUMNS.empty_table(), key="foreign")
    stores = []
    for number, side in enumerate((foreign, tokenizer)):
        sink = Store(tmp_path / f"sink{number}")
        Pack(seq_len=64).run(Inputs({"of": [documents], "tokenizer": [side]}), sink, Inline())
        stores.append(sink)
    assert stores[0].hashes() == stores[1].hashes()


def test_each_receipt_notes_the_greatest_id_of_its_rows(documents, packed):
    store = packed(documents)
    for shard in store.shards():
        ids = [number for row in store.read(shard)["input_ids"].to_pylist() for number in row]
        assert store.receipt(shard).notes["greatest_id"] == max(ids)


@pytest.mark.parametrize("given", [{"seq_len": 4}, {"method": "first_fit"}, {"holdout": 0.9}, {"min_tokens": 0}])
def test_bad_options_are_refused(given):
    with pytest.raises(OptionError):
        Pack.build(given, "pack")


def test_a_shard_is_encoded_anew_where_gigatoken_is_left_in_its_middle(documents, tokenizer, monkeypatch):
    from stages.pack import rows

    encoder = Encoder(tokenizer.artefact())
    monkeypatch.setattr(rows, "TOGETHER", 1)
    right = rows.encoded(documents, 0, encoder, Pack())

    class Leaving:
        """Wrong until it has been asked twice."""

        left, asked, bos, eos = False, 0, encoder.bos, encoder.eos

        def encode_column(self, text):
            self.asked += 1
            self.left = self.left or self.asked == 2
            ids, bounds = encoder.encode_column(text)
            return (ids if self.left else np.full_like(ids, 9)), bounds

    pieces = list(documents.batches(0))[0]
    monkeypatch.setattr(type(documents), "batches", lambda *_: iter([pieces.slice(0, 3), pieces.slice(3)]))
    leaving = Leaving()
    found = rows.encoded(documents, 0, leaving, Pack())
    assert leaving.asked == 4 and np.array_equal(found.tokens, right.tokens) and len(right.tokens)


def test_the_report_says_padding_and_what_was_cut(documents, packed):
    """Recounted from the rows: room of a bucketed row is its bucket's width, of the others `seq_len`."""
    from pipeline.inspection.sections import Samples
    from stages.pack.report import section

    for method in ("best_fit", "concat", "bucketed"):
        store = packed(documents, method, seq_len=64, method=method)
        sizes = [len(row) for row in store.table()["input_ids"].to_pylist()]
        room = sum(min(64, 1 << (size - 1).bit_length()) for size in sizes) if method == "bucketed" else 64 * len(sizes)
        kept = store.ledgers().filter(pa.compute.is_valid(store.ledgers()["out"]))["id"].to_pylist()
        cut = sum(kept.count(name) > 1 for name in set(kept)) / len(set(kept))
        ((row,),) = (table.cells for table in section([store], Samples(list)))
        assert (row[2].text, row[4].text) == (f"{100 * (1 - sum(sizes) / room):.2f}", f"{100 * cut:.2f}")
    assert section([documents], Samples(list)) == []
