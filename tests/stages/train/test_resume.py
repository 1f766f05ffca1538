"""kill -9 at any step, in the middle of a checkpoint too, then again: the same loss curve and the same bytes."""

import multiprocessing
import os
import signal
from dataclasses import replace

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError, WorkError
from pipeline.storage.store import Store
from stages.train import Train


def run_and_die(options, inputs, sink, die_at, where):
    """Train until step `die_at`, then SIGKILL this process: before the step (`step`), or while its checkpoint is listed (`save`)."""
    from stages.train.engine import checkpoint, trainer

    begin, listing = trainer.PlannedTrainer.begin_step, checkpoint.Checkpoints._list

    def began(self, step):
        if where == "step" and step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        begin(self, step)

    def listed(self, steps):
        if where == "save" and steps[-1] >= die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        listing(self, steps)

    trainer.PlannedTrainer.begin_step, checkpoint.Checkpoints._list = began, listed
    Train(**options).run(inputs, Store(sink), Inline())


@pytest.fixture(scope="module")
def forks():
    """A server that has torch loaded and has computed nothing: its children start at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.train.session", "peft", "bitsandbytes", "tests.stages.train.test_resume"])
    return context


@pytest.fixture(scope="module")
def jobs(tokens_store, tiny_tokenizer, tiny, chat_store, pair_store, base_store, sft_store):
    pretrain = {**tiny, "max_steps": 10, "save_steps": 3, "eval_steps": 4}
    prefer = {
        "objective": "dpo",
        "method": "qlora",
        "lora.lora_dropout": 0.1,
        "max_steps": 8,
        "per_device_train_batch_size": 4,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 64,
        "save_steps": 2,
    }
    return {
        "clm": (pretrain, Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17)),
        "dpo": (prefer, Inputs({"of": [pair_store], "base": [base_store, sft_store]}, 17)),
        # Three epochs of some five steps; rows are no multiple of a step, so the borders lie inside steps.
        "epochs": (
            {**tiny, "num_train_epochs": 3, "per_device_train_batch_size": 32, "save_steps": 1},
            Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17),
        ),
        "mlm": (
            {**tiny, "objective": "mlm", "max_steps": 6, "save_steps": 2, "mlm.next_sentence": True},
            Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17),
        ),
        "reward": (
            {**prefer, "objective": "reward", "method": "lora"},
            Inputs({"of": [pair_store], "base": [base_store]}, 17),
        ),
        "kto": (
            {**prefer, "objective": "kto", "method": "lora", "gradient_accumulation_steps": 2},
            Inputs({"of": [pair_store], "base": [base_store]}, 17),
        ),
        "orpo": (
            {
                name: value
                for name, value in {**prefer, "objective": "orpo", "method": "full"}.items()
                if name != "lora.lora_dropout"
            },
            Inputs({"of": [pair_store], "base": [base_store]}, 17),
        ),
        "prefix": (
            {
                "objective": "sft",
                "method": "prefix",
                "max_steps": 6,
                "per_device_train_batch_size": 4,
                "threads": 1,
                "holdout": 0.2,
                "max_length": 48,
                "save_steps": 2,
            },
            Inputs({"of": [chat_store], "base": [base_store]}, 17),
        ),
    }


@pytest.mark.parametrize("job, deaths", [
    ("clm", [("step", 2), ("step", 7), ("save", 9)]), ("dpo", [("save", 4), ("step", 7)]), ("epochs", [("step", 4), ("step", 5), ("save", 10)]),
    pytest.param("mlm", [("step", 3)], marks=pytest.mark.slow), pytest.param("reward", [("step", 5)], marks=pytest.mark.slow),
    pytest.param("kto", [("step", 5)], marks=pytest.mark.slow), pytest.param("orpo", [("save", 4)], marks=pytest.mark.slow),
    pytest.param("prefix", [("step", 3)], marks=pytest.mark.slow),
])  # fmt: skip
def test_killed_and_run_again_it_ends_with_the_same_bytes(job, deaths, jobs, forks, tmp_path):
    options, inputs = jobs[job]
    [undisturbed] = Train(**options).run(inputs, Store(tmp_path / "whole"), Inline())
    sink = tmp_path / "killed"
    for where, at in deaths:
        child = forks.Process(target=run_and_die, args=(options, inputs, str(sink), at, where))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert list((sink / "passes").glob("step-*")), "a checkpoint was left to go on from"
    [resumed] = Train(**options).run(inputs, Store(sink), Inline())
    assert resumed.files == undisturbed.files
    assert (sink / "artefact/history.jsonl").read_bytes() == (tmp_path / "whole/artefact/history.jsonl").read_bytes()
    assert not list((sink / "passes").glob("step-*")), "checkpoints go when the run has ended"


@pytest.fixture(scope="module")
def overfitting(chat_store, base_store):
    """Learns its rows by heart until the held-out loss rises; at a constant rate, so that a shorter run is the beginning of a longer one."""
    options = {
        "objective": "sft", "per_device_train_batch_size": 4, "max_steps": 60, "threads": 1, "holdout": 0.2, "max_length": 64, "save_steps": 3, "eval_steps": 4,
        "optimizer": {"learning_rate": 1e-2, "lr_scheduler_type": "constant", "warmup_ratio": 0.0},
    }  # fmt: skip
    return options, Inputs({"of": [chat_store], "base": [base_store]}, 17)


def test_a_run_ends_when_the_held_out_loss_falls_no_longer_and_the_best_model_comes_out(
    overfitting, forks, tmp_path, read_history
):
    options, inputs = overfitting
    ending = {**options, "early_stopping_patience": 2, "load_best_model_at_end": True}
    [whole] = Train(**ending).run(inputs, Store(tmp_path / "whole"), Inline())
    held = {line["step"]: line["loss"] for line in read_history(Store(tmp_path / "whole")).held}
    best, last = min(held, key=held.get), max(held)
    assert 0 < best == last - 8 < 52, "two measurements after the lowest, and long before the end"
    assert whole.notes["steps"] == last and whole.notes["took"]["lowest_loss_after"] == best
    [short] = Train(**{**options, "max_steps": best}).run(inputs, Store(tmp_path / "short"), Inline())
    assert whole.files["model.safetensors"] == short.files["model.safetensors"]
    for death in (("step", best + 2), ("step", last - 1)):  # with the best behind it; and just before its end
        child = forks.Process(target=run_and_die, args=(ending, inputs, str(tmp_path / "killed"), death[1], death[0]))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    [resumed] = Train(**ending).run(inputs, Store(tmp_path / "killed"), Inline())
    assert resumed.files == whole.files


def test_what_is_best_needs_to_be_measured(overfitting, tmp_path):
    options, inputs = overfitting
    for given, told in (
        ({"early_stopping_patience": 2, "eval_steps": None}, "say with eval_steps how often"),
        ({"early_stopping_threshold": 0.1}, "used with early_stopping_patience"),
    ):
        with pytest.raises(ValueError, match=told):
            Train(**{**options, **given})
    with pytest.raises(UsageError, match="no row is held out"):
        Train(**{**options, "load_best_model_at_end": True, "holdout": 0.0}).run(inputs, Store(tmp_path), Inline())


@pytest.mark.parametrize("optimizer", ["paged_adamw_8bit", "paged_adamw_32bit"])
def test_a_paged_optimizer_is_saved_and_goes_on(optimizer, jobs, tmp_path, monkeypatch):
    """Its state is wrapped and shares tables; on a processor bitsandbytes computes the same without moving it. One thread: `tiny`."""
    from stages.train.engine.trainer import PlannedTrainer

    monkeypatch.setattr("stages.train.cuda_is_there", lambda: True)
    options, inputs = jobs["clm"]
    options = {**options, "max_steps": 5, "save_steps": 2, "eval_steps": None, "optimizer.optim": optimizer}
    [undisturbed] = Train(**options).run(inputs, Store(tmp_path / "whole"), Inline())
    begin = PlannedTrainer.begin_step

    def stops(self, step):
        if step == 3:
            raise WorkError("stopped", "")
        begin(self, step)

    with monkeypatch.context() as patched, pytest.raises(WorkError, match="stopped"):
        patched.setattr(PlannedTrainer, "begin_step", stops)
        Train(**options).run(inputs, Store(tmp_path / "stopped"), Inline())
    assert list((tmp_path / "stopped/passes").glob("step-00000002"))
    [resumed] = Train(**options).run(inputs, Store(tmp_path / "stopped"), Inline())
    assert resumed.files == undisturbed.files


def test_the_receipt_counts_the_cpu_seconds_of_the_whole_run(jobs, tmp_path, monkeypatch):
    """Checkpoints have receipts of their own, and a worker's clock must not begin anew with each."""
    import time

    options, inputs = jobs["clm"]
    began = time.process_time()
    [receipt] = Train(**{**options, "save_steps": 1}).run(inputs, Store(tmp_path), Inline())
    assert receipt.cpu_seconds > 0.7 * (time.process_time() - began)


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(jobs, tmp_path, monkeypatch):
    from stages.train.engine.checkpoint import Checkpoints
    from stages.train.engine.trainer import PlannedTrainer

    options, inputs = jobs["clm"]
    compute = PlannedTrainer.compute_loss

    def broken(self, model, given, *more, **named):
        found = compute(self, model, given, *more, **named)
        if given[0] == 7:
            self._sums["loss"] = self._sums["loss"] * float("nan")
        return found

    monkeypatch.setattr(PlannedTrainer, "compute_loss", broken)
    with pytest.raises(WorkError, match=r"loss of step 8 is not a number \(rows [0-9a-f]{32}") as fault:
        Train(**options).run(inputs, Store(tmp_path), Inline())
    assert "learning_rate" in fault.value.hint
    key = Train(**options).key(inputs)
    assert Checkpoints(Store(tmp_path), key).steps() == [6]


