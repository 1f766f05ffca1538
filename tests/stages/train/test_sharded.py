"""Two workers with shards of one model give what one worker gives with the whole; told apart by a fault, refused where they cannot."""

import socket
from functools import partial

import pytest
from pydantic import ValidationError

from pipeline.errors import UsageError
from pipeline.pool import Inline
from pipeline.stage import Inputs
from pipeline.store import Store
from stages.train import Train

LOSS = 1e-4


def one_of(rank, size, port, jobs):
    """A worker of a gloo group: trains every job, each to its own store."""
    import torch.distributed as dist

    from stages.models.device import patient

    patient()
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    from stages.train.launch import Job
    from stages.train.session import Session
    from stages.train.world import World

    for options, inputs, sink in jobs:
        stage = Train(**options)
        job = Job(stage, inputs, Store(sink), stage.key(inputs))
        with Session(job, World(rank, size, stage.tensor)) as session:
            session.train(lambda: True, lambda line: None)
    dist.destroy_process_group()


def together(jobs, size=2):
    """Train `jobs` (options, inputs, sink), one after the other, in a group of `size` processes."""
    import torch.multiprocessing as mp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_of, (size, port, jobs), size)


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
    assert not list((store.place.path("passes") and __import__("pathlib").Path(store.place.path("passes"))).glob("step-*"))


@pytest.fixture(scope="module")
def runs(tokens_store, tiny_tokenizer, tiny, chat_store, pair_store, base_store, sft_store):
    """name -> (options, inputs). Rows of a step are no multiple of what two workers take in a pass: some pass idly."""
    tuned = {"threads": 1, "holdout": 0.2, "seq_len": 64, "steps": 4, "batch": 3, "save_every": 2}
    return {
        "clm": ({**tiny, "steps": 6, "batch": 3, "accumulation": 3, "save_every": 2, "eval_every": 3}, Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17)),
        "sft": ({**tuned, "objective": "sft", "method": "lora", "checkpointing": True}, Inputs({"of": [chat_store], "base": [base_store]}, 17)),
        "dpo": ({**tuned, "objective": "dpo", "method": "lora", "learning_rate": 1e-3}, Inputs({"of": [pair_store], "base": [base_store, sft_store]}, 17)),
    }


@pytest.fixture(scope="module")
def alone(runs, tmp_path_factory):
    stores = {}
    for name, (options, inputs) in runs.items():
        stores[name] = Store(tmp_path_factory.mktemp(f"alone-{name}"))
        Train(**options).run(inputs, stores[name], Inline())
    return stores


@pytest.fixture(scope="module")
def sharded(runs, tmp_path_factory):
    """The same runs of two workers, in shards and split, one group for all."""
    stores, jobs = {}, []
    for name, more in (("clm", {}), ("sft", {}), ("dpo", {}), ("clm", {"tensor": 2})):
        options, inputs = runs[name]
        sink = tmp_path_factory.mktemp(f"two-{name}")
        stores[name, more.get("tensor", 1)] = Store(sink)
        jobs.append(({**options, "parallel": "fsdp", **more}, inputs, sink))
    together(jobs)
    return stores


@pytest.mark.parametrize("name", ["clm", "sft", "dpo"])
def test_two_workers_with_shards_give_the_loss_and_weights_of_one(name, alone, sharded, read_history):
    same(sharded[name, 1], alone[name], read_history)


def test_layers_split_over_two_workers_give_the_loss_and_weights_of_one(alone, sharded, read_history):
    same(sharded["clm", 2], alone["clm"], read_history)
