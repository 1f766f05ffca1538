"""The whole matrix: every objective and every method trains for real, on three seeds, to a held-out loss below that of step 0.

With `-s` it prints the table that stands in tests/bench/train/RESULTS.md.
"""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.train import Train

pytestmark = pytest.mark.slow
SEEDS = (1, 2, 3)
TUNE = {"threads": 1, "holdout": 0.2, "max_length": 48}
SFT = {**TUNE, "objective": "sft", "per_device_train_batch_size": 4, "num_train_epochs": 3}
DPO = {**TUNE, "objective": "dpo", "per_device_train_batch_size": 4, "num_train_epochs": 1}
REWARD = {**TUNE, "objective": "reward", "per_device_train_batch_size": 8, "num_train_epochs": 3}
MLM = {"objective": "mlm", "max_steps": 40, "threads": 1, "holdout": 0.2, "learning_rate": 3e-3}
RL = {
    **TUNE,
    "objective": "rl",
    "per_device_train_batch_size": 16,
    "rl.num_generations": 8,
    "rl.max_completion_length": 10,
    "max_steps": 32,
    "eval_rows": 24,
}
CASES = {
    "clm, full, from scratch": {"objective": "clm", "max_steps": 30},
    "clm, full, continued": {"objective": "clm", "max_steps": 10, "threads": 1, "holdout": 0.2},
    "clm, lora, continued": {
        "objective": "clm",
        "method": "lora",
        "max_steps": 40,
        "threads": 1,
        "holdout": 0.2,
        "learning_rate": 3e-3,
    },
    "clm, full, from a teacher": {
        "objective": "clm",
        "max_steps": 30,
        "distillation.share": 0.5,
        "model.hidden_size": 32,
        "model.num_attention_heads": 2,
    },
    "mlm, full, from scratch": {"objective": "mlm", "max_steps": 40},
    "mlm with next-sentence pairs": {"objective": "mlm", "max_steps": 40, "mlm.next_sentence": True},
    "mlm, lora, continued": {**MLM, "method": "lora"},
    "mlm, qlora, continued": {**MLM, "method": "qlora"},
    "mlm, ia3, continued": {**MLM, "method": "ia3"},
    "sft, full": {**SFT, "learning_rate": 3e-3},
    "sft, freeze": {**SFT, "method": "freeze", "freeze.trainable_layers": 1, "learning_rate": 3e-3},
    "sft, lora": {**SFT, "method": "lora", "learning_rate": 3e-3},
    "sft, lora, rank-stabilised": {**SFT, "method": "lora", "lora.use_rslora": True, "learning_rate": 3e-3},
    "sft, lora, DoRA": {**SFT, "method": "lora", "lora.use_dora": True, "learning_rate": 3e-3},
    "sft, qlora (NF4 base)": {**SFT, "method": "qlora", "learning_rate": 3e-3},
    "sft, qlora, rank-stabilised": {**SFT, "method": "qlora", "lora.use_rslora": True, "learning_rate": 3e-3},
    "sft, qlora, DoRA": {**SFT, "method": "qlora", "lora.use_dora": True, "learning_rate": 3e-3},
    "sft, ia3": {**SFT, "method": "ia3"},
    "sft, prefix": {**SFT, "method": "prefix"},
    "sft, prompt": {**SFT, "method": "prompt"},
    "sft, ptuning": {**SFT, "method": "ptuning"},
    "sft, lora, from a teacher": {**SFT, "method": "lora", "learning_rate": 3e-3},
    "dpo, full": {**DPO, "learning_rate": 3e-4},
    "dpo, freeze": {**DPO, "method": "freeze", "learning_rate": 1e-3},
    "dpo, lora": {**DPO, "method": "lora", "learning_rate": 1e-3},
    "dpo, qlora on an SFT adapter": {**DPO, "method": "qlora", "learning_rate": 1e-3},
    "dpo, ia3": {**DPO, "method": "ia3", "learning_rate": 5e-3},
    "dpo, prefix": {**DPO, "method": "prefix", "learning_rate": 5e-3},
    "dpo, prompt": {**DPO, "method": "prompt", "learning_rate": 1e-2},
    "dpo, ptuning": {**DPO, "method": "ptuning", "learning_rate": 1e-3},
    "reward, full": {**REWARD, "learning_rate": 1e-3},
    "reward, freeze": {**REWARD, "method": "freeze", "learning_rate": 3e-3},
    "reward, lora": {**REWARD, "method": "lora", "learning_rate": 3e-3},
    "reward, qlora": {**REWARD, "method": "qlora", "learning_rate": 3e-3},
    "reward, ia3": {**REWARD, "method": "ia3", "learning_rate": 3e-3},
    "rl, GRPO, lora": {**RL, "method": "lora", "learning_rate": 3e-3, "rl.beta": 0.01},
    "rl, GRPO, full": {**RL, "learning_rate": 1e-3, "rl.beta": 0.0},
    "rl, RLOO, lora": {**RL, "method": "lora", "rl.algorithm": "rloo", "learning_rate": 3e-3, "rl.beta": 0.01},
    "rl, GRPO, freeze": {**RL, "method": "freeze", "learning_rate": 3e-3, "rl.beta": 0.0},
    "rl, GRPO, qlora": {**RL, "method": "qlora", "learning_rate": 3e-3, "rl.beta": 0.01},
    "rl, GRPO, ia3, after six steps of SFT": {
        **RL,
        "method": "ia3",
        "learning_rate": 1e-1,
        "rl.beta": 0.0,
        "max_steps": 64,
    },
}


