"""Sources full of faults from ingest to packed tokens and instructions by the command line: no end before time, every row accounted for.

What was given is counted where it is made; ledgers and rows are read with Arrow alone, by no reader of ours.
"""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.cli import cli
from tests.stages.ingest.readers.test_zoo import warc

STEPS = ("ingest", "quality", "dedup", "pii", "decontaminate")
AFTER = ("tokenizer", "pack", "sft", "unique")
PLANTED = ("barley.miller@example.org", "010-2345-6789")
ENGLISH = """the of and to that with have be river stone water miller barley evening field harvest winter bread wheel village people market road
bridge garden window morning summer children letter question answer history country mountain forest winter weather journey kitchen table music
teacher school doctor music paper pencil library ship harbour island storm candle basket orchard shepherd carpenter blacksmith painter silver
copper leather wagon meadow pasture hillside valley cottage chimney fireplace blanket lantern honey butter cheese apple cherry pepper salt sugar
walked carried opened written spoken remembered forgotten gathered planted measured repaired painted borrowed returned answered followed"""
KOREAN = """맷돌은 물레방아가 보리를 저녁에 마을에서 사람들은 다리를 건너 시장으로 걸어갔다 곡식을 빻는 소리가 들렸고 아이들은 강가에서 놀았다 겨울이 오기
전에 수확을 마치고 창고에 넣었으며 이웃과 나누어 먹었다 새벽마다 안개가 피어오르는 언덕을 넘어 학교에 다녔고 선생님은 오래된 이야기를 들려주었다 바람이 불면
나뭇잎이 흔들렸다 배를 타고 섬으로 떠난 친구에게 편지를 썼다 부엌에서는 빵 굽는 냄새가 났고 화덕 옆에 앉아 몸을 녹였다"""


class Walk(NamedTuple):
    """The stores of a chain by step, in order."""

    stores: dict[str, Path]

    def ledger(self, step: str) -> list[dict[str, Any]]:
        return arrow(self.stores[step], "ledger", ["id", "out", "reason", "note"])

    def rows(self, step: str = "decontaminate") -> list[dict[str, Any]]:
        return arrow(self.stores[step], "shards")


