"""Repeated lines, paragraphs and substrings in chats and pairs: what is cut, which rows go, and which are left alone."""

from __future__ import annotations

import random
import re
from itertools import count

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.schema import CHAT, PAIR
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.dedup import Dedup
from stages.dedup import plan as plans
from stages.dedup.run import Run
from stages.dedup.spans import level as spans

WORD = re.compile(r"\w+")
NOTHING = {field.name: None for field in CHAT.field("messages").type.value_type}
SAID = {
    "CHAT": {"messages": ("user", "assistant"), "prompt": ("user",), "answer": ("assistant",)},
    "PAIR": dict.fromkeys(("prompt",), ("user",)) | dict.fromkeys(("chosen", "rejected"), ("assistant",)),
}
DISCLAIMER = "As a language model I cannot be sure of this at all"
CAUTION = "저는 언어 모델이라서 이 답이 언제나 맞다고는 결코 장담할 수 없습니다 꼭 확인하세요"


def say(*turns: tuple[str, str | None]) -> list[dict]:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [NOTHING | {"role": names[who], "content": content} for who, content in turns]


def pair(prompt: str, chosen: str, rejected: str) -> dict:
    return {"prompt": say(("u", prompt)), "chosen": say(("a", chosen)), "rejected": say(("a", rejected))}


@pytest.fixture
def rows_store(tmp_path):
    """`rows_store(name, rows, shape, shards=1)` -> a CHAT or PAIR store."""

    def make(name: str, rows: list[dict], shape: str, shards: int = 1) -> Store:
        schema = {"CHAT": CHAT, "PAIR": PAIR}[shape]
        full = [{field.name: None for field in schema} | {"id": f"{n:032x}"} | row for n, row in enumerate(rows)]
        table, store = pa.Table.from_pylist(full, schema=schema), Store(tmp_path / name)
        size = -(-len(table) // shards)
        for number in range(shards):
            part = table.slice(number * size, size)
            store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="test", input_ids=part["id"])
        store.commit_manifest(
            {"stage": "test", "shape": shape, "key": "test", "lineage": {}, "schema": []}, list(range(shards))
        )
        return store

    return make


# -- the definition --------------------------------------------------------------------------------------------------------


def units(text: str, level: str, least: int) -> list[tuple[tuple[str, ...], int, int]]:
    """(words, first, last) of every span of a turn."""
    words = [(match[0].lower(), match.start()) for match in WORD.finditer(text)]
    if level == "substring":
        starts = [start for _, start in words] + [len(text)]
        return [
            (tuple(w for w, _ in words[at : at + least]), starts[at], starts[at + least])
            for at in range(len(words) - least + 1)
        ]
    lines = (
        (tuple(w.lower() for w in WORD.findall(line[0])), line.start(), line.end())
        for line in re.finditer(r"[^\n]*\n(?:[ \t\r]*\n)*(?:[ \t\r]*\Z)?|[^\n]+", text)
    )
    return [line for line in lines if len(line[0]) >= least]


def turns(row: dict, fields: list[str], shape: str) -> list[tuple[str, int, str, str]]:
    """(column, path, role, text) of the turns that may lose text."""
    found = []
    for word in fields:
        column = "messages" if shape == "CHAT" else word
        found += [
            (column, at, turn["role"], turn["content"] or "")
            for at, turn in enumerate(row.get(column) or ())
            if turn["role"] in SAID[shape][word]
        ]
    return found


