"""Tokens per second of pretraining here and with transformers' Trainer, on the same packed rows, shape and threads.

    python tests/bench/train/bench_pretrain.py [--steps 20] [--hidden 160] [--layers 4] [--threads 1]

The two take turns and the median over the turns is printed, with versions and device. Seconds are the process's CPU seconds, which
other jobs on the machine hardly change. Both train on whole rows; the Trainer gets the rows as they are (its attention crosses
documents), which is the cheaper of the two jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))


def rows(count: int, width: int, vocabulary: int):
    """Random token rows of two documents each: speed does not depend on what they say."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(4, vocabulary, (count, width)).astype(np.int32)


def llama(arguments: argparse.Namespace):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=arguments.vocabulary, hidden_size=arguments.hidden, intermediate_size=arguments.hidden * 8 // 3 // 32 * 32,
            num_hidden_layers=arguments.layers, num_attention_heads=arguments.hidden // 40, max_position_embeddings=arguments.width,
            tie_word_embeddings=True, attn_implementation="sdpa",
        )
    )  # fmt: skip


def ours(arguments: argparse.Namespace, tokens) -> float:
    """Tokens per second of `stages.train.engine.trainer`."""
    import torch

    from pipeline.storage.store import Store
    from stages.models.chat.rows import join, segment
    from stages.train import Train
    from stages.train.engine.checkpoint import Checkpoints
    from stages.train.engine.schedule import plan
    from stages.train.engine.trainer import train
    from stages.train.objective.losses import Likelihood

    class Rows:
        width, held_rows = arguments.width, 0

        def __len__(self) -> int:
            return len(tokens)

        def weight(self, index: int, held: bool = False) -> int:
            return arguments.width - 2

        def row(self, index: int, held: bool = False):
            half = arguments.width // 2
            return join([segment(tokens[index, :half]), segment(tokens[index, half:])])

    stage = Train(
        per_device_train_batch_size=arguments.batch,
        max_steps=arguments.steps,
        save_steps=10**6,
        threads=arguments.threads,
    )
    cpu = torch.device("cpu")
    objective = Likelihood(Rows(), 3, cpu, fixed_width=True)
    steps = plan(len(tokens), arguments.batch, 1.0, arguments.steps)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            stage, llama(arguments), objective, steps, 0, torch.float32, Checkpoints(Store(folder), "bench"),
            on_step=lambda line: seconds.append(time.process_time()),
        )  # fmt: skip
    return rate(arguments, seconds)


def theirs(arguments: argparse.Namespace, tokens) -> float:
    """Tokens per second of transformers' Trainer."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_end(self, *args, **kwargs) -> None:
            self.seconds.append(time.process_time())

    given = [
        {"input_ids": torch.from_numpy(row.astype("int64")), "labels": torch.from_numpy(row.astype("int64"))}
        for row in tokens
    ]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=arguments.batch, max_steps=arguments.steps, use_cpu=True, bf16=False, report_to=[],
            save_strategy="no", logging_steps=10**6, disable_tqdm=True, optim="adamw_torch_fused", learning_rate=1e-3, weight_decay=0.1,
        )  # fmt: skip
        Trainer(llama(arguments), settings, train_dataset=given, callbacks=[clock]).train()
    return rate(arguments, clock.seconds)


def rate(arguments: argparse.Namespace, ends: list[float]) -> float:
    """Tokens per CPU second, from the ends of the steps; whole steps, reading included, the first two left out."""
    return arguments.batch * arguments.width / statistics.median(b - a for a, b in zip(ends[1:], ends[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {
        "steps": 20,
        "hidden": 160,
        "layers": 4,
        "width": 256,
        "batch": 8,
        "vocabulary": 4096,
        "threads": 1,
        "turns": 3,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    import torch
    import transformers

    from stages.models.inference.device import quiet

    quiet()
    torch.set_num_threads(arguments.threads)
    tokens = rows(arguments.batch * arguments.steps, arguments.width, arguments.vocabulary)
    found: dict[str, list[float]] = {"here": [], "transformers Trainer": []}
    for _ in range(arguments.turns):
        found["here"].append(ours(arguments, tokens))
        found["transformers Trainer"].append(theirs(arguments, tokens))
    result: dict[str, float] = {name: round(statistics.median(values)) for name, values in found.items()}
    result["ratio of medians"] = round(result["here"] / result["transformers Trainer"], 3)
    print(json.dumps({"tokens per second": result, "device": platform.processor() or platform.machine(), "threads": arguments.threads,
                      "torch": torch.__version__, "transformers": transformers.__version__, "shape": vars(arguments)}, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
