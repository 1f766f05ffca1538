"""What preferences are for: pairs of the `dpo` stage raise held-out preference accuracy, and a reward model ranks them above chance."""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.train import Train

pytestmark = pytest.mark.slow
TUNE = {"threads": 1, "holdout": 0.2, "max_length": 64}


@pytest.fixture(scope="module")
def student(chat_store, base_store, do_train):
    """Fine-tuned for a few passes: it answers in form, and often names the wrong grain."""
    return do_train(
        chat_store,
        {**TUNE, "objective": "sft", "num_train_epochs": 3, "per_device_train_batch_size": 4, "learning_rate": 3e-3},
        base=[base_store],
    )


@pytest.fixture(scope="module")
def pairs(chat_store, base_store, student, tmp_path_factory):
    """The stage's own pairs: the row's answer preferred to what the student says, several samples a prompt."""
    from pipeline.engine import catalog

    stage = catalog.stage("dpo").build(
        {
            "samples": 4,
            "per_prompt": 4,
            "sampling": {"max_tokens": 16, "temperature": 0.8, "threads": 1},
            "truncated": "keep",
            "length_ratio": 20,
            "same_language": False,
        },
        "dpo",
    )
    sink = Store(tmp_path_factory.mktemp("pairs") / "dpo")
    receipts = stage.run(Inputs({"of": [chat_store], "student": [student]}, 17), sink, Inline())
    sink.commit_manifest(
        {"stage": "dpo", "shape": "PAIR", "key": "test", "lineage": {}, "schema": []},
        [receipt.shard for receipt in receipts],
    )
    return sink


def held(options, inputs, sink, read_history):
    Train(**options).run(inputs, sink, Inline())
    return read_history(sink).held


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dpo_raises_preference_accuracy_above_sfts(seed, pairs, base_store, student, read_history, tmp_path):
    # Chosen on a validation split of the training prompts (tests/bench/train/RESULTS.md).
    options = {
        **TUNE,
        "objective": "dpo",
        "num_train_epochs": 8,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "eval_rows": 0,
    }
    before, after = held(options, Inputs({"of": [pairs], "base": [student]}, seed), Store(tmp_path), read_history)
    assert before["weight"] >= 40, "enough held-out pairs to say anything"
    print(
        f"seed {seed}: {before['weight']} held-out pairs, preference accuracy {before['accuracy']:.3f} after SFT, {after['accuracy']:.3f} after DPO"
    )
    # Three standard errors above a half, and above SFT's.
    assert after["accuracy"] > max(0.5, before["accuracy"]) + 3 * 0.5 / after["weight"] ** 0.5
    assert after["chosen_logp"] > before["chosen_logp"] - 0.1, "not by making both unlikely"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_reward_model_ranks_them_above_chance(seed, pairs, base_store, student, read_history, tmp_path):
    options = {
        **TUNE,
        "objective": "reward",
        "num_train_epochs": 30,  # chosen on a validation split of the training prompts: .94, 1.0, .96
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "eval_rows": 0,
    }
    before, after = held(options, Inputs({"of": [pairs], "base": [student]}, seed), Store(tmp_path), read_history)
    print(
        f"seed {seed}: reward accuracy {before['accuracy']:.3f} at random, {after['accuracy']:.3f} trained, {after['weight']} held-out pairs"
    )
    # Three standard errors above a half.
    assert after["accuracy"] > 0.5 + 3 * 0.5 / after["weight"] ** 0.5
