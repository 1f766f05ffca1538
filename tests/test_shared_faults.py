"""Inputs met in the open (../shared/faults/inputs), each by the way a user would take, held against what stands in the input itself.

The expected counts and texts are read out of the inputs by plain means (splitting, a regular expression, `json`), never by
the code under test. Small inputs of the same kinds, built in code, stand in the tests of the rooms.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.ledger import check
from pipeline.storage.store import Store
from stages.ingest import Ingest

INPUTS = Path(__file__).resolve().parents[2] / "shared" / "faults" / "inputs"
pytestmark = pytest.mark.skipif(not INPUTS.is_dir(), reason="../shared/faults is not beside this checkout")


class Read(NamedTuple):
    """What ingest made of a file: its rows, and its ledger's rows."""

    rows: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    store: Store

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.rows]

    @property
    def reasons(self) -> Counter:
        return Counter(row["reason"] for row in self.ledger)

    @property
    def notes(self) -> list[str]:
        return [row["note"] for row in self.ledger if row["note"]]


@pytest.fixture
def ingest(tmp_path):
    """`ingest("19-long.warc", **options)` -> Read; every input record has exactly one row of the ledger, kept or with a reason."""

    def run(name: str, **options: Any) -> Read:
        stage = Ingest.build({"from": str(INPUTS / name), **options}, "ingest")
        store = Store(tmp_path / "ingest")
        receipts = stage.run(Inputs(), store, Inline())
        store.commit_manifest(
            {"stage": "ingest", "shape": stage.output(), "key": stage.key(Inputs()), "lineage": {}, "schema": []},
            [r.shard for r in receipts],
        )
        for shard in store.shards():
            check(None, store.read(shard)["id"], store.ledger(shard), f"shard {shard}")
        read = [(store.read(shard).to_pylist(), store.ledger(shard).to_pylist()) for shard in store.shards()]
        return Read([row for rows, _ in read for row in rows], [row for _, ledger in read for row in ledger], store)

    return run


def given(name: str) -> bytes:
    return (INPUTS / name).read_bytes()


def objects(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in given(name).decode().splitlines() if line.strip()]


def paragraphs(page: bytes | str) -> list[str]:
    """The contents of a page's `p` elements, tags cut out and references resolved."""
    text = page.decode("utf-8", "replace") if isinstance(page, bytes) else page
    return [
        html.unescape(re.sub(r"<[^>]*>", "", found)).strip() for found in re.findall(r"<p>(.*?)(?:</p>|$)", text, re.S)
    ]


def whole(text: str, parts: list[str]) -> None:
    """All parts, in order, none left out and none twice."""
    assert parts, "the input has none"
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"not in the text, or not at its position: {part[:60]!r}"
        at = found + len(part)
    assert all(text.count(part) == sum(other.count(part) for other in parts) for part in parts)


# -- 1: a record that no reader foresaw ----------------------------------------------------------------------------------


def records(name: str) -> dict[str, bytes]:
    """Address -> what follows it up to the next record, found by the version lines alone."""
    pieces = re.split(rb"(?m)^(?=WARC/\d\.\d\r?$)", given(name))
    found = (re.search(rb"WARC-Target-URI: *([^\r\n]*)", piece) for piece in pieces)
    return {match.group(1).decode("utf-8", "replace"): match.string for match in found if match}


@pytest.mark.parametrize(
    "name, count",
    [("19-long.warc", 3), ("20-v2.warc", 9), ("w3-warc-lf-only.warc", 4), ("w4-length-6-too-long.warc", 4)],
)
def test_every_record_of_an_archive_comes_whole(ingest, name, count):
    expected, read = records(name), ingest(name)
    assert len(expected) == count and read.reasons == {None: count}
    assert {row["url"] for row in read.rows} == set(expected)
    for row in read.rows:
        whole(row["text"], paragraphs(expected[row["url"]]))


