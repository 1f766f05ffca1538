"""Two workers with shards of one model give what one worker gives with the whole; told apart by a fault, refused where they cannot."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.models.inference.folder import ModelFolder
from stages.train import Train

LOSS = 1e-4


def die(rank, who, where, at):
    """Let worker `who` be killed before step `at`, or when the checkpoint of step `at` is written and not yet listed."""
    from stages.train.engine import checkpoint, trainer

    def before(step, kind):
        if (rank, where) == (who, kind) and step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    begin, keep = trainer.PlannedTrainer.begin_step, checkpoint.Checkpoints._keep
    trainer.PlannedTrainer.begin_step = lambda self, step: (before(step, "step"), begin(self, step))[1]
    checkpoint.Checkpoints._keep = lambda self, step: (before(step, "save"), keep(self, step))[1]


def noted(path):
    """Write to `path` which share of each packed weight this worker holds, when training begins."""
    from stages.train.engine import trainer

    begin = trainer.Beginning.on_train_begin

    def on_train_begin(self, args, state, control, **more):
        packed = [p for name, p in self.trainer.model.named_parameters() if name.endswith("base_layer.weight")]
        path.write_text(json.dumps([p.to_local().numel() / p.numel() for p in packed]))
        return begin(self, args, state, control, **more)

    trainer.Beginning.on_train_begin = on_train_begin


def one_of(rank, size, port, jobs, death=None, note=None):
    """A worker of a gloo group: trains every job, each to its own store."""
    import torch.distributed as dist

    from stages.models.inference.device import patient

    patient()
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    from stages.train.session import Session
    from stages.train.workers.launch import TrainingJob
    from stages.train.workers.world import World

    if death:
        die(rank, *death)
    if note and rank == 0:
        noted(note)
    for options, inputs, sink in jobs:
        stage = Train(**options)
        job = TrainingJob(stage, inputs, Store(sink), stage.key(inputs))
        with Session(job, World(rank, size)) as session:
            session.train(lambda: True, lambda line: None)
    dist.destroy_process_group()


def together(jobs, size=2, death=None, note=None):
    """Train `jobs` (options, inputs, sink), one after the other, in a group of `size` processes."""
    import torch.multiprocessing as mp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_of, (size, port, jobs, death, note), size)


def same(store, alone, read_history, *names):
    """The curve, measured and trained, and the final weights of two runs agree."""
    from safetensors.torch import load_file

    here, there = read_history(store), read_history(alone)
    for left, right in zip((*here.train, *here.held), (*there.train, *there.held), strict=True):
        assert left.keys() == right.keys()
        for name in ("loss", "weight", *(["gradient_norm"] if "gradient_norm" in left else []), *names):
            assert left[name] == pytest.approx(right[name], abs=LOSS, rel=1e-4), (name, left, right)
    [file] = [path.name for path in alone.artefact().glob("*.safetensors")]
    mine, whole = (load_file(s.artefact() / file) for s in (store, alone))
    assert mine.keys() == whole.keys()
    for name, tensor in whole.items():
        assert mine[name].dtype == tensor.dtype and mine[name].sub(tensor).abs().max() < LOSS, name
    assert {p.name for p in store.artefact().iterdir()} == {p.name for p in alone.artefact().iterdir()}
    assert not list(Path(store.fs.path("passes")).glob("step-*")), "checkpoints go when the run has ended"


@pytest.fixture(scope="module")
def runs(tokens_store, tiny_tokenizer, tiny, chat_store, pair_store, base_store, sft_store):
    """name -> (options, inputs). Rows of a step are no multiple of what two workers take in a pass: some pass idly."""
    tuned = {
        "threads": 1,
        "holdout": 0.2,
        "max_length": 64,
        "max_steps": 4,
        "per_device_train_batch_size": 3,
        "global_batch_size": 3,
        "save_steps": 2,
    }
    return {
        "clm": (
            {
                **tiny,
                "max_steps": 6,
                "per_device_train_batch_size": 3,
                "global_batch_size": 9,
                "save_steps": 2,
                "eval_steps": 3,
            },
            Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17),
        ),
        "sft": (
            {**tuned, "objective": "sft", "method": "lora", "gradient_checkpointing": True},
            Inputs({"of": [chat_store], "base": [base_store]}, 17),
        ),
        "qlora": (
            {**tuned, "objective": "sft", "method": "qlora", "learning_rate": 1e-3, "eval_steps": 2},
            Inputs({"of": [chat_store], "base": [base_store]}, 17),
        ),
        **{
            name: (
                {**tuned, "objective": name, "method": "lora", "learning_rate": 1e-3},
                Inputs({"of": [pair_store], "base": [base_store]}, 17),
            )
            for name in ("kto", "orpo")
        },
        "dpo": (
            {**tuned, "objective": "dpo", "method": "lora", "learning_rate": 1e-3},
            Inputs({"of": [pair_store], "base": [base_store, sft_store]}, 17),
        ),
    }


@pytest.fixture(scope="module")
def alone(runs, tmp_path_factory):
    """`alone(name)` -> the store of a run by one worker, with the whole model."""
    stores = {}

    def run(name):
        if name not in stores:
            stores[name] = Store(tmp_path_factory.mktemp(f"alone-{name}"))
            options, inputs = runs[name]
            Train(**options).run(inputs, stores[name], Inline())
        return stores[name]

    return run


@pytest.fixture(scope="module")
def grouped(runs, tmp_path_factory):
    """`parallel` -> the clm run of two workers, each with the whole model and with shards of it; one group for both."""
    options, inputs = runs["clm"]
    sinks = {parallel: tmp_path_factory.mktemp(f"two-{parallel}") for parallel in ("data", "fsdp")}
    together([({**options, "parallel": parallel}, inputs, sink) for parallel, sink in sinks.items()])
    return {parallel: Store(sink) for parallel, sink in sinks.items()}


@pytest.mark.parametrize("parallel", ["data", "fsdp"])
def test_two_workers_give_the_loss_and_weights_of_one(parallel, alone, grouped, read_history):
    same(grouped[parallel], alone("clm"), read_history)


@pytest.mark.slow
def test_adapters_and_pairs_in_shards_give_the_loss_and_weights_of_one_worker(runs, alone, tmp_path, read_history):
    names = ("sft", "dpo", "kto", "orpo")
    together([({**runs[name][0], "parallel": "fsdp"}, runs[name][1], tmp_path / name) for name in names])
    for name in names:
        same(Store(tmp_path / name), alone(name), read_history)


@pytest.mark.slow
def test_a_base_in_4_bits_in_shards_gives_the_loss_and_adapter_of_one_worker(runs, alone, tmp_path, read_history):
    """And it is cut: each worker holds half of the packed weights."""
    options, inputs = runs["qlora"]
    together([({**options, "parallel": "fsdp"}, inputs, tmp_path / "two")], note=tmp_path / "cut")
    same(Store(tmp_path / "two"), alone("qlora"), read_history)
    shares = json.loads((tmp_path / "cut").read_text())
    assert shares and set(shares) == {0.5}


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["data", "fsdp"])
def test_a_killed_group_ends_with_the_same_bytes(parallel, runs, grouped, tmp_path):
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    options, inputs = runs["clm"]
    job = ({**options, "parallel": parallel}, inputs, tmp_path)
    for who, where, at in ((1, "step", 3), (0, "save", 4)):
        with pytest.raises((ProcessExitedException, ProcessRaisedException)):
            together([job], death=(who, where, at))
        index = json.loads((tmp_path / "passes/checkpoints.json").read_text())
        assert index["steps"] == [2], "the one that was not listed does not exist"
    together([job])
    assert Store(tmp_path).receipt("artefact").files == grouped[parallel].receipt("artefact").files
    assert not list((tmp_path / "passes").glob("step-*"))


@pytest.mark.slow
def test_a_run_begun_by_two_workers_is_ended_by_one(runs, alone, tmp_path, read_history):
    """A checkpoint holds whole tensors, whoever wrote it."""
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    options, inputs = runs["clm"]
    with pytest.raises((ProcessExitedException, ProcessRaisedException)):
        together([({**options, "parallel": "data"}, inputs, tmp_path)], death=(0, "step", 3))
    Train(**options).run(inputs, Store(tmp_path), Inline())
    same(Store(tmp_path), alone("clm"), read_history)


@pytest.fixture(scope="module")
def qwen(tiny_tokenizer, tmp_path_factory):
    """A Qwen3 folder: its heads' norms are held by all workers, and each sees the gradient of its own heads."""
    import shutil

    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("qwen")
    shape = {
        "vocab_size": 512,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    Qwen3ForCausalLM(
        Qwen3Config(**shape, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=3)
    ).save_pretrained(folder)
    for path in tiny_tokenizer.artefact().iterdir():
        shutil.copy(path, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, more",
    [("freeze", {}), ("full", {}), ("lora", {"lora.use_dora": True, "lora.lora_dropout": 0.0})],
    ids=["freeze", "full", "dora"],
)
def test_another_architecture_and_other_methods(method, more, qwen, chat_store, tmp_path, read_history):
    options = {
        "objective": "sft",
        "method": method,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 64,
        "max_steps": 4,
        "per_device_train_batch_size": 3,
        "global_batch_size": 3,
    }
    options |= {"learning_rate": 1e-3, **({"freeze.trainable_layers": 1} if method == "freeze" else {})}
    inputs = Inputs({"of": [chat_store], "base": [ModelFolder(qwen)]}, 17)
    Train(**options, **more).run(inputs, Store(tmp_path / "alone"), Inline())
    together([({**options, "parallel": "fsdp", **more}, inputs, tmp_path / "two")])
    same(Store(tmp_path / "two"), Store(tmp_path / "alone"), read_history)


@pytest.mark.slow
def test_an_adapter_in_fp32_on_a_base_in_bf16(runs, tmp_path, read_history):
    """Numbers of two kinds in one layer. bf16 holds three digits, and other rows share a pass: the curves agree that far."""
    options, inputs = runs["sft"]
    options = {**options, "dtype": "bf16", "gradient_checkpointing": False}
    Train(**options).run(inputs, Store(tmp_path / "alone"), Inline())
    together([({**options, "parallel": "fsdp"}, inputs, tmp_path / "two")])
    two, alone = (read_history(Store(tmp_path / name)) for name in ("two", "alone"))
    assert [line["loss"] for line in (*two.train, *two.held)] == pytest.approx(
        [line["loss"] for line in (*alone.train, *alone.held)], abs=2e-2
    )


def test_parts_are_read_by_as_many_workers_as_wrote_them(tmp_path):
    from stages.train.engine.checkpoint import Parts
    from stages.train.workers.world import World

    Parts(Store(tmp_path), "key", 1, World(0, 2))._list([4])
    assert Parts(Store(tmp_path), "key", 1, World(0, 2)).steps() == [4]
    with pytest.raises(UsageError, match="written by 2 workers, this run has 3") as fault:
        Parts(Store(tmp_path), "key", 1, World(0, 3)).steps()
    assert "run with 2 workers again" in fault.value.hint
    assert Parts(Store(tmp_path), "another run", 1, World(0, 3)).steps() == []


@pytest.mark.parametrize("options, word", [
    ({"objective": "mlm"}, "not mlm"), ({"objective": "reward"}, "not reward"), ({"objective": "rl"}, "not rl"),
    ({"objective": "sft", "method": "prompt"}, "not prompt"),
    ({"dtype": "fp16"}, "dtype bf16"), ({"torch_compile": True}, "leave one of them out"), ({"optimizer.optim": "paged_adamw_8bit"}, "adamw"),
])  # fmt: skip
def test_what_cannot_be_in_shards_is_refused_by_its_options(options, word):
    with pytest.raises(ValidationError, match=word):
        Train(**{"parallel": "fsdp", **options})


def test_workers_that_do_not_fit_are_refused_with_the_lever(runs, tmp_path):
    options, inputs = runs["clm"]
    with pytest.raises(UsageError, match="shards a model over workers, and there is one") as fault:
        Train(**options, parallel="fsdp").run(inputs, Store(tmp_path), Inline())
    assert "run.steps" in fault.value.hint


def test_an_architecture_whose_layers_are_not_known_is_refused():
    import torch

    from stages.train.engine.shards import settings

    with pytest.raises(UsageError, match="no list of layers to shard by"):
        settings(Train(parallel="fsdp"), torch.nn.Linear(2, 2))
