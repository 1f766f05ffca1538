"""Where tensors live and how arithmetic is fixed: one module decides device, number type and thread count.

On a CPU the order in which a sum is split over threads changes its last bits, so the thread count is an option of whoever
computes and never what the machine happens to have free. Library chatter about absent optional kernels is silenced here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import UsageError


def patient() -> None:
    """Let threads that wait sleep instead of spin, and bitsandbytes not speak of kernels it lacks while it is imported; call before the
    first `import torch` of a process.

    Where another process wants the same core, spinning threads wait for one that is not running: on two busy cores a step
    took ten times as long (500 tokens/s against 5,900). Alone on a machine it costs nothing that could be measured.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def quiet() -> None:
    """Silence progress bars and notes about optional kernels of transformers."""
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()


@contextmanager
def arithmetic(threads: int, seed: int | None = None) -> Iterator[Any]:
    """A block in which torch uses `threads` CPU threads and, with `seed`, its own random state; both are given back after.

    Yields the device: the first CUDA device where there is one, the CPU otherwise.
    """
    import torch

    quiet()
    before = torch.get_num_threads()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], device_type="cuda"):
            if seed is not None:
                torch.manual_seed(seed)
            yield device
    finally:
        torch.set_num_threads(before)


def number_type(name: str, device: Any) -> Any:
    """torch dtype of `auto`, `fp32`, `fp16` or `bf16`; `auto` is bf16 on CUDA cards that have it and fp32 elsewhere."""
    import torch

    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UsageError("this card does not compute in bf16", "set dtype: fp32")
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def computed_in(device: Any, dtype: Any) -> Any:
    """The block in which matrices are multiplied in `dtype`; fp32 is left alone."""
    import torch

    return torch.autocast(
        device.type, dtype=dtype if dtype != torch.float32 else torch.bfloat16, enabled=dtype != torch.float32
    )
