"""What-if against real reruns: the same documents kept, without a text read."""

import json
import random

import pytest

from pipeline.engine.recipe import parse
from pipeline.errors import SourceError, UsageError, WorkError
from pipeline.storage.store import Store
from stages.quality import Quality, whatif_page
from stages.quality.commands import WhatIf
from stages.quality.whatif import Ledgers, changed
from stages.quality.whatif_page import sweep_of
from stages.text.words.token_rates import bytes_per_token

KO = "우리는 그 책을 볼 수 있는 곳에서 다시 만났다. 오늘은 날씨가 좋다. 이 길은 바다로 이어진다. 또는 산으로 간다."
EN = "The people have to be there and that is with it. It was a good day. Of all roads this one leads to the sea."
FAQ = [{"kind": "question", "text": "?", "start": None, "end": None, "level": None, "group": 0}]
FILTERS = ["language", "gopher_quality", "emoticon_runs", {"word_count": {"min": 20}}, "gopher_repetition", "fineweb"]


def corpus(rng: random.Random, count: int) -> tuple[list[str | None], list]:
    texts: list[str | None] = [None, "", "..."]
    for _ in range(count):
        vocabulary, stem = rng.choice([(KO, "낱말"), (EN, "word")])
        words = [
            rng.choice([*vocabulary.split(), f"{stem}{rng.randrange(500)}."]) for _ in range(rng.randrange(2, 160))
        ]
        words += [rng.choice(["", "ㅋㅋㅋㅋ", "12345", "menu\nmenu"])] * rng.randrange(3)
        texts.append(rng.choice([" ", " ", " ", "\n"]).join(words))
    return texts, [FAQ if rng.random() < 0.2 else None for _ in texts]


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_store):
    """`run(name, filters, **options)` -> the finished quality step over one corpus."""
    root = tmp_path_factory.mktemp("run")
    texts, blocks = corpus(random.Random(5), 250)
    make_store(root / "in", texts, shards=3, blocks=blocks)

    def go(name: str, filters: list, **options) -> Store:
        from pipeline.engine import run as runs

        page = {
            "name": "t",
            "root": str(root),
            "steps": [{"quality": {"name": name, "of": str(root / "in"), "filters": filters, **options}}],
            "run": {"pool": "inline"},
        }
        runs.run(parse(page, "t"))
        return Store(root / name)

    return go


@pytest.fixture(scope="module")
def ledgers(run) -> Ledgers:
    return Ledgers(run("quality", FILTERS))


def kept(store: Store) -> list[str]:
    return store.table(["id"])["id"].to_pylist()


def asked(ledgers: Ledgers, stage: Quality) -> list[str]:
    return [i for i, why in zip(ledgers.table["id"].to_pylist(), ledgers.decided(stage)) if why is None]


CASES = [
    (["word_count.min=60"], [], {3: {"word_count": {"min": 60}}}, {}),
    (["language.min=0.95"], [], {0: {"language": {"min": 0.95}}}, {}),
    (["language.keep=[ko]"], [], {0: {"language": {"keep": ["ko"]}}}, {}),
    (["gopher_quality.min_words=5"], [], {1: {"gopher_quality": {"min_words": 5}}}, {}),
    (
        ["gopher_quality.languages.ko.min_words=90"],
        [],
        {1: {"gopher_quality": {"languages": {"ko": {"min_words": 90}}}}},
        {},
    ),
    (
        ["fineweb.max_newlines=null", "fineweb.min_ended_lines=null"],
        [],
        {5: {"fineweb": {"max_newlines": None, "min_ended_lines": None}}},
        {},
    ),
    (["exempt=[]"], [], {}, {"exempt": []}),
    ([], ["fineweb"], {5: None}, {}),
]


@pytest.mark.parametrize("settings, without, replace, options", CASES, ids=[" ".join([*c[0], *c[1]]) for c in CASES])
def test_the_answer_is_that_of_a_rerun(run, ledgers, settings, without, replace, options):
    filters = [replace.get(n, each) for n, each in enumerate(FILTERS) if replace.get(n, each) is not None]
    again = run("again", filters, **options)
    stage = changed(ledgers.stage, settings, without)
    assert asked(ledgers, stage) == kept(again)
    tally = ledgers.tally(ledgers.decided(stage))
    assert tally.documents == len(kept(again)) and tally.reasons == again.require()["reasons"]


