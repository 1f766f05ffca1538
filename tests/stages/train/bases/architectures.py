"""Tiny random models of the architectures labs have, of their real configuration classes."""

SHAPE = {
    "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
MIXED = ["sliding_attention"] * 3 + ["full_attention"]
WINDOW = {"sliding_window": 16, "layer_types": MIXED}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
ROUTED = {
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    **EXPERTS,
}

SHAPES = {
    "Gemma3Text": {"head_dim": 8, "query_pre_attn_scalar": 8, **WINDOW},
    "GptOss": {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, **WINDOW},
    "Cohere": {"logit_scale": 0.0625},
    "Exaone4": {"sliding_window_pattern": "LLLG", **WINDOW},
}
"""By the prefix of their configuration class: what they need beside `SHAPE`."""
OTHERS = {
    "Llama": {},
    "Mistral": {"sliding_window": 16},
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen2": {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2},
    "Qwen3": {"head_dim": 8},
    "Qwen3Moe": {"head_dim": 8, "num_experts": 4, **EXPERTS},
    "Gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8, **WINDOW},
    "Phi3": {},
    "Cohere2": {"logit_scale": 0.0625, "head_dim": 8, **WINDOW},
    "Granite": {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.125},
    "GraniteMoe": {"logits_scaling": 8.0, "num_local_experts": 4, "num_experts_per_tok": 2},
    "Olmo2": {},
    "SmolLM3": {},
    "Glm4": {"head_dim": 8},
    "DeepseekV3": {**LATENT, **ROUTED},
}  # fmt: skip
CAUSAL = {"Gemma3Text": "Gemma3"}
"""Where the model's class is not called like its configuration's."""


def tiny_model(name, **changes):
    """A tiny random model of the architecture `name`, its configuration changed."""
    import torch
    import transformers

    config = getattr(transformers, f"{name}Config")(**{**SHAPE, **{**SHAPES, **OTHERS}[name], **changes})
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = getattr(transformers, f"{CAUSAL.get(name, name)}ForCausalLM")._from_config(config)
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.15)  # as they come they hardly look at one another
    return model.eval()
