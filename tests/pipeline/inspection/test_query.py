"""Questions to stores, against slow and obvious answers over the same real pages."""

import json
import re
import sys

import polars as pl
import pyarrow as pa
import pytest

from pipeline.errors import SourceError, UsageError
from pipeline.inspection import query
from pipeline.inspection.conditions import first_span
from pipeline.inspection.limits import limits_of, measured, nearness
from pipeline.inspection.selection import Selection, found, lines
from pipeline.inspection.trace import trace
from pipeline.inspection.what_if import histogram, what_if
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.quality.whatif import Ledgers, changed


@pytest.fixture(scope="module")
def stores(site_root):
    return {name: Store(site_root / name) for name in ("pages", "quality", "unique", "clean")}


@pytest.fixture(scope="module")
def pages(stores):
    return stores["pages"].table().to_pylist()


@pytest.fixture(scope="module")
def ledger(stores):
    return stores["quality"].ledgers().to_pylist()


def ids(rows):
    return [row["id"] for row in rows]


def test_the_pages_are_enough_to_ask(pages, ledger):
    assert len(pages) > 80 and len({row["lang"] for row in ledger if row["reason"]} if "lang" in ledger[0] else {1})
    assert sum(row["reason"] is None for row in ledger) > 40 and sum(row["reason"] is not None for row in ledger) > 5


@pytest.mark.parametrize("pattern", ["맷돌", r"\bmill(stone)?s?\b", r"\d{3}-\d{4}", "zzzz-nowhere", "(?i)PYTHON"])
def test_grep_finds_what_python_finds(stores, pages, pattern):
    told = query.take(query.grep(query.rows(stores["pages"]), pattern), 1000)
    wanted = [row["id"] for row in pages if any(re.search(pattern, text) for text in _texts(row))]
    assert ids(told) == wanted


def _texts(row):
    texts = [row[name] for name in ("text", "title", "url", "source") if row[name]]
    texts += [part for block in row["blocks"] or () for part in (block["kind"], block["text"]) if part]
    return texts + [part for entry in row["meta"] or () for part in entry.values() if part]


def test_words_are_found_as_they_are(stores, pages):
    word = "("
    told = query.take(query.grep(query.rows(stores["pages"]), word, ["text"], literal=True), 1000)
    assert told and ids(told) == [row["id"] for row in pages if word in (row["text"] or "")]


def test_conversations_and_pairs_are_searched_too(tmp_path):
    from pipeline.schema import CHAT, PAIR

    turn = {"role": "user", "content": "where is the mill?"}
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "name": "find", "arguments": "millpond"}],
    }
    for name, schema, column in (("chat", CHAT, "messages"), ("pair", PAIR, "rejected")):
        rows = [{"id": "0" * 32, column: [turn]}, {"id": "1" * 32, column: [called]}, {"id": "2" * 32, column: None}]
        table = pa.Table.from_pylist(rows, schema)
        store = Store(tmp_path / name)
        store.put(0, table, Ledger.rows(table["id"]), key="k", stage="test", input_ids=table["id"])
        store.commit_manifest({"stage": "test", "shape": name.upper(), "key": "k"}, [0])
        assert ids(query.take(query.grep(query.rows(store), "mill"), 9)) == ["0" * 32, "1" * 32]
        assert ids(query.take(query.grep(query.rows(store), "pond"), 9)) == ["1" * 32]


def test_conditions_hold(stores, ledger):
    told = query.take(query.where(query.ledger(stores["quality"]), '"word_count.words" > 100 AND reason IS NULL'), 1000)
    wanted = [row["id"] for row in ledger if row["word_count.words"] > 100 and row["reason"] is None]
    assert len(wanted) > 10 and ids(told) == wanted


