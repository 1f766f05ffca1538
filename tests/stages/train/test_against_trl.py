"""TRL and transformers are the specification: given this house's rows and settings, their own trainers reach the same loss at every step."""

import copy

import datasets
import numpy as np
import pytest

from stages.models.chat.rows import IGNORED

torch = pytest.importorskip("torch")
TUNED = {
    "steps": 6,
    "batch": 6,
    "threads": 1,
    "holdout": 0.2,
    "seq_len": 64,
    "schedule": "linear",
    "warmup": 0.4,
    "floor": 0.1,
    "eval_rows": 8,
}


@pytest.fixture
def ours(do_train, read_history, monkeypatch):
    """`ours(store, options, base)` -> what a run was given (its model copied), and its losses."""
    from stages.train import session

    def run(store, options, **ports):
        seen, train = {}, session.trainer.train

        def watched(stage, model, objective, plan, seed, *more, **named):
            seen.update(stage=stage, model=copy.deepcopy(model), objective=objective, plan=plan, seed=seed)
            return train(stage, model, objective, plan, seed, *more, **named)

        with monkeypatch.context() as patched:
            patched.setattr(session.trainer, "train", watched)
            made = do_train(store, options, **ports)
        seen["losses"] = [line["loss"] for line in read_history(made).train]
        return seen

    return run


def visited(run):
    """Row numbers as the run visited them, a list a step."""
    from stages.train.engine.schedule import Positions

    positions = Positions(run["objective"].rows, run["seed"])
    return [[positions[at] for at in run["plan"].of(step)] for step in range(run["plan"].steps)]


def settings(run, folder, **more):
    """The same settings, for their configuration."""
    from stages.train.engine import arguments

    same = arguments.settings(run["stage"], run["plan"], run["seed"], str(folder), torch.float32)
    plain = {
        "save_strategy": "no",
        "report_to": [],
        "gradient_checkpointing": False,
        "train_sampling_strategy": "sequential",
    }
    return same | plain | {"per_device_train_batch_size": run["stage"].batch, "max_length": None} | more


def losses(trainer):
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "grad_norm" in line]


def exported(row):
    """A row of segments as their dataset holds one: labels not shifted, and how long its segments are."""
    lengths = np.bincount(row.segments)[1:].tolist()
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    labels = np.concatenate([[IGNORED], row.labels[:-1]])
    labels[begins] = IGNORED
    return {"input_ids": row.ids.tolist(), "labels": labels.tolist(), "seq_lengths": lengths}


@pytest.mark.parametrize("objective, more", [
    ("clm", {"weight_decay": 0.1}), ("sft", {"pack": True}), ("sft", {"pack": False}), ("sft", {"pack": False, "method": "lora", "accumulation": 2, "batch": 3}),
], ids=["clm", "packed", "alone", "lora-accumulated"])  # fmt: skip
def test_trls_sft_trainer_reaches_the_same_loss_at_every_step(
    objective, more, ours, tokens_store, chat_store, base_store, tokenizer, tmp_path
):
    from trl import SFTConfig, SFTTrainer

    store = tokens_store if objective == "clm" else chat_store
    run = ours(store, {**TUNED, "objective": objective, "learning_rate": 2e-3, **more}, base=[base_store])
    packed = objective == "clm" or run["stage"].pack
    rows = [exported(run["objective"].data.row(index)) for step in visited(run) for index in step]
    given = datasets.Dataset.from_list(
        rows if packed else [{k: row[k] for k in ("input_ids", "labels")} for row in rows]
    )
    more = {"padding_free": packed, "dataset_kwargs": {"skip_prepare_dataset": True}}
    more |= {"gradient_accumulation_steps": run["stage"].accumulation}
    theirs = SFTTrainer(
        run["model"], SFTConfig(**settings(run, tmp_path, **more)), train_dataset=given, processing_class=tokenizer
    )
    assert run["losses"] == pytest.approx(losses(theirs), abs=1e-5)
    assert run["losses"][-1] < run["losses"][0] - 0.05, "something is learnt, or nothing is shown"


def sides(pair):
    """A pair's prompt and both answers as token ids."""
    at = int(np.flatnonzero(pair.chosen.labels != IGNORED)[0]) + 1
    other = int(np.flatnonzero(pair.rejected.labels != IGNORED)[0]) + 1
    assert at == other and (pair.chosen.ids[:at] == pair.rejected.ids[:at]).all()
    return {"prompt_ids": pair.chosen.ids[:at].tolist(), "chosen_ids": pair.chosen.ids[at:].tolist(), "rejected_ids": pair.rejected.ids[at:].tolist()}  # fmt: skip


def as_given(kind):
    """`kind`, a trainer of TRL's, that takes rows of token ids as they are."""
    return type(kind.__name__, (kind,), {"_prepare_dataset": lambda self, dataset, *_, **__: dataset})


@pytest.mark.parametrize("loss", [
    {"length_normalised": False, "beta": 0.5}, {"length_normalised": True, "beta": 5.0},
], ids=["sigmoid", "sigmoid_norm"])  # fmt: skip
def test_trls_dpo_trainer_reaches_the_same_loss_at_every_step(loss, ours, pair_store, base_store, tokenizer, tmp_path):
    from trl import DPOConfig, DPOTrainer

    options = {**TUNED, "objective": "dpo", "method": "full", "learning_rate": 5e-4, "sft_weight": 0.0, **loss}
    run = ours(pair_store, options, base=[base_store])
    given = datasets.Dataset.from_list([sides(run["objective"].data.pair(n)) for step in visited(run) for n in step])
    named = "sigmoid_norm" if loss["length_normalised"] else "sigmoid"
    theirs = as_given(DPOTrainer)(
        run["model"], copy.deepcopy(run["model"]), DPOConfig(**settings(run, tmp_path, loss_type=[named], beta=loss["beta"])),
        train_dataset=given, processing_class=tokenizer,
    )  # fmt: skip
    assert run["losses"] == pytest.approx(losses(theirs), abs=1e-5)
    assert run["losses"][-1] < run["losses"][0] - 0.05


def test_trls_reward_trainer_reaches_the_same_loss_at_every_step(ours, pair_store, base_store, tokenizer, tmp_path):
    from trl import RewardConfig, RewardTrainer

    from stages.train.objective.reward import CENTRE

    run = ours(pair_store, {**TUNED, "objective": "reward", "learning_rate": 5e-4}, base=[base_store])
    pairs = [run["objective"].data.pair(n) for step in visited(run) for n in step]
    given = datasets.Dataset.from_list(
        [{"chosen_ids": pair.chosen.ids.tolist(), "rejected_ids": pair.rejected.ids.tolist()} for pair in pairs]
    )
    arguments = RewardConfig(**settings(run, tmp_path, center_rewards_coefficient=CENTRE))
    theirs = as_given(RewardTrainer)(run["model"], arguments, train_dataset=given, processing_class=tokenizer)
    assert run["losses"] == pytest.approx(losses(theirs), abs=1e-5)
    assert run["losses"][-1] < run["losses"][0] - 0.05
