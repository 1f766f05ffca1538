"""Log-probabilities of the tokens asked for, without ever holding logits of those that are not.

The backbone runs once; the language head is applied only where a label stands, in slices of a bounded size that are computed
again in the backward pass instead of being kept. With a vocabulary of 128,000 the full logits of 8 x 2,048 tokens take
8 GB in fp32; here at most `CELLS` numbers exist at a time. (The idea of a chunked loss is TRL's `chunked_nll`; here it is a
dozen lines of plain torch and runs on CPU and CUDA alike.)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import MoeModelOutputWithPast

from stages.models.inference import attention

CELLS = 1 << 26
"""Logits held at a time: 64 Mi numbers, 256 MiB in fp32."""
IGNORED = -100


def token_logps(model: Any, batch: Any) -> torch.Tensor:
    """log p of every label, float32 (rows, width), 0 where no label stands. Labels are already shifted.

    `model` is a Hugging Face causal language model, or a PEFT model around one; `batch` has ids, labels, positions, mask.
    """
    hidden, head = _hidden(model, batch)
    wanted = batch.labels != IGNORED
    logps = _label_logprobs(hidden[wanted], head, batch.labels[wanted])
    return torch.zeros(wanted.shape, dtype=torch.float32, device=logps.device).masked_scatter(wanted, logps)


def likeliest(model: Any, batch: Any, top: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log p of every label (labels,), and beside each the `top` likeliest tokens and theirs, both (labels, top)."""
    hidden, head = _hidden(model, batch)
    wanted = batch.labels != IGNORED
    hidden, labels = hidden[wanted], batch.labels[wanted]
    rows, parts = max(1, CELLS // (2 * head.outputs)), []
    for at in range(0, len(labels), rows):
        logps = head(hidden[at : at + rows]).float().log_softmax(-1)
        best = logps.topk(top)
        parts.append((logps.gather(-1, labels[at : at + rows, None])[:, 0], best.indices, best.values))
    if not parts:
        none = hidden.new_zeros(0, top, dtype=torch.float32)
        return none[:, 0] if top else hidden.new_zeros(0), none.long(), none
    logps, tokens, values = (torch.cat(column) for column in zip(*parts))
    return logps, tokens, values


def divergences(model: Any, teacher: Any, batch: Any, temperature: float) -> torch.Tensor:
    """KL(teacher || model) at every label, softened by `temperature` and scaled by its square; (rows, width), 0 elsewhere.

    The teacher is asked without gradient. Both must write the same vocabulary; a head padded beyond it is cut to the shorter.
    """
    wanted = batch.labels != IGNORED
    hidden, head = _hidden(model, batch)
    with torch.no_grad():
        wise, wise_head = _hidden(teacher, batch)
    mine, theirs = hidden[wanted], wise[wanted]
    rows = max(1, CELLS // (2 * head.outputs))
    parts = []
    for at in range(0, len(mine), rows):
        piece = (mine[at : at + rows], head, theirs[at : at + rows], wise_head, temperature)
        parts.append(checkpoint(_apart, *piece, use_reentrant=False) if torch.is_grad_enabled() else _apart(*piece))
    found = torch.cat(parts) if parts else mine.new_zeros(0, dtype=torch.float32)
    return torch.zeros(wanted.shape, dtype=torch.float32, device=found.device).masked_scatter(wanted, found)


def _apart(mine: torch.Tensor, head: Any, theirs: torch.Tensor, wise_head: Any, temperature: float) -> torch.Tensor:
    with torch.no_grad():
        target = wise_head(theirs).float()
    logits = head(mine).float()
    size = min(logits.shape[-1], target.shape[-1])
    soft, aim = ((x[:, :size] / temperature).log_softmax(-1) for x in (logits, target))
    return (aim.exp() * (aim - soft)).sum(-1) * temperature**2


def _hidden(model: Any, batch: Any) -> tuple[torch.Tensor, Any]:
    """The backbone's last states (rows, width, hidden) and the head that turns them into logits."""
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    return states(model, batch), ScoringHead(inner)


class ScoringHead:
    """From last states (n, hidden) to logits (n, vocabulary) as the model itself makes them: its own forward pass with the backbone's
    answer put in, so that what an architecture does after the last layer (Cohere and Granite scale, Gemma caps) is done here too."""

    def __init__(self, model: Any):
        self.model = model

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        modules, name = self.model._modules, self.model.base_model_prefix
        backbone = modules[name]
        modules[name] = _Answered(hidden[None])
        try:
            # Squeezed and not indexed: the gradient of an index is written anew, as large as all logits.
            return type(self.model).forward(self.model, use_cache=False).logits.squeeze(0)
        finally:
            modules[name] = backbone

    @property
    def outputs(self) -> int:
        """How many logits it gives; the weight may lie elsewhere, in shards."""
        head = self.model.get_output_embeddings()
        return int(getattr(head, "out_features", None) or head.weight.shape[0])


class _Answered(torch.nn.Module):
    """In the backbone's place: says what it said."""

    def __init__(self, hidden: torch.Tensor):
        super().__init__()
        self.hidden = hidden

    def forward(self, *_: Any, **__: Any) -> MoeModelOutputWithPast:
        return MoeModelOutputWithPast(last_hidden_state=self.hidden)  # type: ignore[arg-type]


def states(model: Any, batch: Any) -> torch.Tensor:
    """The backbone's last states (rows, width, hidden), of a model with any head or PEFT adapter.

    Virtual tokens (prompt tuning, P-tuning, prefix tuning) stand in front of every segment of a packed row: all its tokens see
    them and count their positions from behind them, so that a segment is computed as it would be alone.
    """
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    backbone = getattr(inner, inner.base_model_prefix)
    ahead = virtual_tokens(model)
    if not ahead:
        if (way := attention.way_of(inner)) != "sdpa":
            return _unwritten(backbone, batch, inner.config, way)
        mask = layered(batch, inner) if attention.causal(inner.config) else batch.mask
        out = backbone(input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False)
        return out.last_hidden_state
    rows, width = batch.ids.shape
    mask = batch.mask
    if mask is None:
        mask = torch.ones(width, width, dtype=torch.bool, device=batch.ids.device).tril().expand(rows, 1, width, width)
    mask = torch.cat([mask.new_ones(rows, 1, width, ahead), mask], dim=-1)
    positions = batch.positions + ahead
    prompt = model.get_prompt(rows)
    if model.active_peft_config.peft_type.value == "PREFIX_TUNING":
        out = backbone(
            input_ids=batch.ids, attention_mask=mask, position_ids=positions, past_key_values=prompt, use_cache=False
        )
        return out.last_hidden_state
    among = torch.zeros(ahead, ahead + width, dtype=torch.bool, device=mask.device)
    among[:, :ahead] = torch.ones(ahead, ahead, dtype=torch.bool, device=mask.device).tril()
    mask = torch.cat([among.expand(rows, 1, ahead, ahead + width), mask], dim=-2)
    positions = torch.cat([torch.arange(ahead, device=mask.device).expand(rows, ahead), positions], dim=-1)
    embedded = inner.get_input_embeddings()(batch.ids)
    out = backbone(
        inputs_embeds=torch.cat([prompt.to(embedded.dtype), embedded], dim=1),
        attention_mask=mask,
        position_ids=positions,
        use_cache=False,
    )
    return out.last_hidden_state[:, ahead:]


def _unwritten(backbone: Any, batch: Any, config: Any, way: str) -> torch.Tensor:
    """The last states where documents are told apart without a written mask (`stages.models.inference.attention`)."""
    causal = attention.causal(config)
    if way == "flex":
        mask = attention.blocks(batch.positions, getattr(config, "sliding_window", None), causal)
        return backbone(
            input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
    laid = attention.documents(batch.positions, causal)
    flat = {"input_ids": batch.ids.reshape(1, -1), "position_ids": batch.positions.reshape(1, -1)}
    return backbone(**flat, laid=laid, use_cache=False).last_hidden_state.view(*batch.ids.shape, -1)


def layered(batch: Any, model: Any) -> Any:
    """The masks of packed rows as each kind of layer wants them, with its window where it has one; None where no row is packed. Made by
    transformers from the positions, which start anew in every segment (some models, gpt-oss among them, would not look at them)."""
    if batch.written is None:
        return None
    from transformers.masking_utils import create_masks_for_generate

    like = torch.empty(*batch.ids.shape, 0, dtype=model.get_input_embeddings().weight.dtype, device=batch.ids.device)
    found = create_masks_for_generate(model.config, like, None, None, batch.positions)
    if not isinstance(found, dict):
        return _added(found, like.dtype)
    added = {kind: _added(mask, like.dtype) for kind, mask in found.items()}
    # Models whose layers are all of one kind may take no mapping.
    return next(iter(added.values())) if len(added) == 1 else added


def _added(mask: Any, dtype: torch.dtype) -> Any:
    """A mask of truths as what is added to scores, as torch's attention would make it for every layer and keep for its gradient."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros((), dtype=dtype, device=mask.device).where(mask, -torch.inf)


def virtual_tokens(model: Any) -> int:
    """How many tokens of a prompt-learning adapter stand in front; 0 without one."""
    if not hasattr(model, "peft_config"):
        return 0
    config = model.active_peft_config if isinstance(model.active_adapter, str) else None
    return int(config.num_virtual_tokens) if config is not None and config.is_prompt_learning else 0


def _label_logprobs(hidden: torch.Tensor, head: Any, labels: torch.Tensor) -> torch.Tensor:
    rows = max(1, CELLS // head.outputs)
    if len(labels) <= rows:
        return _slice(hidden, head, labels)
    parts = []
    for at in range(0, len(labels), rows):
        piece = (hidden[at : at + rows], head, labels[at : at + rows])
        parts.append(checkpoint(_slice, *piece, use_reentrant=False) if torch.is_grad_enabled() else _slice(*piece))
    return torch.cat(parts)


def _slice(hidden: torch.Tensor, head: Any, labels: torch.Tensor) -> torch.Tensor:
    return -F.cross_entropy(head(hidden).float(), labels, reduction="none")
