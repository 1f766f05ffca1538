"""Handing over to vLLM's own server, which answers many at once on a card. vLLM is no dependency: it pins its own torch."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from typing import Any

from pipeline.errors import UsageError
from stages.models.inference.chain import ChainLink
from stages.models.inference.generate import tokenizer_of

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes."""


def usable() -> bool:
    """Is vLLM installed, and a CUDA card there?"""
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def command(chain: list[ChainLink], name: str, host: str, port: int, dtype: str = "auto") -> list[str]:
    """The command line of `vllm serve` for a model and at most one LoRA adapter on it. UsageError for other chains."""
    words = ["serve", str(chain[0].path), "--host", host, "--port", str(port), "--tokenizer", str(tokenizer_of(chain))]
    words += ["--dtype", {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[dtype]]
    template = tokenizer_of(chain) / "chat_template.jinja"
    words += ["--chat-template", str(template)] if template.is_file() else []
    if len(chain) == 1:
        return [*words, "--served-model-name", name]
    config = json.loads((chain[-1].path / "adapter_config.json").read_text(encoding="utf-8"))
    rank = int(config.get("r") or 0)
    if (
        len(chain) > 2
        or config.get("peft_type") != "LORA"
        or config.get("use_dora")
        or rank > RANKS[-1]
        or config.get("trainable_token_indices")
    ):
        raise UsageError(
            "vLLM serves a model with one LoRA adapter of a rank up to 512 (and no tokens of its own) on it, and this chain is another one",
            "merge it into one model first (`maetdol merge`), or use engine: transformers",
        )
    most = next(size for size in RANKS if size >= rank)
    words += ["--served-model-name", f"{name}-base", "--enable-lora", "--max-lora-rank", str(most)]
    return [*words, "--lora-modules", f"{name}={chain[-1].path}"]


def hand_over(order: Any, name: str, key: str | None) -> None:
    """Become `vllm serve`. UsageError where it is not installed."""
    from stages.serve.answering import chain_of_writers

    program = shutil.which("vllm")
    if program is None:
        raise UsageError(
            "vllm is not installed",
            "install it in an environment of its own and give it the model's folder, or use engine: transformers",
        )
    words = command(chain_of_writers(order.refs), name, order.host, order.port or 8000, order.dtype)
    environment = {**os.environ, **({"VLLM_API_KEY": key} if key else {})}
    os.execve(program, [program, *words], environment)
