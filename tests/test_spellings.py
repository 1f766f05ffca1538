"""One text, spelled with other line ends and other blank lines: one row after ingest, and one decision in every stage behind it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import DOCUMENT, content_id
from pipeline.storage.store import Store
from stages.ingest.row import Raw, clean, line_edits
from stages.ingest.shape import Shaper

LINES = st.sampled_from(
    [
        "The mill at the river grinds barley before the evening bell rings, and the miller is content with it.",
        "The mill at the river grinds barley before the evening bell rings, and the miller is content with it.",
        "Write to miller@example.org or call 010-1234-5678 when the grain is dry.",
        "A farmer has 17 sheep and buys 25 more at the market, then sells 9 of them to a neighbour. How many sheep has the farmer now? 33",
        "Q: When do you open?\nA: At nine in the morning, Tuesday to Saturday.",
        "# 맷돌 쓰는 법",
        "맷돌은 곡식을 가는 데 쓰는 도구로, 둥글넓적한 돌 두 짝을 포개고 손잡이를 돌려 간다.",
        "- barley",
        "• rice",
        "    return grind(stone, grain)",
        "Copyright 2026. All rights reserved",
        "...",
        "",
    ]  # fmt: skip
)
TEXTS = st.lists(LINES, min_size=2, max_size=16).map("\n\n".join) | st.lists(LINES, min_size=2, max_size=16).map(
    "\n".join
)
ENDS = {
    "LF": "\n",
    "CRLF": "\r\n",
    "CR": "\r",
    "U+2028": "\u2028",
    "NEL": "\x85",
    "VT": "\v",
    "FF": "\f",
    "U+2029": "\u2029",
}
BLANKS = (" ", "\t \t", "\u00a0", "\u3000\u3000", "\u200b", " \ufeff", "\u200d", "\u3164", "\u2800")


def spellings(text: str) -> list[str]:
    """The text with each line end, and with blanks of each kind in its empty lines."""
    blank = ["\n".join(line or blanks for line in text.split("\n")) for blanks in BLANKS]
    mixed = "".join(char if char != "\n" else end for char, end in zip(text, list(ENDS.values()) * len(text)))
    return [*(text.replace("\n", end) for end in ENDS.values()), *blank, blank[0].replace("\n", "\r\n"), mixed]


def shaped(raw: Raw, as_: str = "document") -> dict | None:
    options = SimpleNamespace(
        as_=as_,
        max_bytes=1 << 26,
        columns={},
        extract="main",
        extractor=None,
        comments=True,
        headings=True,
        ranking="best-worst",
    )
    (outcome,) = Shaper(options).take(raw, "id", "file")
    return outcome.values


@settings(deadline=None, max_examples=40)
@given(TEXTS)
def test_every_reader_gives_one_row_for_every_spelling(text):
    turns = lambda words: {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": words}]}  # noqa: E731
    makers = [
        *(lambda words, kind=kind: shaped(Raw(kind, "", words.encode())) for kind in ("text", "markdown", "rst")),
        lambda words: shaped(Raw("row", "", {"text": words})),
        lambda words: shaped(Raw("row", "", turns(words)), "chat"),
        lambda words: shaped(Raw("row", "", {"prompt": words, "chosen": "Yes.\n" + words, "rejected": "No."}), "pair"),
    ]
    for make in makers:
        first = make(text)
        assert all(make(other) == first for other in spellings(text))


@settings(deadline=None, max_examples=300)
@given(
    st.text(
        st.sampled_from("ab \t\n\r\v\f\x1c\x85\u2028\u2029\u00a0\u3000\u200b\u200d\ufe0f\u3164한e\u0301\ud83d"),
        max_size=30,
    )
)
def test_a_clean_text_stays_as_it_is_and_blocks_move_with_their_lines(text):
    from pipeline.schema import apply_edits

    cleaned = clean(text)
    assert (
        clean(cleaned) == cleaned
        and cleaned.splitlines() == cleaned.removesuffix("\n").split("\n")[: None if cleaned else 0]
    )
    plain = "".join(char for char in text if char not in "\u0301\ud83d")
    blocks = [
        {"kind": "paragraph", "text": plain[at : at + 4], "start": at, "end": min(at + 4, len(plain))}
        for at in range(0, len(plain), 4)
    ]
    edited, moved = apply_edits(plain, line_edits(plain), blocks)
    assert edited == clean(plain)
    assert all(block["start"] is None or edited[block["start"] : block["end"]] == block["text"] for block in moved)


@pytest.mark.parametrize(
    "text, left",
    [
        ("one  \ntwo", "one  \ntwo"),
        ("one     \r\ntwo \n", "one  \ntwo\n"),
        ("one  \n\ntwo  ", "one\n\ntwo"),
        ("def f():\r    return 1\t\r", "def f():\n    return 1\n"),
        ("سلام\u200c\n👍\ufe0f\n", "سلام\u200c\n👍\ufe0f\n"),
        ("\u3164\n\u200f \na", "\n\na"),
    ],
)
def test_what_blanks_mean_stays(text, left):
    """Two blanks that break a line of Markdown, indentation, and joiners behind a letter."""
    assert clean(text) == left


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Quality (defaults), pii and decontaminate as functions of a batch."""
    from stages.decontaminate import Decontaminate
    from stages.pii import Pii
    from stages.quality import Quality

    known = tmp_path_factory.mktemp("known") / "math.jsonl"
    asked = "A farmer has 17 sheep and buys 25 more at the market, then sells 9 of them to a neighbour. How many sheep has the farmer now?"
    known.write_text(json.dumps({"question": asked, "answer": "33"}), "utf-8")
    return [
        Quality.build({}, "quality"),
        Pii.build({}, "pii"),
        Decontaminate.build({"against": [str(known)]}, "decontaminate"),
    ]


