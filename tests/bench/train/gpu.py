"""The GPU table: pretraining MFU, LoRA and QLoRA fine-tuning beside TRL in the same run, the loader alone.

    python tests/bench/train/gpu.py --out gpu.json            # a card: shapes from configuration, random weights
    python tests/bench/train/gpu.py --small                   # any machine: the same code at a size that only shows that it runs

Every figure goes through the training room itself (`Loop`, its objectives, its packing); TRL gets the same rows, shape, rank and batch,
with its packing and its chunked loss. Date, card, driver and versions stand in the result.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

SHAPES = {  # hidden, layers, heads, kv_heads, intermediate, vocabulary, tied
    "130M": (768, 12, 12, 12, 2048, 32_000, True),
    "300M": (1024, 20, 16, 16, 2816, 32_000, True),
    "1B": (2048, 20, 16, 16, 5632, 32_000, True),
    "3B": (3072, 28, 24, 8, 8192, 128_256, True),
    "small": (64, 2, 4, 2, 192, 512, True),
}


def model_of(name: str, dtype: Any, device: Any, four_bit: bool = False) -> Any:
    """A Llama of random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from stages.models.inference.chain import load_model

    hidden, layers, heads, kv, inner, vocabulary, tied = SHAPES[name]
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv,
                         intermediate_size=inner, max_position_embeddings=8192, tie_word_embeddings=tied, attn_implementation="sdpa")  # fmt: skip
    torch.manual_seed(0)
    if not four_bit:
        with torch.device(device):
            return LlamaForCausalLM(config).to(dtype)
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
        return load_model(Path(folder), dtype=dtype, device=device, four_bit=True)


class Rows:
    """Random token rows of `parts` segments each: speed does not depend on what they say."""

    held_rows = 0

    def __init__(self, count: int, width: int, vocabulary: int, parts: int):
        import numpy as np

        self.width, self.parts = width, parts
        self.tokens = np.random.default_rng(0).integers(4, vocabulary, (count, width)).astype(np.int32)

    def __len__(self) -> int:
        return len(self.tokens)

    def weight(self, index: int, held: bool = False) -> int:
        return self.width - self.parts

    def row(self, index: int, held: bool = False) -> Any:
        import numpy as np

        from stages.models.chat.rows import join, segment

        return join([segment(part) for part in np.array_split(self.tokens[index], self.parts)])

    def row_id(self, index: int) -> str:
        return str(index)


def ours(model: Any, stage: Any, rows: Rows, device: Any, dtype: Any, steps: int) -> dict[str, float]:
    """Tokens per second (median of the steps after the third) and peak memory of our trainer."""
    import torch

    from pipeline.storage.store import Store
    from stages.train.engine.checkpoint import Checkpoints
    from stages.train.engine.schedule import plan
    from stages.train.engine.trainer import train
    from stages.train.objective.losses import Likelihood
    from stages.train.planning.gauge import Gauge

    gauge, seconds = Gauge(device), []

    def told(line: dict[str, Any]) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter())

    objective = Likelihood(rows, 0, device, fixed_width=True)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Store(folder), "bench")
        train(
            stage,
            model,
            objective,
            plan(len(rows), stage.per_device_train_batch_size, 1.0, steps),
            0,
            dtype,
            checkpoints,
            on_step=told,
        )
    took = [b - a for a, b in zip(seconds[2:], seconds[3:])]
    return {
        "tokens_per_second": stage.per_device_train_batch_size * rows.width / statistics.median(took),
        "peak_gib": (gauge.peak() or 0) / 2**30,
    }