@pytest.mark.parametrize(
    ("condition", "words"),
    [("lnag = 'ko'", "did you mean 'lang'"), ("lang ==== 'ko'", "cannot be asked"), ("text > 3", "cannot be asked"),
     ("x" * 1001, "1,001 characters")],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_in_a_line(stores, condition, words):
    with pytest.raises(UsageError) as fault:
        query.take(query.where(query.rows(stores["pages"]), condition), 3)
    assert words in str(fault.value) and "\n" not in fault.value.message and len(fault.value.message) < 400


@pytest.mark.parametrize(
    "condition",
    ["id IN (SELECT secret FROM read_csv('{file}'))", "id IN (FROM read_csv('{file}'))", "EXISTS (SELECT 1 FROM read_csv('{file}'))",
     "(SELECT secret FROM read_csv('{file}')) = 'x'", "id IN (WITH t AS (SELECT * FROM read_csv('{file}')) SELECT secret FROM t)",
     "id IN (SELECT secret FROM '{file}')", "id = 'a' -- '\nOR id IN (FROM read_csv('{file}'))", "id /* ' */ IN (FROM read_csv('{file}'))",
     "id IN (FROM \"read_csv\"('{file}'))", "id = E'\\' OR id IN (FROM read_csv('{file}')) OR '", "id IN (FROM read_ipc('{file}'))"],
)  # fmt: skip
def test_no_condition_reads_a_file(stores, tmp_path, condition):
    """polars opens what stands after FROM while it parses, and names the columns of the file in its error."""
    file = tmp_path / "passwords.csv"
    file.write_text("hunter2\nvalue\n")
    with pytest.raises(UsageError, match="there is no (column|function)|cannot be asked") as fault:
        query.take(query.where(query.rows(stores["pages"]), condition.replace("{file}", str(file))), 3)
    assert "hunter2" not in str(fault.value)


@pytest.mark.parametrize(
    "condition",
    ["RPAD(id, 1000000000, 'x') = 'y'", "lpad(id, 1000000000) = 'y'", "\"rpad\"(id, 1000000000, 'x') = 'y'", "rpad (id, 9, 'x') = 'y'",
     "REPLACE(REPLACE(text, 'a', text), 'b', text) = 'y'", "text || text || text = 'y'", "GENERATE_SERIES(1, 1000000000) IS NULL"],
)  # fmt: skip
def test_no_condition_makes_a_text_larger_than_those_it_reads(stores, condition):
    with pytest.raises(UsageError, match="there is no|cannot be asked"):
        query.where(query.rows(stores["pages"]), condition)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("lang IN ('ko', 'it''s -- no comment')", lambda row: row["lang"] == "ko"), ("LENGTH(text)>=800", lambda row: len(row["text"]) >= 800),
     ("NOT (lang = 'en' OR title IS NULL)", lambda row: row["lang"] not in ("en", None) and row["title"] is not None),
     ("title ILIKE '%MILL%' AND CAST(LENGTH(title) AS DOUBLE) / 2 < 1e2", lambda row: "mill" in (row["title"] or "").lower()),
     ("CASE WHEN \"lang\" = 'ko' THEN starts_with(text, '맷') ELSE FALSE END", lambda row: row["lang"] == "ko" and row["text"][0] == "맷"),
     ("array_length(blocks) BETWEEN 2 AND 5", lambda row: 2 <= len(row["blocks"] or ()) <= 5)],
)  # fmt: skip
def test_what_conditions_may_hold(stores, pages, condition, holds):
    assert ids(query.take(query.where(query.rows(stores["pages"]), condition), 1000)) == [
        row["id"] for row in pages if holds(row)
    ]


def test_a_pattern_is_placed_as_it_is_found():
    text = "맷돌 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' ends"
    for pattern in ("돌", "(?i)ENDS", "a+'", "[^\\x00-\\x7f]+"):
        found = re.search(pattern, text)
        assert found is not None and first_span(text, pattern) == found.span()
    assert (
        first_span(text, "(a|aa)+$") is None
        and first_span(text, "x*") is None
        and first_span(text, "' e", literal=True) == (52, 55)
    )


def test_a_bad_pattern_is_said_in_a_line(stores):
    with pytest.raises(UsageError, match="look-around") as fault:
        query.take(query.grep(query.rows(stores["pages"]), "(?=a)"), 3)
    assert "\n" not in fault.value.message and "regex" in fault.value.hint


