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


@pytest.mark.parametrize("sign", ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u200e", "\ufe0f", "\u034f", "\U000e0061"])
def test_characters_nobody_sees_hide_nothing(search, sign):
    sheep, mill = sign.join(SHEEP), sign.join("맷돌은 돌 세 짝을 포개어 쓰는 도구인가요?")
    assert tier(search([sheep, f"{FILLER}{sheep}\nAnswer: {sign.join('33')}", f"{mill} 아니요"]))[:2] == [
        ["decontaminate.question"],
        ["decontaminate.answered"],
    ]
    plain = search([mill.replace(sign, "") + " 아니요"])
    assert tier(search([mill + " 아니요"])) == tier(plain)


def test_many_items_in_one_text_are_judged_by_what_stands_beside_each(search, monkeypatch):
    """No copy of the rest of the text per item: what an answer is looked for in does not grow with the text."""
    from stages.decontaminate import match

    sizes: list[int] = []
    plain = match._occurs
    monkeypatch.setattr(match, "_occurs", lambda answer, beside: sizes.append(len(beside)) or plain(answer, beside))
    monkeypatch.setattr(match, "marks", lambda text, plain=match.marks: sizes.append(len(text)) or plain(text))
    work = search([f"{SHEEP} 33 " + FILLER * 200, f"{FILLER * 100}{SHEEP} 33"])
    assert tier(work) == [["decontaminate.answered"]] * 2 and sizes and max(sizes) < 2_000


def test_korean_questions_with_and_without_their_answer(search):
    question = "맷돌은 돌 세 짝을 포개어 쓰는 도구인가요?"
    assert tier(search([f"{question} 아니요, 두 짝이다.", f"{question} 모두 답해 보자."])) == [
        ["decontaminate.answered"],
        ["decontaminate.question"],
    ]


def test_public_text_that_an_item_quotes(search):
    text = "맷돌은 곡식을 가는 데 쓰는 도구로, 둥글넓적한 돌 두 짝을 포개고 위짝 구멍에 곡식을 넣어 손잡이를 돌려 간다. 옛날에는 집집마다 있었다."
    work = search([text])
    assert tier(work) == [["decontaminate.quoted"]] and work.ledger["reason"].to_pylist() == [None]


def test_a_short_sentence_counts_beside_its_answer_or_as_a_sentence_of_its_own(search):
    texts = [
        "남자가 우산을 집에 두고 나왔다고 했다.",
        "남자가 우산을 집에 두고 나왔다. 결과는? 비를 맞아 옷이 젖었다.",
        "(남자가 우산을 집에 두고 나왔다.)",
    ]
    assert tier(search(texts)) == [[], ["decontaminate.answered"], ["decontaminate.question"]]


def test_windows_that_many_items_share_are_templates(tmp_path, make_documents):
    rows = [
        {"question": f"Which of the following statements best describes the nature of {word}?", "answer": "a"}
        for word in ("iron", "salt", "gold", "zinc")
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch = (
        make_documents(["Which of the following statements best describes the nature of this town? a"])
        .combine_chunks()
        .to_batches()[0]
    )

    def run(template_items: int):
        return Decontaminate.build(
            {"against": [str(tmp_path)], "template_items": template_items}, "decontaminate"
        ).work(batch)

    work = run(3)
    assert tier(work) == [["decontaminate.template"]] and work.ledger["decontaminate.template_windows"][0].as_py() > 20
    assert work.ledger["reason"].to_pylist() == [None] and work.ledger["decontaminate.items"].to_pylist() == [0]
    start, end = work.ledger["span_start"][0].as_py(), work.ledger["span_end"][0].as_py()
    assert "of the following statements best describes" in batch["text"][0].as_py()[start:end]
    assert (
        work.notes["decontaminate"]["tiers"] == {"template": {"any": 1}}
        and work.notes["decontaminate"]["samples"][0]["item"] is None
    )
    assert tier(run(4)) == [["decontaminate.answered"]]
    dropping = Decontaminate.build(
        {"against": [str(tmp_path)], "template_items": 3, "drop": ["template"]}, "decontaminate"
    ).work(batch)
    assert dropping.ledger["reason"].to_pylist() == ["decontaminate.template"]


def test_one_question_with_several_choices_is_no_template(tmp_path, make_documents):
    rows = [
        {
            "premise": "배탈이 났다.",
            "question": "원인",
            "alternative_1": f"{word} 먹었다.",
            "alternative_2": "운동을 했다.",
        }
        for word in ("죽을", "상한 우유를", "찬 것을", "떡을")
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    batch = make_documents(["배탈이 났다.\n상한 우유를 먹었다."]).combine_chunks().to_batches()[0]
    assert tier(
        Decontaminate.build({"against": [str(tmp_path)], "template_items": 2}, "decontaminate").work(batch)
    ) == [["decontaminate.answered"]]


def test_samples_of_every_tier_are_kept_for_the_report(search):
    notes = search([f"{SHEEP} 33"] * 7 + [SHEEP] * 7).notes["decontaminate"]
    assert [sample["tier"] for sample in notes["samples"]] == ["answered"] * 5 + ["question"] * 5


def test_null_empty_and_undecodable_texts_are_kept_and_noted(search):
    work = search([None, "", "...", "가"])
    assert work.ledger["reason"].to_pylist() == [None] * 4 and len(work.kept) == 4
    assert work.ledger["note"][0].as_py() == "not read: text.null"


def test_no_set_is_a_usage_error_with_the_hint():
    with pytest.raises(OptionError, match="--against"):
        Decontaminate.build({}, "decontaminate")


def test_the_sets_count_by_content(tmp_path):
    def key(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return Decontaminate.build({"against": [str(tmp_path / name)]}, "decontaminate").fingerprint()

    assert key("a.jsonl", "x") == key("b.jsonl", "x") != key("c.jsonl", "y")


def test_notes_hold_counts_and_positions_but_no_text(search):
    notes = search([f"{SHEEP} 33", FILLER]).notes["decontaminate"]
    assert notes["tiers"] == {"answered": {"math.jsonl": 1}} and notes["searched"] == 2
    assert "farmer" not in json.dumps(notes)


def light_edit(text: str, rng: random.Random, least: int = 0) -> str:
    """One word in twelve, `least` at least, loses a letter, is doubled, or is written in capitals; marks change."""
    words = text.split(" ")
    for at in rng.sample(range(len(words)), max(least, len(words) // 12)):
        word = words[at]
        words[at] = rng.choice([word[1:], f"{word} {word}", word.upper(), word + ","])
    return " ".join(words)


@pytest.fixture(scope="module")
def open_sets(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    with tarfile.open(shared / "H-bench-open.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def planted(folder, make_documents, seed: int, edit=None, parts=("passage", "question", "solution")) -> list[str]:
    """Ids of those of 500 random items that are not found again."""
    from stages.decontaminate.index import load

    stage = Decontaminate.build({"against": [str(folder)]}, "decontaminate")
    rng, known = random.Random(seed), load(stage.against, stage.template_items).items
    chosen, texts = rng.sample(range(len(known)), 500), []
    for number in chosen:
        item = known[number]
        said = {
            "passage": item.passage,
            "question": item.question,
            "solution": item.solution or (item.answers or ("",))[0],
        }
        given = "\n".join(said[part] for part in parts if said[part])
        texts.append(f"{FILLER}\n{edit(given, rng) if edit else given}\n{FILLER}")
    ledger = stage.work(make_documents(texts).combine_chunks().to_batches()[0]).ledger
    return [known[n].id for n, note in zip(chosen, ledger["note"].to_pylist()) if f"{known[n].id} " not in (note or "")]


@pytest.mark.slow
@pytest.mark.parametrize("edit", [None, light_edit], ids=["verbatim", "lightly edited"])
def test_500_planted_items_are_found(open_sets, make_documents, edit):
    assert [missed for seed in (11, 12, 13) for missed in planted(open_sets, make_documents, seed, edit)] == []


@pytest.mark.slow
def test_questions_alone_are_found(open_sets, make_documents):
    assert planted(open_sets, make_documents, 14, parts=("question",)) == []


@pytest.mark.slow
def test_when_no_item_is_left_unedited_few_are_missed(open_sets, make_documents):
    """Of a question of two or three words an edit leaves no window; there are such among KoBEST's COPA and ARC."""
    missed = [
        one
        for seed in range(4)
        for one in planted(open_sets, make_documents, seed, lambda text, rng: light_edit(text, rng, 1))
    ]
    assert len(missed) <= 6 and all("COPA" in one or "arc" in one for one in missed)


@pytest.fixture(scope="module")
def hub_shapes(open_sets, tmp_path_factory):
    """The same sets in other shapes and files: Parquet with nested choices, TSV, gzipped JSONL."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    def rows(name: str) -> list[dict]:
        return [json.loads(line) for line in next(open_sets.rglob(name)).read_text("utf-8").splitlines()]

    folder = tmp_path_factory.mktemp("hub")
    arc = [
        {
            "id": f"a{n}",
            "question": row["query"].removeprefix("Question: "),
            "choices": {"text": row["choices"], "label": list("ABCDE")[: len(row["choices"])]},
            "answerKey": "ABCDE"[row["gold"]],
        }
        for n, row in enumerate(rows("arc_easy.jsonl"))
    ]
    pq.write_table(pa.Table.from_pylist(arc), folder / "arc.parquet")
    math = [{"question": row["context"], "answer": row["answer"]} for row in rows("gsm8k.jsonl")]
    (folder / "gsm8k.tsv").write_text(
        "question\tanswer\n"
        + "".join("\t".join(" ".join(str(v).split()) for v in row.values()) + "\n" for row in math),
        "utf-8",
    )
    with gzip.open(folder / "human_eval.jsonl.gz", "wt", encoding="utf-8") as out:
        out.write("\n".join(map(json.dumps, rows("human_eval.jsonl"))))
    return folder


@pytest.mark.slow
def test_items_of_parquet_tsv_and_gzip_are_found_too(hub_shapes, make_documents):
    assert planted(hub_shapes, make_documents, 5) == []


def clean_texts(shared):
    """Film reviews, manuals in both languages and comments, none of which holds an evaluation item: a text at a time."""
    import lzma

    for name, fields in (
        ("C-nsmc-reviews.jsonl.xz", ("text",)), ("C-python311-rst-en.jsonl.xz", ("text",)), ("C-cpp-docs-ko.jsonl.xz", ("markdown",)),
        ("C-python-docs-ko-pairs.jsonl.xz", ("ko", "en")), ("F-installguide12-docs.jsonl.xz", ("text",)), ("I-dclm-quality-nonunanimous.jsonl.xz", ("text",)),
    ):  # fmt: skip
        with lzma.open(shared / name, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                yield from (str(row[field] or "") for field in fields)
    with tarfile.open(shared / "I-korean-hate-speech.tar.xz") as tar:
        yield from tar.extractfile("labeled/train.tsv").read().decode().splitlines()


@pytest.mark.slow
def test_clean_text_is_left_alone(open_sets, shared, make_documents):
    """Every tier counts, also those that are only reported."""
    texts = list(clean_texts(shared))
    stage = Decontaminate.build({"against": [str(open_sets)]}, "decontaminate")
    dropped = found = 0
    for at in range(0, len(texts), 8192):
        ledger = stage.work(make_documents(texts[at : at + 8192]).combine_chunks().to_batches()[0]).ledger
        found += sum(bool(reasons) for reasons in ledger["reasons"].to_pylist())
        dropped += len(ledger) - ledger["reason"].null_count
    assert len(texts) > 400_000 and dropped == 0 and found / len(texts) < 1e-4