@pytest.fixture(scope="module")
def reward_store(pair_store, base_store, do_train):
    return do_train(pair_store, {**REWARD, "learning_rate": 1e-3}, base=[base_store])


@pytest.fixture(scope="module")
def student_store(chat_store, base_store, do_train):
    """It seldom answers yet: scales of activations alone cannot teach it a new token, only make likelier what it may say."""
    return do_train(
        chat_store, {**SFT, "num_train_epochs": 1, "max_steps": 6, "learning_rate": 2e-3}, base=[base_store]
    )


@pytest.fixture(scope="module")
def table():
    rows: list[str] = []
    yield rows
    print("\n| objective and method | trained | seed 1 | seed 2 | seed 3 |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))


@pytest.mark.parametrize("name", CASES)
def test_it_ends_below_where_it_began(
    name,
    tokens_store,
    chat_store,
    pair_store,
    tiny_tokenizer,
    tiny,
    base_store,
    sft_store,
    student_store,
    reward_store,
    read_history,
    table,
    tmp_path,
):
    options = CASES[name]
    of = {"clm": tokens_store, "mlm": tokens_store, "sft": chat_store, "rl": chat_store}.get(
        options["objective"], pair_store
    )
    stores = {"of": [of]}
    if "scratch" in name or "next-sentence" in name or name == "clm, full, from a teacher":
        options, stores = {**tiny, **options}, {**stores, "tokenizer": [tiny_tokenizer]}
    else:
        stores["base"] = (
            [student_store]
            if "steps of SFT" in name
            else [base_store, sft_store]
            if "SFT adapter" in name
            else [base_store]
        )
    if "teacher" in name:
        stores["teacher"] = [base_store, sft_store] if options["objective"] == "sft" else [base_store]
    if options["objective"] == "rl":
        stores["reward"] = [reward_store]
    curves = []
    for seed in SEEDS:
        sink = Store(tmp_path / str(seed))
        [receipt] = Train(**options).run(Inputs(stores, seed), sink, Inline())
        held = read_history(sink).held
        curves.append((held[0]["loss"], held[-1]["loss"]))
    share = receipt.notes["trained_parameters"] / receipt.notes["parameters"]
    table.append(
        f"| {name} | {share:.1%} | " + " | ".join(f"{first:.3f} -> {last:.3f}" for first, last in curves) + " |"
    )
    assert all(last < first for first, last in curves), curves