def test_samples_are_repeatable_spread_and_whole(stores, pages):
    store = stores["pages"]
    first, again, other = (query.sample(store, 12, seed) for seed in (7, 7, 8))
    assert first == again and ids(first) != ids(other) and len(set(ids(first))) == 12
    by_id = {row["id"]: row for row in pages}
    assert all(row == by_id[row["id"]] for row in first)
    drawn = [ids(query.sample(store, 10, seed)) for seed in range(60)]
    seen = {i for some in drawn for i in some}
    assert len(seen) > 0.95 * len(pages)  # each page is missed by all 60 with (1 - 10/n)^60, under .01 at n = 130
    whole = query.sample(store, 1000, 3, condition="title IS NOT NULL")
    assert sorted(ids(whole)) == sorted(row["id"] for row in pages if row["title"] is not None)


def test_a_sample_does_not_depend_on_shards(tmp_path, make_store):
    texts = [f"text {i}" for i in range(100)]
    one, four = make_store(tmp_path / "one", texts), make_store(tmp_path / "four", texts, shards=4)
    assert query.sample(one, 9, 5) == query.sample(four, 9, 5)


def test_rows_by_id_where_ids_begin_alike(tmp_path, make_store):
    same = [f"{7:016x}{i:016x}" for i in range(20)]
    store = make_store(tmp_path / "s", [f"text {i}" for i in range(20)], id=same, shards=2)
    assert set(query.by_ids(store, [same[3], same[17], "f" * 32, "no id"])) == {same[3], same[17]}


def test_limits_are_those_rows_were_dropped_by(stores, ledger):
    """Every reason of a limit has its number on the wrong side of it; every kept row has every number on the right side."""
    limits = limits_of(stores["quality"])
    assert {limit.option for limit in limits} >= {"word_count.min", "language.min", "gopher_quality.min_words"}
    known, checked, korean = {limit.reason for limit in limits}, 0, 0
    for row in ledger:
        told = measured(row, limits)
        reasons = [reason for reason in row["reasons"] or () if reason in known]
        assert len(told) == len(reasons)
        checked += len(told)
        korean += any(number.limit == 150 for number in told)
        for limit in limits:
            value, bound = row[limit.metric], limit.of(row["note"])
            if value is not None and bound is not None and limit.reason not in (row["reasons"] or ()):
                stem = limit.option.split(".")[0]
                others = [reason for reason in row["reasons"] or () if reason.startswith(f"{stem}.")]
                assert not limit.fails(value, bound) or others, (row["id"], limit)
    assert checked > 10 and korean


def test_dropped_rows_come_with_numbers_limits_and_the_text_before(stores, site_root, pages, ledger):
    by_id = {row["id"]: row for row in pages}
    told = query.dropped(stores["quality"], str(site_root), count=1000)
    assert ids(told) == [row["id"] for row in ledger if row["reason"]]
    for row in told:
        assert row["text_of"] == "pages" and row["row"] == by_id[row["id"]]
    near = query.dropped(stores["unique"], str(site_root), "dedup.near", 1000)
    assert near and all(row["measured"][0].value >= 0.3 and row["measured"][0].option == "threshold" for row in near)
    assert all(row["text_of"] == "quality" for row in near)


def test_nearest_first(stores, site_root, ledger):
    told = query.dropped(stores["quality"], str(site_root), "word_count.low", 1000, nearest=True)
    limit = next(limit for limit in limits_of(stores["quality"]) if limit.reason == "word_count.low")
    far = [nearness(row["word_count.words"], limit.of(row["note"])) for row in told]
    assert len(far) > 3 and far == sorted(far)
    assert sorted(ids(told)) == sorted(row["id"] for row in ledger if row["reason"] == "word_count.low")
    assert {row["measured"][0].limit for row in told} == {60.0, 150.0}


def test_texts_of_dropped_rows_are_searched(stores, site_root, pages, ledger):
    by_id = {row["id"]: row for row in pages}
    told = query.dropped(stores["quality"], str(site_root), count=1000, pattern="맷돌")
    wanted = [row["id"] for row in ledger if row["reason"] and any("맷돌" in text for text in _texts(by_id[row["id"]]))]
    assert wanted and ids(told) == wanted


