"""rl on two workers: each keeps its own random state, one writes, and a killed run ends with the same bytes."""

import json

import pytest

from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from tests.stages.train.workers.test_sharded import together

OPTIONS = {
    "objective": "rl", "method": "lora", "lora.r": 4, "max_steps": 4, "global_batch_size": 8, "rl.num_generations": 4, "rl.max_completion_length": 8, "max_length": 48, "threads": 1,
    "holdout": 0.9, "save_steps": 2, "learning_rate": 1e-3, "eval_rows": 4,
}  # fmt: skip


@pytest.mark.slow
def test_two_workers_of_rl_write_apart_and_a_killed_run_ends_with_the_same_bytes(
    chat_store, pair_store, base_store, do_train, tmp_path
):
    judged = {
        "objective": "reward",
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 48,
    }
    reward = do_train(pair_store, judged, base=[base_store])
    inputs = Inputs({"of": [chat_store], "base": [base_store], "reward": [reward]}, 17)
    together([(OPTIONS, inputs, tmp_path / "whole")])
    with pytest.raises(Exception, match="SIGKILL"):
        together([(OPTIONS, inputs, tmp_path / "killed")], death=(0, "save", 4))
    passes = tmp_path / "killed/passes"
    assert {path.name for path in passes.glob("step-00000002/*")} == {"part-0000", "part-0001"}
    together([(OPTIONS, inputs, tmp_path / "killed")])
    whole, killed = (Store(tmp_path / name).receipt("artefact") for name in ("whole", "killed"))
    assert killed.files == whole.files
    assert json.loads((tmp_path / "whole/artefact/maetdol.json").read_text())["objective"] == "rl"
    assert not list(passes.glob("trainer-*")) and not list(passes.glob("step-*"))
    assert whole.cpu_seconds > 1
