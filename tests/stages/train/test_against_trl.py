"""TRL and transformers are the specification: given this house's rows and settings, their own trainers reach the same loss at every step."""

import copy

import datasets
import numpy as np
import pytest

from stages.models.chat.rows import IGNORED

torch = pytest.importorskip("torch")
TUNED = {
    "max_steps": 6,
    "per_device_train_batch_size": 6,
    "threads": 1,
    "holdout": 0.2,
    "max_length": 64,
    "optimizer.lr_scheduler_type": "linear",
    "optimizer.warmup_ratio": 0.4,
    "optimizer.min_lr_rate": 0.1,
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
    return (
        same
        | plain
        | {"per_device_train_batch_size": run["stage"].per_device_train_batch_size, "max_length": None}
        | more
    )


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
    ("clm", {"weight_decay": 0.1}), ("sft", {"sft.packing": True}), ("sft", {"sft.packing": False}), ("sft", {"sft.packing": False, "method": "lora", "gradient_accumulation_steps": 2, "per_device_train_batch_size": 3}),
], ids=["clm", "packed", "alone", "lora-accumulated"])  # fmt: skip
def test_trls_sft_trainer_reaches_the_same_loss_at_every_step(
    objective, more, ours, tokens_store, chat_store, base_store, tokenizer, tmp_path
):
    from trl import SFTConfig, SFTTrainer

    store = tokens_store if objective == "clm" else chat_store
    run = ours(store, {**TUNED, "objective": objective, "learning_rate": 2e-3, **more}, base=[base_store])
    packed = objective == "clm" or run["stage"].sft.packing
    rows = [exported(run["objective"].data.row(index)) for step in visited(run) for index in step]
    given = datasets.Dataset.from_list(
        rows if packed else [{k: row[k] for k in ("input_ids", "labels")} for row in rows]
    )
    more = {"padding_free": packed, "dataset_kwargs": {"skip_prepare_dataset": True}}
    more |= {"gradient_accumulation_steps": run["stage"].gradient_accumulation_steps}
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


PREFERENCES = {
    "sigmoid": {"beta": 0.5}, "sigmoid_norm": {"beta": 5.0}, "ipo": {"beta": 0.2}, "hinge": {"beta": 0.2}, "robust": {"beta": 0.5, "label_smoothing": 0.2},
    "apo_zero": {"beta": 0.5}, "apo_down": {"beta": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("loss", sorted(PREFERENCES))
def test_trls_dpo_trainer_reaches_the_same_loss_at_every_step(loss, ours, pair_store, base_store, tokenizer, tmp_path):
    from trl import DPOConfig, DPOTrainer

    options = {
        **TUNED,
        "objective": "dpo",
        "method": "full",
        "learning_rate": 5e-4,
        "dpo.sft_weight": 0.0,
        "loss_type": loss,
    }
    run = ours(pair_store, {**options, **PREFERENCES[loss]}, base=[base_store])
    given = datasets.Dataset.from_list([sides(run["objective"].data.pair(n)) for step in visited(run) for n in step])
    theirs = as_given(DPOTrainer)(
        run["model"], copy.deepcopy(run["model"]), DPOConfig(**settings(run, tmp_path, loss_type=[loss], **PREFERENCES[loss])),
        train_dataset=given, processing_class=tokenizer,
    )  # fmt: skip
    # ipo squares differences of what are sums over tokens there and here.
    assert run["losses"] == pytest.approx(losses(theirs), abs=1e-5, rel=2e-6)
    assert run["losses"][-1] < run["losses"][0] - 0.01


def unpaired(run):
    """Both sides of a step's pairs as answers of their own, the chosen ones first, each beside the answer of the row before."""
    data, rows = run["objective"].data, []
    for step in visited(run):
        for side, label in (("chosen_ids", True), ("rejected_ids", False)):
            for index in step:
                own, before = sides(data.pair(index)), sides(data.pair((index - 1) % len(data)))
                rows.append({"prompt_ids": own["prompt_ids"], "completion_ids": own[side], "KL_completion_ids": before[side], "label": label})  # fmt: skip
    return datasets.Dataset.from_list(rows)


def test_trls_kto_trainer_reaches_the_same_loss_at_every_step(ours, pair_store, base_store, tokenizer, tmp_path):
    from trl import KTOConfig, KTOTrainer

    weights = {"beta": 0.3, "desirable_weight": 1.3, "undesirable_weight": 0.8}
    run = ours(pair_store, {**TUNED, "objective": "kto", "learning_rate": 5e-4, **weights}, base=[base_store])
    given = settings(run, tmp_path, **weights) | {
        "per_device_train_batch_size": 2 * run["stage"].per_device_train_batch_size
    }
    theirs = as_given(KTOTrainer)(
        run["model"],
        copy.deepcopy(run["model"]),
        KTOConfig(**given),
        train_dataset=unpaired(run),
        processing_class=tokenizer,
    )
    assert run["losses"] == pytest.approx(losses(theirs), abs=1e-5)
    assert run["losses"][-1] < run["losses"][0] - 0.01


def test_the_losses_without_a_reference_are_trls(ours, pair_store, base_store):
    """ORPO's and SimPO's trainers stand in TRL's experimental part and take text alone: their formulas are asked, on the same numbers."""
    from types import SimpleNamespace

    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    run = ours(pair_store, {**TUNED, "max_steps": 1, "objective": "orpo", "beta": 0.4}, base=[base_store])
    rows = [run["objective"].data.pair(n) for n in visited(run)[0]]
    logps, nll = [], []
    for pair in rows:
        for row in pair:
            with torch.no_grad():
                logits = run["model"](input_ids=torch.tensor(row.ids, dtype=torch.long)[None]).logits[0].log_softmax(-1)
            labels = torch.tensor(row.labels)
            asked = labels != IGNORED
            logps.append(logits[asked].gather(1, labels[asked][:, None]).mean())
            if row is pair.chosen:
                ids = torch.tensor(row.ids, dtype=torch.long)
                nll += logits[:-1].gather(1, ids[1:, None])[:, 0].tolist()
    chosen, rejected = torch.stack(logps[::2]), torch.stack(logps[1::2])
    like = SimpleNamespace(beta=0.4, accelerator=SimpleNamespace(device="cpu"))
    theirs = -np.mean(nll) - float(ORPOTrainer.odds_ratio_loss(like, chosen, rejected)[0].mean())
    assert run["losses"][0] == pytest.approx(theirs, abs=1e-5)
    run = ours(
        pair_store,
        {
            **TUNED,
            "max_steps": 1,
            "objective": "dpo",
            "loss_type": "simpo",
            "beta": 2.0,
            "simpo_gamma": 0.7,
            "dpo.sft_weight": 0.0,
        },
        base=[base_store],
    )
    like = SimpleNamespace(
        beta=2.0,
        loss_type="simpo",
        simpo_gamma=0.7,
        label_smoothing=0.0,
        alpha=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )
    assert run["losses"][0] == pytest.approx(float(CPOTrainer.cpo_loss(like, chosen, rejected)[0].mean()), abs=1e-5)


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