def expected(
    rows: dict[str, dict], fields: list[str], shape: str, level: str, least: int, order: list[str]
) -> dict[str, dict | str]:
    """id -> the row as it is left, or the reason it goes."""
    occurrences: dict[tuple, list] = {}
    for key, row in rows.items():
        for column, at, role, text in turns(row, fields, shape):
            for words, first, last in units(text, level, least):
                occurrences.setdefault((role, words), []).append((order.index(key), key, column, at, first, last))
    goes, stays = {}, {}
    for copies in occurrences.values():
        best = min(copies)[0]
        if len({copy[0] for copy in copies}) > 1:
            for rank, key, column, at, first, last in copies:
                (stays if rank == best else goes).setdefault((key, column, at), set()).update(range(first, last))
    left: dict[str, dict | str] = {}
    for key, row in rows.items():
        made, emptied = (
            {
                name: [dict(turn) for turn in row.get(name) or ()]
                for name in ("messages", "prompt", "chosen", "rejected")
                if row.get(name) is not None
            },
            False,
        )
        for column, at, _, text in turns(row, fields, shape):
            gone = goes.get((key, column, at), set()) - stays.get((key, column, at), set())
            if gone:
                made[column][at]["content"] = "".join(char for n, char in enumerate(text) if n not in gone)
                emptied |= not WORD.search(made[column][at]["content"])
        alike = (
            shape == "PAIR"
            and said(made.get("chosen")) == said(made.get("rejected"))
            and said(row.get("chosen")) != said(row.get("rejected"))
        )
        holds = any(where[0] == key for where in stays)
        left[key] = (
            dict(row)
            if holds and (emptied or alike)
            else "dedup.nothing_left"
            if emptied
            else "dedup.answers_alike"
            if alike
            else dict(row) | made
        )
    return left


def said(messages: list[dict] | None) -> list[tuple[str, str]]:
    return [(turn["role"], " ".join((turn["content"] or "").casefold().split())) for turn in messages or ()]


def outcome(out: Store, shape: str) -> dict[str, dict | str]:
    columns = ["messages"] if shape == "CHAT" else ["prompt", "chosen", "rejected"]
    found: dict[str, dict | str] = {
        row["id"]: {name: row[name] for name in columns if row[name] is not None} for row in out.table().to_pylist()
    }
    return found | {row["id"]: row["reason"] for row in out.ledgers().to_pylist() if row["reason"]}


TEXTS = st.lists(
    st.tuples(st.sampled_from("a A b c 가 나다 é x1".split()), st.sampled_from([" ", ". ", "\n", " \n \n", "-"])),
    min_size=1,
    max_size=14,
).map(lambda pieces: "".join(word + gap for word, gap in pieces))
CHATS = st.lists(st.tuples(st.sampled_from("suat"), st.one_of(st.none(), TEXTS)), max_size=5).map(
    lambda turns: {"messages": say(*turns)}
)
PAIRS = st.builds(pair, TEXTS, TEXTS, TEXTS)


@pytest.mark.parametrize(
    ("shape", "fields", "level"),
    [
        ("CHAT", ["answer"], "substring"),
        ("CHAT", ["messages"], "line"),
        ("CHAT", ["prompt"], "line"),
        ("PAIR", ["chosen", "rejected"], "line"),
    ]
    + [("PAIR", ["rejected", "prompt", "chosen"], "substring"), ("PAIR", ["prompt"], "substring")],
)
def test_what_is_left_is_what_the_definition_leaves(dedup, rows_store, tmp_path, monkeypatch, shape, fields, level):
    numbers = count()

    @settings(max_examples=12, deadline=None)
    @given(
        st.lists({"CHAT": CHATS, "PAIR": PAIRS}[shape], min_size=1, max_size=5), st.integers(1, 3), st.integers(5, 60)
    )
    def holds(rows, least, most):
        monkeypatch.setattr(spans, "most_spans", lambda memory: most)
        number = next(numbers)
        source = rows_store(f"in{number}", rows, shape, shards=2)
        ids = source.table()["id"].to_pylist()
        # Level url removes no row without an address; the order is by id alone.
        out = dedup(
            tmp_path / f"out{number}",
            source,
            levels=["url"],
            spans=level,
            span_tokens=least,
            fields=fields,
            keep="source",
            sources=["none"],
        )
        assert outcome(out, shape) == expected(dict(zip(ids, rows)), fields, shape, level, least, ids)

    holds()


# -- cases with names ------------------------------------------------------------------------------------------------------