@pytest.mark.parametrize("name", ["19-long.warc", "w4-length-6-too-long.warc"])
def test_a_length_that_does_not_hold_is_noted(ingest, name):
    (note,) = ingest(name).notes
    declared, real = map(int, re.findall(r"\d+", note))
    assert 5 <= declared - real <= 11 and b"Content-Length: %d\r" % declared in given(name)


@pytest.mark.parametrize("name", ["w1-arc-crlf-headers.arc", "w2-arc-blank-in-url.arc"])
def test_every_record_of_an_arc_file_comes_whole(ingest, name):
    read, pages = ingest(name), re.findall(rb"<html>.*?</html>", given(name), re.S)
    assert len(pages) == 3 and read.reasons == {None: 3, "ingest.record_type": 1}
    for row, page in zip(read.rows, pages, strict=True):
        whole(row["text"], list(dict.fromkeys(paragraphs(page))))
    heads = [
        line.rsplit(b" ", 4)[0]
        for line in given(name).splitlines()
        if line.startswith(b"http://") and line.rsplit(b" ", 1)[-1].isdigit()
    ]
    assert [row["url"] for row in read.rows] == [address.decode() for address in heads]


def test_bytes_that_are_no_utf8_cost_their_character(ingest):
    table = pq.read_table(INPUTS / "05-badutf8.parquet")
    (name,) = [field.name for field in table.schema if pa.types.is_string(field.type)]
    expected = [value.as_buffer().to_pybytes().decode("utf-8", "replace") for value in table[name]]
    read = ingest("05-badutf8.parquet")
    assert sum("\ufffd" in text for text in expected) == 1 and read.texts == expected
    assert read.notes == [f"column {name!r}: 1 characters unreadable as utf-8"]


@pytest.mark.parametrize("name", ["05-date.parquet", "05-date.arrow"])
def test_a_date_out_of_range_costs_its_value(ingest, name):
    path = INPUTS / name
    table = pq.read_table(path) if name.endswith("parquet") else pa.ipc.open_file(path).read_all()
    read = ingest(name)
    assert read.texts == table["text"].to_pylist() and read.reasons == {None: table.num_rows}
    days = (
        table["date"].cast(pa.int32()).to_pylist()
        if pa.types.is_date32(table["date"].type)
        else table["date"].cast(pa.int64()).to_pylist()
    )
    dates = [row["date"] for row in read.rows]
    assert len(read.notes) == 1 and dates.count(None) == 1 and abs(days[dates.index(None)]) == max(map(abs, days))


def test_a_control_character_behind_the_page(ingest):
    read = ingest("x1-control-reference.html")
    whole(read.texts[0], paragraphs(given("x1-control-reference.html")))
    assert (
        read.reasons == {None: 1} and "reference" in read.texts[0].rsplit("\n", 1)[-1] and "\x01" not in read.texts[0]
    )


def test_a_history_that_is_none_is_the_rows_fault(ingest):
    read = ingest("x3-history.jsonl", **{"as": "chat"})
    assert (
        len(objects("x3-history.jsonl")) == 1
        and read.reasons == {"ingest.wrong_columns": 1}
        and "history" in read.notes[0]
    )


# -- 2: bytes taken for text on somebody's word --------------------------------------------------------------------------


def test_content_codings(ingest):
    expected, read = records("06-encodings.warc"), ingest("06-encodings.warc")
    assert len(read.ledger) == len(expected) == 12
    texts = {row["url"]: row["text"] for row in read.rows}
    plain = paragraphs(expected["http://example.com/none"])
    assert len(plain) >= 5
    cut = "http://example.com/gzipcut"
    for url, text in texts.items():
        if url != cut:
            title = re.match(r"Page (\w+)", text).group(1)
            whole(text, [part.replace("page none", f"page {title}") for part in plain])
    # The page that was cut says so, the coding that cannot be undone has its reason; nothing else is missing.
    assert read.reasons == {None: 11, "ingest.content_coding": 1} and set(expected) - set(texts) == {
        "http://example.com/compress"
    }
    assert sorted(read.notes) == ["gzip data cut", "payload: compress"]
    assert all("\ufffd" not in text and "\0" not in text for text in texts.values())


