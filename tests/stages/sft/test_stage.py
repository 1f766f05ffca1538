"""The stage over stores: ledger, resume, boilerplate over pages, determinism."""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.schema import CHAT
from pipeline.storage.store import Store
from stages.sft import Sft, every_rule

FORM = "Q: {q}\nA: {a}\n"
TEXTS = [
    FORM.format(q="When do you open?", a="At nine in the morning, Tuesday to Saturday."),
    FORM.format(q="언제 여나요?", a="화요일부터 토요일까지 아침 아홉 시에 엽니다."),
    "Nothing to ask about.",
    FORM.format(q="Open?", a="Yes."),
]


def run(tmp_path, make_store, texts=TEXTS, shards=2, name="out", **options):
    source = Store(tmp_path / "in")
    if source.manifest() is None:
        urls = [f"http://host{n % 2}.example/{n}" for n in range(len(texts))]
        source = make_store(tmp_path / "in", texts, shards=shards, url=urls, licence=["CC0-1.0"] * len(texts))
    sink = Store(tmp_path / name)
    receipts = Sft.build(options, "sft").run(Inputs({"of": [source]}, 17), sink, Inline())
    return source, sink, receipts


def test_every_document_stands_in_the_ledger_and_every_row_has_its_provenance(tmp_path, make_store):
    source, sink, receipts = run(tmp_path, make_store)
    rows = [row for n in sink.receipts() for row in sink.read(n).to_pylist()]
    assert sink.read(0).schema.equals(CHAT) and {row["rule"] for row in rows} == {"qa_text"}
    documents = {row["id"]: row for n in source.shards() for row in source.read(n).to_pylist()}
    for row in rows:
        parent = documents[row["doc_id"]]
        assert parent["text"][row["span_start"] : row["span_end"]] == row["messages"][1]["content"]
        assert (row["url"], row["licence"], row["source"]) == (parent["url"], "CC0-1.0", "test")
    assert sorted(row["lang"] for row in rows) == ["en", "ko"]
    ledger = [line for n in sink.receipts() for line in sink.ledger(n).to_pylist()]
    assert {line["id"] for line in ledger} == set(documents)
    assert [line["reason"] for line in ledger] == [None, None, "sft.no_instruction", "qa_text.short_answer"]
    assert [line["qa_text.found"] for line in ledger] == [1.0, 1.0, 0.0, 1.0]
    assert receipts[0].notes["rules"]["qa_text"] == {"found": 2, "kept": 2}


def test_done_again_nothing_moves_and_a_threshold_redoes_only_what_follows(tmp_path, make_store):
    _, sink, first = run(tmp_path, make_store)
    find = {n: r.finished for n, r in sink.sub("passes/find").receipts().items()}
    assert run(tmp_path, make_store)[2] == first
    again = run(tmp_path, make_store, host_cap=1)[2]
    assert [r.key for r in again] != [r.key for r in first]
    assert {n: r.finished for n, r in sink.sub("passes/find").receipts().items()} == find


def test_the_same_bytes_wherever_it_runs(tmp_path, make_store):
    texts = [TEXTS[n % 2].replace("nine", f"nine and {n}").replace("아홉", f"{n}") for n in range(12)]
    one = run(tmp_path, make_store, texts, shards=3)[2]
    two = run(tmp_path, make_store, texts, shards=3, name="elsewhere")[2]
    assert [r.content_hash for r in one] == [r.content_hash for r in two]
    assert [r.ledger_hash for r in one] == [r.ledger_hash for r in two]


def test_answers_repeated_over_pages_fall_and_are_named(tmp_path, make_store):
    texts = [
        FORM.format(q=f"Can you help me with thing {n}?", a="Please contact our friendly support team.")
        for n in range(5)
    ] + TEXTS[:1]
    _, sink, receipts = run(tmp_path, make_store, texts, boilerplate_pages=4)
    ledger = [line for n in sink.receipts() for line in sink.ledger(n).to_pylist()]
    assert [line["reason"] for line in ledger] == ["qa_text.boilerplate"] * 5 + [None]
    assert sum(r.notes["rules"]["qa_text"].get("boilerplate", 0) for r in receipts) == 5


def test_the_cap_per_host(tmp_path, make_store):
    texts = [FORM.format(q=f"Question number {n}?", a=f"The answer to it is number {n}.") for n in range(10)]
    _, sink, _ = run(tmp_path, make_store, texts, host_cap=2)
    rows = [row for n in sink.receipts() for row in sink.read(n).to_pylist()]
    assert len(rows) == 4 and len({row["url"].split("/")[2] for row in rows}) == 2


def test_chosen_rules_with_options(tmp_path, make_store):
    _, sink, _ = run(tmp_path, make_store, kinds=["heading", {"qa_text": {"min_answer": 2}}])
    rows = [row for n in sink.receipts() for row in sink.read(n).to_pylist()]
    assert len(rows) == 3


def test_empty_store(tmp_path, make_store):
    _, sink, receipts = run(tmp_path, make_store, texts=[], shards=1)
    assert receipts[0].rows == 0 and sink.read(0).schema.equals(CHAT)


@pytest.mark.parametrize(
    "options,word",
    [
        ({"kinds": ["fqa"]}, "did you mean 'faq'"),
        ({"kinds": [{"faq": {"min_anwser": 3}}]}, "min_answer"),
        ({"kinds": ["faq", "faq"]}, "faq is given twice"),
        ({"kinds": []}, "every rule"),
        ({"teacher": {"kind": "endpoint"}}, "url and model"),
        ({"hostcap": 3}, "host_cap"),
    ],
)
def test_bad_options_say_the_hint(options, word):
    with pytest.raises(OptionError) as fault:
        Sft.build(options, "sft")
    assert word in str(fault.value)


def test_without_flags_every_rule_is_used():
    assert (
        {rule.word for rule in Sft().kinds}
        == {rule.word for rule in every_rule()}
        >= {"faq", "heading", "howto", "qa_text", "title", "keyword", "cloze"}
    )
    assert Sft().teacher is None


def test_tasks_travel_to_workers(tmp_path):
    import pickle

    from stages.sft.passes import FindTask, JoinTask

    stage = Sft.build({"teacher": {"kind": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m"}}, "sft")
    for kind in (FindTask, JoinTask):
        task = kind(stage, Store(tmp_path / "in"), 0, 3, 17, Store(tmp_path / "out"), "k")
        back = pickle.loads(pickle.dumps(task))
        assert back.stage == stage and back.name == task.name and back.stage.fingerprint() == stage.fingerprint()