def test_rows_made_in_passing_are_looked_up_before(tmp_path, make_store):
    first = make_store(tmp_path / "first", [f"text {i}" for i in range(6)])
    table, middle, last = first.read(0), Store(tmp_path / "middle"), Store(tmp_path / "last")
    row_ids = table["id"].to_pylist()
    with middle.writer(0, stage="test", key="k", written=False) as writer:
        writer.write(table.to_batches()[0])
        writer.record(Ledger.rows(row_ids))
        writer.commit()
    middle.commit_manifest(
        {"stage": "test", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "first"}]}}, [0]
    )
    last.put(0, table.slice(0, 5), Ledger.rows(row_ids, reason=[None] * 5 + ["test.low"]), key="k", stage="test")
    last.commit_manifest(
        {"stage": "test", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "middle"}]}}, [0]
    )
    (row,) = query.dropped(last, str(tmp_path))
    assert row["text_of"] == "first" and row["row"]["text"] == "text 5" and row["measured"] == []
    with pytest.raises(SourceError, match="run.fuse"):
        query.rows(middle)


SETTINGS = [
    "word_count.min=20", "word_count.min=300", "word_count.languages.ko.min=60", "language.min=0.99", "language.keep=[ko]",
    "gopher_quality.min_stop_words=null", "gopher_quality.max_hashes=0.001", "fineweb.max_short_lines=0.2", "exempt=[]",
]  # fmt: skip


@pytest.mark.parametrize(
    "settings", [*([one] for one in SETTINGS), SETTINGS[:2], ["word_count.min=20", "language.keep=[en]"]]
)
def test_what_would_change_is_what_all_rows_decided_again_say(stores, settings):
    slow = Ledgers(stores["quality"])
    old, new = slow.table["reason"].to_pylist(), slow.decided(changed(slow.stage, settings))
    back: dict[str, int] = {}
    gone: dict[str, int] = {}
    for before, after in zip(old, new):
        if (before is None) != (after is None):
            counts, word = (back, before) if after is None else (gone, after)
            counts[word] = counts.get(word, 0) + 1
    told = what_if(stores["quality"], settings)
    assert (told["kept"], told["dropped"]) == (back, gone)
    assert told["before"] == sum(why is not None for why in old) and told["after"] == sum(
        why is not None for why in new
    )


def test_a_rerun_with_the_options_told_decides_so(stores, site_root, tmp_path):
    """The recipe fragment is what a run takes, and the run keeps what was foreseen."""
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    told = what_if(stores["quality"], ["word_count.min=20", "gopher_quality.min_words=10"])
    assert told["kept"] and not told["dropped"]
    steps = [{"quality": {"of": str(site_root / "pages"), **told["options"]}}]
    run(parse({"name": "again", "root": str(tmp_path), "seed": 17, "steps": steps, "run": {"pool": "inline"}}))
    assert sum(Store(tmp_path / "quality").require()["reasons"].values()) == told["after"]


def test_what_a_ledger_cannot_say_is_refused(stores):
    with pytest.raises(UsageError, match="cannot be decided again"):
        what_if(stores["unique"], ["threshold=0.9"])
    with pytest.raises(UsageError, match="changes what is measured"):
        what_if(stores["quality"], ["language.top=3"])


def test_a_histogram_counts_every_row_once(stores, ledger):
    edges, kept, dropped = histogram(stores["quality"], "word_count.words", 12)
    assert len(edges) == 13 and sum(kept) == sum(row["reason"] is None for row in ledger)
    assert sum(dropped) == sum(row["reason"] is not None for row in ledger)
    inside = [row for row in ledger if edges[4] <= row["word_count.words"] < edges[5]]
    assert kept[4] + dropped[4] == len(inside) > 0
    with pytest.raises(UsageError, match="word_count.words"):
        histogram(stores["quality"], "word_count.word")