def test_a_process_whose_driver_is_gone_ends_itself(jobs, tmp_path, monkeypatch):
    from pipeline.errors import InfraError
    from stages.train.workers.launch import TrainingJob, train_alone
    from stages.train.workers.process import alive_check, this_process

    options, inputs = jobs["clm"]
    stage = Train(**options)
    host, pid, _ = this_process()
    assert alive_check(this_process())()
    orphan = TrainingJob(stage, inputs, Store(tmp_path), stage.key(inputs), (host, pid, "0"))
    with pytest.raises(InfraError, match="driver of this training is gone"):
        train_alone(orphan)
    assert replace(orphan, driver=this_process()).name == "train clm"


def test_every_epoch_takes_every_row_once_in_an_order_of_its_own(jobs):
    from stages.train.engine.schedule import Positions

    positions = Positions(50, 17)
    epochs = [[positions[at] for at in range(start, start + 50)] for start in (0, 50, 100)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert positions[3] == epochs[0][3], "asked out of order it says the same"


@pytest.mark.parametrize("kind, warmup, floor, wanted", [
    ("linear", 0.2, 0.0, {0: 0.0, 1: 0.5, 2: 1.0, 6: 0.5, 9: 0.125}), ("linear", 0.0, 1.0, {0: 1.0, 9: 1.0}), ("constant", 0.0, 0.1, {0: 1.0, 9: 1.0}),
    ("wsd", 0.0, 0.1, {0: 1.0, 8: 1.0, 9: 0.55}), ("cosine", 0.0, 0.1, {0: 1.0, 5: 0.55}), ("cosine", 0.1, 0.0, {0: 1.0}),
])  # fmt: skip
def test_the_learning_rate_is_a_function_of_the_step(kind, warmup, floor, wanted):
    """Of ten steps; a rise of one step is none."""
    import torch
    from transformers import get_scheduler

    from stages.train.engine.arguments import scheduler

    given = scheduler(kind, 10, warmup, floor, 2.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    made = get_scheduler(
        given["lr_scheduler_type"], optimizer, given["warmup_steps"], 10, scheduler_specific_kwargs=given.get("lr_scheduler_kwargs")
    )  # fmt: skip
    seen = []
    for _ in range(10):
        seen.append(made.get_last_lr()[0] / 2.0)
        optimizer.step()
        made.step()
    assert {step: seen[step] for step in wanted} == pytest.approx(wanted)


def test_the_steps_of_a_run():
    from stages.train.engine.schedule import plan

    assert plan(10, 4, 1.0, None) == (3, 10, 4) and plan(10, 4, 1.0, 7) == (7, 28, 4)
    assert list(plan(10, 4, 1.0, None).of(2)) == [8, 9]
