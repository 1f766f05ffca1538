"""Tiers and reasons, edits that hide nothing, and a corpus with 500 planted items beside a clean one."""

import json
import random
import tarfile

import pytest

from pipeline.errors import OptionError
from stages.decontaminate import Decontaminate

FILLER = "On Monday the committee met again and talked about the new road to the harbour. " * 3
SHEEP = "A farmer has 17 sheep and buys 25 more at the market, then sells 9 of them to a neighbour. How many sheep has the farmer now?"


def tier(work) -> list[list[str]]:
    return work.ledger["reasons"].to_pylist()


def test_question_and_answer_go_and_the_question_alone_stays(search):
    texts = [f"{FILLER}{SHEEP}\nAnswer: 33\n{FILLER}", f"{FILLER}{SHEEP}\n{FILLER}", FILLER]
    work = search(texts)
    assert work.ledger["reason"].to_pylist() == ["decontaminate.answered", None, None]
    assert tier(work) == [["decontaminate.answered"], ["decontaminate.question"], []]
    assert len(work.kept) == 2 and "math.jsonl#0" in work.ledger["note"][0].as_py()
    start, end = work.ledger["span_start"][0].as_py(), work.ledger["span_end"][0].as_py()
    assert texts[0][start:end] == SHEEP.rstrip("?")


def test_other_tiers_are_dropped_on_request(search):
    assert search([SHEEP], drop=["answered", "question"]).ledger["reason"].to_pylist() == ["decontaminate.question"]


def test_case_marks_spacing_and_small_edits_hide_nothing(search):
    loud = SHEEP.upper().replace(" ", "  ").replace(",", " -")
    torn = SHEEP.replace("buys", "then buys").replace("neighbour", "neighbor").replace("at the market, ", "")
    assert tier(search([loud, torn])) == [["decontaminate.question"]] * 2


def test_korean_questions_with_and_without_their_answer(search):
    question = "맷돌은 돌 세 짝을 포개어 쓰는 도구인가요?"
    assert tier(search([f"{question} 아니요, 두 짝이다.", f"{question} 모두 답해 보자."])) == [["decontaminate.answered"], ["decontaminate.question"]]


def test_public_text_that_an_item_quotes(search):
    text = "맷돌은 곡식을 가는 데 쓰는 도구로, 둥글넓적한 돌 두 짝을 포개고 위짝 구멍에 곡식을 넣어 손잡이를 돌려 간다. 옛날에는 집집마다 있었다."
    work = search([text])
    assert tier(work) == [["decontaminate.quoted"]] and work.ledger["reason"].to_pylist() == [None]


def test_a_short_sentence_counts_beside_its_answer_alone(search):
    texts = ["남자가 우산을 집에 두고 나왔다.", "남자가 우산을 집에 두고 나왔다. 결과는? 비를 맞아 옷이 젖었다."]
    assert tier(search(texts)) == [[], ["decontaminate.answered"]]


def test_windows_that_many_items_share_are_templates(tmp_path, make_documents):
    rows = [{"question": f"Which of the following statements best describes the nature of {word}?", "answer": "a"} for word in ("iron", "salt", "gold", "zinc")]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch = make_documents(["Which of the following statements best describes the nature of this town? a"]).combine_chunks().to_batches()[0]

    def run(template_items: int):
        return Decontaminate.build({"against": [str(tmp_path)], "template_items": template_items}, "decontaminate").work(batch)

    assert tier(run(3)) == [[]] and run(3).ledger["decontaminate.template_windows"][0].as_py() > 20
    assert tier(run(4)) != [[]]


def test_null_empty_and_undecodable_texts_are_kept_and_noted(search):
    work = search([None, "", "...", "가"])
    assert work.ledger["reason"].to_pylist() == [None] * 4 and len(work.kept) == 4
    assert work.ledger["note"][0].as_py() == "not read: text.null"


def test_no_set_is_a_usage_error_with_the_mend():
    with pytest.raises(OptionError, match="--against"):
        Decontaminate.build({}, "decontaminate")


def test_the_sets_count_by_content(tmp_path):
    def key(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return Decontaminate.build({"against": [str(tmp_path / name)]}, "decontaminate").fingerprint()

    assert key("a.jsonl", "x") == key("b.jsonl", "x") != key("c.jsonl", "y")


def test_notes_hold_counts_and_places_but_no_text(search):
    notes = search([f"{SHEEP} 33", FILLER]).notes["decontaminate"]
    assert notes["tiers"] == {"answered": {"math.jsonl": 1}} and notes["searched"] == 2
    assert "farmer" not in json.dumps(notes)


def light_edit(text: str, rng: random.Random) -> str:
    """One word in twelve loses a letter, is doubled, or is written in capitals; marks change."""
    words = text.split(" ")
    for at in rng.sample(range(len(words)), len(words) // 12):
        word = words[at]
        words[at] = rng.choice([word[1:], f"{word} {word}", word.upper(), word + ","])
    return " ".join(words)


@pytest.fixture(scope="module")
def open_sets(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    with tarfile.open(shared / "H-bench-open.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("edit", [False, True], ids=["verbatim", "lightly edited"])
def test_500_planted_items_are_found(open_sets, make_documents, edit):
    from stages.decontaminate.benchmarks import items

    rng, known = random.Random(11), items(str(open_sets))
    planted = rng.sample(range(len(known)), 500)
    texts = []
    for number in planted:
        item = known[number]
        given = "\n".join(part for part in (item.passage, item.question, item.solution or (item.answers or ("",))[0]) if part)
        texts.append(f"{FILLER}\n{light_edit(given, rng) if edit else given}\n{FILLER}")
    stage = Decontaminate.build({"against": [str(open_sets)]}, "decontaminate")
    ledger = stage.work(make_documents(texts).combine_chunks().to_batches()[0]).ledger
    missed = [known[n].id for n, note in zip(planted, ledger["note"].to_pylist()) if known[n].id not in (note or "")]
    assert not missed


@pytest.mark.slow
def test_clean_text_is_left_alone(open_sets, shared, make_documents):
    import lzma

    texts = []
    for name, field in (("C-nsmc-reviews.jsonl.xz", "text"), ("C-python311-rst-en.jsonl.xz", "text"), ("C-cpp-docs-ko.jsonl.xz", "markdown")):
        with lzma.open(shared / name, "rt", encoding="utf-8") as lines:
            texts += [str(json.loads(line)[field] or "") for _, line in zip(range(10_000), lines)]
    stage = Decontaminate.build({"against": [str(open_sets)]}, "decontaminate")
    found = 0
    for batch in make_documents(texts).to_batches(max_chunksize=1024):
        found += sum(bool(reasons) for reasons in stage.work(batch).ledger["reasons"].to_pylist())
    assert len(texts) > 16_000 and found / len(texts) < 1e-4
