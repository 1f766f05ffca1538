"""Mutants of files of rows and of texts, labelled sets among them: no crash, a row for each record, the neighbours whole."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.ingest.readers.columnar import LOST
from tests.stages.ingest.mutation_fuzz.hunt import Edit, Format, Record, Sample, before, hunt, none, read

WORDS = "맷돌 barley 물레방아 evening sack 곡식 river stone 가루 wheel miller 새벽".split()


def prose(dice: random.Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(3, 30))) + f" {dice.getrandbits(64):x}."


def document(dice: random.Random) -> tuple[dict[str, Any], str]:
    """A row, and the text that must come of it."""
    row = {
        "text": prose(dice),
        "title": "T",
        "date": "2026-01-02",
        "score": dice.random(),
        "tags": ["a", dice.choice(WORDS)],
        "deep": {"n": [{"x": 1}, {"x": None}]},
    }
    return row, row["text"]


def chat(dice: random.Random) -> tuple[dict[str, Any], str]:
    turns = [prose(dice) for _ in range(2)]
    row: dict[str, Any] = dice.choice((
        {"messages": [{"role": "user", "content": turns[0]}, {"role": "assistant", "content": turns[1]}]},
        {"conversations": [{"from": "human", "value": turns[0]}, {"from": "gpt", "value": turns[1]}]},
        {"instruction": turns[0], "input": "", "output": turns[1], "history": []},
    ))  # fmt: skip
    return row, "\n".join(turns)


def pair(dice: random.Random) -> tuple[dict[str, Any], str]:
    turns = [prose(dice) for _ in range(3)]
    return {
        "prompt": turns[0],
        "chosen": turns[1],
        "rejected": turns[2],
        "score_chosen": 2.0,
        "score_rejected": 1,
    }, "\n".join(turns)


def ranking(dice: random.Random) -> tuple[dict[str, Any], str]:
    turns = [prose(dice) for _ in range(4)]
    return {"prompt": turns[0], "answers": turns[1:], "scores": [3.0, 2.0, 1.0]}, "\n".join(
        (turns[0], turns[1], turns[3])
    )


# -- files -------------------------------------------------------------------------------------------------------------


def joined(pieces: list[tuple[bytes, str | None]], tail: bytes = b"") -> Sample:
    records, at = [], 0
    for piece, text in pieces:
        records.append(Record(at, at + len(piece), text))
        at += len(piece)
    return Sample(b"".join(piece for piece, _ in pieces) + tail, records)


def jsonl(dice: random.Random, of: Any = document) -> Sample:
    rows = [of(dice) for _ in range(8)]
    return joined([(json.dumps(row, ensure_ascii=dice.random() < 0.3).encode() + b"\n", text) for row, text in rows])


def array(dice: random.Random) -> Sample:
    rows = [document(dice) for _ in range(8)]
    indent = dice.choice((None, 1))
    pieces = [
        ((b",\n" if n else b"[") + json.dumps(row, ensure_ascii=False, indent=indent).encode(), text)
        for n, (row, text) in enumerate(rows)
    ]
    return joined(pieces, b"]\n")


def delimited(dice: random.Random, mark: str = ",") -> Sample:
    rows = [[prose(dice), f'"{dice.choice(WORDS)}", or\nnot', str(n)] for n in range(8)]
    pieces = []
    for row in [["text", "note", "n"], *rows]:
        held = io.StringIO()
        csv.writer(held, delimiter=mark).writerow(row)
        pieces.append((held.getvalue().encode(), row[0] if row[0] != "text" else None))
    return joined(pieces)


def table(of: Any, dice: random.Random, rows: int = 12) -> tuple[pa.Table, list[str]]:
    made = [of(dice) for _ in range(rows)]
    if of is chat:  # one form a file
        made = [m for m in made if set(m[0]) == set(made[0][0])]
    return pa.Table.from_pylist([row for row, _ in made]), [text for _, text in made]


def parquet(dice: random.Random, of: Any = document) -> Sample:
    content, texts = table(of, dice)
    sink, records, groups = io.BytesIO(), [], []
    kind = dice.choice(("none", "snappy", "zstd"))
    with pq.ParquetWriter(
        sink,
        content.schema,
        compression=kind,
        write_page_checksum=dice.random() < 0.5,
        use_dictionary=dice.random() < 0.5,
    ) as out:
        for start in range(0, len(content), 4):
            out.write_table(content.slice(start, 4))
            groups.append(sink.tell())
    for number, text in enumerate(texts):
        records.append(Record(0, groups[number // 4], text))
    return Sample(sink.getvalue(), records)


def arrow(dice: random.Random, stream: bool = False) -> Sample:
    content, texts = table(document, dice)
    sink, ends = io.BytesIO(), []
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, content.schema) as out:
        for start in range(0, len(content), 4):
            out.write_table(content.slice(start, 4))
            ends.append(sink.tell())
    return Sample(sink.getvalue(), [Record(0, ends[number // 4], text) for number, text in enumerate(texts)])


def whole_text(dice: random.Random) -> Sample:
    lines = [
        f"# {prose(dice)}",
        "",
        *(prose(dice) for _ in range(4)),
        "- one",
        "- two",
        "",
        "Title",
        "=====",
        "",
        ".. note:: x",
        "",
        "```",
        "code",
        "```",
    ]
    data = "\n".join(lines).encode()
    return Sample(data, [Record(0, len(data), lines[2])])


# -- laws --------------------------------------------------------------------------------------------------------------


def lines_untouched(sample: Sample, edits: list[Edit]) -> list[Record]:
    """Lines of which, with the line end before them, no byte was touched, and into which nothing was put."""
    return [
        record
        for record in sample.records
        if not any(start < record.end and end >= record.start for start, end in edits)
    ]


def before_the_footer(sample: Sample, edits: list[Edit]) -> list[Record]:
    """Row groups or batches before the first edit, where the index at the end (and with it all positions) is untouched."""
    footer = max(record.end for record in sample.records)
    return before(sample, edits) if all(end <= footer and start < footer for start, end in edits) else []


def elements_untouched(sample: Sample, edits: list[Edit]) -> list[Record]:
    """Elements untouched, with the comma on either side; one edit only: behind it the next element with a name in common is met."""
    if len(edits) > 1:
        return before(sample, [(start - 2, end) for start, end in edits])
    return [
        record
        for record in sample.records
        if not any(start < record.end + 2 and end >= record.start - 1 for start, end in edits)
    ]


def no_lines(data: bytes) -> int:
    """Lines that are not blank: of a file without LF those that end with CR. One for a file without any."""
    end = b"\r" if b"\r" in data and b"\n" not in data else b"\n"
    return sum(bool(line.strip()) for line in data.split(end)) or 1


def logical(data: bytes, mark: str) -> int:
    """Records of a CSV file below its first, as the csv module has them of the whole text."""
    text = data.decode("utf-8", "replace")
    first = re.split("[\r\n]", text.removeprefix("\ufeff"), maxsplit=1)[0]
    mark = (
        "\t"
        if mark == "\t" or ("\t" in first and "," not in first)
        else ";"
        if ";" in first and "," not in first
        else ","
    )
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    names = next(rows, None)
    return sum(bool(row) for row in rows) or 1 if names and any(name.strip() for name in names) else 1


def of_footer(data: bytes) -> int:
    """Rows that a Parquet footer names; one where there is no footer, or where what is left of the file begins like one in zstd."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return 1
    try:
        about = pq.ParquetFile(
            io.BytesIO(data),
            thrift_string_size_limit=64 << 20,
            thrift_container_size_limit=1 << 20,
            schema_depth_limit=128,
        ).metadata
        return sum(min(max(0, about.row_group(group).num_rows), LOST + 1) for group in range(about.num_row_groups)) or 1
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        return 1