def arrow(store: Path, folder: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of every Arrow file of a folder of a store, in order."""
    found: list[dict[str, Any]] = []
    for path in sorted((store / folder).glob("*.arrow")):
        table = pa.ipc.open_file(path).read_all()
        found += (table.select(columns) if columns else table).to_pylist()
    return found


def prose(seed: int, lines: int = 8) -> str:
    """English or Korean that quality keeps: no two alike."""
    dice = random.Random(seed)
    words = (KOREAN if seed % 3 == 2 else ENGLISH).split()
    common = [] if seed % 3 == 2 else words[:8]
    pieces = [
        [word for n in range(16) for word in (dice.choice(words), dice.choice(common or words))[: 1 + n % 2]]
        for _ in range(lines)
    ]
    return "\n".join(" ".join(piece).capitalize() + "." for piece in pieces)


ITEM = {
    "question": "Which of the seven mills along the northern river had two wheels before the flood took the lower one away?",
    "answer": "the mill of the widow",
}


def contaminated(seed: int) -> str:
    """Prose that gives an item of the evaluation set away."""
    return f"{prose(seed)}\n{ITEM['question']} It was {ITEM['answer']}, as everybody knew.\n{prose(seed + 3)}"


def asked(seed: int) -> str:
    """Prose with a question and its answer, which sft mines."""
    return f"{prose(seed)}\n\nQ: What did the people of the village carry over the bridge?\nA: {prose(seed + 3, 1)}\n"


def step(*words: str) -> None:
    """`maetdol WORDS -q` in this process; it must end with 0."""
    assert cli.main([*words, "-q"], standalone_mode=False) == 0, words


def evaluation_set(folder: Path) -> list[str]:
    """The flags of decontaminate for a set of one item."""
    (folder / "against.jsonl").write_text(json.dumps(ITEM) + "\n")
    return ["--against", str(folder / "against.jsonl")]


def chain(folder: Path, source: Path, to: str = AFTER[-1], **flags: list[str]) -> Walk:
    """Every step up to `to` as `maetdol STEP IN OUT` with its own flags. What decontaminate leaves is learnt from, packed and mined."""
    steps = (*STEPS, *AFTER)
    stores = {name: folder / f"{number}-{name}" for number, name in enumerate(steps)}
    of = dict(zip(STEPS, (source, *(stores[name] for name in STEPS))))
    of |= {name: stores["sft" if name == "unique" else STEPS[-1]] for name in AFTER}
    own = {
        "decontaminate": evaluation_set(folder),
        "tokenizer": ["--vocab-size", "700"],
        "pack": ["--tokenizer", str(stores["tokenizer"]), "--seq-len", "64"],
        "unique": ["--fields", "prompt"],
    } | flags
    done = steps[: steps.index(to) + 1]
    for name in done:
        step("dedup" if name == "unique" else name, str(of[name]), str(stores[name]), *own.get(name, []))
    return Walk({name: stores[name] for name in done})


def accounted(made: Walk) -> None:
    """At every step: a ledger row for every id that came, an output or a reason, and in the store what the ledger says."""
    came: list[str] | None = None
    for name in STEPS:
        came = one_step(made, name, came)
        for row in made.rows(name):
            row["text"].encode("utf-8")
            assert "\r" not in row["text"]
            for entry in row["meta"] or ():
                if entry["type"] == "json" and entry["value"] is not None:
                    json.loads(entry["value"])
    if "unique" not in made.stores:
        return
    assert came is not None
    learnt = made.ledger("tokenizer")
    assert sorted(row["id"] for row in learnt) == sorted(came), (
        "the tokenizer's ledger says of every document what it was used for"
    )
    packed = one_step(made, "pack", came, several=True)
    spans: dict[str, list[tuple[int, int]]] = {}
    for row in arrow(made.stores["pack"], "ledger"):
        if row["out"] is not None:
            spans.setdefault(row["id"], []).append((row["span_start"], row["span_end"]))
    for row in made.rows():
        if row["id"] in spans:
            covered(sorted(spans[row["id"]]), len(row["text"]))
    ends = [end for row in made.rows("pack") for end in row["docs"] if end["offset"] == 0]
    assert sorted(end["id"] for end in ends) == sorted(spans), "every document begins once"
    assert len(set(packed)) == len(packed)
    one_step(made, "unique", one_step(made, "sft", came, several=True))


def covered(spans: list[tuple[int, int]], length: int) -> None:
    """Spans of code points, one after the other, that are a text of so many."""
    assert [0, *(end for _, end in spans)] == [*(start for start, _ in spans), length]


def one_step(made: Walk, name: str, came: list[str] | None, several: bool = False) -> list[str]:
    """The law of one step, and the ids it gives. `several`: a row of its own for each of the outputs of an id."""
    ledger, ids = made.ledger(name), [row["id"] for row in made.rows(name)]
    if came is not None:
        assert {row["id"] for row in ledger} == set(came), f"{name}: ids that came are not those of the ledger"
        assert several or len(ledger) == len(came), name
    outs = [row["out"] for row in ledger if row["out"] is not None]
    assert (set(outs) == set(ids) if several else Counter(outs) == Counter(ids)) and len(set(ids)) == len(ids), (
        f"{name}: outputs are not the rows"
    )
    assert all((row["out"] is None) == (row["reason"] is not None) for row in ledger), (
        f"{name}: a row with neither output nor reason"
    )
    return ids


def nothing_personal(made: Walk) -> None:
    """Nothing that was planted stands in any file that is written after pii, as it is or in JSON's spelling."""
    steps = list(made.stores)
    for name in steps[steps.index("pii") :]:
        shown = json.dumps([made.rows(name), arrow(made.stores[name], "ledger")], ensure_ascii=False, default=str)
        assert not [value for value in PLANTED if value in shown], name
        files = [path for path in made.stores[name].rglob("*") if path.is_file()]
        assert files and not [path for path in files for value in PLANTED if value.encode() in path.read_bytes()], name


# -- JSON lines --------------------------------------------------------------------------------------------------------


def lines_of(rows: int) -> list[bytes]:
    """Rows of JSON lines, and between them what has no text."""
    lines: list[bytes] = []
    for n in range(rows):
        text = prose(n).replace("\n", ("\r\n", "\n", "\r\n \t\r\n", "\r")[n % 4])
        row = {
            "text": text,
            "title": f"No {n}",
            "date": "2026-01-02",
            "author": {"name": 'Ada "the\\ quick" ' + PLANTED[0]},
            "tags": [PLANTED[1], None, 1.5],
        }
        lines.append(
            json.dumps(
                {**row, "emb": [0.1 * n, 1, -2], "none": None, "deep": {"a": [{"b": PLANTED[0]}]}},
                ensure_ascii=n % 2 == 0,
            ).encode()
        )
    lines[3:3] = [
        b"",
        b"  \t",
        b'{"text": "cut',
        b"\x00\xff\xfe",
        b"[]",
        b"17",
        b'{"text": 17}',
        b'{"text": null}',
        b'{"title": "no text"}',
        b'{"text": "NaN", "n": NaN}',
    ]
    lines += [json.dumps({"text": text}).encode() for text in (contaminated(900), asked(910))]
    lines.append(lines[0])
    return lines


FORMS = {
    "lf": ("utf-8", ["\n"]),
    "crlf": ("utf-8", ["\r\n"]),
    "mixed": ("utf-8-sig", ["\r\n", "\n", "\r\n\r\n"]),
    "wide": ("utf-16", ["\r\n"]),
}


def test_json_lines_of_any_line_end(tmp_path):
    """The same rows with LF, CRLF and both, in codings with a mark: the same texts come of them, for the same reasons."""
    lines, made = [line.decode("utf-8", "replace") for line in lines_of(12)], {}
    for name, (coding, ends) in FORMS.items():
        data = "".join(line + ends[n % len(ends)] for n, line in enumerate(lines)).encode(coding)
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_bytes(data.rstrip(b"\r\n") if name == "crlf" else data)
        made[name] = chain(tmp_path / name, tmp_path / name / "rows.jsonl", AFTER[-1] if name == "crlf" else STEPS[-1])
        accounted(made[name])
        nothing_personal(made[name])
    told = {name: [Counter(row["reason"] for row in own.ledger(step)) for step in STEPS] for name, own in made.items()}
    texts = {name: [row["text"] for row in own.rows()] for name, own in made.items()}
    for name in FORMS:
        assert told[name] == told["lf"] and texts[name] == texts["lf"], name
    assert told["lf"][0][None] == 16 and told["lf"][2]["dedup.exact"] == 1 and len(texts["lf"]) >= 8
    assert told["lf"][-1]["decontaminate.answered"] == 1 and len(made["crlf"].rows("unique")) >= 1


# -- tables ------------------------------------------------------------------------------------------------------------


def odd_tables(folder: Path, rows: int) -> int:
    """Parquet and Arrow files of values of many types; returns how many records they hold."""
    folder.mkdir()
    zone = datetime.timezone(datetime.timedelta(hours=9))
    texts = [prose(n) for n in range(rows)]
    columns: dict[str, pa.Array] = {
        "title": pa.array([f"No {n}" for n in range(rows)]).dictionary_encode(),
        "date": pa.array([datetime.date(1, 1, 1) if n == 2 else datetime.date(2026, 1, 2) for n in range(rows)]),
        "seen": pa.array([n * 10**15 for n in range(rows)], pa.timestamp("ns", "Mars/Olympus")),
        "local": pa.array([datetime.datetime(2026, 1, 2, tzinfo=zone)] * rows, pa.timestamp("us", "+09:00")),
        "took": pa.array([datetime.timedelta(seconds=n) for n in range(rows)], pa.duration("ms")),
        "price": pa.array([decimal.Decimal(n).scaleb(-3) for n in range(rows)], pa.decimal128(38, 9)),
        "part": pa.array([float("nan"), float("inf"), *[0.5] * (rows - 2)], pa.float64()),
        "raw": pa.array([b"\xff\x00" + PLANTED[0].encode()] * rows, pa.binary()),
        "map": pa.array([[(PLANTED[1], PLANTED[0])]] * rows, pa.map_(pa.string(), pa.string())),
        "deep": pa.array([{"by": [{"mail": f'"{PLANTED[0]}"', "n": None}]}] * rows),
        "nothing": pa.nulls(rows),
        "large": pa.array([2**63 - 1] * rows, pa.uint64()),
    }
    bad = pa.Array.from_buffers(
        pa.string(),
        rows,
        pa.array([texts[0].encode() + b"\xff\xfe", *[t.encode() for t in texts[1:-1]], None], pa.binary()).buffers(),
    )
    pq.write_table(pa.table({"text": bad, **columns}), folder / "a.parquet", row_group_size=5)
    vectors = pa.array([[float(n), 1.0, -n] for n in range(rows - 1)] + [None], pa.list_(pa.float32(), 3))
    other = pa.table(
        {
            "text": pa.array(
                [contaminated(103), asked(109), *(prose(100 + n) for n in range(2, rows))], pa.large_string()
            ),
            **columns,
            "emb": vectors,
        }
    )
    pq.write_table(other, folder / "b.parquet")
    wide = other.set_column(
        other.column_names.index("emb"),
        "emb",
        pa.array([[float(n), 1.0, -n] for n in range(rows)], pa.list_(pa.float64())),
    )
    wide = wide.set_column(0, "text", pa.array([prose(200 + n) for n in range(rows)], pa.string_view()))
    with pa.ipc.new_file(folder / "c.arrow", wide.schema) as out:
        out.write_table(wide)
    whole = (folder / "b.parquet").read_bytes()
    (folder / "d.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "e.parquet").write_bytes(b"")
    return 3 * rows


def test_tables_of_odd_values(tmp_path, monkeypatch):
    """Three files, three shards: the first without the vectors that dedup compares, the others with them in unlike types."""
    from stages.ingest import plan

    monkeypatch.setattr(plan, "ALONE", 1)
    records = odd_tables(tmp_path / "raw", 10)
    made = chain(
        tmp_path, tmp_path / "raw", dedup=["--levels", "exact,near,semantic", "--vectors", "emb", "--cells", "1"]
    )
    accounted(made)
    nothing_personal(made)
    reasons = Counter(row["reason"] for row in made.ledger("ingest"))
    assert reasons[None] == records - 1 and reasons.total() == records + 2, reasons
    assert "�" in next(row["text"] for row in made.rows("ingest") if row["title"] == "No 0")
    assert {row.get("emb") is None for row in made.rows()} == {True, False}
    assert Counter(row["reason"] for row in made.ledger("dedup"))["dedup.semantic"] >= 8, (
        "the same vectors stand in two files"
    )
    assert Counter(row["reason"] for row in made.ledger("decontaminate"))["decontaminate.answered"] == 1
    last = {entry["key"]: entry["value"] for entry in made.rows()[-1]["meta"]}
    assert json.loads(last["deep"])["by"][0]["n"] is None and last["price"].startswith("0.00")


# -- pages -------------------------------------------------------------------------------------------------------------


def page_of(number: int, more: str = "", charset: str = "utf-8") -> str:
    """A page whose article quality keeps; `more` stands in it."""
    words = "".join(f"<p>{line}</p>\n" for line in prose(number).split("\n"))
    return f"<!DOCTYPE html><html><head><meta charset={charset}><title>Page {number}</title></head><body><nav><a href=/>home</a></nav><article><h1>Page {number}</h1>{words}{more}</article></body></html>"


def odd_pages() -> tuple[dict[str, bytes], dict[str, str]]:
    """Pages by name, sound and odd; and the reason of each that gives no row."""
    korean, table = next(n for n in range(300, 400) if n % 3 == 2), "".join(f"<tr><td>{n}<td>{n * n}" for n in range(8))
    kept = {
        "plain": page_of(300), "table": page_of(301, f"<table><tr><th>sack<th>price{table}</table>"), "hostile-table": page_of(303, "<table>" + "<tr><td>1<td colspan=1000 rowspan=60000>2" * 20 + "</table>"),
        "list": page_of(304, "<ul><li>river stone and bread<ol><li>water of the mill</ol><li>a field of barley</ul>"), "replies": page_of(306, "".join(f"<div class=comment-content><p>{prose(400 + n, 2)}</p></div>" for n in range(3))),
        "personal": page_of(307, f"<p>Write to <a href='mailto:{PLANTED[0]}'>{PLANTED[0]}</a> or call {PLANTED[1]}.</p>"), "left-open": page_of(309, "<div class='a\"\"><b><i><p>" + prose(310, 3)).replace("</article></body></html>", ""),
        "control": page_of(312) + "&#1; &#xFFFE; \x00\x1b", "formula": page_of(313, "<math alttext='a^{2}'><msup><mi>a</mi><mn>2</mn></msup></math>"), "deep": page_of(315, "<div>" * 3000 + "deep"), "line-ends": page_of(316).replace("\n", "\r\n \t\r\n"),
        "menu": page_of(318, "<select>" + "<option>x" * 1500 + "</select>"), "marks": page_of(319, "<p>a" + "\u0301\u0323" * 200), "contaminated": page_of(330, f"<p>{ITEM['question']} It was {ITEM['answer']}, as everybody knew.</p>"),
        "asked": page_of(333, f"<dl><dt>What did the people of the village carry over the bridge?</dt><dd>{prose(334, 1)}</dd></dl>"), "stated": page_of(321, '<script type="application/ld+json">{"@type": "Question", "name": "' + PLANTED[0] + '", "acceptedAnswer": {"a": NaN}}</script>'),
    }  # fmt: skip
    pages = {name: source.encode() for name, source in kept.items()}
    pages |= {
        "cp949": page_of(korean, charset="euc-kr").encode("cp949"),
        "wrong-label": page_of(korean + 3, charset="euc-kr").encode(),
        "wide": page_of(korean + 6).encode("utf-16"),
        "damaged": page_of(korean + 9).encode() + b"\xff\xc3",
        "again": pages["plain"],
    }
    dropped = {
        "empty": b"",
        "blank": b" \r\n\t",
        "no-words": b"<html><body><img src=a><script>var a</script></body></html>",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj\n",
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(64)),
    }
    return pages | dropped, dict(
        zip(dropped, ("ingest.empty", "ingest.empty", "ingest.no_main_text", "ingest.pdf", "ingest.image"), strict=True)
    )


def told_of_pages(made: Walk, reasons: dict[str, str], pages: int) -> None:
    """The chain's accounts, the reasons of the odd pages, and what became of those with words."""
    accounted(made)
    nothing_personal(made)
    told = Counter(row["reason"] for row in made.ledger("ingest"))
    assert told[None] == pages - len(reasons)
    assert not Counter(reasons.values()) - told, told
    assert Counter(row["reason"] for row in made.ledger("dedup"))["dedup.exact"] >= 1
    texts = [row["text"] for row in made.rows()]
    assert len(texts) >= 0.6 * (pages - len(reasons)), Counter(
        row["reason"] for step in STEPS[1:] for row in made.ledger(step)
    )
    read = [row["text"] for row in made.rows("ingest")]
    assert Counter(row["reason"] for row in made.ledger("decontaminate"))["decontaminate.answered"] == 1
    assert sum(sum("가" <= c <= "힣" for c in text) > 300 for text in read) >= 4, (
        "the Korean pages, whatever their bytes"
    )
    assert not any("<p>" in text for text in read)


def test_a_folder_of_odd_pages(tmp_path):
    pages, reasons = odd_pages()
    (tmp_path / "raw" / "inner").mkdir(parents=True)
    for number, (name, data) in enumerate(pages.items()):
        (tmp_path / "raw" / ("inner" if number % 3 == 0 else ".") / f"{name}.html").write_bytes(data)
    made = chain(tmp_path, tmp_path / "raw")
    told_of_pages(made, reasons, len(pages))
    assert len({row["id"] for row in made.ledger("ingest")}) == len(pages)


def test_an_archive_of_odd_pages(tmp_path):
    """The same pages as responses, among them packed ones, with records that are no pages, bytes between frames and a cut end."""
    pages, reasons = odd_pages()
    frames, head = [], b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    for number, data in enumerate(pages.values()):
        packed = number % 4 == 1
        frames.append(
            warc(
                number,
                body=head
                + (b"Content-Encoding: gzip\r\n" if packed else b"")
                + b"\r\n"
                + (gzip.compress(data) if packed else data),
            )
        )
    others = [
        warc(900, kind="request", body=b"GET / HTTP/1.1\r\n\r\n"),
        warc(901, body=b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>gone"),
        warc(902, kind="warcinfo", body=b"software: a mill\r\n"),
    ]
    frames[3:3] = others
    frames.insert(7, b"bytes between two frames\r\n\r\n")
    cut = warc(903, body=head + b"\r\n" + page_of(330).encode())[:-900]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.warc").write_bytes(b"".join(frames) + cut)
    (tmp_path / "raw" / "b.warc.gz").write_bytes(
        b"".join(gzip.compress(warc(n, body=head + b"\r\n" + page_of(340 + n).encode())) for n in range(3))
    )
    made = chain(tmp_path, tmp_path / "raw")
    told = Counter(row["reason"] for row in made.ledger("ingest"))
    assert told["ingest.record_type"] == 2 and told["ingest.http_status"] == 1 and told["ingest.broken_record"] == 2
    told_of_pages(made, reasons, len(pages) + 3)
    assert told.total() == len(pages) + 3 + len(others) + 2


# -- conversations -----------------------------------------------------------------------------------------------------

TOOLS = [{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {}}}}]


