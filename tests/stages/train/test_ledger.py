"""Every input row was trained on or says why not; held-out documents are cut out of the rows they were packed into."""

import json

import numpy as np
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.schema import child_id
from pipeline.storage.store import Store
from stages.models.chat.templates import Chat
from stages.models.holdout import held_out
from stages.train import Train
from stages.train.objective.conversations import Conversations, Pairs
from stages.train.objective.corpus import TokenRows


def test_held_out_documents_are_cut_out_of_their_rows(tokens_store):
    corpus = TokenRows([tokens_store], None, 0.2, 512)
    rows = tokens_store.table().to_pylist()
    ids = sorted({doc["id"] for row in rows for doc in row["docs"]})
    out = dict(zip(ids, held_out(ids, 0.2)))
    trained = set(range(len(corpus)))
    by_id = {row["id"]: row for row in rows}
    for index in trained:
        row = corpus.row(index)
        source = by_id[corpus.row_id(index)]
        kept = [
            t for doc in source["docs"] if not out[doc["id"]] for t in source["input_ids"][doc["start"] : doc["end"]]
        ]
        assert row.ids.tolist() == kept
        assert corpus.weight(index) == (row.labels >= 0).sum()
    wanted = sum(
        doc["end"] - doc["start"]
        for row in rows
        for doc in row["docs"]
        if out[doc["id"]] and doc["end"] - doc["start"] > 1
    )
    assert sum(len(corpus.row(i, held=True).ids) for i in range(corpus.held_rows)) >= wanted


def test_rows_that_pack_marked_are_left_out_whole(tokens_store, tmp_path):
    import pyarrow as pa

    from pipeline.storage.ledger import Ledger

    table = tokens_store.table()
    marked = table.append_column("heldout", pa.array([n % 3 == 0 for n in range(len(table))]))
    store = Store(tmp_path)
    store.put(0, marked, Ledger.rows(marked["id"].to_pylist()), key="test", stage="pack", input_ids=marked["id"])
    corpus = TokenRows([store], None, 0.9, 512)
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
    corpus = TokenRows([tokens_store], 40, 0.2, 512)
    used = np.zeros(len(corpus), bool)
    reasons = corpus.ledger(used)["reason"].to_pylist()
    assert {"train.over_context", "train.not_reached"} <= set(reasons) and None not in reasons
    assert all(len(corpus.row(i).ids) <= 40 for i in range(len(corpus)))


def test_shards_of_another_tokenizer_are_refused(tokens_store):
    with pytest.raises(UsageError, match="the tokenizer has 100 tokens"):
        TokenRows([tokens_store], None, 0.0, 100)


def test_when_nothing_is_left_the_error_counts_the_reasons(tokens_store, tiny_tokenizer, tiny, tmp_path):
    stage = Train(**{**tiny, "max_length": 8, "max_steps": 2})
    with pytest.raises(UsageError, match="no row is left to train on .*train.over_context"):
        stage.run(Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17), Store(tmp_path), Inline())


def chats(*conversations):
    return [{"id": child_id("c", "test", "row", n), "messages": messages} for n, messages in enumerate(conversations)]


def test_conversations_that_cannot_be_trained_on_are_named(make_rows_store, tokenizer):
    user = {"role": "user", "content": "쌀은?"}
    answer = {"role": "assistant", "content": "rice"}
    store = make_rows_store(
        "CHAT",
        chats(
            [user, answer],
            [user],
            [],
            [user, {"role": "assistant", "content": "콩 " * 100}],
            [{"role": "user", "content": "<|user|>"}, answer],
        ),
    )
    data = Conversations([store], Chat(tokenizer), 64, 0.0, pack=True)
    assert data.reasons == [None, "chat.no_answer", "chat.empty", "chat.over_context", "chat.control_token"]
    ledger = data.ledger(np.ones(len(data), bool))
    assert ledger["reason"].to_pylist() == data.reasons and ledger["train.tokens"].to_pylist()[1:] == [0, 0, 0, 0]


def test_a_template_that_trains_nothing_is_all_masked(make_rows_store, tokenizer):
    """The fault put in on purpose: generation marks around nothing."""
    blind = "{% for m in messages %}{% generation %}{% endgeneration %}{{ m['content'] + eos_token }}{% endfor %}"
    store = make_rows_store(
        "CHAT", chats([{"role": "user", "content": "쌀은?"}, {"role": "assistant", "content": "rice"}])
    )
    data = Conversations([store], Chat(tokenizer, blind), 64, 0.0, pack=True)
    assert data.reasons == ["chat.all_masked"] and len(data) == 0