def test_a_refrain_of_answers_stays_once_and_the_ledger_names_the_turn(dedup, rows_store, tmp_path):
    rows = [
        {
            "messages": say(
                ("s", DISCLAIMER),
                ("u", f"{DISCLAIMER}\nquestion {n}"),
                ("a", f"답 {n}은 이렇습니다\n{CAUTION}\n"),
                ("u", "더"),
                ("a", f"own {n}\n{DISCLAIMER}"),
            )
        }
        for n in range(4)
    ]
    source = rows_store("in", rows, "CHAT", 2)
    out = dedup(tmp_path / "out", source, spans="line", fields=["answer"], levels=["exact"])
    found = [row["messages"] for row in out.table().to_pylist()]
    assert found[0] == rows[0]["messages"]
    for n, messages in enumerate(found[1:], 1):
        assert [turn["content"] for turn in messages] == [
            DISCLAIMER,
            f"{DISCLAIMER}\nquestion {n}",
            f"답 {n}은 이렇습니다\n",
            "더",
            f"own {n}\n",
        ]
    for row, ledger in zip(rows, out.ledgers().to_pylist()):
        for edit in ledger["edits"] or ():
            level, path = edit["by"].split()
            at = int(re.fullmatch(r"messages\[(\d)\]\.content", path)[1])
            assert level == "dedup.line" and row["messages"][at]["content"][edit["start"] : edit["end"]].strip() in (
                CAUTION,
                DISCLAIMER,
            )
    assert [len(ledger["edits"] or ()) for ledger in out.ledgers().to_pylist()] == [0, 2, 2, 2]


def test_what_one_conversation_says_twice_stays(dedup, rows_store, tmp_path):
    code = "\n".join(f"line {n} of the program that they are talking about at length here" for n in range(5))
    rows = [
        {"messages": say(("u", "write it"), ("a", code), ("u", "now better"), ("a", code + "\nand one more"))},
        {"messages": say(("u", "else"), ("a", "other"))},
    ]
    for level in ("line", "substring"):
        out = dedup(
            tmp_path / level,
            rows_store(f"in{level}", rows, "CHAT"),
            spans=level,
            span_tokens=8,
            fields=["answer"],
            levels=["exact"],
        )
        assert [row["messages"] for row in out.table().to_pylist()] == [row["messages"] for row in rows]


