"""What a run needs before its first step: memory, time, cost; whether it fits, and which lever would make it fit.

Formulas, not promises. Memory is counted part by part: weights, gradients, Adam's two moments, the activations kept for the
backward pass, the logits of one slice. Time is floating-point work over what the machine does: 6 per weight and token where all
weights are trained (Kaplan et al. 2020), 4 where the base is frozen, 8 and 6 with gradient checkpointing, plus attention.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from stages.train.workers.levers import shardable, spread

GIB = 1 << 30
CELLS = 1 << 26
"""Logits held at a time (`stages.models.inference.score`)."""
OPTIMAL = 20.0
"""Tokens per weight at which a compute budget is spent best (Hoffmann et al. 2022)."""
PROCESS = 40 << 20
"""What a process on a CPU grows by beside its tensors: code loaded late, buffers of the multiplication, what the allocator keeps
(26 to 80 MiB, tests/bench/train)."""
SLACK = 0.92
"""Share of the memory that may be planned for; the rest is the allocator's and the library's."""
EFFICIENCY = 0.4
"""Share of a card's peak reached by a plain bf16 loop: nanochat shows 0.41 to 0.46, torchtune 0.33 to 0.56 (A100, H100)."""
SHARD_COUNTS = (2, 4, 8, 16, 32, 64)
"""Workers that shards are proposed over."""
BITS_PER_WEIGHT = 2.0
"""What a weight can remember (Allen-Zhu and Li 2024); adapters smaller than the data's information fall behind full training."""
CARDS = {
    "h200": (141, 989e12), "h100": (80, 989e12), "a100-80gb": (80, 312e12), "a100-40gb": (40, 312e12), "l40s": (48, 362e12),
    "rtx 4090": (24, 165e12), "rtx 3090": (24, 71e12), "t4": (16, 65e12),
}  # fmt: skip
"""Memory in GB and dense bf16 (T4: fp16) peak in FLOP/s, from the makers' sheets."""


class Counts(NamedTuple):
    """Weights counted on a model itself (`stages.train.planning.counted`)."""

    weights: int
    working: int
    """Those a token is multiplied with: of experts the share it chooses, of the embeddings the head alone."""
    linear: tuple[tuple[str, int, int], ...]
    """Where an adapter goes: the name, and the widths from and to (of experts in one tensor: of all together)."""
    quantised: int
    """Weights of the linear layers but the head: what QLoRA keeps in 4 bits. Experts in one tensor are none."""
    layers: tuple[int, ...]
    """Weights of each layer."""
    vocabulary: int
    """Rows of the embeddings."""
    tied: bool


class Shape(NamedTuple):
    """A model's sizes: those of a Llama, or `counts` where it is another one."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    tied: bool = True
    added: int = 0
    """Tokens whose rows are learnt beside an adapter, or alone."""
    head: int | None = None
    """Width of an attention head where it is not hidden / heads."""
    counts: Counts | None = None

    @property
    def queries(self) -> int:
        """Width of all queries of a token."""
        return self.heads * (self.head or self.hidden // self.heads)

    @property
    def keys(self) -> int:
        """Width of its keys, and of its values."""
        return self.queries * self.kv_heads // self.heads

    @property
    def matrices(self) -> int:
        """Weights of the linear layers of one layer (the largest)."""
        if self.counts:
            return max(self.counts.layers, default=0)
        return 2 * self.hidden * (self.queries + self.keys) + 3 * self.hidden * self.intermediate

    @property
    def weights(self) -> int:
        sides = 1 if self.tied else 2
        if self.counts:  # an extended tokenizer gives it more rows
            return self.counts.weights + max(0, self.vocabulary - self.counts.vocabulary) * self.hidden * sides
        return self.vocabulary * self.hidden * sides + self.layers * (self.matrices + 2 * self.hidden) + self.hidden

    @property
    def working(self) -> int:
        """Weights a token is multiplied with: the layers and the head, not the embedding's look-up."""
        if self.counts:
            return self.counts.working
        return self.layers * self.matrices + self.vocabulary * self.hidden

    @property
    def quantised(self) -> int:
        """Weights that QLoRA keeps in 4 bits: those of the linear layers, without the head."""
        return self.counts.quantised if self.counts else self.layers * self.matrices


class Machine(NamedTuple):
    """Where it is to run: memory in bytes and FLOP/s really reached."""

    name: str
    memory: int
    speed: float
    cuda: bool