def test_pairs_that_cannot_be_trained_on_are_named(make_rows_store, tokenizer):
    prompt, good, bad = (
        [{"role": role, "content": text}]
        for role, text in (("user", "쌀은?"), ("assistant", "rice"), ("assistant", "corn"))
    )
    rows = [
        {"id": child_id("p", "test", "row", n), "prompt": prompt, "chosen": chosen, "rejected": rejected}
        for n, (chosen, rejected) in enumerate(
            [(good, bad), (good, good), (good, []), (good, [{"role": "assistant", "content": "콩 " * 100}])]
        )
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


def test_the_closing_line_and_the_report_say_which_rows_were_left_out(make_rows_store, base_store, tmp_path, capsys):
    from pipeline.cli import cli
    from pipeline.inspection.sections import Samples
    from stages.train import report

    user, answer = (
        {"role": "user", "content": "쌀은?"},
        {"role": "assistant", "content": "rice", "reasoning": "쌀 is rice"},
    )
    store = make_rows_store(
        "CHAT", chats(*[[user, answer]] * 4, [user], [user], [{"role": "user", "content": "<|user|>"}, answer])
    )
    words = [
        "--base",
        base_store.path,
        "--objective",
        "sft",
        "--steps",
        "2",
        "--batch",
        "2",
        "--threads",
        "1",
        "--holdout",
        "0",
        "--no-pack",
    ]
    assert cli.main(["train", store.path, str(tmp_path / "sft"), *words], standalone_mode=False) == 0
    said = capsys.readouterr()
    assert "sft: 0 rows, 3 dropped (2 chat.no_answer, 1 chat.control_token), in" in said.out
    width = Store(tmp_path / "sft").receipt("artefact").notes["doctor"]["tokens of a row"]
    assert (
        width < 64
        and f"sft: trained in rows of {width} tokens, the longest there is (max_length is not set), 3 dropped (2 chat.no_answer, 1 chat.control_token),"
        in said.err
    )
    told = report.section([Store(tmp_path / "sft")], Samples(list))[1].text
    assert told == "Rows left out: 2 chat.no_answer, 1 chat.control_token. Reasoning left out by the template: 4 rows."


def test_rows_are_as_long_as_the_longest_where_nobody_says_and_never_what_a_base_could_reach(
    make_rows_store, tokenizer, tmp_path
):
    from types import SimpleNamespace

    from stages.train.objective.rl import Prompts
    from stages.train.session import reach

    user, answers = (
        {"role": "user", "content": "쌀은?"},
        [{"role": "assistant", "content": "rice " * n} for n in (1, 9, 300)],
    )
    chat, store = Chat(tokenizer), make_rows_store("CHAT", chats(*[[user, answer] for answer in answers]))
    sizes = [len(chat.encode([user, answer]).ids) for answer in answers]
    for width, longest in ((4096, sizes[2]), (sizes[2] - 1, sizes[1]), (8, 8)):
        data = Conversations([store], chat, width, 0.0, pack=False, measured=True)
        assert data.width == longest and data.reasons.count("chat.over_context") == sum(size > width for size in sizes)
    assert Conversations([store], chat, 4096, 0.9, pack=True, measured=True).width == sizes[2], (
        "a held-out row fits too"
    )
    rows = [{"id": child_id("p", "test", "row", 0), "prompt": [user], "chosen": [answers[1]], "rejected": [answers[0]]}]
    assert Pairs([make_rows_store("PAIR", rows)], chat, 4096, 0.0, measured=True).width == sizes[1]
    assert Prompts([store], chat, 4096, 20, 0.0, measured=True).width == len(chat.prompt([user])) + 20
    for said, most in (
        ({"max_position_embeddings": 131072}, 4096),
        ({"max_position_embeddings": 256}, 256),
        ({}, 4096),
    ):
        (tmp_path / "config.json").write_text(json.dumps(said))
        assert reach([SimpleNamespace(path=tmp_path)]) == most
    assert reach([]) == 4096


TOOLED = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def test_tools_stand_in_what_is_planned_measured_and_asked(make_rows_store, tokenizer):
    from stages.evaluate.drawn import draw
    from stages.evaluate.measure import encode_conversations
    from stages.train.objective.rl import Prompts, asking
    from stages.train.planning import outlook

    chat, tools = (
        Chat(tokenizer, TOOLED),
        json.dumps([{"type": "function", "function": {"name": "weigh", "parameters": {}}}]),
    )
    messages = [{"role": "user", "content": "쌀은?"}, {"role": "assistant", "content": "rice"}]
    rows = [
        {"id": child_id("t", "test", "row", n), "messages": messages, "tools": some, "lang": "ko"}
        for n, some in enumerate((None, tools))
    ]
    store = make_rows_store("CHAT", rows)
    trained = [Conversations([store], chat, 512, 0.0, pack=False).row(n).ids.tolist() for n in range(2)]
    assert "weigh" in tokenizer.decode(trained[1]) and "weigh" not in tokenizer.decode(trained[0])
    drawn = draw([store], "CHAT", 1.0, 8)
    assert sorted(row.ids.tolist() for row in encode_conversations(drawn.rows, chat, 512).rows) == sorted(trained), (
        "evaluate reads what was trained"
    )
    sample = sorted(outlook._sample([store]), key=lambda row: row["tools"] or "")
    assert [outlook._parts(Train(objective="sft"), chat, row, 512)[0][0] for row in sample] == [
        len(ids) for ids in trained
    ]
    questions = Prompts([store], chat, 512, 16, 0.0, measured=True)
    assert questions.width == len(chat.prompt(messages[:1], tools)) + 16
    asked, *_ = asking(object, questions, chat)()._tokenize_prompts([[{"row": 1}], [{"row": 0}], [{"row": 1}]])
    assert [trained[n][: len(ids)] == ids for n, ids in zip((1, 0, 1), asked)] == [True] * 3