def trl(model: Any, rows: Rows, device: Any, batch: int, steps: int, rank: int) -> dict[str, float]:
    """The same rows through TRL's SFTTrainer: packed already, chunked loss, LoRA on all linear layers."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from stages.train.planning.gauge import Gauge
    from tokenizers import Tokenizer, models

    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter())

    gauge = Gauge(device)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<pad>": 2}, unk_token="<pad>")),
        eos_token="</s>",
        pad_token="<pad>",
    )
    given = datasets.Dataset.from_dict({"input_ids": rows.tokens.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(output_dir=folder, per_device_train_batch_size=batch, max_steps=steps, max_length=rows.width, bf16=device.type == "cuda", use_cpu=device.type == "cpu",
                           report_to=[], save_strategy="no", logging_steps=10**6, disable_tqdm=True, gradient_checkpointing=False, optim="adamw_torch_fused")  # fmt: skip
        lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        SFTTrainer(
            model, args=config, train_dataset=given, processing_class=tokenizer, peft_config=lora, callbacks=[Clock()]
        ).train()
    took = [b - a for a, b in zip(seconds[2:], seconds[3:])]
    return {"tokens_per_second": batch * rows.width / statistics.median(took), "peak_gib": (gauge.peak() or 0) / 2**30}


def loader(rows: Rows, device: Any, batch: int) -> float:
    """Tokens per second of reading and putting batches together, without a model."""
    from stages.models.chat.rows import collate

    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 2.0:
        _ = collate(
            [rows.row((done + n) % len(rows)) for n in range(batch)], 0, device, rows.width
        ).mask  # written when asked for
        done += batch
    return done * rows.width / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    import torch

    from stages.models.inference.device import quiet
    from stages.train import Train
    from stages.train.model import adapted
    from stages.train.planning import budget as b

    quiet()
    if not torch.cuda.is_available() and not arguments.small:
        raise SystemExit("no card at hand: run this where there is one, or with --small to see that it runs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    small, found = arguments.small, []
    pretrain = [("small", 2, 64)] if small else [("130M", 32, 2048), ("300M", 16, 2048), ("1B", 8, 2048)]
    tune = [("small", 2, 64)] if small else [("1B", 8, 2048), ("3B", 1, 2048)]
    for name, batch, width in pretrain:
        rows = Rows(batch * 4, width, SHAPES[name][5], 4)
        stage = Train(per_device_train_batch_size=batch, max_steps=arguments.steps, torch_compile=device.type == "cuda")
        model = model_of(name, torch.float32, device)
        shape = b.shape_of(model.config)
        done = ours(model, stage, rows, device, dtype, arguments.steps)
        where = b.machine()
        work = b.budget(stage, shape, width, 1, where).work_per_token
        peak = b.peak_of(where)
        found.append({"what": "pretrain", "shape": name, "batch": batch, "width": width, **done, "mfu": done["tokens_per_second"] * work / peak if peak else None,
                      "loader_over_training": loader(rows, device, batch) / done["tokens_per_second"]})  # fmt: skip
        del model
    for name, batch, width in tune:
        rows = Rows(batch * 4, width, SHAPES[name][5], 8)
        for method in ("lora", "qlora"):
            stage = Train(
                objective="sft",
                method=method,
                per_device_train_batch_size=batch,
                max_steps=arguments.steps,
                gradient_checkpointing=method == "qlora" and not small,
            )
            model = adapted(stage, model_of(name, dtype, device, four_bit=method == "qlora"), 0, None).model
            found.append(
                {
                    "what": method,
                    "by": "maetdol",
                    "shape": name,
                    "batch": batch,
                    "width": width,
                    **ours(model, stage, rows, device, dtype, arguments.steps),
                }
            )
            del model
            peer = trl(
                model_of(name, dtype, device, four_bit=method == "qlora"),
                rows,
                device,
                batch,
                arguments.steps,
                stage.lora.r,
            )
            found.append({"what": method, "by": "TRL", "shape": name, "batch": batch, "width": width, **peer})
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "trl", "bitsandbytes")
    }
    card = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else "no card (--small: shows that it runs, measures nothing)"
    )
    report = {"date": datetime.date.today().isoformat(), "card": card, "versions": versions, "figures": found}
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
