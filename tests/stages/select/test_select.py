"""Selection: every reason by a row that deserves it, the choice across rows, and scores that thresholds do not cost again."""

import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, UsageError
from pipeline.storage.store import Store
from stages.select import Select
from stages.text.minhash.clusters import nearest_better

ASK, ANSWER = "맷돌은 무엇에 쓰나요?", "맷돌은 곡식을 갈아 가루나 죽을 만드는 데 쓰는 돌로 된 도구입니다."


def row(number, answer=ANSWER, ask=ASK, **more):
    messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    return {
        "id": f"{number:032x}",
        "messages": messages,
        "lang": "ko",
        "licence": "CC0-1.0",
        "rule": "faq.markup",
        "meta": [],
        **more,
    }


@pytest.fixture
def select(tmp_path, make_rows_store):
    """A function (rows, model=(), name, shards, **options) -> (the store, reason per row in order)."""

    def run(rows, model=(), name="out", shards=1, **options):
        of = rows if isinstance(rows, Store) else make_rows_store("CHAT", rows, shards)
        sink = Store(tmp_path / name)
        Select.build(options, "select").run(
            Inputs({"of": [of], **({"model": list(model)} if model else {})}), sink, Inline()
        )
        ledger = sink.ledgers()
        order = {i: n for n, i in enumerate(of.table(["id"])["id"].to_pylist())}
        found = dict(zip(ledger["id"].to_pylist(), ledger["reason"].to_pylist()))
        return sink, [found[i] for i in order]

    return run


CASES = [
    ("select.short", row(1, "네."), {"min_chars": 5}),
    ("select.long", row(1), {"max_chars": 10}),
    ("select.language", row(1, lang="ja"), {"languages": ("ko", "en")}),
    ("select.language", row(1, "It grinds grain between two stones."), {"same_language": True}),
    ("select.repetition", row(1, "맷돌은 곡식을 갑니다. " * 30), {}),
    ("select.refusal", row(1, "죄송하지만 그 질문에는 답변할 수 없습니다."), {}),
    ("select.refusal", row(1, "I'm sorry, but I cannot help with that.", lang="en"), {}),
    ("select.template_leak", row(1, "### Response:\n" + ANSWER), {}),
    ("select.template_leak", row(1, ask="{question}"), {}),
    ("select.licence", row(1, licence=None), {"licences": ("CC0-1.0",)}),
    ("select.licence", row(1, licence="CC-BY-NC-4.0"), {"without_licences": ("CC-BY-NC-4.0",)}),
    (
        "select.teacher_terms",
        row(1, meta=[{"key": "teacher_licence", "value": "no-compete"}]),
        {"teacher_licences": ("apache-2.0",)},
    ),
    ("select.teacher_terms", row(1, rule="teacher.answer"), {"teacher_licences": ("apache-2.0",)}),
    ("select.no_answer", row(1, messages=[{"role": "user", "content": ASK}]), {}),
]


@pytest.mark.parametrize("reason, bad, options", CASES)
def test_each_reason_takes_its_row_and_leaves_a_sound_one(select, reason, bad, options):
    sound = row(0, meta=[{"key": "teacher_licence", "value": "apache-2.0"}])
    loose = {name: value for name, value in options.items() if name != "max_chars"}
    assert select([sound, bad], **loose if reason != "select.long" else options)[1][1] == reason
    if reason != "select.long":
        assert select([sound, bad], name="again", **options)[1][0] is None


def test_what_the_rows_say_is_carried_unchanged(select):
    sink, reasons = select([row(n) for n in range(3)])
    assert reasons == [None] * 3 and sink.read(0).to_pylist()[1]["messages"][1]["content"] == ANSWER


def test_of_rows_that_resemble_each_other_only_the_best_is_kept(select):
    far = row(
        2, "두부는 콩을 불려 갈고 끓인 뒤 간수를 넣어 굳힌 음식입니다.", "두부는 어떻게 만드나요?", confidence=0.1
    )
    sink, reasons = select([row(0, confidence=0.5), row(1, ANSWER + "!", confidence=0.9), far], diversity=0.7)
    assert reasons == ["select.near_copy", None, None]
    [told] = [entry for entry in sink.ledger(0).to_pylist() if entry["reason"]]
    assert told["duplicate_of"] == f"{1:032x}"


