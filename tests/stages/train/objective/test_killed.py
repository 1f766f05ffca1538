"""kill -9 at ten moments of one run, for every objective: it ends with the bytes of a run that nobody disturbed.

With `-s` it prints the table that stands in tests/bench/train/RESULTS.md.
"""

import multiprocessing
import os
import signal
import time

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.train import Train

pytestmark = pytest.mark.slow
MOMENTS = [
    ("pass", 0), ("write", 1), ("list", 2), ("pass", 2), ("delete", 4), ("write", 5), ("pass", 5), ("list", 6), ("pass", 7), ("end", 8),
]  # fmt: skip
"""What is under way when the process is killed, and at which step: `pass`, the last forward pass of a step; `write`, a checkpoint's files
lie there without receipt; `list`, they have their receipt and are not listed; `delete`, listed, the one before not deleted yet; `end`,
the weights of the artefact are written, and nothing else of it."""
SHARED = {"max_steps": 8, "save_steps": 1, "threads": 1, "holdout": 0.2, "eval_rows": 16}
TUNED = {**SHARED, "max_length": 48, "method": "lora", "lora.r": 4, "lora.lora_dropout": 0.1, "learning_rate": 1e-3}
BATCH = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
OPTIONS = {
    "clm": {**SHARED, **BATCH, "eval_steps": 3},
    "mlm": {**SHARED, **BATCH, "eval_steps": 3, "mlm.next_sentence": True},
    "sft": {**TUNED, **BATCH, "eval_steps": 3},
    "dpo": {**TUNED, **BATCH, "eval_steps": 3, "method": "qlora"},
    "kto": {**TUNED, **BATCH, "eval_steps": 3},
    "orpo": {**TUNED, **BATCH, "eval_steps": 3},
    "reward": {**TUNED, **BATCH, "eval_steps": 3},
    "rl": {**TUNED, "per_device_train_batch_size": 8, "rl.num_generations": 4, "rl.max_completion_length": 6, "rl.rewards": [{"length": {"most": 4}}]},
}  # fmt: skip


def run_and_die(options, inputs, sink, where, at):
    """Train, and SIGKILL this process at that moment."""
    from transformers import Trainer

    from stages.train import session
    from stages.train.engine.checkpoint import Checkpoints, name_of

    step, listing, put, copy = Trainer.training_step, Checkpoints._list, Store.put_artefact, session.copy_tokenizer
    seen: dict[int, int] = {}

    def die(*moment):
        if moment == (where, at):
            os.kill(os.getpid(), signal.SIGKILL)

    def passed(self, *given, **named):
        now = seen[self.state.global_step] = seen.get(self.state.global_step, 0) + 1
        if now == self.args.gradient_accumulation_steps:
            die("pass", self.state.global_step)
        return step(self, *given, **named)

    def written(self, *given, **named):
        die("write", next((n for n in range(9) if self.path.endswith(name_of(n))), None))
        return put(self, *given, **named)

    def listed(self, steps):
        die("list", steps[-1])
        listing(self, steps)
        die("delete", steps[-1])

    def copied(*given):
        die("end", 8)
        return copy(*given)

    Trainer.training_step, Checkpoints._list, Store.put_artefact, session.copy_tokenizer = (
        passed,
        listed,
        written,
        copied,
    )
    Train(**options).run(inputs, Store(sink), Inline())


@pytest.fixture(scope="module")
def forks():
    context = multiprocessing.get_context("forkserver")
    preloaded = [
        "stages.train.session",
        "peft",
        "bitsandbytes",
        "transformers",
        "tests.stages.train.objective.test_killed",
    ]
    context.set_forkserver_preload(preloaded)
    return context


@pytest.fixture(scope="module")
def table():
    rows: list[str] = []
    yield rows
    print(
        "\n| objective | kills | checkpoints they left | files of the artefact that are the same | CPU seconds of the undisturbed run |"
    )
    print("| --- | --- | --- | --- | --- |\n" + "\n".join(rows))  # fmt: skip


@pytest.mark.parametrize("objective", OPTIONS)
def test_killed_at_ten_moments_it_ends_with_the_same_bytes(
    objective, tokens_store, tiny_tokenizer, tiny, chat_store, pair_store, base_store, forks, table, tmp_path
):
    options = {**OPTIONS[objective], "objective": objective}
    if objective in ("clm", "mlm"):
        options = {**options, **tiny}
        inputs = Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17)
    else:
        of = chat_store if objective in ("sft", "rl") else pair_store
        inputs = Inputs({"of": [of], "base": [base_store]}, 17)
    began = time.process_time()
    [whole] = Train(**options).run(inputs, Store(tmp_path / "whole"), Inline())
    took = time.process_time() - began
    left = []
    for where, at in MOMENTS:
        child = forks.Process(target=run_and_die, args=(options, inputs, str(tmp_path / "killed"), where, at))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL, (where, at)
        left.append(",".join(sorted(path.name[-1] for path in (tmp_path / "killed/passes").glob("step-*"))))
    [resumed] = Train(**options).run(inputs, Store(tmp_path / "killed"), Inline())
    assert resumed.files == whole.files
    assert not list((tmp_path / "killed/passes").glob("step-*")), "checkpoints go when the run has ended"
    told = "; ".join(f"{where} {at}: {steps or 'none'}" for (where, at), steps in zip(MOMENTS, left))
    same = sum(resumed.files[name] == digest for name, digest in whole.files.items())
    table.append(f"| {objective} | {len(left)} | {told} | {same} of {len(whole.files)} | {took:.1f} |")
