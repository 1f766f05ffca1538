"""Speculative decoding checked: a small model drafts, the large one decides, and the text is the large one's own (Leviathan et al. 2023).

Greedy drafting must not change a token. Here the same prompts are answered with and without the draft, and compared; how many
drafted tokens were taken, and what that was worth in time, is reported beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from pipeline.errors import UsageError
from stages.models.chat.template_lock import check_lock
from stages.models.chat.templates import Chat, load_tokenizer
from stages.models.inference.chain import ChainLink, assemble
from stages.models.inference.generate import tokenizer_of
from stages.train.merge import Conversation


class Drafted(NamedTuple):
    """Prompts answered alike, prompts answered, tokens made, forward passes of the large model with the draft, and seconds without and with it."""

    same: int
    prompts: int
    tokens: int
    passes: int
    alone: float
    together: float

    @property
    def per_pass(self) -> float:
        """Tokens the large model settles in one forward pass; 1 without a draft."""
        return self.tokens / max(1, self.passes)


def drafted(
    target: Sequence[ChainLink],
    draft: Sequence[ChainLink],
    conversations: Sequence[Conversation],
    max_new_tokens: int,
    ahead: int,
    device: Any,
) -> Drafted:
    """Answer every conversation twice, greedily. UsageError where the two models do not read one vocabulary."""
    folder = tokenizer_of(target)
    chat = Chat(load_tokenizer(folder))
    check_lock(draft[-1].card.get("template_lock"), chat, f"the draft in {draft[-1].path}")
    large, small = (
        assemble(chain, dtype=torch.float32, device=device, merge=len(chain) > 1) for chain in (target, draft)
    )
    if large.config.vocab_size != small.config.vocab_size:
        raise UsageError(
            f"the draft has {small.config.vocab_size} tokens, the model {large.config.vocab_size}",
            "draft with a model of the same tokenizer",
        )
    small.generation_config.num_assistant_tokens, small.generation_config.num_assistant_tokens_schedule = (
        ahead,
        "constant",
    )
    small.generation_config.assistant_confidence_threshold = 0.0
    passes = [0]
    large.register_forward_pre_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))
    context = int(getattr(large.config, "max_position_embeddings", 1 << 20))
    same = proposed = tokens = used = 0
    alone = together = 0.0
    for messages, tools in conversations:
        ids = torch.from_numpy(chat.prompt(messages, tools).astype("int64"))[None].to(device)
        options = {
            "do_sample": False, "max_new_tokens": min(max_new_tokens, context - ids.shape[1] - ahead - 1), "pad_token_id": chat.tokenizer.pad_token_id,
            "eos_token_id": chat.tokenizer.eos_token_id, "attention_mask": torch.ones_like(ids),
        }  # fmt: skip
        if options["max_new_tokens"] < 1:
            continue  # the prompt leaves no room for an answer
        proposed += 1
        began = time.perf_counter()
        plain = large.generate(ids, **options)
        alone += time.perf_counter() - began
        passes[0], began = 0, time.perf_counter()
        made = large.generate(ids, assistant_model=small, **options)
        together += time.perf_counter() - began
        used += passes[0]
        tokens += made.shape[1] - ids.shape[1]
        same += bool(torch.equal(plain, made))
    return Drafted(same, proposed, tokens, used, alone, together)