class Requirements(NamedTuple):
    """What a run needs; bytes, seconds, and the parts of the memory by name."""

    shape: Shape
    trained: int
    parts: dict[str, int]
    tokens: int
    seconds: float
    machine: Machine
    work_per_token: float
    """Floating-point operations of the model itself per token, recomputation left out: what MFU counts."""

    @property
    def memory(self) -> int:
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        return self.memory <= SLACK * self.machine.memory

    def notes(self) -> dict[str, Any]:
        """For the receipt."""
        return {
            "memory_gib": round(self.memory / GIB, 3), "seconds": round(self.seconds, 1), "tokens": self.tokens,
            "tokens_per_parameter": round(self.tokens / self.shape.weights, 2), "machine": self.machine.name,
        }  # fmt: skip


def shape_of(config: Any) -> Shape:
    """From a Hugging Face configuration (an object or a dict)."""
    get = config.get if isinstance(config, dict) else lambda name, default=None: getattr(config, name, default)
    heads = get("num_attention_heads")
    return Shape(
        get("vocab_size"), get("hidden_size"), get("num_hidden_layers"), heads, get("num_key_value_heads") or heads,
        get("intermediate_size") or 4 * get("hidden_size"), bool(get("tie_word_embeddings", True)),
    )  # fmt: skip


def budget(
    stage: Any, shape: Shape, width: int, tokens: int, machine: Machine, trained: int | None = None
) -> Requirements:
    """The budget of `stage` (a `Train`) over `tokens` tokens (all passes together) in rows of `width`. `trained`, where known, is
    the number of trained weights."""
    half = stage.dtype in ("bf16", "fp16") or (stage.dtype == "auto" and machine.cuda)
    trained = trained_weights(stage, shape) if trained is None else trained
    frozen = 0 if stage.whole() else shape.weights
    number = 2 if half else 4
    sides = 2 if stage.objective in ("dpo", "reward", "kto", "orpo") else 1
    rows = stage.per_device_train_batch_size * sides
    parts = {
        "weights": 4 * (shape.weights if stage.whole() else trained)
        + (
            round(0.53 * shape.quantised + number * (frozen - shape.quantised))
            if stage.method == "qlora"
            else frozen * number
        ),
        "gradients": 4 * trained,
        "optimizer": {"adamw": 8, "paged_adamw_32bit": 8, "paged_adamw_8bit": 2}[stage.optimizer.optim] * trained,
        "activations": activations(
            shape._replace(layers=min(shape.layers, stage.freeze.trainable_layers))
            if stage.method == "freeze"
            else shape,
            rows * width,
            number,
            stage.gradient_checkpointing,
        ),
        "logits": 3 * 4 * min(rows * width * shape.vocabulary, CELLS),
        "mask": rows * width * width
        if stage.objective in ("clm", "mlm") or (stage.objective == "sft" and stage.sft.packing)
        else 0,
    }
    if not machine.cuda:
        parts["process"] = PROCESS
    work = (6 if stage.whole() else 4) + (2 if stage.gradient_checkpointing else 0)
    attention = 2 * work * shape.layers * shape.queries * width // 2
    seconds = tokens * sides * (work * shape.working + attention) / machine.speed
    plain = 6 if stage.whole() else 4
    own = plain * shape.working + 2 * plain * shape.layers * shape.queries * width // 2
    return Requirements(shape, trained, parts, tokens * sides, seconds, machine, own)


def activations(shape: Shape, tokens: int, number: int, checkpointing: bool) -> int:
    """Bytes kept for the backward pass. Matrix inputs in the number type computed in; norms and the residual stream in fp32.

    Checked against what autograd really keeps (tests/stages/train/planning/test_budget.py).
    """
    inputs = 3 * shape.hidden + 2 * (shape.queries + shape.keys) + 4 * shape.intermediate
    layer = number * inputs + 4 * 4 * shape.hidden
    kept = shape.layers * 4 * shape.hidden + layer if checkpointing else shape.layers * layer
    return tokens * (kept + 4 * 3 * shape.hidden)


