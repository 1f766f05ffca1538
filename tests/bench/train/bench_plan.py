"""What `maetdol train-plan` says before the first step, against what the step then takes.

    python tests/bench/train/bench_plan.py RUN [--only NAME] [--threads 1]

RUN is the folder of a finished quickstart: its packed rows, conversations and pairs are trained on, its model is the base of the
adapters. Each configuration is planned and then run in a process of its own. With one thread seconds are those of the process
(user and system), which other jobs on the machine hardly change; memory is what the process grew by.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

CONFIGURATIONS = {
    "clm, full, hidden 144, 4 layers, batch 16": {
        "of": "pack",
        "tokenizer": "tokenizer",
        "model.hidden_size": 144,
        "model.num_hidden_layers": 4,
        "model.num_attention_heads": 4,
        "per_device_train_batch_size": 16,
        "max_steps": 40,
    },
    "clm, full, hidden 320, 6 layers, batch 8": {
        "of": "pack",
        "tokenizer": "tokenizer",
        "model.hidden_size": 320,
        "model.num_hidden_layers": 6,
        "model.num_attention_heads": 5,
        "per_device_train_batch_size": 8,
        "max_steps": 16,
    },
    "clm, full, hidden 512, 4 layers, batch 2 x 4": {
        "of": "pack",
        "tokenizer": "tokenizer",
        "model.hidden_size": 512,
        "model.num_hidden_layers": 4,
        "model.num_attention_heads": 8,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "max_steps": 12,
    },
    "clm, freeze, batch 8": {
        "of": "pack",
        "base": "pretrain",
        "method": "freeze",
        "per_device_train_batch_size": 8,
        "max_steps": 40,
    },
    "clm, lora, checkpointing, batch 8": {
        "of": "pack",
        "base": "pretrain",
        "method": "lora",
        "gradient_checkpointing": True,
        "per_device_train_batch_size": 8,
        "max_steps": 30,
    },
    "sft, full, packed, batch 2": {
        "of": "sft-rows",
        "base": "pretrain",
        "objective": "sft",
        "per_device_train_batch_size": 2,
        "max_steps": 80,
    },
    "sft, lora, packed, batch 8": {
        "of": "sft-rows",
        "base": "pretrain",
        "objective": "sft",
        "method": "lora",
        "per_device_train_batch_size": 8,
        "max_steps": 30,
    },
    "sft, lora, not packed, batch 8": {
        "of": "sft-rows",
        "base": "pretrain",
        "objective": "sft",
        "method": "lora",
        "sft.packing": False,
        "per_device_train_batch_size": 8,
        "max_steps": 60,
    },
    "sft, qlora, packed, batch 2": {
        "of": "sft-rows",
        "base": "pretrain",
        "objective": "sft",
        "method": "qlora",
        "per_device_train_batch_size": 2,
        "max_steps": 60,
    },
    "sft, ia3, packed, batch 4": {
        "of": "sft-rows",
        "base": "pretrain",
        "objective": "sft",
        "method": "ia3",
        "per_device_train_batch_size": 4,
        "max_steps": 40,
    },
    "dpo, lora, batch 4": {
        "of": "dpo",
        "base": "pretrain",
        "objective": "dpo",
        "method": "lora",
        "per_device_train_batch_size": 4,
        "max_steps": 30,
    },
    "dpo, full, batch 4": {
        "of": "dpo",
        "base": "pretrain",
        "objective": "dpo",
        "per_device_train_batch_size": 4,
        "max_steps": 30,
    },
}


def one(run: Path, name: str, threads: int) -> dict[str, float | str]:
    """Plan a configuration, then run it, in this process."""
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch  # noqa: F401
    import yaml

    from pipeline.engine.pool import Inline
    from pipeline.engine.recipe import load
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.train.planning import budget, outlook

    options = {**CONFIGURATIONS[name], "threads": threads, "holdout": 0.1}
    ports = {port: f"{run}/{options[port]}" for port in ("of", "base", "tokenizer") if port in options}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, "recipe.yaml")
        recipe.write_text(
            yaml.safe_dump(
                {"name": "bench", "root": f"{folder}/run", "steps": [{"train": {**options, **ports, "name": "it"}}]}
            ),
            encoding="utf-8",
        )
        plan = load(str(recipe), [])
        [step] = plan.steps
        began = time.process_time()
        made = outlook.estimate(plan, step, budget.machine(threads=threads))
        looked = time.process_time() - began
        formula = budget.budget(
            step.stage,
            made.budget.shape,
            made.width,
            made.rows.length * made.passes.positions,
            budget.machine(threads=threads),
        )
        began, wall = time.process_time(), time.monotonic()
        [receipt] = step.stage.run(
            Inputs({port: [Store(path)] for port, path in ports.items()}, 17), Store(f"{folder}/made"), Inline()
        )
        took, walked = time.process_time() - began, time.monotonic() - wall
    return {
        "name": name, "planned": made.budget.seconds, "took": took if threads == 1 else walked, "looked": looked, "formula": formula.seconds,
        "memory": made.budget.memory, "grew": receipt.notes["took"]["peak_memory"],
    }  # fmt: skip


def table(found: list[dict]) -> str:
    lines = [
        "| configuration | planned s | took s | off | by arithmetic alone | planned MiB | grew by MiB | off |",
        "| --- |" + " --- |" * 7,
    ]
    for row in found:
        off, plain = (f"{row[which] / row['took'] - 1:+.0%}" for which in ("planned", "formula"))
        lines.append(
            f"| {row['name']} | {row['planned']:.1f} | {row['took']:.1f} | {off} | {plain} | {row['memory'] / 2**20:.0f} | {row['grew'] / 2**20:.0f} | {row['memory'] / row['grew'] - 1:+.0%} |"
        )
    for what, planned, real in (
        ("time", "planned", "took"),
        ("time by arithmetic alone", "formula", "took"),
        ("memory", "memory", "grew"),
    ):
        lines.append(
            f"\nmedian error of the {what}: {statistics.median(abs(row[planned] / row[real] - 1) for row in found):.0%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.run.resolve(), arguments.one, arguments.threads)))
        return
    found = []
    for name in CONFIGURATIONS:
        if arguments.only in name:
            made = subprocess.run(
                [sys.executable, __file__, str(arguments.run), "--one", name, "--threads", str(arguments.threads)],
                capture_output=True,
                text=True,
            )
            if made.returncode:
                raise SystemExit(made.stderr)
            found.append(json.loads(made.stdout.splitlines()[-1]))
            print(found[-1], file=sys.stderr, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