def test_what_is_no_page_is_set_apart_by_its_bytes(ingest):
    expected, read = records("23-mislabelled.warc"), ingest("23-mislabelled.warc")
    assert len(read.ledger) == len(expected) == 13
    assert read.reasons == {
        None: 5,
        "ingest.pdf": 2,
        "ingest.image": 2,
        "ingest.archive": 1,
        "ingest.data": 1,
        "ingest.script": 1,
        "ingest.style": 1,
    }
    plain = [url for url in expected if re.search(rb"<p>Paragraph 0", expected[url])]
    assert len(plain) == 3 and {row["url"] for row in read.rows} == {
        *plain,
        "http://example.com/gz",
        "http://example.com/xml",
    }
    for row in read.rows:
        if row["url"] in plain:
            whole(row["text"], paragraphs(expected[row["url"]]))


def test_a_body_that_is_joined_already_stays_as_it_is(ingest):
    expected, read = records("21-chunked.warc"), ingest("21-chunked.warc")
    texts = {row["url"]: row["text"] for row in read.rows}
    assert set(texts) == set(expected) and len(expected) == 7 and read.notes == ["the chunked body is cut"]
    for url in ("http://example.com/joined-num", "http://example.com/joined-zero"):
        assert texts[url].strip() == expected[url].split(b"\r\n\r\n", 2)[2].decode().replace("\r\n", "\n").strip()
    for url in ("http://example.com/joined-beef", "http://example.com/joined-plain"):
        whole(texts[url], paragraphs(expected[url]))
    assert not any(
        re.search(r"(?m)^[0-9a-f]{2,4}$", texts[url]) for url in texts if url.rsplit("/", 1)[1].startswith("chunk")
    ), "no size of a chunk is text"


def test_utf8_under_a_korean_label(ingest):
    read, page = ingest("e2-utf8-stale-charset.html"), given("e2-utf8-stale-charset.html")
    whole(read.texts[0], paragraphs(page))
    assert b"euc-kr" in page and "\ufffd" not in read.texts[0]


def test_a_meta_tag_in_a_comment_is_none(ingest):
    read = ingest("25-comment-charset.html")
    assert read.texts == paragraphs(given("25-comment-charset.html").decode("cp949"))


@pytest.mark.parametrize("name, codec", [("12-cp949.json", "cp949"), ("12-utf16.jsonl", "utf-16")])
def test_rows_of_other_charsets(ingest, name, codec):
    expected = re.findall(r'"text": "([^"]*)"', given(name).decode(codec))
    read = ingest(name)
    assert read.texts == expected and expected and read.reasons == {None: len(expected)}


@pytest.mark.parametrize("name, codec", [("u1-utf16le-no-mark.txt", "utf-16-le"), ("u2-iso2022kr.txt", "iso2022_kr")])
def test_texts_of_other_charsets(ingest, name, codec):
    assert ingest(name).texts == [given(name).decode(codec).replace("\r\n", "\n")]


def test_a_stray_quote_costs_nothing(ingest):
    read, page = ingest("e1-stray-quote.html"), given("e1-stray-quote.html")
    assert read.reasons == {None: 1} and len(read.texts[0]) >= 67_991
    parts = [part.strip() for part in re.findall(r">([^<>]+)<", page.decode()) if part.strip() and "{" not in part]
    body = [part for part in parts if part.startswith("Paragraph")]
    assert len(body) > 100
    whole(read.texts[0], body)