def test_nothing_reads_whole_columns_of_texts(stores, monkeypatch):
    """Ids alone are drawn; the plan of a sample says so."""
    plans = []
    collect = pl.LazyFrame.collect

    def noted(self, *args, **options):
        plans.append(self.explain())
        return collect(self, *args, **options)

    monkeypatch.setattr(pl.LazyFrame, "collect", noted)
    query.sample(stores["pages"], 5, 1)
    query.dropped(stores["quality"], "", "word_count.low", 2, nearest=True)
    assert "PROJECT" in plans[0] and f"1/{len(stores['pages'].schema)} COLUMNS" in plans[0]
    monkeypatch.setattr(Store, "table", lambda *_: pytest.fail("a whole store as one table"))
    monkeypatch.setattr(Store, "ledgers", lambda *_: pytest.fail("all ledgers as one table"))
    query.take(query.grep(query.rows(stores["pages"]), "mill"), 2)
    what_if(stores["quality"], ["word_count.min=20"])


def test_a_damaged_shard_is_named(tmp_path, make_store):
    from pipeline.errors import DamagedStore

    store = make_store(tmp_path / "s", ["one text", "two texts"])
    path = tmp_path / "s" / "shards" / "00000.arrow"
    path.write_bytes(path.read_bytes().replace(b"one text", b"0ne text"))
    with pytest.raises(DamagedStore, match="damaged"):
        query.take(query.rows(store), 1)


def test_trace_says_numbers_and_limits(stores, site_root, ledger):
    row = next(row for row in ledger if row["reason"] == "word_count.low")
    told = trace(str(site_root), row["id"])
    assert re.search(r"dropped: word_count\.low.* word_count\.words \d+ < (60|150) \(word_count\.min\)", told)


# -- the command -------------------------------------------------------------------------------------------------------------


def test_the_terminal_shows_dropped_rows_with_text_and_numbers(stores, site_root):
    told = "\n".join(lines(stores["quality"].path, Selection(reason="word_count.low", nearest=True, rows=2)))
    assert told.count("word_count.words") >= 2 and "(word_count.min)" in told and "in pages" in told
    assert told.startswith("quality: quality, DOCUMENT")


def test_json_is_one_row_a_line_and_steers_no_terminal(tmp_path, make_store):
    evil = "a\x1b[2J\x9b31m\u202eb\u2028c\"'\n한국어"
    store = make_store(tmp_path / "s", [evil], title=[evil])
    told = list(lines(store.path, Selection(rows=1), as_json=True))
    assert len(told) == 1 and json.loads(told[0])["text"] == evil and "한국어" in told[0]
    assert not [char for char in told[0] if char in "\x1b\x9b\u202e\u2028\n"]


def test_columns_of_what_is_chosen(stores):
    rows = found(stores["pages"], "", Selection(rows=2, sample=True, paths=("title", "blocks[0].kind")))
    assert [list(row) for row in rows] == [["title", "blocks[0].kind"]] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--reason", "word_count.lo"], "did you mean 'word_count.low'"), (["--nearest"], "--nearest needs --reason"),
     (["--sample", "-n", "1001"], "from 1 to 1,000"), (["--grep", "("], "cannot be asked"),
     (["--where", "nothing = 1"], "no column 'nothing'")],
)  # fmt: skip
def test_mistakes_end_with_two_and_a_hint(stores, monkeypatch, capsys, words, said):
    from pipeline import cli

    monkeypatch.setattr(sys, "argv", ["maetdol", "inspect", stores["quality"].path, *words])
    with pytest.raises(SystemExit) as ended:
        cli._obey()
    told = capsys.readouterr()
    assert ended.value.code == 2 and said in told.err and "hint:" in told.err


def test_a_root_is_listed(site_root):
    (told,) = lines(str(site_root), Selection())
    assert [line.split()[0] for line in told.splitlines()] == ["store", "pages", "quality", "unique", "clean"]
    rows = [json.loads(line) for line in lines(str(site_root), Selection(), as_json=True)]
    assert [row["store"] for row in rows] == ["pages", "quality", "unique", "clean"] and rows[1]["reasons"]


def test_some_rows_are_those_of_the_whole_wherever_shards_begin(tmp_path, make_store):
    store = make_store(tmp_path / "corpus", [f"문서 {n}" for n in range(7)], shards=4)  # 2, 2, 2, 1
    whole = [row["text"] for row in query.take(query.rows(store), 7)]
    for offset in range(9):
        for count in (1, 2, 5):
            assert [row["text"] for row in query.some(store, count, offset)] == whole[offset : offset + count]
