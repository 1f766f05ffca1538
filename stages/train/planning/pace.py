"""How long a run takes on this machine's processor, from steps of a small proxy model of it, measured before the first step.

What a matrix product reaches says little about small models, whose time goes into everything else. So the model itself is built
twice, of one layer and of two, with the method asked for, and goes forwards and backwards over rows as long as the run's: what the
second layer takes more is what every further one takes. On a card the plan stays with the arithmetic of `stages.train.planning.budget`.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from stages.models.chat.rows import IGNORED, Row, collate, join, segment
from stages.models.inference.chain import load_model
from stages.models.inference.device import arithmetic, computed_in
from stages.models.inference.score import token_logps
from stages.train.model import config_of, open_layers, trainable
from stages.train.planning.budget import Shape

LARGEST = 30_000_000
"""Weights of a layer above which nothing is tried out: on a processor such a model is not trained, and a try would take minutes."""
WORK = 4e9
"""Floating-point operations of one try of one layer and the head, at most: longer rows and batches are taken in part."""
TRIES = 5
START = 1.0
"""Seconds in which rows are read, a small model is loaded and the artefact written (quickstart's: 0.9)."""
CPU = torch.device("cpu")


class RunRows(NamedTuple):
    """The rows of a run as its steps see them."""

    count: int
    """Trained on in one pass; pairs count once."""
    held: int
    length: int
    """Tokens of a row with its padding, of a side for pairs."""
    trained: float
    """Share of the tokens that are asked for."""
    segments: int = 1
    """Documents or conversations in a row."""


class Pace(NamedTuple):
    """Seconds of a batch forwards, forwards and backwards, and of an optimizer step."""

    forward: float
    both: float
    step: float


def seconds(stage: Any, shape: Shape, rows: RunRows, steps: int) -> float | None:
    """Of `steps` steps, the measurements on held-out rows, and what the objective asks before them. None where nothing was tried."""
    if shape.matrices > LARGEST or stage.objective == "rl":
        return None
    sides = 2 if stage.objective in ("dpo", "reward", "kto", "orpo") else 1
    found = pace(*_proxy(stage, shape), rows._replace(count=0, held=0), stage.per_device_train_batch_size * sides)
    held = math.ceil(min(rows.held, stage.eval_rows or rows.held) / stage.per_device_train_batch_size)
    looks = 1 + (steps // stage.eval_steps if stage.eval_steps else 1)
    forward = held * looks + (
        math.ceil(rows.count / stage.per_device_train_batch_size)
        + math.ceil(rows.held / stage.per_device_train_batch_size)
        if stage.objective in ("dpo", "kto")
        else 0
    )
    return START + steps * (stage.gradient_accumulation_steps * found.both + found.step) + forward * found.forward


def _proxy(stage: Any, shape: Shape) -> tuple[Any, Shape]:
    """`stage` without what does not decide its pace, so that one measurement serves every run alike."""
    same = (
        "objective", "method", "freeze", "lora", "ia3", "prompt_tuning", "per_device_train_batch_size", "dtype", "gradient_checkpointing", "threads",
    )  # fmt: skip
    kept = {name: getattr(stage, name) for name in same}
    optimizer = type(stage.optimizer)(optim=stage.optimizer.optim)
    return type(stage).model_construct(**kept, optimizer=optimizer), shape


@lru_cache(maxsize=64)
def pace(stage: Any, shape: Shape, rows: RunRows, batch: int) -> Pace:
    """Of `shape` with all its layers."""
    with arithmetic(stage.threads, 0):
        one, two = (_tried(stage, shape._replace(layers=layers), rows, batch) for layers in (1, 2))
    deep = shape.layers - 1
    forward, both, step = (first + deep * max(0.0, second - first) for first, second in zip(one, two))
    if stage.method == "freeze":
        # Layers below the open ones are only gone through forwards.
        closed = max(0, shape.layers - stage.freeze.trainable_layers)
        layer = Pace(*(max(0.0, second - first) for first, second in zip(one, two)))
        both, step = both - closed * (layer.both - layer.forward), step - closed * layer.step
    return Pace(forward, both, step)


def _tried(stage: Any, shape: Shape, rows: RunRows, batch: int) -> Pace:
    """Measured, with at most WORK operations at a time and the rest in proportion."""
    model = _model(stage, shape)
    per_token = 6 * (shape.matrices + shape.vocabulary * shape.hidden * rows.trained)
    tokens = max(16, int(WORK / per_token))
    length = min(rows.length, tokens)
    some = max(1, min(batch, tokens // length))
    share = batch * rows.length / (some * length)
    given = collate([_row(rows, length, shape.vocabulary, n) for n in range(some)], 0, CPU, length)
    parameters = trainable(model)
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.0, fused=True)
    where = computed_in(CPU, torch.bfloat16 if stage.dtype in ("bf16", "fp16") else torch.float32)

    def forwards() -> torch.Tensor:
        with where:
            return -token_logps(model, given).sum()

    @torch.no_grad()
    def only() -> None:
        forwards()

    def both() -> None:
        forwards().backward()

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(parameters.values(), stage.optimizer.max_grad_norm)
        optimizer.step()

    model.train()
    return Pace(_usual(only, stage.threads) * share, _usual(both, stage.threads) * share, _usual(step, stage.threads))


def _row(rows: RunRows, length: int, vocabulary: int, seed: int) -> Row:
    ids = np.random.default_rng(seed).integers(0, vocabulary, length).astype(np.int32)
    made = join([segment(part) for part in np.array_split(ids, min(rows.segments, max(1, length // 4)))])
    labels = made.labels.copy()
    labels[: round((1 - rows.trained) * length)] = IGNORED
    return made._replace(labels=labels)


def _model(stage: Any, shape: Shape) -> Any:
    """A Llama of that shape with random weights, and the method's parts trainable."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model: Any = LlamaForCausalLM(LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, tie_word_embeddings=shape.tied, max_position_embeddings=1 << 16,
        attn_implementation="sdpa",
    ))  # fmt: skip
    if stage.whole():
        open_layers(stage, model)
    else:
        from peft import get_peft_model

        if stage.method == "qlora":
            with tempfile.TemporaryDirectory(prefix="maetdol-pace-") as folder:
                model.save_pretrained(folder)
                model = load_model(Path(folder), dtype=torch.float32, device=CPU, four_bit=True)
        model.requires_grad_(False)
        model = get_peft_model(model, config_of(stage))
    if stage.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def _usual(what: Callable[[], None], threads: int) -> float:
    """The median of a few tries after a first. With one thread the process's own time, so that a busy machine is not taken for a slow one."""
    clock = time.process_time if threads == 1 else time.perf_counter
    what()
    found = []
    for _ in range(TRIES):
        began = clock()
        what()
        found.append(clock() - began)
    return statistics.median(found)
