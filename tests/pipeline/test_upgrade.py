"""Stores written before conversations had reasoning, tools and a training flag are read as those of today."""

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.schema import CHAT, DOCUMENT, META, PAIR, current, doc_id, shape_of, upgraded
from pipeline.storage import store as stores
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import BATCH_ROWS, Store

STR = pa.large_string()
TURNS = pa.list_(pa.struct([("role", STR), ("content", STR)]))
ENTRIES = pa.list_(pa.struct([("key", STR), ("value", STR)]))
PROVENANCE = [("lang", STR), ("source", STR), ("url", STR), ("licence", STR)]
SPAN = [("doc_id", STR), ("span_start", pa.int64()), ("span_end", pa.int64()), ("rule", STR)]
BLOCK = pa.struct(
    [
        ("kind", STR),
        ("text", STR),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("level", pa.int32()),
        ("group", pa.int32()),
    ]
)
BEFORE = {
    "DOCUMENT": pa.schema(
        [
            pa.field("id", STR, nullable=False),
            ("content_id", STR),
            ("text", STR),
            ("title", STR),
            ("url", STR),
            ("source", STR),
            ("lang", STR),
        ]
        + [("date", STR), ("licence", STR), ("signals", pa.list_(STR)), ("blocks", pa.list_(BLOCK)), ("meta", ENTRIES)]
    ),
    "CHAT": pa.schema(
        [
            pa.field("id", STR, nullable=False),
            ("messages", TURNS),
            *PROVENANCE,
            *SPAN,
            ("confidence", pa.float64()),
            ("meta", ENTRIES),
        ]
    ),
    "PAIR": pa.schema(
        [
            pa.field("id", STR, nullable=False),
            ("prompt", TURNS),
            ("chosen", TURNS),
            ("rejected", TURNS),
            *PROVENANCE,
            ("chat_id", STR),
            *SPAN,
        ]
        + [
            ("method", STR),
            ("score_chosen", pa.float64()),
            ("score_rejected", pa.float64()),
            ("in_sft", pa.bool_()),
            ("meta", ENTRIES),
        ]
    ),
}
"""The columns of the first version, as its stores on disk have them."""
NOW = {"DOCUMENT": DOCUMENT, "CHAT": CHAT, "PAIR": PAIR}
SAID = [{"role": "user", "content": "맷돌은?"}, {"role": "assistant", "content": "곡식을 간다."}]


def old_row(shape: str, number: int) -> dict:
    said = {
        "messages": SAID,
        "prompt": SAID[:1],
        "chosen": SAID[1:],
        "rejected": SAID[:0],
        "text": "맷돌",
        "signals": ["x"],
    }
    row = {name: said.get(name) for name in BEFORE[shape].names}
    return row | {"id": doc_id("before", str(number)), "lang": "ko", "meta": [{"key": "author", "value": "kim"}]}


def old_table(shape: str, rows: int, **extra: list) -> pa.Table:
    table = pa.Table.from_pylist([old_row(shape, number) for number in range(rows)], schema=BEFORE[shape])
    for name, values in extra.items():
        table = table.append_column(name, pa.array(values))
    return table


@pytest.fixture(params=["DOCUMENT", "CHAT", "PAIR"])
def before(request, tmp_path):
    """A store of 40 rows in two shards with a further column, as the first version wrote it."""
    table = old_table(request.param, 40, stratum=[f"s{n % 3}" for n in range(40)])
    store = Store(tmp_path / "before")
    for shard in range(2):
        part = table.slice(20 * shard, 20)
        store.put(shard, part, Ledger.rows(part["id"].to_pylist()), key="test", stage="test", input_ids=part["id"])
    store.commit_manifest({"shape": request.param}, [0, 1])
    return store, request.param


def test_every_way_to_read_gives_todays_columns(before):
    store, shape = before
    wanted = [*NOW[shape].names, "stratum"]
    assert store._rows(0).schema == BEFORE[shape].append(pa.field("stratum", pa.string())), "the file itself is old"
    assert store.schema.names == wanted and shape_of(store.schema) == shape == store.shape
    for rows, third in (
        (store.read(1), "s2"),
        (store.table(), "s0"),
        (next(store.batches(0)), "s0"),
        (store.scan().to_table(), "s0"),
    ):
        assert rows.schema == store.schema
        assert [field.type for field in rows.schema][: len(NOW[shape])] == [field.type for field in NOW[shape]]
        assert rows.to_pylist()[3]["stratum"] == third
    assert store.table(["meta"]).schema.field("meta").type == META
    assert store.scan().count_rows() == 40


def test_what_was_said_is_what_is_read(before):
    store, shape = before
    found = store.row(*store.find(doc_id("before", "31")))
    nothing = {"reasoning": None, "tool_calls": None, "name": None, "tool_call_id": None, "train": None}
    for name, value in old_row(shape, 31).items():
        if name in ("messages", "prompt", "chosen", "rejected"):
            value = [turn | nothing for turn in value]
        elif name == "meta":
            value = [entry | {"type": None} for entry in value]
        assert found[name] == value, name
    assert shape == "DOCUMENT" or found["tools"] is None


def test_old_and_new_shards_of_one_store_are_one_table(before):
    store, shape = before
    store.invalidate_manifest()
    fresh = upgraded(old_table(shape, 45, stratum=["n"] * 45).slice(40))
    store.put(2, fresh, Ledger.rows(fresh["id"].to_pylist()), key="test", stage="test", input_ids=fresh["id"])
    store.commit_manifest({"shape": shape}, [0, 1, 2])
    assert store.table().num_rows == 45 and store.scan().to_table().num_rows == 45


def test_todays_rows_are_passed_on_as_they_are():
    rows = upgraded(old_table("CHAT", 3))
    assert upgraded(rows) is rows and current(rows.schema) is not None and rows.schema.equals(CHAT)
    other = pa.table({"id": ["a"], "meta": [[{"key": "a", "value": "b"}]]})
    assert upgraded(other) is other and shape_of(other.schema) is None
    tools = old_table("CHAT", 2, tools=["[]", None])
    assert upgraded(tools)["tools"].to_pylist() == ["[]", None] and upgraded(tools).schema.names == CHAT.names


def test_the_columns_of_a_shard_are_looked_at_once_however_many_batches_it_has(before, monkeypatch):
    store, shape = before
    rows = old_table(shape, 3 * BATCH_ROWS)
    store.put(3, rows, Ledger.rows(rows["id"]), key="test", stage="test", input_ids=rows["id"])
    looks = []
    for module in (schema, stores):
        monkeypatch.setattr(module, "current", lambda columns: (looks.append(columns), current(columns))[1])
    assert [len(batch) for batch in store.batches(3)] == [BATCH_ROWS] * 3 and len(looks) == 1
