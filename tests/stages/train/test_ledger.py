"""Every input row was trained on or says why not; held-out documents are cut out of the rows they were packed into."""

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.pool import Inline
from pipeline.schema import child_id
from pipeline.stage import Inputs
from pipeline.store import Store
from stages.models.holdout import held_out
from stages.models.templates import Chat
from stages.train import Train
from stages.train.conversations import Conversations, Pairs
from stages.train.corpus import Corpus


def test_held_out_documents_are_cut_out_of_their_rows(tokens_store):
    corpus = Corpus([tokens_store], None, 0.2, 512)
    rows = tokens_store.table().to_pylist()
    ids = sorted({doc["id"] for row in rows for doc in row["docs"]})
    out = dict(zip(ids, held_out(ids, 0.2)))
    trained = {index for index in range(len(corpus))}
    by_id = {row["id"]: row for row in rows}
    for index in trained:
        row = corpus.row(index)
        source = by_id[corpus.row_id(index)]
        kept = [t for doc in source["docs"] if not out[doc["id"]] for t in source["input_ids"][doc["start"] : doc["end"]]]
        assert row.ids.tolist() == kept
        assert corpus.weight(index) == (row.labels >= 0).sum()
    wanted = sum(doc["end"] - doc["start"] for row in rows for doc in row["docs"] if out[doc["id"]] and doc["end"] - doc["start"] > 1)
    assert sum(len(corpus.row(i, held=True).ids) for i in range(corpus.held_rows)) >= wanted


def test_rows_that_pack_marked_are_left_out_whole(tokens_store, tmp_path):
    import pyarrow as pa

    from pipeline.ledger import Ledger

    table = tokens_store.table()
    marked = table.append_column("heldout", pa.array([n % 3 == 0 for n in range(len(table))]))
    store = Store(tmp_path)
    store.put(0, marked, Ledger.rows(marked["id"].to_pylist()), key="test", stage="pack", input_ids=marked["id"])
    corpus = Corpus([store], None, 0.9, 512)
    assert len(corpus) + corpus.held_rows == len(table) and corpus.held_rows == -(-len(table) // 3)
    ids = table["id"].to_pylist()
    assert {corpus.row_id(n) for n in range(len(corpus))} == {row for n, row in enumerate(ids) if n % 3}


def test_the_token_ledger_accounts_for_every_row(tokens_store, base_store):
    ledger = base_store.ledger("artefact")
    assert ledger["id"].to_pylist() == tokens_store.table()["id"].to_pylist()
    assert ledger["out"].null_count == len(ledger)
    assert set(ledger["reason"].to_pylist()) <= {None, "train.held_out", "train.empty"}
    trained = [n for n, why in zip(ledger["train.tokens"].to_pylist(), ledger["reason"].to_pylist()) if why is None]
    assert min(trained) > 0


def test_rows_longer_than_the_context_and_rows_never_reached_are_named(tokens_store):
    corpus = Corpus([tokens_store], 40, 0.2, 512)
    used = np.zeros(len(corpus), bool)
    reasons = corpus.ledger(used)["reason"].to_pylist()
    assert {"train.over_context", "train.not_reached"} <= set(reasons) and None not in reasons
    assert all(len(corpus.row(i).ids) <= 40 for i in range(len(corpus)))


def test_shards_of_another_tokenizer_are_refused(tokens_store):
    with pytest.raises(UsageError, match="the tokenizer has 100 tokens"):
        Corpus([tokens_store], None, 0.0, 100)


def test_when_nothing_is_left_the_error_counts_the_reasons(tokens_store, tiny_tokenizer, tiny, tmp_path):
    stage = Train(**{**tiny, "seq_len": 8, "steps": 2})
    with pytest.raises(UsageError, match="no row is left to train on .*train.over_context"):
        stage.run(Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17), Store(tmp_path), Inline())


def chats(*conversations):
    return [{"id": child_id("c", "test", "row", n), "messages": messages} for n, messages in enumerate(conversations)]