def test_the_stages_decide_alike(stages, tmp_path):
    """Ten documents, five spellings: quality, pii, decontaminate and sft decide alike, dedup (exact, near, spans) keeps one of five."""
    import random

    from stages.dedup import Dedup
    from stages.sft import rule_of
    from stages.sft.mine import mine

    rng, pool = random.Random(7), LINES.elements
    texts = [
        "\n\n".join(rng.sample(pool, 6))
        + f"\nThis is document number {n} of all."
        + "\n\n".join(["", *rng.sample(pool, 3)])
        for n in range(10)
    ]
    ways = [
        *(lambda text, end=end: text.replace("\n", end) for end in ("\n", "\r\n", "\r", "\u2028")),
        lambda text: text.replace("\n\n", "\n \u3000\u200b\n"),
    ]
    tables = []
    for way in ways:
        rows = [shaped(Raw("row", "", {"text": way(text)})) | {"id": f"{n:032x}"} for n, text in enumerate(texts)]
        tables.append(
            pa.RecordBatch.from_pylist(
                [{name: row.get(name) for name in DOCUMENT.names} for row in rows], schema=DOCUMENT
            )
        )
    for stage in stages:
        first, *others = [stage.work(table) for table in tables]
        assert any(first.ledger["reason"].to_pylist()) or first.kept.column("text").to_pylist() != texts, (
            "the stage has something to decide"
        )
        assert all(other.kept.equals(first.kept) and other.ledger.equals(first.ledger) for other in others)
    rules = [rule_of("qa_text", {}), rule_of("heading", {})]
    first, *others = [[mine(rules, row, 17).rows for row in table.to_pylist()] for table in tables]
    assert any(first) and all(other == first for other in others)
    for spans in (None, "line", "paragraph", "substring"):
        kept = []
        for number, table in enumerate(tables):
            sink = Store(tmp_path / f"{spans}-{number}")
            stage, source = Dedup.build({"spans": spans}, "dedup"), committed(tmp_path / f"in-{spans}-{number}", table)
            kept.append([sink.read(r.shard) for r in stage.run(Inputs({"of": [source]}), sink, Inline())])
        assert all(other == kept[0] for other in kept[1:])


def committed(path, table: pa.RecordBatch) -> Store:
    from pipeline.storage.ledger import Ledger

    store = Store(path)
    store.put(
        0,
        pa.Table.from_batches([table]),
        Ledger.rows(table.column("id")),
        key="test",
        stage="test",
        input_ids=table.column("id"),
    )
    store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []}, [0])
    return store


def test_what_nobody_sees_is_no_other_text():
    seen = "The café by the mill — 맷돌 — grinds barley."
    for sign in "\u00ad\u034f\u200b\u200d\u200e\u2060\ufe0f\ufeff\U000e0041\u3164":
        assert content_id(sign.join(seen)) == content_id(seen)
    assert content_id("\u0627\u06cc\u200c\u0646") != content_id("\u0627\u06cc \u0646")