def odd_conversations() -> tuple[list[str], int]:
    """JSON of conversations in the shapes of many sets, sound and odd, and how many of them are none."""

    def turns(seed: int, **more: Any) -> list[dict[str, Any]]:
        question = f"{prose(seed, 1)} Why is that so?"
        return [{"role": "user", "content": question}, {"role": "assistant", "content": prose(seed + 1, 2), **more}]

    said = f"Write to {PLANTED[0]} or call {PLANTED[1]}."
    call = {"id": "c1", "type": "function", "function": {"name": "weigh", "arguments": json.dumps({"to": PLANTED[0]})}}
    answered = {"role": "tool", "tool_call_id": "c1", "content": said}
    sound: list[Any] = [
        {"messages": turns(500)},
        {"messages": [{"role": "system", "content": ""}, *turns(503)]},
        {"messages": [*turns(506, reasoning_content=said), *turns(509)], "tools": TOOLS},
        {"messages": [{"role": "user", "content": prose(512, 1)}, {"role": "assistant", "content": None, "tool_calls": [call]}, answered, turns(515)[1]], "tools": json.dumps(TOOLS)},
        {"conversations": [{"from": "human", "value": prose(518, 1)}, {"from": "gpt", "value": prose(519, 2)}], "none": None},
        {"instruction": prose(521, 1), "input": "", "output": prose(522, 2), "system": said},
        {"prompt": prose(524, 1), "response": prose(525, 2), "score": "NaN"},
        {"question": prose(527, 1).replace(". ", ".\r\n"), "answer": prose(528, 2).replace("\n", "\r\n \t\r\n")},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": prose(530, 1)}]}, turns(533, weight=0)[1]], "deep": {"a": [{"b": PLANTED[0]}]}},
        {"messages": turns(536), "meta": {PLANTED[1]: [1, None, "x"]}},
        {"messages": [{"role": "user", "content": ITEM["question"]}, {"role": "assistant", "content": f"It was {ITEM['answer']}, as everybody knew."}]},
        {"messages": turns(500)},
    ]  # fmt: skip
    odd: list[Any] = [
        {"messages": []}, {"messages": None}, {"messages": [7, None]}, {"messages": {"role": "user"}}, {}, [], None,
        {"messages": [{"role": "user", "content": "Nobody answered this."}]}, {"text": "no conversation at all"},
        {"messages": [{"role": "miller", "content": "Who is that?"}, *turns(540)]}, {"instruction": None, "output": 17},
        {"instruction": prose(542, 1), "output": "", "history": 3.5},
    ]  # fmt: skip
    lines = [json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(sound)]
    lines[4:4] = [json.dumps(row) for row in odd]
    lines[2:2] = ['{"messages": [{"role": "user", "content": "cut', '{"messages": NaN}', "\x00"]
    return lines, len(odd) + 3


