"""Personal data in what conversations hold besides their turns' text: reasoning, names, arguments of tools, tool schemas, JSON in `meta`."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema import CHAT, PAIR
from pipeline.storage.ledger import check
from stages.pii import Pii
from stages.pii.json_text import JsonText

MAIL, PHONE, CARD = "hong@example.co.kr", "010-1234-5678", "4111111111111111"
OPTIONS = [{}, {"action": "mask"}, {"action": "surrogate"}, {"action": "hash", "key_env": "PII_TEST_KEY"}]


def turn(role, content="", **more):
    return {"role": role, "content": content, **more}


def call(arguments):
    return turn(
        "assistant",
        tool_calls=[{"id": "c", "name": "w", "arguments": "{}"}, {"id": "d", "name": "w", "arguments": arguments}],
    )


def run(rows, schema=CHAT, **options):
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    work = Pii.build(options, "pii").work(batch)
    check(batch.column("id"), work.kept.column("id"), work.ledger, "pii")
    return work


def arguments_of(work):
    return [row["messages"][0]["tool_calls"][1]["arguments"] for row in work.kept.to_pylist()]


ARGUMENTS = {
    "a string": json.dumps({"to": MAIL}),
    "behind an escape": json.dumps({"note": f"전화\n{PHONE}\t{MAIL}"}),
    "escaped letters": json.dumps({"메일": f"김 {MAIL}로"}),
    "every letter escaped": '{"to": "' + "".join(f"\\u{ord(sign):04x}" for sign in MAIL) + '"}',
    "beyond the first plane": json.dumps({"to": f"🌾🌾 {MAIL}"}),
    "a number": json.dumps({"card": int(CARD), "n": 3}),
    "nested": json.dumps([{"a": [{"b": PHONE}]}, 1, None]),
    "a key": json.dumps({MAIL: 1}),
    "no JSON": f"{{'to': '{MAIL}'",
    "JSON in JSON": json.dumps({"body": json.dumps({"to": MAIL, "tel": PHONE})}),
}


@pytest.mark.parametrize("options", OPTIONS, ids=["replace", "mask", "surrogate", "hash"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_treated_and_stay_json(name, options, monkeypatch):
    monkeypatch.setenv("PII_TEST_KEY", "k" * 32)
    work = run([{"id": "c", "messages": [call(ARGUMENTS[name])]}], **options)
    (made,) = arguments_of(work)
    said = made if name == "no JSON" else json.dumps(json.loads(made), ensure_ascii=False)
    assert not any(value in text for value in (MAIL, PHONE, CARD) for text in (made, said)), said
    assert work.ledger["pii.found"].to_pylist()[0] >= 1
    assert all("messages[0].tool_calls[1].arguments" in edit["by"] for edit in work.ledger.to_pylist()[0]["edits"])
    assert run(work.kept.to_pylist(), **options).kept.equals(work.kept)


def test_only_what_was_found_is_changed():
    text = '{"to":  "\\uae40 hong@example.co.kr", "n": 12, "x": "\\/\\n"}'
    (made,) = arguments_of(run([{"id": "c", "messages": [call(text)]}]))
    assert made == '{"to":  "\\uae40 <EMAIL>", "n": 12, "x": "\\/\\n"}'
    (made,) = arguments_of(run([{"id": "c", "messages": [call(f'{{"card": {CARD}, "n": 12}}')]}]))
    assert made == '{"card": "<CARD>", "n": 12}'


def test_every_further_field_of_chats_and_pairs():
    schema = json.dumps([{"type": "function", "function": {"name": "w", "description": f"Asks {MAIL}"}}])
    meta = [
        {"key": "a", "value": json.dumps({"x": f"\n{PHONE}"}), "type": "json"},
        {"key": "b", "value": f"\\n {PHONE}"},
    ]
    said = [turn("user", "q", name=MAIL), turn("assistant", "a", reasoning=f"They wrote {MAIL}")]
    work = run([{"id": "c", "messages": said, "tools": schema, "meta": meta}])
    (row,) = work.kept.to_pylist()
    assert row["messages"][1]["reasoning"] == "They wrote <EMAIL>" and row["messages"][0]["name"] == "<EMAIL>"
    assert json.loads(row["tools"])[0]["function"]["description"] == "Asks <EMAIL>"
    assert [entry["value"] for entry in row["meta"]] == ['{"x": "\\n<PHONE>"}', "\\n <PHONE>"] and row["meta"][0][
        "type"
    ] == "json"
    assert {edit["by"].split()[-1] for edit in work.ledger.to_pylist()[0]["edits"]} == {
        "messages[0].name",
        "messages[1].reasoning",
        "tools",
        "meta[0].value",
        "meta[1].value",
    }
    (row,) = run(
        [
            {
                "id": "p",
                "prompt": said,
                "chosen": [call(json.dumps({"to": MAIL}))],
                "rejected": [turn("assistant", "b", reasoning=PHONE)],
                "tools": schema,
            }
        ],
        PAIR,
    ).kept.to_pylist()
    assert (
        MAIL not in json.dumps(row)
        and PHONE not in json.dumps(row)
        and row["chosen"][0]["tool_calls"][1]["arguments"] == '{"to": "<EMAIL>"}'
    )


def test_what_is_kept_or_dropped_is_named_by_its_path():
    text = json.dumps({"x": f"\n{MAIL}"})
    work = run([{"id": "c", "messages": [call(text)]}], keep=["email"])
    (edit,) = work.ledger.to_pylist()[0]["edits"]
    assert text[edit["start"] : edit["end"]] == MAIL and edit["replacement"] is None and arguments_of(work) == [text]
    assert run([{"id": "c", "messages": [call(text)]}], drop=["email"]).ledger.to_pylist()[0]["reason"] == "pii.email"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from([MAIL, f"\n{PHONE}", "🌾\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(VALUES, st.booleans(), st.data())
def test_values_of_what_is_seen(value, escaped, data):
    raw = json.dumps(value, ensure_ascii=escaped)
    text = JsonText(raw)
    start = data.draw(st.integers(0, len(text.seen)))
    end = data.draw(st.integers(start, len(text.seen)))
    values = text.values(start, end)
    assert all(a.end <= b.start for a, b in zip(values, values[1:]))
    for spot in values:
        assert spot.value in text.seen[start:end]
        edited = raw[: spot.start] + spot.filled('"<X>\\') + raw[spot.end :]
        assert '"<X>\\' in JsonText(edited).seen and json.loads(edited, strict=False) is not None