def trained_weights(stage: Any, shape: Shape) -> int:
    """Weights that learn, by method."""
    kv = shape.keys
    if stage.method == "full":
        return shape.weights
    if stage.method == "freeze" and shape.counts:
        return sum(shape.counts.layers[-stage.freeze.trainable_layers :]) + shape.hidden
    if stage.method == "freeze":
        return stage.freeze.trainable_layers * (shape.matrices + 2 * shape.hidden) + shape.hidden
    rows = shape.added * shape.hidden * (1 if shape.tied else 2)
    if stage.method == "embeddings":
        return rows
    if stage.method in ("lora", "qlora") and shape.counts:
        lora = stage.lora
        wanted = [
            (a, b) for name, a, b in shape.counts.linear if not lora.target_modules or name in lora.target_modules
        ]
        return lora.r * sum(a + b for a, b in wanted) + (sum(b for _, b in wanted) if lora.use_dora else 0) + rows
    if stage.method in ("lora", "qlora"):
        ends = 2 * (shape.hidden + shape.hidden) + 2 * (shape.hidden + kv) + 3 * (shape.hidden + shape.intermediate)
        return shape.layers * stage.lora.r * ends + rows
    if stage.method == "ia3":
        return shape.layers * (2 * kv + shape.intermediate)
    if stage.method == "prefix":
        return stage.prompt_tuning.num_virtual_tokens * shape.layers * 2 * kv
    inner = stage.prompt_tuning.encoder_hidden_size if stage.method == "ptuning" else 0
    return stage.prompt_tuning.num_virtual_tokens * shape.hidden + inner * (2 * shape.hidden + inner)