def test_conversations_of_any_shape(tmp_path):
    """JSON lines with CRLF through the steps that take conversations, to two sides of a split that have all of them."""
    lines, odd = odd_conversations()
    (tmp_path / "rows.jsonl").write_bytes("\r\n".join(lines).encode())
    steps = (*STEPS, "split", "rest")
    stores = {name: tmp_path / f"{number}-{name}" for number, name in enumerate(steps)}
    flags = {
        "ingest": ["--as", "chat"],
        "quality": ["--filters", "[{word_count: {min: 5}}, {repeated_lines: {}}]"],
        "decontaminate": evaluation_set(tmp_path),
        "split": ["--share", "0.5"],
        "rest": ["--share", "0.5", "--rest"],
    }
    before, came, made = tmp_path / "rows.jsonl", None, Walk(stores)
    for name in steps:
        step("split" if name == "rest" else name, str(before), str(stores[name]), *flags.get(name, []))
        given = one_step(made, name, came)
        if name in STEPS:
            before, came = stores[name], given
    told = {name: Counter(row["reason"] for row in made.ledger(name)) for name in steps}
    assert told["ingest"].total() == len(lines) and told["ingest"][None] == len(lines) - odd, told["ingest"]
    assert told["dedup"]["dedup.exact"] == 1 and told["decontaminate"]["decontaminate.answered"] == 1, told
    sides = [{row["id"] for row in made.rows(name)} for name in ("split", "rest")]
    assert all(sides) and sides[0] | sides[1] == set(came or ()) and not sides[0] & sides[1]
    rows = made.rows("ingest")
    assert (
        any(turn["tool_calls"] for row in rows for turn in row["messages"])
        and sum(bool(row["tools"]) for row in rows) == 2
    )
    assert not any("\r" in (turn["content"] or "") for row in rows for turn in row["messages"])
    nothing_personal(made)