def test_conversations_that_cannot_be_trained_on_are_named(make_rows_store, tokenizer):
    user = {"role": "user", "content": "쌀은?"}
    answer = {"role": "assistant", "content": "rice"}
    store = make_rows_store(
        "CHAT",
        chats([user, answer], [user], [], [user, {"role": "assistant", "content": "콩 " * 100}], [{"role": "user", "content": "<|user|>"}, answer]),
    )
    data = Conversations([store], Chat(tokenizer), 64, 0.0, pack=True)
    assert data.reasons == [None, "chat.no_answer", "chat.empty", "chat.over_context", "chat.control_token"]
    ledger = data.ledger(np.ones(len(data), bool))
    assert ledger["reason"].to_pylist() == data.reasons and ledger["train.tokens"].to_pylist()[1:] == [0, 0, 0, 0]


def test_a_template_that_trains_nothing_is_all_masked(make_rows_store, tokenizer):
    """The fault put in on purpose: generation marks around nothing."""
    blind = "{% for m in messages %}{% generation %}{% endgeneration %}{{ m['content'] + eos_token }}{% endfor %}"
    store = make_rows_store("CHAT", chats([{"role": "user", "content": "쌀은?"}, {"role": "assistant", "content": "rice"}]))
    data = Conversations([store], Chat(tokenizer, blind), 64, 0.0, pack=True)
    assert data.reasons == ["chat.all_masked"] and len(data) == 0


def test_pairs_that_cannot_be_trained_on_are_named(make_rows_store, tokenizer):
    prompt, good, bad = ([{"role": role, "content": text}] for role, text in (("user", "쌀은?"), ("assistant", "rice"), ("assistant", "corn")))
    rows = [
        {"id": child_id("p", "test", "row", n), "prompt": prompt, "chosen": chosen, "rejected": rejected}
        for n, (chosen, rejected) in enumerate([(good, bad), (good, good), (good, []), (good, [{"role": "assistant", "content": "콩 " * 100}])])
    ]
    data = Pairs([make_rows_store("PAIR", rows)], Chat(tokenizer), 64, 0.0)
    assert data.reasons == [None, "pair.equal", "chat.no_answer", "chat.over_context"]
    pair = data.pair(0)
    assert tokenizer.decode(pair.chosen.labels[pair.chosen.labels >= 0].tolist()) == "rice</s>"
    assert tokenizer.decode(pair.rejected.labels[pair.rejected.labels >= 0].tolist()) == "corn</s>"


def test_train_and_evaluate_hold_out_the_same_rows(chat_store, pair_store, tokenizer):
    from stages.evaluate.drawn import draw

    data = Conversations([chat_store], Chat(tokenizer), 64, 0.2, pack=True)
    held = {row for row, why in zip(data.ids, data.reasons) if why == "train.held_out"}
    drawn = draw([chat_store, pair_store], "CHAT", 0.2, 10_000)
    assert held and {row["id"] for row in drawn.rows} == held
    assert [why is None for why in drawn.reasons] == [why == "train.held_out" for why in data.reasons]


def test_a_prompt_stands_on_one_side_in_sft_and_dpo(chat_store, pair_store, tokenizer):
    from stages.models.holdout import prompt_key

    chat, data = Chat(tokenizer), {}
    data["CHAT"] = Conversations([chat_store], chat, 64, 0.2, pack=True)
    data["PAIR"] = Pairs([pair_store], chat, 64, 0.2)
    asked = {}
    for name, store, column in (("CHAT", chat_store, "messages"), ("PAIR", pair_store, "prompt")):
        keys = [prompt_key(messages) for messages in store.table()[column].to_pylist()]
        asked[name] = {key: why == "train.held_out" for key, why in zip(keys, data[name].reasons)}
    shared = set(asked["CHAT"]) & set(asked["PAIR"])
    assert shared and all(asked["CHAT"][key] == asked["PAIR"][key] for key in shared)