def levers(
    stage: Any, shape: Shape, width: int, tokens: int, machine: Machine, based: bool = True, workers: int = 1
) -> list[str]:
    """What would make it fit, the least change first; a last line where nothing does. Adapters need a model to start from (`based`);
    memory is what each of `workers` needs."""
    each, passes = stage.per_device_train_batch_size, stage.gradient_accumulation_steps
    checkpointing, lora, qlora = {"gradient_checkpointing": True}, {"method": "lora"}, {"method": "qlora"}
    smaller, one = (
        {"per_device_train_batch_size": size, "gradient_accumulation_steps": passes * -(-each // size)}
        for size in (max(1, each // 4), 1)
    )
    least = one | (checkpointing if stage.method != "prefix" else {})
    steps: list[tuple[dict[str, Any], int]] = [(checkpointing, width)] if stage.method != "prefix" else []
    if each > 1:
        steps += [(smaller, width), (one, width), (one | checkpointing, width)]
    if machine.cuda:
        paged = stage.optimizer.model_copy(update={"optim": "paged_adamw_8bit"})
        steps += [({"optimizer": paged}, width)] if stage.parallel == "data" else []
    others: list[tuple[dict[str, Any], int]] = []
    if based and stage.whole() and stage.objective != "rl":
        others += [(lora, width), (lora | one | checkpointing, width)]
        others += [(qlora | one | checkpointing, width)] if stage.parallel == "data" else []
    others += [({"max_length": width // 2} | least, width // 2)]

    def fits(change: dict[str, Any], reach: int, count: int = workers) -> bool:
        changed = stage.model_copy(update=change)
        return spread(budget(changed, shape, reach, tokens, machine), changed, count).fits

    found = [_words(change) for change, reach in steps if fits(change, reach)]
    if machine.cuda and shardable(stage):  # more workers change no result, as another method or shorter rows do
        shards = [
            ({"parallel": "fsdp"} | more, count) for count in SHARD_COUNTS if count >= workers for more in ({}, least)
        ]
        enough = [f"{_words(change)} on {count} workers" for change, count in shards if fits(change, width, count)]
        found += enough[:1]
    found += [_words(change) for change, reach in others if fits(change, reach)]
    return found or ["no lever here is enough: a smaller model, or a larger machine"]


def _words(change: dict[str, Any]) -> str:
    """Options as a recipe says them."""
    plain = {name: "{optim: paged_adamw_8bit}" if name == "optimizer" else value for name, value in change.items()}
    return ", ".join(f"{name}: {str(value).lower()}" for name, value in plain.items())


def refuse(planned: Requirements, stage: Any, width: int, based: bool = True, workers: int = 1) -> None:
    """UsageError where the run cannot fit, with the levers that would help."""
    if planned.fits:
        return
    from pipeline.errors import UsageError

    parts = ", ".join(
        f"{name} {size / GIB:.1f}"
        for name, size in sorted(planned.parts.items(), key=lambda part: -part[1])
        if size >= GIB / 20
    )
    helps = levers(stage, planned.shape, width, planned.tokens, planned.machine, based, workers)
    raise UsageError(
        f"the run needs about {planned.memory / GIB:.1f} GiB ({parts}), {planned.machine.name} has {planned.machine.memory / GIB:.1f}",
        "one of these would make it fit: " + "; ".join(helps[:3]),
    )


# -- where ---------------------------------------------------------------------------------------------------------


def machine(card: str | None = None, threads: int = 2) -> Machine:
    """The card named, or the one at hand, or this machine's processor (its speed is measured, some 50 ms)."""
    if card is not None:
        from pipeline.errors import UsageError, did_you_mean

        name = card.lower()
        if name not in CARDS:
            raise UsageError(f"no card is called {card!r}", did_you_mean(name, list(CARDS)))
        size, peak = CARDS[name]
        return Machine(name, size * 10**9, EFFICIENCY * peak, True)
    import torch

    if torch.cuda.is_available():
        here = torch.cuda.get_device_properties(0)
        peak = next((speed for word, (_, speed) in CARDS.items() if word.split("-")[0] in here.name.lower()), None)
        return Machine(here.name, torch.cuda.mem_get_info()[0], EFFICIENCY * peak if peak else measured("cuda"), True)
    return Machine(f"this machine ({threads} threads)", memory_here(), measured("cpu"), False)


def peak_of(where: Machine) -> float | None:
    """The card's peak in FLOP/s; None for a processor or a card not in the list."""
    known = [peak for word, (_, peak) in CARDS.items() if word.split("-")[0] in where.name.lower()]
    return known[0] if where.cuda and known else None


def measured(device: str) -> float:
    """FLOP/s of a matrix product here, times what a training loop reaches of it (half)."""
    import time

    import torch

    size, kind = (512, torch.float32) if device == "cpu" else (4096, torch.bfloat16)
    a = torch.ones(size, size, device=device, dtype=kind)
    (a @ a).sum().item()
    began, best = time.perf_counter(), float("inf")
    while time.perf_counter() - began < 0.1:
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - start)  # the best, so that a busy machine is not taken for a slow one
    return 0.5 * 2 * size**3 / best


def memory_here() -> int:
    """Bytes of main memory that can be had now; all of it where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# -- advice --------------------------------------------------------------------------------------------------------


def ratio(planned: Requirements) -> str:
    """Tokens per weight against the compute-optimal ratio."""
    found = planned.tokens / planned.shape.weights
    word = (
        "about compute-optimal"
        if OPTIMAL / 2 <= found <= 2 * OPTIMAL
        else "fewer than compute-optimal: a smaller model would end lower"
        if found < OPTIMAL
        else "more than compute-optimal: a small model made to be cheap to run"
    )
    return f"{found:.1f} tokens per weight ({OPTIMAL:.0f} is compute-optimal, Hoffmann et al. 2022): {word}"


def advice(stage: Any, shape: Shape, width: int, tokens: int, where: Machine, based: bool = True) -> str:
    """Full or an adapter, and why, with the source."""

    def fits(method: str) -> bool:
        least = {"method": method, "per_device_train_batch_size": 1, "gradient_checkpointing": True}
        return budget(stage.model_copy(update=least), shape, width, tokens, where).fits

    if stage.objective in ("clm", "mlm"):
        if fits("full"):
            return "full: training on text gains from all weights; LoRA learns less (and forgets less) there (Biderman et al. 2024)"
        if not based:
            return "a smaller model: from scratch all weights are trained, and they do not fit here"
        return "lora: all weights do not fit here; expect it to learn less than full training (Biderman et al. 2024)"
    lora = trained_weights(stage.model_copy(update={"method": "lora"}), shape)
    if tokens > BITS_PER_WEIGHT * lora:
        learned = f"{tokens:,} tokens are more than an adapter of {lora:,} weights holds at {BITS_PER_WEIGHT:.0f} bits each (Allen-Zhu and Li 2024)"
        if fits("full"):
            return f"full: {learned}, and all weights fit"
        return f"lora with a larger rank: {learned}, and all weights do not fit"
    if fits("lora"):
        return "lora: for data of this size it reaches full training (Biderman et al. 2024; Schulman et al. 2025), and is faster than qlora where it fits (torchtune: 8,210 against 8,035 tokens/s)"
    return "qlora: the base fits in 4 bits alone (Dettmers et al. 2023)"
