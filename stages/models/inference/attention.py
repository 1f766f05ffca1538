"""How the tokens of a packed row see their own document alone, without a written mask: a block mask (flex), or document bounds (flash).

The written mask of `stages.models.chat.rows` is right everywhere and keeps cards from their fastest kernels. These two say the same
differently. Positions start anew in every document, so they tell where documents begin, and nothing else is needed. A model set
to one of them refuses to be called any other way than through `stages.models.inference.score`: without bounds documents would see each other.

Proven on a CPU: the numbers of flex attention against the written mask, and the bounds handed to the flash kernel, with a plain
loop in its place. Neither kernel has run on a card here; there the data check compares packed rows with lone ones before step 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch

from pipeline.errors import StageFailed, UsageError

WAYS = {"flex": "maetdol_blocks", "flash": "maetdol_bounds"}
"""Names under which transformers finds the functions below; names with `flash` in them it looks up among its own kernels."""
HEAD = 256
"""Widest head of flash attention 2."""


class Documents(NamedTuple):
    """Documents laid end to end: where each begins and the last ends (int32), and how long the longest is."""

    bounds: torch.Tensor
    longest: int
    causal: bool = True


def attend(model: Any, way: str) -> Any:
    """Let `model` attend by `way` (auto and sdpa: as it was loaded). UsageError where its attention is not plain enough."""
    if way not in WAYS:
        return model
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    config = inner.config
    strange = [name for name in ("attn_logit_softcapping", "attention_dropout") if getattr(config, name, None)]
    if any(hasattr(module, "sinks") for module in inner.modules()):
        strange.append("sinks")
    if way == "flex" and len(set(getattr(config, "layer_types", None) or ())) > 1:
        strange.append("layers of several kinds")
    if strange:
        raise UsageError(
            f"{config.model_type} computes attention with {strange[0]}, which {way} attention does not",
            "use attention: sdpa",
        )
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if way == "flash" and width > HEAD:
        raise UsageError(f"heads of width {width}, flash attention takes {HEAD}", "use attention: flex")
    ALL_ATTENTION_FUNCTIONS.register(WAYS["flex"], flex)
    ALL_ATTENTION_FUNCTIONS.register(WAYS["flash"], flash)
    inner.set_attn_implementation(WAYS[way])
    return model


def way_of(model: Any) -> str:
    """flex, flash, or sdpa for whatever else the model does."""
    set_to = getattr(model.config, "_attn_implementation", None)
    return next((way for way, name in WAYS.items() if name == set_to), "sdpa")


def causal(config: Any) -> bool:
    return getattr(config, "is_causal", True) is not False


def window_of(config: Any) -> int | None:
    """How many tokens back a token sees in some or all layers; None where that is all of its document."""
    kinds = getattr(config, "layer_types", None)
    return getattr(config, "sliding_window", None) if kinds is None or "sliding_attention" in kinds else None


# -- flex ----------------------------------------------------------------------------------------------------------


def blocks(positions: torch.Tensor, window: int | None, causal: bool) -> Any:
    """The block mask of rows (rows, width): a token sees its own document, up to itself, `window` tokens back."""
    from torch.nn.attention.flex_attention import create_block_mask

    document = (positions == 0).cumsum(-1)
    reach = window or positions.shape[-1]

    def visible(row: Any, head: Any, at_query: Any, at_key: Any) -> Any:
        same = document[row, at_query] == document[row, at_key]
        return same & (at_query >= at_key) & (at_query - at_key < reach) if causal else same

    rows, width = positions.shape
    card = positions.device.type == "cuda"
    return create_block_mask(visible, rows, None, width, width, device=str(positions.device), _compile=card)


def flex(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Any, None]:
    """Flex attention as transformers calls it; compiled on a card, plain on a CPU (where torch has no backward pass for it)."""
    from torch.nn.attention.flex_attention import BlockMask

    if not isinstance(attention_mask, BlockMask):
        raise StageFailed(
            "flex attention was called without the documents of its rows",
            "report this: a packed row would see its neighbours",
        )
    query, key, value = _as_computed(query, key, value)
    run = _kernel(query.device.type)
    out = run(query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return out.transpose(1, 2).contiguous(), None


@lru_cache
def _kernel(device: str) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if device == "cuda" else flex_attention


# -- flash ---------------------------------------------------------------------------------------------------------


def documents(positions: torch.Tensor, causal: bool = True) -> Documents:
    """The documents of rows (rows, width) laid end to end; what pads a row is a document of its own, or the end of the row's only one.

    >>> documents(torch.tensor([[0, 1, 2, 0], [0, 1, 0, 1]])).bounds.tolist()
    [0, 3, 4, 6, 8]
    """
    flat = positions.reshape(-1)
    starts = (flat == 0).nonzero()[:, 0]
    bounds = torch.cat([starts, starts.new_tensor([len(flat)])]).to(torch.int32)
    return Documents(bounds, int(bounds.diff().max()), causal)


def varlen(query: Any, key: Any, value: Any, held: Documents, scale: float | None, window: tuple[int, int]) -> Any:
    """The kernel: (tokens, heads, width) of documents end to end. It has not run on a card here."""
    from torch.nn.attention.varlen import varlen_attn

    sizes = (held.bounds, held.bounds, held.longest, held.longest)
    return varlen_attn(
        query, key, value, *sizes, scale=scale, window_size=window, enable_gqa=query.shape[1] != key.shape[1]
    )


def flash(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None,
    sliding_window: int | None = None, laid: Documents | None = None, **_: Any,
) -> tuple[Any, None]:  # fmt: skip
    """Flash attention as transformers calls it; (1, heads, tokens, width) in, (1, tokens, heads, width) out."""
    if laid is None:
        raise StageFailed(
            "flash attention was called without the documents of its rows",
            "report this: a packed row would see its neighbours",
        )
    parts = (part[0].transpose(0, 1) for part in _as_computed(query, key, value))
    back = sliding_window - 1 if sliding_window else -1
    return varlen(*parts, laid, scaling, (back, 0) if laid.causal else (-1, -1))[None], None


def _as_computed(*parts: torch.Tensor) -> list[torch.Tensor]:
    """In the number type matrices are multiplied in: rotary positions leave queries and keys in that of the weights."""
    kind = parts[0].device.type
    wanted = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else parts[-1].dtype
    return [part.to(wanted) for part in parts]