FORMATS = {
    "JSONL": Format("jsonl", jsonl, lines_untouched, {}, no_lines),
    "JSON": Format("json", array, elements_untouched),
    "CSV": Format("csv", delimited, before, {}, partial(logical, mark=",")),
    "TSV": Format("tsv", partial(delimited, mark="\t"), before, {}, partial(logical, mark="\t")),
    "Parquet": Format("parquet", parquet, before_the_footer, {}, of_footer),
    "Arrow file": Format("arrow", arrow, before_the_footer),
    "Arrow stream": Format("arrows.arrow", partial(arrow, stream=True), before),
    "text": Format("txt", whole_text, none),
    "Markdown": Format("md", whole_text, none),
    "reST": Format("rst", whole_text, none),
}
FORMATS |= {
    f"{of.__name__} over JSONL": Format("jsonl", partial(jsonl, of=of), lines_untouched, {"as": of.__name__}, no_lines)
    for of in (chat, pair, ranking)
}
FORMATS |= {
    f"{of.__name__} over Parquet": Format("parquet", partial(parquet, of=of), before_the_footer, {"as": of.__name__})
    for of in (chat, pair, ranking)
}


@pytest.mark.parametrize("name", FORMATS)
def test_mutants(name, tmp_path):
    seen = hunt(FORMATS[name], tmp_path, 300)
    assert seen["mutants"] == 300 and not seen["ingest.failed"] and not seen["ingest.open_failed"]


@pytest.mark.parametrize("name", FORMATS)
def test_sound_files_are_read_whole(name, tmp_path):
    for seed in range(3):
        sample = FORMATS[name].make(random.Random(seed))
        path = tmp_path / f"sound.{FORMATS[name].ending}"
        path.write_bytes(sample.data)
        found = read(path, FORMATS[name].options).texts
        wanted = [record.text for record in sample.records if record.text]
        assert len(found) == len(wanted) and all(text in made for text, made in zip(wanted, found))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_mutants(name, tmp_path):
    assert hunt(FORMATS[name], tmp_path, 20_000, seed=1)["mutants"] == 20_000