# -- 5: pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extract", ["main", "trafilatura", "all", "resiliparse"])
def test_a_formula_stands_once_as_tex(ingest, extract):
    text, page = ingest("08-math.html", extract=extract).texts[0], given("08-math.html").decode()
    assert text.count(r"1.3\times 10^{-4}") == page.count('<annotation encoding="application/x-tex">') == 3
    assert "1.3×10" not in text and "1.3 × 10" not in text and text.count("1.3") == 3
    assert all(words in text for words in ("The energy is", "joule in the mean", "Katex:", "end of it."))


@pytest.mark.parametrize("extract", ["main", "trafilatura", "all", "resiliparse"])
@pytest.mark.parametrize("name", ["24d-list.html", "24e-bodyul.html"])
def test_every_item_is_a_line_of_its_own(ingest, name, extract):
    text = ingest(name, extract=extract).texts[0]
    items = [
        re.sub(r"<[^>]*>", "", found).strip() for found in re.findall(r"<li>(.*?)</li>", given(name).decode(), re.S)
    ]
    lines = [line.strip(" -*•") for line in text.splitlines()]
    assert len(items) >= 2 and [line for line in lines if line in items] == items


def test_an_article_and_its_comments_both_stay(ingest):
    read, page = ingest("e3-article-with-replies.html"), given("e3-article-with-replies.html")
    whole(read.texts[0], paragraphs(page))
    assert (
        any(part.startswith("Paragraph 0 of the article") for part in paragraphs(page))
        and "thank you for writing about it" in read.texts[0]
    )


def test_a_record_that_the_crawler_cut_has_a_measure(ingest, tmp_path):
    read = ingest("54-truncated.warc")
    by = {row["id"]: row for row in read.rows}
    flags = {by[row["id"]]["url"]: row["warc.truncated"] for row in read.ledger}
    assert {url: bool(flag) for url, flag in flags.items()} == {
        url: b"WARC-Truncated: length" in body for url, body in records("54-truncated.warc").items()
    }


# -- 3: text measured by its spelling ------------------------------------------------------------------------------------


def judged(read: Read, **filters: dict[str, Any]) -> tuple[list[str | None], list[dict[str, Any]], dict[str, list]]:
    """Per document the reason, the kept rows, and the metrics by name."""
    from stages.quality import Quality

    (shard,) = read.store.shards()
    work = Quality.build({"filters": [{name: options} for name, options in filters.items()]}, "quality").work(
        *read.store.batches(shard)
    )
    ledger = work.ledger.to_pydict()
    return ledger["reason"], work.kept.to_pylist(), {name: values for name, values in ledger.items() if "." in name}


def test_every_spelling_of_a_line_end_is_judged_alike(ingest):
    spelled, read = objects("27-blank.jsonl"), ingest("27-blank.jsonl")
    assert len(spelled) == 8 and read.texts == [
        "\n".join(line.strip(" \u3000\u200b") for line in row["text"].splitlines()) for row in spelled
    ]
    reasons, _, metrics = judged(
        read,
        repeated_lines={},
        terminal_lines={},
        repeated_paragraphs={},
        short_lines={},
        bullet_lines={},
        ellipsis_lines={},
    )
    assert set(reasons) == {None}
    assert set(metrics["repeated_lines.lines"]) == {0.0} and len(set(metrics["terminal_lines.lines"])) == 1


def test_capitals_and_short_texts_in_their_language(ingest):
    read = ingest("26-lang.jsonl")
    _, kept, _ = judged(read, language={"min": None})
    langs = {row["text"]: row["lang"] for row in kept}
    assert list(langs) == [re.sub("\r\n?", "\n", row["text"]) for row in objects("26-lang.jsonl")]
    english = [
        text
        for text in langs
        if len(text.split()) >= 4 and text.isascii() and text.split()[0] in ("MY", "TERMS", "CONTACT", "THE")
    ]
    assert len(english) == 5 and {langs[text] for text in english} == {"en"}
    others = {
        "DIE KATZE IST AUF DEM TISCH": "de",
        "LA CASA ES MUY GRANDE Y BONITA": "es",
        "안녕": "ko",
        "ㅋㅋㅋ": "ko",
        "BTS 신곡 발표": "ko",
        "맷돌 (MILLSTONE)": "ko",
        "こんにちは": "ja",
        "你好": "zh",
    }
    assert {text: langs[text] for text in others} == others


