"""Online RL stopped and killed: it goes on from its last checkpoint and ends with the bytes of the run that was left alone."""

import json
import multiprocessing
import os
import signal

import pytest

from pipeline.engine import progress
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.train import Train

torch = pytest.importorskip("torch")
RL = {
    "objective": "rl",
    "per_device_train_batch_size": 8,
    "rl.num_generations": 4,
    "rl.max_completion_length": 6,
    "threads": 1,
    "holdout": 0.2,
    "max_length": 48,
    "eval_rows": 8,
    "learning_rate": 3e-3,
    "max_steps": 6,
    "save_steps": 2,
}
JOBS = {
    "grpo": {**RL, "method": "lora", "lora.lora_dropout": 0.1, "save_steps": 1, "save_total_limit": 2},
    # 61 prompts at two a step and no adapter: the second epoch is reached, lines of the curve stretch over checkpoints.
    "rloo": {
        **RL,
        "rl.algorithm": "rloo",
        "max_steps": 66,
        "save_steps": 25,
        "logging_steps": 4,
        "gradient_accumulation_steps": 1,
        "rl.beta": 0.02,
        "learning_rate": 1e-4,
        "holdout": 0.6,
    },
    "accumulated": {
        **RL,
        "method": "lora",
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 4,
        "max_steps": 5,
    },
}


class Lines(progress.Quiet):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def reward_store(pair_store, base_store, do_train):
    return do_train(
        pair_store,
        {
            "objective": "reward",
            "num_train_epochs": 1,
            "per_device_train_batch_size": 8,
            "threads": 1,
            "holdout": 0.2,
            "max_length": 48,
            "learning_rate": 1e-3,
        },
        base=[base_store],
    )


@pytest.fixture(scope="module")
def inputs(chat_store, base_store, reward_store):
    return Inputs({"of": [chat_store], "base": [base_store], "reward": [reward_store]}, 17)


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """`whole(job)` -> the receipt of the run that is left alone."""
    made = {}

    def run(job):
        if job not in made:
            [made[job]] = Train(**JOBS[job]).run(inputs, Store(tmp_path_factory.mktemp(job)), Inline())
        return made[job]

    return run


def run_and_die(job, inputs, sink, die_at, where):
    """Train until step `die_at`, then SIGKILL this process: after the step (`step`), while answers are judged (`answers`), or
    while its checkpoint is listed (`save`) or written (`write`)."""
    import safetensors.torch

    from stages.models.inference import reward
    from stages.train.engine import checkpoint
    from stages.train.objective import rl

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    watch, listing, score = rl._watch, checkpoint.Checkpoints._list, reward.RewardModel.score
    at = {"step": 0}

    def watched(alive, told, plan):
        def heard(line):
            at["step"] = line["step"]
            if where == "step" and line["step"] == die_at:
                die()
            told(line)

        return watch(alive, heard, plan)

    rl._watch = watched
    if where == "save":
        checkpoint.Checkpoints._list = lambda self, steps: die() if steps[-1] >= die_at else listing(self, steps)
    if where == "answers":
        reward.RewardModel.score = lambda self, rows, *more: die() if at["step"] == die_at else score(self, rows, *more)
    if where == "write":
        written = safetensors.torch.save_file

        def half(tensors, path, *more):
            written(dict(list(tensors.items())[:3]), path, *more)
            if at["step"] >= die_at:
                die()
            written(tensors, path, *more)

        safetensors.torch.save_file = half
    Train(**JOBS[job]).run(inputs, Store(sink), Inline())


@pytest.fixture(scope="module")
def forks():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.train.session", "peft", "trl", "datasets", "tests.stages.train.test_rl"])
    return context


def same(sink, receipt, undisturbed):
    assert receipt.files == undisturbed.files, "the curve, the weights, the card"
    left = [path.name for pattern in ("step-*", "writing-*") for path in (sink / "passes").glob(pattern)]
    assert not left, "checkpoints go when the run has ended"


