"""The stage over every shape: fields, blocks, actions, ledger, options; and a second run that changes nothing."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import OptionError
from pipeline.schema import CHAT, DOCUMENT, PAIR, SHAPES, TOKENS, Edit, apply_edits, content_id
from pipeline.storage.ledger import Ledger, check
from pipeline.storage.store import Store
from stages.pii import Pii
from stages.pii.commands import audited
from stages.pii.entities import ENTITIES
from tests.edits import merge_edits

MAIL, PHONE, RRN = "hong@example.co.kr", "010-1234-5678", "900101-1234568"
BODY = f"연락\n메일 {MAIL}로, 전화 {PHONE}입니다.\n주민번호 {RRN}"


def document(**columns) -> dict:
    def block(kind, start, end):
        return {
            "kind": kind,
            "text": BODY[start:end],
            "start": start,
            "end": end,
            "level": None,
            "group": None,
        }

    row = dict.fromkeys(DOCUMENT.names) | {
        "id": "d1",
        "content_id": content_id(BODY),
        "text": BODY,
        "title": f"담당 {MAIL}",
        "url": "https://a.kr/?to=hong%40example.co.kr",
        "signals": [],
        "blocks": [
            block("heading", 0, 2),
            block("paragraph", 3, BODY.index("\n", 3)),
            block("paragraph", BODY.index("주민"), len(BODY)),
            {"kind": "answer", "text": f"전화는 {PHONE}", "start": None, "end": None, "level": None, "group": 1},
        ],
        "meta": [
            {"key": "author", "value": json.dumps({"mail": MAIL}), "type": None},
            {"key": "n", "value": None, "type": None},
        ],
    }
    return row | columns


def batch(*rows: dict, schema: pa.Schema = DOCUMENT) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=schema)


def run(rows: pa.RecordBatch, **options):
    work = Pii.build(options, "pii").work(rows)
    check(rows.column("id"), work.kept.column("id"), work.ledger, "pii")
    return work


def everything(work) -> str:
    return json.dumps([work.kept.to_pylist(), work.ledger.to_pylist(), work.notes], ensure_ascii=False)


def test_every_field_of_a_document_is_treated_and_blocks_move_along():
    work = run(batch(document()))
    (row,) = work.kept.to_pylist()
    assert row["text"] == "연락\n메일 <EMAIL>로, 전화 <PHONE>입니다.\n주민번호 <KR_RRN>"
    assert (row["title"], row["url"]) == ("담당 <EMAIL>", "https://a.kr/?to=<EMAIL>")
    assert [row["text"][b["start"] : b["end"]] for b in row["blocks"][:3]] == [b["text"] for b in row["blocks"][:3]]
    assert row["blocks"][3]["text"] == "전화는 <PHONE>" and [entry["value"] for entry in row["meta"]] == [
        '{"mail": "<EMAIL>"}',
        None,
    ]
    assert row["content_id"] == content_id(row["text"])
    assert work.notes == {"entities": {"email": 4, "kr_rrn": 1, "phone": 2}}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"action": "mask"},
        {"action": "surrogate"},
        {"action": "hash", "key_env": "PII_TEST_KEY"},
        {"keep": ["email"]},
    ],
)
def test_values_stand_nowhere_and_a_second_run_changes_no_byte(options, monkeypatch):
    monkeypatch.setenv("PII_TEST_KEY", "k" * 32)
    work = run(batch(document()), **options)
    gone = {MAIL, PHONE, RRN, "hong%40"} - ({MAIL, "hong%40"} if options.get("keep") else set())
    ledger = json.dumps([work.ledger.to_pylist(), work.notes], ensure_ascii=False)
    assert not any(value in everything(work) for value in gone)
    assert not any(value in ledger for value in (MAIL, PHONE, RRN, "hong"))
    assert run(work.kept, **options).kept.equals(work.kept)


def test_the_ledger_says_where_what_why_and_what_came_instead():
    work = run(batch(document()), keep=["kr_rrn"])
    edits = {(e["by"].split()[-1], e["start"]): e for e in work.ledger.to_pylist()[0]["edits"]}
    at = BODY.index(MAIL)
    assert edits["text", at] == {
        "start": at,
        "end": at + len(MAIL),
        "replacement": "<EMAIL>",
        "by": "email mail 0.95 text",
    }
    assert (
        edits["text", BODY.index(RRN)]["replacement"] is None
        and edits["text", BODY.index(RRN)]["by"] == "kr_rrn rrn 0.99 text"
    )
    assert {field for field, _ in edits} == {"text", "title", "url", "blocks[3].text", "meta[0].value"}
    assert work.ledger["pii.email"].to_pylist() == [4.0] and work.ledger["pii.found"].to_pylist() == [7.0]


def test_chats_and_pairs():
    talk = lambda text: [{"role": "user", "content": text}, {"role": "assistant", "content": "네"}]  # noqa: E731
    chat = dict.fromkeys(CHAT.names) | {
        "id": "c1",
        "messages": talk(f"제 번호는 {PHONE}이에요"),
        "meta": [{"key": "a", "value": MAIL}],
    }
    (row,) = run(batch(chat, schema=CHAT)).kept.to_pylist()
    assert [turn["content"] for turn in row["messages"]] == ["제 번호는 <PHONE>이에요", "네"] and row["meta"][0][
        "value"
    ] == "<EMAIL>"
    pair = dict.fromkeys(PAIR.names) | {
        "id": "p1",
        "prompt": talk(MAIL),
        "chosen": talk(PHONE),
        "rejected": talk(RRN),
    }
    (row,) = run(batch(pair, schema=PAIR)).kept.to_pylist()
    assert [row[side][0]["content"] for side in ("prompt", "chosen", "rejected")] == ["<EMAIL>", "<PHONE>", "<KR_RRN>"]


def test_tokens_are_refused_and_empty_batches_pass():
    with pytest.raises(Exception, match="no text"):
        run(batch({"id": "t", "input_ids": [1], "docs": []}, schema=TOKENS))
    assert len(run(pa.RecordBatch.from_pylist([], schema=DOCUMENT)).kept) == 0
    nothing = document(text=None, title=None, url=None, blocks=None, meta=None)
    assert run(batch(nothing)).kept.to_pylist() == [nothing]


def test_rows_without_findings_are_passed_on_untouched_and_columns_behind_the_shape_stay():
    rows = batch(document(text="깨끗함", title=None, url=None, blocks=[], meta=[]), document(id="d2"))
    rows = rows.append_column("lang_score", pa.array([0.5, None]))
    work = run(rows)
    assert work.kept.schema == rows.schema and work.kept.column("lang_score").to_pylist() == [0.5, None]
    assert work.kept.slice(0, 1).to_pylist() == rows.slice(0, 1).to_pylist()
    sliced = run(rows.slice(1, 1)).kept
    assert sliced.to_pylist() == work.kept.slice(1, 1).to_pylist()


def test_drop_by_kind_and_by_count():
    rows = batch(document(), document(id="d2", text=f"전화 {PHONE}", title=None, url=None, blocks=[], meta=[]))
    by_kind = run(rows, drop=["kr_rrn"])
    assert by_kind.ledger["reason"].to_pylist() == ["pii.kr_rrn", None] and by_kind.kept.column("id").to_pylist() == [
        "d2"
    ]
    by_count = run(rows, max_count=1)
    assert by_count.ledger["reason"].to_pylist() == ["pii.count", None]
    assert run(rows, max_count=7).ledger["reason"].null_count == 2


def test_a_row_that_is_not_utf8_is_dropped_with_a_reason():
    rows = batch(document(), document(id="d2"))
    offsets = pa.py_buffer(__import__("numpy").array([0, 2, 2 + len(BODY.encode())], "int64"))
    text = pa.Array.from_buffers(pa.large_string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfe" + BODY.encode())])
    work = run(rows.set_column(2, rows.schema.field(2), text))
    assert work.ledger["reason"].to_pylist() == ["pii.not_utf8", None] and len(work.kept) == 1


def test_masks_keep_the_shape():
    (row,) = run(batch(document()), mask=["email", "phone"]).kept.to_pylist()
    assert row["text"].startswith("연락\n메일 ****@*******.**.**로, 전화 ***-****-****입니다")


def test_hashes_are_equal_for_equal_values_and_need_the_key(monkeypatch):
    rows = batch(
        document(), document(id="d2", text="메일 HONG@example.co.kr", title=None, url=None, blocks=[], meta=[])
    )
    tags = []
    for key in ("a" * 32, "b" * 32):
        monkeypatch.setenv("PII_TEST_KEY", key)
        first, second = run(rows, hash=["email"], key_env="PII_TEST_KEY").kept.to_pylist()
        tags.append(second["text"].removeprefix("메일 "))
        assert tags[-1] in first["text"] and first["title"] == f"담당 {tags[-1]}"
    assert tags[0] != tags[1] and not any(sign.isdigit() for sign in tags[0])
    monkeypatch.delenv("PII_TEST_KEY")
    with pytest.raises(OptionError, match="PII_TEST_KEY"):
        run(rows, hash=["email"], key_env="PII_TEST_KEY")


def test_surrogates_are_consistent_within_a_row_and_strangers_across_rows():
    text = f"{PHONE} 그리고 {PHONE}, 또 010-9876-5432"
    rows = batch(
        *(document(id=i, text=text, title=f"전화 {PHONE}", url=None, blocks=[], meta=[]) for i in ("d1", "d2"))
    )
    one, two = run(rows, surrogate=["phone"]).kept.to_pylist()
    first, again, other = (
        part.split(",")[0] for part in one["text"].replace(" 그리고 ", " ").replace(", 또 ", " ").split()
    )
    assert first == again == one["title"].removeprefix("전화 ") and first != other
    assert [len(part) for part in first.split("-")] == [3, 4, 4] and first not in two["text"]


@pytest.mark.parametrize(("options", "words"), [
    ({"mask": ["emial"]}, "did you mean 'email'"),
    ({"mask": ["email"], "drop": ["email"]}, "one action"),
    ({"hash": ["email"]}, "key_env"),
    ({"key_env": "sk-proj-abcdef"}, "never the key itself"),
    ({"names": "model"}, "go together"),
    ({"entites": ["email"]}, "entities"),
])  # fmt: skip
def test_wrong_options_name_the_hint(options, words):
    with pytest.raises(OptionError) as fault:
        Pii.build(options, "pii")
    assert words in str(fault.value) and "sk-proj" not in str(fault.value)


def test_kinds_go_by_presidios_names_too_and_the_rest_keeps_its_default():
    options = Pii.build({"mask": ["EMAIL_ADDRESS"], "keep": ["ip"]}, "pii")
    actions = options.actions()
    assert (actions["email"], actions["ip"], actions["phone"], actions["phone_service"]) == (
        "mask",
        "keep",
        "replace",
        "keep",
    )
    assert "person" not in actions and set(Pii.build({"entities": ["email"], "drop": ["card"]}, "pii").actions()) == {
        "email",
        "card",
    }


def test_the_help_names_every_kind():
    shown = Pii.model_fields["entities"].description
    assert all(f"{entity.name}" in shown for entity in ENTITIES)


def test_what_a_replacement_sets_free_is_found_in_the_same_run():
    """Two numbers glued together hide each other; whatever one run leaves, the next must leave too."""
    text = f"{PHONE}-010-2222-3333 {PHONE}.5 {RRN}-1 {MAIL}{MAIL} 계좌 110-123-456789-{PHONE}"
    work = run(batch(document(text=text, blocks=[])))
    assert run(work.kept).kept.equals(work.kept)


FRAGMENTS = [MAIL, PHONE, RRN, "4111-1111-1111-1111", "국민은행 123456-01-123456", "서울 강남구 테헤란로 152", "1588-1234", "211.45.67.89", "12가3456", "+82-10-9876-5432", "\n", " ", "-", ".",
             ",", ":", "/", "(", ")", "가", "x", "7", "전화 ", "주민번호 ", "계좌 ", "주문번호 ", "카드 ", "０１０－１２３４－５６７８", "\u200b", "<EMAIL>", "000-1234-5678", "@", "::1", "ip "]  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=14),
    st.lists(st.integers(0, 60), max_size=6),
    st.sampled_from(["replace", "mask", "surrogate"]),
)
def test_any_text_any_blocks_idempotent_and_blocks_keep_their_position(parts, cuts, action):
    text = "".join(parts)
    bounds = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    blocks = [
        {"kind": "paragraph", "text": text[a:b], "start": a, "end": b, "level": None, "group": None}
        for a, b in zip(bounds, bounds[1:])
    ]
    row = document(text=text, blocks=blocks, title=None, url=None, meta=[], content_id=content_id(text))
    work = run(batch(row), action=action)
    (kept,) = work.kept.to_pylist()
    for block in kept["blocks"]:
        if block["start"] is not None:
            assert kept["text"][block["start"] : block["end"]] == block["text"]
    made = [
        Edit(e["start"], e["end"], e["replacement"])
        for e in work.ledger.to_pylist()[0]["edits"] or []
        if e["replacement"] is not None
    ]
    assert apply_edits(text, merge_edits(made))[0] == kept["text"]
    assert run(work.kept, action=action).kept.equals(work.kept)


def test_what_is_set_free_in_a_text_and_in_its_block_at_once_is_replaced_once():
    text = f"{MAIL}+82-10-9876-5432"
    block = {"kind": "paragraph", "text": text, "start": 0, "end": len(text), "level": None, "group": None}
    (kept,) = run(batch(document(text=text, blocks=[block], title=None, url=None, meta=[]))).kept.to_pylist()
    assert kept["text"] == kept["blocks"][0]["text"] == "<EMAIL><PHONE>"


SAID = [{"role": "user", "content": "물음"}]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("DOCUMENT", {"text": "글"}),
        ("CHAT", {"messages": SAID}),
        ("PAIR", {"prompt": SAID, "chosen": SAID, "rejected": SAID}),
    ],
)
def test_file_names_and_keys_of_columns_are_text_too(shape, said, tmp_path):
    """A file called after a person, a column named after an address: treated, and seen by the audit."""
    meta = [{"key": f"score of {MAIL}", "value": "3"}, {"key": PHONE, "value": '{"n": 1}', "type": "json"}]
    given = pa.RecordBatch.from_pylist(
        [{"id": "a", "source": f"mail/{MAIL}/inbox.txt", "meta": meta, **said}], schema=SHAPES[shape]
    )
    work = run(given)
    assert MAIL not in everything(work) and PHONE not in everything(work)
    assert work.kept.column("source").to_pylist() == ["mail/<EMAIL>/inbox.txt"]
    assert [entry["value"] for entry in work.kept.column("meta").to_pylist()[0]] == ["3", '{"n": 1}']
    assert {edit["by"].split()[-1] for edit in work.ledger["edits"].to_pylist()[0]} == {
        "source",
        "meta[0].key",
        "meta[1].key",
    }
    store = Store(tmp_path / "raw")
    table = pa.Table.from_batches([given])
    store.put(0, table, Ledger.rows(["a"]), key="k", stage="ingest", input_ids=table["id"])
    store.commit_manifest({"stage": "ingest", "shape": shape, "key": "k", "lineage": {}, "schema": []}, [0])
    assert {field for field, _ in audited(store, Pii.build({}, "pii").plan()).counts} == {"source", "meta"}
