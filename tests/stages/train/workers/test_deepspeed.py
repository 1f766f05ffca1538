"""DeepSpeed's configuration is followed where it agrees with the step's options, and refused where it does not; what it trains is the same.

The runs are skipped where deepspeed is not installed (it is no dependency).
"""

import importlib.util
import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.train import Train
from tests.stages.train.workers.test_sharded import same, together

HERE = importlib.util.find_spec("deepspeed") is not None
AUTO = {
    "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto", "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"},
}  # fmt: skip
"""As LLaMA-Factory and transformers write it."""


@pytest.fixture
def file(tmp_path):
    def write(config):
        path = tmp_path / "deepspeed.json"
        path.write_text(json.dumps(config))
        return str(path)

    return write


@pytest.fixture
def inputs(tokens_store, tiny_tokenizer):
    return Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17, workers=2)


def test_what_deepspeed_gets():
    from stages.train.workers.deepspeed import settled

    config = settled({**AUTO, "wall_clock_breakdown": False}, Train(batch=4, accumulation=2, dtype="bf16"), 2)
    assert (
        config["train_micro_batch_size_per_gpu"] == 4
        and config["gradient_accumulation_steps"] == 1
        and config["gradient_clipping"] == 1.0
    )
    assert config["zero_optimization"] == {"stage": 2} and config["wall_clock_breakdown"] is False
    assert (
        config["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
        and "bf16" not in config
        and "train_batch_size" not in config
    )
    agreed = {
        **AUTO,
        "train_batch_size": 8,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
    }
    assert settled(agreed, Train(batch=4, accumulation=2, dtype="fp32"), 2)["zero_optimization"] == {"stage": 2}


@pytest.mark.parametrize("said, word", [
    ({"train_batch_size": 16}, "train_batch_size 16, the step's batch x accumulation is 8"),
    ({"train_micro_batch_size_per_gpu": 8}, "the step's batch is 4"), ({"gradient_accumulation_steps": 2}, "accumulation / workers is 1"),
    ({"gradient_clipping": 0.5}, "the step's clip is 1"), ({"optimizer": {"type": "AdamW"}}, "a section optimizer"),
    ({"scheduler": {"type": "WarmupLR"}}, "a section scheduler"), ({"bf16": {"enabled": True}}, "turns bf16 on"),
    ({"fp16": {"enabled": True}}, "turns fp16 on"), ({"zero_optimization": {"stage": 0}}, "has stage 0"), ({"zero_optimization": {}}, "has stage 0"),
])  # fmt: skip
def test_a_configuration_that_contradicts_the_step_is_refused_before_anything_runs(said, word, file, inputs):
    stage = Train(batch=4, accumulation=2, deepspeed=file({**AUTO, **said}))
    with pytest.raises(UsageError, match=word) as fault:
        stage.check(inputs)
    assert any(hint in fault.value.hint for hint in ("leave", "set it"))


def test_where_it_is_not_installed_or_has_one_worker_it_is_refused(file, inputs, monkeypatch):
    stage = Train(batch=4, accumulation=2, deepspeed=file(AUTO))
    with pytest.raises(UsageError, match="spreads a run over workers, and there is one"):
        stage.check(replace(inputs, workers=1))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "deepspeed" else find(name, *rest)
    )
    with pytest.raises(UsageError, match="deepspeed is not installed") as fault:
        stage.check(inputs)
    assert "pip install deepspeed" in fault.value.hint and "fsdp" in fault.value.hint


def test_a_file_that_is_no_configuration_and_options_that_contradict(tmp_path, file, inputs):
    (tmp_path / "broken.json").write_text("{stage: 3")
    with pytest.raises(UsageError, match="is not JSON"):
        Train(deepspeed=str(tmp_path / "broken.json")).check(inputs)
    for more, word in (
        ({"parallel": "fsdp"}, "shard the same things"),
        ({"dtype": "fp16"}, "bf16"),
        ({"objective": "mlm"}, "not mlm"),
    ):
        with pytest.raises(ValidationError, match=word):
            Train(deepspeed=file(AUTO), **more)


def test_the_files_content_is_part_of_the_key_and_so_is_deepspeeds_version(file, inputs):
    first = Train(deepspeed=file(AUTO))
    assert "deepspeed" in first.needs() and "deepspeed" not in Train().needs()
    before = first.key(inputs)
    assert Train(deepspeed=file({**AUTO, "zero_optimization": {"stage": 3}})).key(inputs) != before


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="deepspeed is not installed")
@pytest.mark.parametrize("zero", [1, 2, 3])
def test_two_workers_under_zero_give_the_loss_and_weights_of_one_and_resume(
    zero, tiny, inputs, file, tmp_path, read_history
):
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    options = {**tiny, "steps": 6, "batch": 3, "accumulation": 3, "save_every": 2, "eval_every": 3}
    Train(**options).run(replace(inputs, workers=1), Store(tmp_path / "alone"), Inline())
    deep = {**options, "deepspeed": file({**AUTO, "zero_optimization": {"stage": zero}})}
    together([(deep, inputs, tmp_path / "two")])
    same(Store(tmp_path / "two"), Store(tmp_path / "alone"), read_history)
    with pytest.raises((ProcessExitedException, ProcessRaisedException)):
        together([(deep, inputs, tmp_path / "killed")], death=(1, "step", 3))
    assert (tmp_path / "killed/passes/checkpoints.json").exists()
    together([(deep, inputs, tmp_path / "killed")])
    two, killed = (Store(tmp_path / name) for name in ("two", "killed"))
    assert (two.artefact() / "history.jsonl").read_bytes() == (killed.artefact() / "history.jsonl").read_bytes(), (
        "bit by bit"
    )
    assert two.receipt("artefact").files == killed.receipt("artefact").files


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="deepspeed is not installed")
@pytest.mark.parametrize("zero", [2, 3])
def test_an_adapter_under_zero(zero, chat_store, base_store, file, tmp_path, read_history):
    options = {
        "objective": "sft",
        "method": "lora",
        "threads": 1,
        "holdout": 0.2,
        "seq_len": 64,
        "steps": 4,
        "batch": 3,
    }
    inputs = Inputs({"of": [chat_store], "base": [base_store]}, 17)
    Train(**options).run(inputs, Store(tmp_path / "alone"), Inline())
    together(
        [
            (
                {**options, "deepspeed": file({**AUTO, "zero_optimization": {"stage": zero}})},
                replace(inputs, workers=2),
                tmp_path / "two",
            )
        ]
    )
    same(Store(tmp_path / "two"), Store(tmp_path / "alone"), read_history)


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="deepspeed is not installed")
def test_a_ray_group_under_zero(tiny, inputs, file, tmp_path, read_history):
    from pipeline.engine.pool import OnRay

    options = {**tiny, "steps": 4, "batch": 3, "accumulation": 2, "save_every": 2}
    Train(**options).run(replace(inputs, workers=1), Store(tmp_path / "alone"), Inline())
    pool = OnRay(workers=3)
    try:
        [receipt] = Train(**options, deepspeed=file(AUTO)).run(inputs, Store(tmp_path / "two"), pool)
    finally:
        pool.close()
    assert receipt.notes["workers"] == 2
    same(Store(tmp_path / "two"), Store(tmp_path / "alone"), read_history)
