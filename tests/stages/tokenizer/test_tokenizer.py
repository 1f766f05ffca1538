"""The stage: what it makes, twice the same, and what it says when the corpus is too small."""

import json

import pytest

from pipeline.errors import OptionError, UsageError, WorkError
from pipeline.options import content_hash
from pipeline.storage.ledger import check
from stages.tokenizer import Tokenizer


def test_makes_a_folder_with_model_config_and_card(mixed, train):
    sink = train(Tokenizer(vocab_size=500), mixed)
    folder = sink.artefact()
    assert {p.name for p in folder.iterdir()} == {
        "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "card.json", "README.md",
    }  # fmt: skip
    card = json.loads((folder / "card.json").read_text())
    assert card["vocab_size"] == 500 and not card["limited_by_corpus"]
    assert card["measured"]["by_language"]["ko"]["fertility"] >= 1
    assert card["sample"]["licences"] == {"CC0-1.0": card["sample"]["documents"]}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_same_bytes_again(mixed, train, kind):
    stage = Tokenizer(vocab_size=500, model_type=kind)
    hashes = {content_hash(train(stage, mixed, f"{kind}{n}").artefact()) for n in range(3)}
    assert len(hashes) == 1


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_same_bytes_whatever_the_shards_and_their_order(mixed, corpus, train, kind):
    texts = [(row["lang"], row["text"]) for row in mixed.table().to_pylist()]
    stage = Tokenizer(vocab_size=500, model_type=kind)
    models = {
        content_hash(train(stage, corpus(some, shards, name), f"{name}-{kind}").artefact() / "tokenizer.model")
        for name, some, shards in (("one", texts, 1), ("three", texts, 3), ("turned", texts[::-1], 2))
    }
    assert len(models) == 1


def test_a_valid_receipt_is_not_trained_again(mixed, train, monkeypatch):
    stage = Tokenizer(vocab_size=600)
    first = train(stage, mixed).receipt("artefact")
    monkeypatch.setattr("stages.tokenizer.fit.fit", lambda *_: pytest.fail("trained again"))
    assert train(stage, mixed).receipt("artefact") == first


def test_ledger_accounts_for_every_document(corpus, train):
    store = corpus(
        [("ko", "콩을 갈아 두부를 만든다. " * 40), ("en", ""), ("en", None), ("en", "stone and water " * 40)]
    )
    sink = train(Tokenizer(vocab_size=600, balance={"ko": 1.0}), store)
    ledger = sink.ledgers()
    check(store.table()["id"], store.table()["id"].slice(0, 0), ledger, "tokenizer")
    reasons = dict(zip(ledger["id"].to_pylist(), ledger["reason"].to_pylist(), strict=True))
    wanted = [None, "tokenizer.empty", "tokenizer.empty", "tokenizer.language"]
    assert [reasons[row_id] for row_id in store.table()["id"].to_pylist()] == wanted and len(ledger) == 4
    assert ledger["out"].null_count == 4 and sink.ledger("artefact")["reason"].null_count == 1
    receipt = sink.receipt("artefact")
    assert receipt.rows_in == 4 and receipt.reasons == {"tokenizer.empty": 2, "tokenizer.language": 1}


def test_sample_budget_leaves_documents_out(mixed, train):
    sink = train(Tokenizer(vocab_size=500, sample_mb=0.02, character_coverage=0.99), mixed)
    reasons = sink.ledgers()["reason"].to_pylist()
    assert len(reasons) == 120 and 0 < reasons.count(None) < 120 and set(reasons) == {None, "tokenizer.budget"}
    card = json.loads((sink.artefact() / "card.json").read_text())
    assert card["measured"]["on"].endswith("not trained on")


def test_too_large_a_vocabulary_is_softened_and_said(corpus, train):
    store = corpus([("en", "stone water stone water wheel")])
    card = json.loads((train(Tokenizer(), store).artefact() / "card.json").read_text())
    assert card["asked"] == 32768 and card["limited_by_corpus"] and card["vocab_size"] < 400
    assert "supports no more" in (train(Tokenizer(), store).artefact() / "README.md").read_text()


def test_hard_limit_names_the_largest_size(corpus, train):
    store = corpus([("en", "stone water stone water wheel")])
    with pytest.raises(UsageError, match=r"set vocab_size to at most \d+"):
        train(Tokenizer(hard_limit=True), store)


def test_too_small_a_vocabulary_names_the_hint(corpus, train):
    store = corpus([("ko", "".join(chr(0xAC00 + 7 * n) for n in range(900)))])
    with pytest.raises(UsageError, match="lower character_coverage"):
        train(Tokenizer(vocab_size=400), store)


def test_no_text_at_all(corpus, train):
    with pytest.raises(WorkError, match="^tokenizer: no text to learn from"):
        train(Tokenizer(), corpus([("en", ""), ("en", "▅▅▅\0")]))


@pytest.mark.parametrize(
    "given",
    [
        {"symbols": ["<s>"]},
        {"symbols": ["a b"]},
        {"symbols": ["<x>", "<x>"]},
        {"balance": {}},
        {"balance": {"ko": 0}},
        {"vocab_size": 10},
        {"character_coverage": 0.9},
    ],
)
def test_bad_options_are_refused(given):
    with pytest.raises(OptionError):
        Tokenizer.build(given, "tokenizer")