def test_texts_of_nothing_have_null_where_nothing_is_measured(ingest):
    read = ingest("28-empty.jsonl")
    assert len(read.ledger) == len(objects("28-empty.jsonl")) == 13
    assert {"😀", "...!!!", "ㅎ", "1", "-", "가"} <= set(read.texts) and read.reasons["ingest.empty"] >= 5
    _, _, metrics = judged(
        read,
        language={"min": None},
        mean_word_length={},
        alphabetic_words={},
        repeated_ngrams={},
        top_ngrams={},
        hangul_share={},
        symbol_ratio={},
        stop_words={},
    )
    values = [value for column in metrics.values() for value in column]
    assert values and not any(value != value for value in values)


# -- 6: personal data ----------------------------------------------------------------------------------------------------


def cleaned(read: Read, tmp_path: Path) -> tuple[list[str], list[str]]:
    """The texts as `pii` leaves them, and what an audit finds in them still."""
    from stages.pii import Pii
    from stages.pii.commands import Audit, audited

    sink = Store(tmp_path / "pii")
    stage = Pii.build({}, "pii")
    receipts = stage.run(Inputs({"of": [read.store]}), sink, Inline())
    sink.commit_manifest(
        {"stage": "pii", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []},
        [receipt.shard for receipt in receipts],
    )
    leaks = audited(sink, Audit(stores=(sink.path,)).stage().plan())
    return [row["text"] for row in sink.read(0).to_pylist()], leaks.examples


def test_values_behind_odd_signs_are_found(ingest, tmp_path):
    read = ingest("36-invisible.jsonl")
    texts, leaks = cleaned(read, tmp_path)
    assert len(texts) == len(objects("36-invisible.jsonl")) == 25 and not leaks
    for before, after in zip(objects("36-invisible.jsonl"), texts, strict=True):
        wanted = {"mail": "<EMAIL>", "tel": "<PHONE>", "rrn": "<KR_RRN>"}[before["text"].split()[0]]
        assert wanted in after and not re.search(r"\d|hong|example", after), (before, after)


def test_korean_numbers_of_every_form_are_found_and_no_others(ingest, tmp_path):
    read = ingest("35-kr.jsonl")
    texts, leaks = cleaned(read, tmp_path)
    assert len(texts) == len(objects("35-kr.jsonl")) == 27 and not leaks
    # Masked already, longer than any number, written in words, or a public hotline: nothing to find.
    left = {
        "주민번호 900101-1******",
        "1900101-1234567",
        "공일공 일이삼사 오육칠팔",
        "010-1234-56789",
        "2010-1234-5678",
        "1588-1234로",
    }
    for before, after in zip(read.texts, texts, strict=True):
        assert (
            after == before
            if before in left
            else re.search(r"<(PHONE|KR_[A-Z_]+)>", after) and not re.search(r"\d", after)
        ), (before, after)


# -- 4: questions whose answers are equal --------------------------------------------------------------------------------


def test_equal_answers_share_the_point():
    import numpy as np

    from stages.evaluate.choices import answered, load

    class Encoder:
        bos = None

        def encode(self, texts):
            return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]

    class Reader:
        def sums(self, rows):
            """Every answer a little likelier than the one before it, as padding may make equal ones."""
            return -10 + np.arange(len(rows)) * 1e-9, np.ones(len(rows))

    given, found = objects("18-choices.jsonl"), load(INPUTS / "18-choices.jsonl")
    result = answered(Reader(), Encoder(), found, 512)
    assert len(found.questions) == len(given) == 4
    equal = [question.prompt for question, right in zip(found.questions, result.right, strict=True) if right == 0.5]
    assert equal == [row["prompt"] for row in given if len(set(row["choices"])) == 1]
