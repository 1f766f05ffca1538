"""Peak memory of a worker and tokens per CPU second of two workers: the whole model on each, or in shards.

    python tests/bench/train/bench_sharded.py [--hidden 640] [--layers 8] [--steps 2] [--turns 3]

Every figure is from two fresh gloo processes on this machine, which take turns over both kinds; medians over the turns. Memory is
what a worker's resident memory grew by at most, from before the model was made to after the last step (`stages.train.planning.gauge`); the
processor's own libraries are not in it. CPU seconds are of the whole run, of both workers together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

KINDS = {"data": {}, "fsdp": {"parallel": "fsdp"}}


class Rows:
    """Random rows of two documents: neither speed nor memory depends on what they say."""

    held_rows = 0

    def __init__(self, count: int, width: int, vocabulary: int):
        import numpy as np

        self.width, self.tokens = (
            width,
            np.random.default_rng(0).integers(4, vocabulary, (count, width)).astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def row(self, index: int, held: bool = False):
        from stages.models.chat.rows import join, segment

        ids, half = self.tokens[index], self.width // 2
        return join([segment(ids[:half]), segment(ids[half:])])

    def weight(self, index: int) -> int:
        return self.width - 2

    def row_id(self, index: int) -> str:
        return str(index)


def worker(rank: int, port: int, arguments: argparse.Namespace, kind: str, out) -> None:
    import torch
    import torch.distributed as dist
    from transformers import LlamaForCausalLM  # noqa: F401 - loaded before memory is counted

    from pipeline.storage.store import Store
    from stages.models.inference.device import arithmetic
    from stages.train import Train
    from stages.train.engine.checkpoint import Checkpoints
    from stages.train.engine.schedule import plan
    from stages.train.engine.shards import frugal
    from stages.train.engine.trainer import train
    from stages.train.model import scratch
    from stages.train.objective.losses import Likelihood
    from stages.train.planning.gauge import Gauge
    from stages.train.workers.world import World

    names = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    os.environ |= dict(
        zip(names, (str(rank), str(rank), "2", "2", "127.0.0.1", str(port)))
    )  # as accelerate asks for them
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    shape = {
        "model.hidden_size": arguments.hidden,
        "model.num_hidden_layers": arguments.layers,
        "model.num_attention_heads": arguments.hidden // 64,
        "per_device_train_batch_size": arguments.batch,
    }
    stage = Train(**shape, gradient_accumulation_steps=2, max_steps=arguments.steps, threads=1, **KINDS[kind])
    world = World(rank, 2)
    names = type(
        "Names",
        (),
        {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "__len__": lambda self: arguments.vocabulary},
    )()
    with arithmetic(1, 0) as device:
        gauge = Gauge(device)
        frugal(stage, device)
        whole = scratch(stage, names, arguments.width)
        weights = sum(parameter.numel() for parameter in whole.parameters())
        rows = Rows(2 * arguments.batch * arguments.steps, arguments.width, arguments.vocabulary)
        passes = plan(len(rows), 2 * arguments.batch, 1.0, arguments.steps)
        objective = Likelihood(rows, 0, device, fixed_width=True)
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Store(folder), "bench", world=world)
            done = train(stage, whole, objective, passes, 0, torch.float32, checkpoints, world)
        out.put((gauge.peak(), time.process_time() - began, weights, done.history[-1]["loss"]))
    dist.barrier()
    dist.destroy_process_group()


def once(arguments: argparse.Namespace, kind: str) -> tuple[int, float, int, float]:
    """Peak of the worker that needs more, CPU seconds of both, weights, last loss."""
    import torch.multiprocessing as mp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = mp.get_context("spawn").SimpleQueue()
    mp.spawn(worker, (port, arguments, kind, out), 2)
    found = [out.get(), out.get()]
    return max(f[0] for f in found), sum(f[1] for f in found), found[0][2], found[0][3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("hidden", 640),
        ("layers", 8),
        ("vocabulary", 8192),
        ("width", 64),
        ("batch", 2),
        ("steps", 2),
        ("turns", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    found: dict[str, list] = {kind: [] for kind in KINDS}
    for _ in range(arguments.turns):
        for kind in KINDS:
            found[kind].append(once(arguments, kind))
    import torch

    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "python": platform.python_version(),
                "weights": found["data"][0][2],
                **vars(arguments),
            }
        )
    )
    tokens = 2 * arguments.batch * arguments.steps * arguments.width
    for kind, runs in found.items():
        peak, seconds = (statistics.median(run[n] for run in runs) for n in (0, 1))
        print(
            f"{kind:8} peak {peak / (1 << 20):8.0f} MiB a worker, {peak / runs[0][2]:5.1f} bytes a weight; {tokens / seconds:7.1f} tokens/CPU s; last loss {runs[0][3]:.5f}"
        )


if __name__ == "__main__":
    main()