def test_pairs_lose_a_span_from_both_answers_or_from_neither(dedup, rows_store, tmp_path):
    rows = [pair(f"q{n}", f"good {n}\n{CAUTION}", f"bad {n}\n{CAUTION}") for n in range(3)] + [
        pair("q3", f"fine\n{CAUTION}\n", f"{DISCLAIMER}\n"),
        pair("q4", "yes", f"yes\n{CAUTION}"),
    ]
    rows += [pair("q5", f"{DISCLAIMER}", "no"), pair("q6", "aye", "nay")]
    out = dedup(
        tmp_path / "out",
        rows_store("in", rows, "PAIR"),
        spans="line",
        fields=["chosen", "rejected"],
        levels=["url"],
        keep="source",
        sources=["none"],
    )
    found = {
        row["prompt"][0]["content"]: (row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in out.table().to_pylist()
    }
    assert found == {
        "q0": (f"good 0\n{CAUTION}", f"bad 0\n{CAUTION}"), "q1": ("good 1\n", "bad 1\n"), "q2": ("good 2\n", "bad 2\n"),
        "q3": ("fine\n", f"{DISCLAIMER}\n"), "q6": ("aye", "nay"),
    }  # fmt: skip
    assert [row["reason"] for row in out.ledgers().to_pylist()] == [None] * 4 + [
        "dedup.answers_alike",
        "dedup.nothing_left",
        None,
    ]


def test_a_row_that_keeps_what_others_lost_is_left_as_it_is(dedup, rows_store, tmp_path):
    rows = [
        {"messages": say(("u", "first"), ("a", CAUTION))},
        {"messages": say(("u", f"ask: {DISCLAIMER}"), ("a", CAUTION))},
        {"messages": say(("u", f"ask: {DISCLAIMER}"), ("a", "an answer of its own"))},
    ]
    out = dedup(
        tmp_path / "out",
        rows_store("in", rows, "CHAT"),
        spans="line",
        fields=["messages"],
        levels=["url"],
        keep="source",
        sources=["none"],
    )
    assert [row["messages"] for row in out.table().to_pylist()] == [row["messages"] for row in rows[:2]]
    assert [(row["reason"], row["note"]) for row in out.ledgers().to_pylist()] == [
        (None, None),
        (None, "left as it is: spans cut from other rows stay here"),
        ("dedup.nothing_left", None),
    ]


def test_null_and_empty_turns_and_rows_are_no_fault(dedup, rows_store, tmp_path):
    chats = [
        {"messages": None},
        {"messages": []},
        {"messages": say(("u", None), ("a", ""))},
        {"messages": say(("t", CAUTION))},
        {"messages": say(("s", CAUTION))},
    ]
    pairs = [
        {"prompt": None, "chosen": None, "rejected": None},
        pair("", "", ""),
        {"prompt": [], "chosen": say(("a", CAUTION)), "rejected": None},
        {"prompt": [], "chosen": None, "rejected": say(("a", CAUTION + " 더"))},
    ]
    for level in ("line", "paragraph", "substring"):
        out = dedup(
            tmp_path / f"chat{level}",
            rows_store(f"c{level}", chats, "CHAT", 2),
            spans=level,
            span_tokens=5,
            fields=["messages"],
            levels=["url"],
        )
        assert [row["messages"] for row in out.table().to_pylist()] == [row["messages"] for row in chats]
        out = dedup(
            tmp_path / f"pair{level}",
            rows_store(f"p{level}", pairs, "PAIR", 2),
            spans=level,
            span_tokens=5,
            fields=["prompt", "chosen", "rejected"],
            levels=["url"],
        )
        gone = [row["id"] for row in out.ledgers().to_pylist() if row["reason"] == "dedup.nothing_left"]
        assert len(out.table()) == 4 - len(gone) and gone == ([f"{2:032x}"] if level == "substring" else [])


def test_fields_must_say_what_may_lose_text(dedup, rows_store, tmp_path):
    chats, pairs = (
        rows_store("chats", [{"messages": say(("u", "hi"))}], "CHAT"),
        rows_store("pairs", [pair("a", "b", "c")], "PAIR"),
    )
    for source, fields, fault in (
        (chats, [], "lose text"),
        (pairs, [], "lose text"),
        (pairs, ["chosen"], "one answer only"),
        (chats, ["anwser"], "no field"),
    ):
        with pytest.raises(OptionError, match=fault):
            dedup(tmp_path / "out", source, spans="line", fields=fields)
    assert not (tmp_path / "out").exists()


def test_rows_of_another_store_count_and_stay(dedup, rows_store, tmp_path):
    old = rows_store("old", [{"id": "f" * 32, "messages": say(("u", "x"), ("a", f"옛 답\n{CAUTION}"))}], "CHAT")
    new = rows_store("new", [{"messages": say(("u", "y"), ("a", f"{CAUTION}\n새 답"))}], "CHAT")
    out = dedup(tmp_path / "out", new, against=[old], spans="paragraph", span_tokens=5, fields=["answer"])
    assert out.table()["messages"].to_pylist()[0][1]["content"] == f"{CAUTION}\n새 답", (
        "a paragraph is more than its first line"
    )
    out = dedup(tmp_path / "lines", new, against=[old], spans="line", span_tokens=5, fields=["answer"])
    assert out.table()["messages"].to_pylist()[0][1]["content"] == "새 답" and len(out.table()) == 1


# -- killed, and any number of workers ----------------------------------------------------------------------------------------


def conversations(seed: int, rows: int) -> list[dict]:
    draw = random.Random(seed)
    refrains = [
        " ".join(f"{draw.choice(['refrain', '후렴을'])}{draw.randrange(10**6)}" for _ in range(30)) for _ in range(6)
    ]

    def speech() -> str:
        parts = [
            " ".join(f"own{draw.randrange(10**7)}" for _ in range(draw.randrange(3, 30))) for _ in range(3)
        ] + draw.sample(refrains, draw.randrange(3))
        return "\n".join(draw.sample(parts, len(parts)))

    return [pair(speech(), speech(), speech()) for _ in range(rows)]


@pytest.mark.parametrize("level", [pytest.param("line", marks=pytest.mark.slow), "substring"])
def test_killed_after_any_task_and_on_any_workers_the_bytes_are_the_same(
    dedup, dying, rows_store, tmp_path, monkeypatch, processes, level
):
    monkeypatch.setattr(spans, "most_spans", lambda memory: 100 if level == "line" else 2000)
    source = rows_store("in", conversations(3, 30), "PAIR", 3)
    options = {"levels": ["exact"], "spans": level, "span_tokens": 12, "fields": ["prompt", "chosen", "rejected"]}
    whole = dying()
    out = dedup(tmp_path / "whole", source, pool=whole, **options)
    expected = out.hashes() | {f"ledger {n}": out.receipt(n).ledger_hash for n in out.shards()}
    assert (
        whole.done.count("spans") > 2
        and whole.done.count("repeats") > 1
        and sum(bool(row["edits"]) for row in out.ledgers().to_pylist()) > 10
    )
    for limit in range(0, len(whole.done), len(whole.done) // 4):
        with pytest.raises(KeyboardInterrupt):
            dedup(tmp_path / f"cut{limit}", source, pool=dying(limit), **options)
        again = dedup(tmp_path / f"cut{limit}", source, **options)
        assert again.hashes() | {f"ledger {n}": again.receipt(n).ledger_hash for n in again.shards()} == expected
    for workers in (2, 7):
        assert (
            dedup(tmp_path / f"workers{workers}", source, pool=processes(workers), **options).hashes() == out.hashes()
        )


def test_a_plan_counts_what_pairs_would_lose_and_is_committed_as_it_is(dedup, rows_store, tmp_path):
    rows = [row | {"source": "forum" if n % 2 else "manual"} for n, row in enumerate(conversations(4, 20))]
    source, options = (
        rows_store("in", rows, "PAIR"),
        {"levels": ["exact"], "spans": "line", "span_tokens": 12, "fields": ["chosen", "rejected"]},
    )
    inputs, file = Inputs({"of": [source]}), tmp_path / "plan.json"
    page = plans.write(
        Run.of(Dedup.build(options, "dedup"), inputs, Store(plans.passes_of(file))), inputs, Inline(), file
    )
    out = dedup(tmp_path / "out", source, apply=str(file))
    cut = sum(len(text[edit["start"] : edit["end"]].encode()) for text, edit in edited_texts(rows, out))
    assert sum(size for _, size in page["spans"].values()) == cut > 0 and set(page["spans"]) <= {"forum", "manual"}
    assert out.hashes() == dedup(tmp_path / "plain", source, **options).hashes()


def edited_texts(rows: list[dict], out: Store):
    """(the turn as it was, edit) of every edit in the ledger."""
    for row, ledger in zip(rows, out.ledgers().to_pylist()):
        for edit in ledger["edits"] or ():
            name, at = re.fullmatch(r"dedup\.\w+ (\w+)\[(\d+)\]\.content", edit["by"]).groups()
            yield row[name][int(at)]["content"], edit


def test_edits_give_the_rows_again(dedup, rows_store, tmp_path):
    rows = conversations(9, 30)
    out = dedup(
        tmp_path / "out",
        rows_store("in", rows, "PAIR"),
        spans="substring",
        span_tokens=12,
        fields=["prompt", "chosen", "rejected"],
        levels=["exact"],
    )
    after, changed = {row["id"]: row for row in out.table().to_pylist()}, 0
    for row, ledger in zip(rows, out.ledgers().to_pylist()):
        if ledger["reason"]:
            continue
        for edit in sorted(ledger["edits"] or (), key=lambda edit: -edit["start"]):
            name, at = re.fullmatch(r"dedup\.substring (\w+)\[(\d+)\]\.content", edit["by"]).groups()
            turn = row[name][int(at)]
            turn["content"] = turn["content"][: edit["start"]] + turn["content"][edit["end"] :]
            changed += 1
        assert {name: after[ledger["id"]][name] for name in row} == row
    assert changed > 10