def stopped(job, inputs, sink, step, patched):
    """Run `job` until after `step`, where it is interrupted."""
    from stages.train.objective import rl

    watch = rl._watch

    def stops(alive, told, plan):
        def heard(line):
            if line["step"] == step:
                raise KeyboardInterrupt
            told(line)

        return watch(alive, heard, plan)

    with patched.context() as inside:
        inside.setattr(rl, "_watch", stops)
        with pytest.raises(KeyboardInterrupt):
            Train(**JOBS[job]).run(inputs, Store(sink), Inline())
    return sorted(path.name for path in (sink / "passes").glob("step-*"))


def test_stopped_at_a_step_it_goes_on_from_the_last_checkpoint(inputs, whole, tmp_path, monkeypatch):
    from stages.models.inference.reward import RewardModel

    assert stopped("grpo", inputs, tmp_path, 5, monkeypatch) == ["step-00000003", "step-00000004"], (
        "kept by rule: the last two"
    )
    score, asked = RewardModel.score, []
    monkeypatch.setattr(
        RewardModel, "score", lambda self, rows, *more: asked.append(len(rows)) or score(self, rows, *more)
    )
    [receipt] = Train(**JOBS["grpo"]).run(inputs, Store(tmp_path), Inline())
    assert asked == [8, 8, 8], "two steps and the held-out prompts at the end were judged, nothing before"
    same(tmp_path, receipt, whole("grpo"))


def test_a_damaged_checkpoint_and_a_half_written_one_are_passed_over_with_a_word(inputs, whole, tmp_path, monkeypatch):
    stopped("grpo", inputs, tmp_path, 5, monkeypatch)
    state = tmp_path / "passes/step-00000004/artefact/state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"?")
    (tmp_path / "passes/writing-x").mkdir()
    (tmp_path / "passes/writing-x/state.safetensors").write_bytes(b"half")
    monkeypatch.setattr(progress, "current", Lines())
    [receipt] = Train(**JOBS["grpo"]).run(inputs, Store(tmp_path), Inline())
    said = " ".join(progress.current.lines)
    assert "checkpoint of step 4 is damaged; going on from step 3" in said and "writing-x was being written" in said
    same(tmp_path, receipt, whole("grpo"))


def test_a_checkpoint_holds_no_pickle(inputs, tmp_path, monkeypatch):
    stopped("grpo", inputs, tmp_path, 3, monkeypatch)
    folder = tmp_path / "passes/step-00000002/artefact"
    assert sorted(path.name for path in folder.iterdir()) == ["state.json", "state.safetensors"]
    scalars = json.loads((folder / "state.json").read_text())
    assert scalars["trainer"]["global_step"] == 2 and scalars["more"]["first"]["kind"] == "held_out"


@pytest.mark.parametrize("job, deaths", [
    ("accumulated", [("step", 3), ("step", 5)]),
    pytest.param("grpo", [("step", 1), ("answers", 3), ("write", 4), ("save", 6)], marks=pytest.mark.slow),
    pytest.param("rloo", [("step", 30), ("save", 50), ("answers", 60)], marks=pytest.mark.slow),
])  # fmt: skip
def test_killed_and_run_again_it_ends_with_the_same_bytes(job, deaths, inputs, whole, forks, tmp_path):
    for where, at in deaths:
        child = forks.Process(target=run_and_die, args=(job, inputs, str(tmp_path), at, where))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    [receipt] = Train(**JOBS[job]).run(inputs, Store(tmp_path), Inline())
    same(tmp_path, receipt, whole(job))


def test_the_reference_of_a_full_run_is_the_base_with_its_adapters(
    chat_store, base_store, reward_store, sft_store, read_history, tmp_path
):
    """Before the first step the policy is nowhere away from it; TRL alone would measure from the base without them."""
    inputs = Inputs({"of": [chat_store], "base": [base_store, sft_store], "reward": [reward_store]}, 17)
    Train(**{**RL, "max_steps": 1, "rl.beta": 0.1}).run(inputs, Store(tmp_path), Inline())
    assert read_history(Store(tmp_path)).train[0]["kl"] == pytest.approx(0.0, abs=1e-6)
