"""Requests for a teacher."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def asked():
    """`asked(text, id=text, **more)` -> a Request with one user message."""
    from stages.models.teacher.base import Request

    return lambda text, **more: Request(more.pop("id", text), (("user", text),), **more)


@pytest.fixture(scope="session")
def untrained(tiny_tokenizer, tmp_path_factory):
    """Folder of a tiny Llama with random weights, its tokenizer and a chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from stages.models.chat.templates import DEFAULT

    folder = tmp_path_factory.mktemp("untrained")
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer.artefact())
    tokenizer.chat_template = tokenizer.chat_template or DEFAULT
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