def test_settings_change_something(ledgers):
    counts = {len(asked(ledgers, changed(ledgers.stage, settings, without))) for settings, without, *_ in CASES}
    assert len(counts) > 4


def test_no_text_is_read(ledgers, monkeypatch):
    monkeypatch.setattr(Store, "read", lambda *_: pytest.fail("a shard was read"))
    monkeypatch.setattr(Store, "batches", lambda *_: pytest.fail("a shard was read"))
    assert Ledgers(ledgers.store).decided(ledgers.stage)


def test_the_limit_that_keeps_the_top(ledgers):
    limit = ledgers.threshold("word_count.words", 10)
    words = [w for w, lost in zip(ledgers.metrics["word_count.words"], ledgers.unread) if not lost]
    assert sum(w >= limit for w in words) == pytest.approx(len(words) * 0.1, abs=8)


def test_the_limit_of_one_language(ledgers):
    limits = {lang: ledgers.threshold("word_count.words", 50, lang) for lang in ("ko", "en", None)}
    words = [
        w
        for w, lang, lost in zip(ledgers.metrics["word_count.words"], ledgers.langs.to_pylist(), ledgers.unread)
        if lang == "ko" and not lost
    ]
    assert sum(w >= limits["ko"] for w in words) == pytest.approx(len(words) / 2, abs=6)
    with pytest.raises(UsageError, match="of no document"):
        ledgers.threshold("word_count.words", 50, "xx")


@pytest.mark.parametrize(
    "settings, without, message",
    [
        (["emoticon_runs.keep=3"], [], "changes what is measured"),
        (["fineweb.short=20"], [], "changes what is measured"),
        (["word_cont.min=3"], [], "did you mean 'word_count'"),
        (["word_count.min"], [], "has no `=`"),
        ([], ["emoticon_runs"], "edits the texts"),
        ([], ["c4"], "no filter 'c4'"),
    ],
)
def test_what_needs_a_rerun_is_said(ledgers, settings, without, message):
    with pytest.raises(UsageError, match=message):
        changed(ledgers.stage, settings, without)


def test_the_command_prints_and_plots(ledgers, tmp_path, capsys):
    (tmp_path / "card.json").write_text(json.dumps({"measured": {"by_language": {"all": {"bytes_per_token": 4.0}}}}))
    options = {
        "set": ["word_count.min=60"],
        "sweep": ["word_count.min=10:30:10"],
        "top": ["language.score=50", "language.score@ko=30"],
        "tokenizer": str(tmp_path),
        "out": str(tmp_path / "page.html"),
    }
    assert WhatIf.build({"store": ledgers.store.path, **options}, "what-if").run() == 0
    out = capsys.readouterr().out
    assert (
        "as it ran" in out
        and "word_count.min = 30" in out
        and "50 % of the documents have language.score >=" in out
        and "30 % of the documents in ko have" in out
    )
    assert "word_count.low" in out and "<svg" in (tmp_path / "page.html").read_text()


def test_sweeps():
    assert sweep_of("language.min=0.3:0.5:0.1") == ("language.min", [0.3, 0.4, 0.5])
    assert sweep_of("word_count.min=10:30:10") == ("word_count.min", [10, 20, 30])
    for wrong in (
        "word_count.min",
        "word_count.min=1:2",
        "word_count.min=5:1:1",
        "word_count.min=1:5:0",
        "word_count.min=0:1:0.0001",
    ):
        with pytest.raises(UsageError):
            sweep_of(wrong)


def test_other_stores_and_cards_are_refused(tmp_path, make_store):
    make_store(tmp_path / "in", ["x"])
    with pytest.raises(SourceError, match="not by quality"):
        Ledgers(Store(tmp_path / "in"))
    with pytest.raises(SourceError, match="no tokenizer card"):
        bytes_per_token(str(tmp_path))


def test_a_step_made_again_while_it_was_read_gets_no_page(run, monkeypatch, tmp_path):
    store = run("again", ["word_count"])

    def meanwhile(*given):
        store.write_manifest({**store.require(), "key": "another"})
        return changed(*given)

    monkeypatch.setattr(whatif_page, "changed", meanwhile)
    order = WhatIf.build({"store": store.path, "out": str(tmp_path / "page.html")}, "what-if")
    with pytest.raises(WorkError, match="was written anew while it was read"):
        order.run()
    assert not (tmp_path / "page.html").exists()
    monkeypatch.undo()
    assert order.run() == 0 and (tmp_path / "page.html").exists()
