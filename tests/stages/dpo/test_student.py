"""A real student of some 140,000 weights: what it says makes honest pairs, the same ones whoever works, and trains."""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.dpo import Dpo, StudentSampling
from stages.models.chat.template_lock import lock_of
from stages.models.chat.templates import Chat, load_tokenizer

SHORT = StudentSampling(max_tokens=24, threads=1, temperature=0.5, top_p=0.8)
LOOSE = {"sampling": SHORT, "length_ratio": 8.0, "truncated": "keep", "same_language": False}


@pytest.fixture(scope="module")
def pairs(chat_store, base_store, sft_store, tmp_path_factory):
    sink = Store(tmp_path_factory.mktemp("pairs"))
    stores = {"of": [chat_store], "student": [base_store, sft_store], "sft": [chat_store]}
    Dpo(**LOOSE, sft_overlap=1.0, max_prompts=140).run(Inputs(stores), sink, Inline())
    return sink


def test_a_tuned_student_makes_pairs(pairs, chat_store):
    rows = pairs.table().to_pylist()
    assert len(rows) >= 20 and all(row["in_sft"] for row in rows)
    labels = {row["id"]: row["messages"][-1]["content"] for row in chat_store.table().to_pylist()}
    for row in rows:
        assert row["chosen"][0]["content"] == labels[row["chat_id"]] and row["rejected"][0]["content"].strip()
        assert row["rejected"][0]["content"] != row["chosen"][0]["content"]
    assert "dpo.equal" in set(pairs.ledgers()["reason"].to_pylist())  # it was trained on these very rows


def test_the_same_pairs_again(pairs, chat_store, base_store, sft_store, tmp_path):
    sink = Store(tmp_path / "again")
    stores = {"of": [chat_store], "student": [base_store, sft_store], "sft": [chat_store]}
    Dpo(**LOOSE, sft_overlap=1.0, max_prompts=140).run(Inputs(stores), sink, Inline())
    assert sink.hashes() == pairs.hashes()


def test_an_untuned_student_babbles_and_the_pairs_say_so(chat_store, base_store, tmp_path):
    sink = Store(tmp_path / "babble")
    Dpo(**{**LOOSE, "truncated": "drop"}, max_prompts=24).run(
        Inputs({"of": [chat_store], "student": [base_store]}), sink, Inline()
    )
    reasons = sink.ledgers()["reason"].to_pylist()
    assert len(reasons) == 160 and reasons.count("dpo.beyond_max") == 136
    assert sink.table().num_rows + sum(r is not None and r != "dpo.beyond_max" for r in reasons) == 24


def test_dpo_trains_on_them(pairs, base_store, sft_store, do_train, read_history):
    pairs.commit_manifest({"stage": "dpo", "shape": "PAIR", "key": "k", "lineage": {}, "schema": []}, pairs.shards())
    options = {
        "objective": "dpo",
        "method": "lora",
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 64,
    }
    tuned = do_train(pairs, options, base=[base_store, sft_store])
    assert read_history(tuned).train[-1]["loss"] > 0
    assert lock_of(Chat(load_tokenizer(tuned.artefact())))["hash"]