@pytest.mark.parametrize(
    "by, reason", [("both", "select.near_copy"), ("answer", "select.near_copy"), ("question", None)]
)
def test_what_of_two_rows_is_compared(select, by, reason):
    long = " ".join(
        [
            ANSWER,
            "위짝을 돌리면 가운데 구멍으로 넣은 곡식이 두 돌 사이에서 갈려 둘레로 흘러나옵니다. 손잡이는 나무로 만듭니다.",
        ]
    )
    rows = [
        row(0, long, "맷돌은 무엇인가요?", confidence=0.9),
        row(1, long, "다음 글의 제목을 지어 주세요.", confidence=0.5),
    ]
    assert select(rows, diversity=0.7, alike_by=by)[1] == [None, reason]


@pytest.mark.parametrize("top, kept", [(0.5, 2), (3, 3), (1, 1), (1.0, 4)])
def test_the_top_is_a_share_or_a_number(select, top, kept):
    rows = [row(n, f"{n}번째 답: {ANSWER}", confidence=n / 10) for n in range(4)]
    sink, reasons = select(rows, top=top, shards=2)
    assert reasons == ["select.not_top"] * (4 - kept) + [None] * kept


def test_near_copies_are_those_a_slow_count_finds():
    rng = np.random.default_rng(3)
    words = [f"낱말{n}" for n in range(60)]
    texts = [" ".join(rng.choice(words, 30)) for _ in range(30)]
    texts += [text.replace(text.split()[at % 30], "다른", 1) for at, text in enumerate(texts)]
    grams = [{text[at : at + 5] for at in range(len(text) - 4)} for text in texts]
    kept, expected = [], set()
    for n, mine in enumerate(grams):
        alike = [k for k in kept if len(mine & grams[k]) / len(mine | grams[k]) >= 0.7]
        expected |= {n} if alike else set()
        kept += [] if alike else [n]
    found = nearest_better(texts, 0.7)
    assert expected and len(set(found) ^ expected) <= max(1, len(expected) // 50)
    assert all(
        better in kept and len(grams[n] & grams[better]) / len(grams[n] | grams[better]) >= 0.7
        for n, better in found.items()
    )


def test_scores_stand_in_the_ledger_and_another_threshold_costs_none(select, base_store, monkeypatch, chat_store):
    sink, _ = select(chat_store, model=[base_store], ifd_max=100.0)
    ledger = sink.ledgers()
    ifd, perplexity, tokens = (ledger[f"select.{name}"].to_numpy() for name in ("ifd", "perplexity", "tokens"))
    assert np.isfinite(ifd).all() and (perplexity > 1).all() and (tokens > 0).all()
    cut = float(np.median(ifd))
    monkeypatch.setattr("stages.select.choose.score_shard", lambda task: pytest.fail("scored again"))
    again, reasons = select(chat_store, model=[base_store], ifd_max=cut)
    dropped = again.ledgers().filter(pc.equal(again.ledgers()["reason"], "select.ifd_high"))
    assert set(dropped["id"].to_pylist()) == {i for i, value in zip(ledger["id"].to_pylist(), ifd) if value > cut}


def test_the_best_by_perplexity_are_the_likeliest(select, base_store, chat_store):
    sink, _ = select(chat_store, model=[base_store], ifd_max=100.0, by="perplexity", top=20)
    ledger = sink.ledgers()
    kept = pc.is_null(ledger["reason"])
    values = ledger["select.perplexity"].to_numpy()
    inside = kept.to_numpy(zero_copy_only=False)
    assert inside.sum() == 20 and values[inside].max() <= values[~inside].min()


def test_a_measure_without_a_model_is_refused(select):
    with pytest.raises(UsageError, match="model"):
        select([row(0)], by="ifd")
    with pytest.raises(OptionError):
        select([row(0)], min_chars=10, max_chars=5)
