"""Models as labs have them: tiny, random, of the real configuration classes. The loss is the model's own, a packed document scores as
it does alone, and a LoRA adapter trains, saves, reloads and merges.

By default four architectures that differ most from a Llama (per-layer windows, sinks, scaled logits); the others are slow, their figures
stand in tests/bench/train/RESULTS.md.
"""

import json
import shutil

import pytest

from pipeline.errors import UsageError
from stages.models.chat.rows import collate, join, segment
from stages.models.inference.folder import ModelFolder

torch = pytest.importorskip("torch")

CPU = torch.device("cpu")
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
ALL = [*SHAPES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
CAUSAL = {"Gemma3Text": "Gemma3"}
"""Where the model's class is not called like its configuration's."""


def made(name):
    import transformers

    config = getattr(transformers, f"{name}Config")(**{**SHAPE, **{**SHAPES, **OTHERS}[name]})
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = getattr(transformers, f"{CAUSAL.get(name, name)}ForCausalLM")._from_config(config)
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.15)  # as they come they hardly look at one another
    return model.eval()


@pytest.fixture(params=ALL)
def architecture(request):
    return request.param


def own(model, ids, labels):
    """The likelihoods by the model's own logits, of one document alone."""
    logits = model(input_ids=ids).logits.float().log_softmax(-1)
    return torch.where(labels == -100, 0.0, logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0])[0]


def test_the_loss_is_the_models_own_and_so_is_its_gradient_packed_or_alone(architecture, random_ids, monkeypatch):
    from stages.models.inference import score

    monkeypatch.setattr(score, "CELLS", 512 * 17)
    model, parts = made(architecture), [segment(random_ids(n, seed=n)) for n in (30, 5, 40, 1, 33)]
    batches = [collate([join([part])], 0, CPU) for part in parts]
    alone = torch.cat([own(model, batch.ids, batch.labels) for batch in batches])
    (-alone.sum()).backward()
    wanted = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    packed = score.token_logps(model, collate([join(parts)], 0, CPU, width=120))[0, : len(alone)]
    (-packed.sum()).backward()
    assert (packed - alone).abs().max() < 1e-4
    for name, parameter in model.named_parameters():
        if name in wanted:
            assert (parameter.grad - wanted[name]).abs().max() < 1e-3 * max(1.0, float(wanted[name].abs().max())), name
    with torch.no_grad():
        single = torch.cat([score.token_logps(model, batch)[0] for batch in batches])
    assert (single - alone).abs().max() < 1e-5


@pytest.fixture(scope="module")
def folder_of(tiny_tokenizer, tmp_path_factory):
    """`folder_of(name)` -> the Hugging Face folder of a tiny random model with its tokenizer."""

    def make(name):
        folder = tmp_path_factory.mktemp("models") / name
        shutil.copytree(tiny_tokenizer.artefact(), folder)
        made(name).save_pretrained(folder)
        return folder

    return make


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_trains_saves_reloads_and_merges(
    architecture, method, folder_of, chat_store, do_train, read_history, tmp_path
):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    from stages.models.inference.chain import assemble, chain_of, open_link
    from stages.train.commands import Merge

    folder = folder_of(architecture)
    options = {
        "objective": "sft",
        "method": method,
        "lora.r": 4,
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 4,
        "max_steps": 12,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 128,
    }
    store = do_train(chat_store, options, base=[ModelFolder(folder)])
    curve = read_history(store)
    assert curve.held[-1]["loss"] < curve.held[0]["loss"]
    ids = torch.arange(10, 60)[None]
    with torch.no_grad():
        chain = chain_of([open_link(folder), open_link(store.artefact(), store.receipt("artefact").content_hash)])
        ours = assemble(chain, dtype=torch.float32, device=CPU)(ids).logits
        theirs = AutoPeftModelForCausalLM.from_pretrained(store.artefact()).eval()(ids).logits
        assert (ours - theirs).abs().max() < 1e-5
        assert (ours - AutoModelForCausalLM.from_pretrained(folder)(ids).logits).abs().max() > 1e-3
        Merge(
            of=chat_store.path,
            folder=str(tmp_path / "merged"),
            chain=(str(folder), store.path),
            holdout=0.2,
            threads=1,
            rows=8,
        ).run()
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
    into = json.loads((tmp_path / "merged" / "maetdol.json").read_text())["merged_into"]
    assert into != "full precision" or (merged - ours).abs().max() < 1e-4


@pytest.mark.parametrize("name, options, told", [
    ("Exaone4", {"objective": "sft", "method": "prompt"}, "exaone4 looks back 16 tokens"),
    ("Mistral", {"objective": "mlm", "method": "lora"}, "mistral looks back 16 tokens, so it cannot read both ways"),
    ("GptOss", {"objective": "sft", "method": "lora", "attn_implementation": "flex"}, "gpt_oss computes attention with sinks"),
])  # fmt: skip
def test_what_cannot_be_right_is_refused_by_name(
    name, options, told, folder_of, tokens_store, chat_store, do_train, monkeypatch
):
    monkeypatch.setattr("stages.train.cuda_is_there", lambda: options.get("attn_implementation") == "flex")
    of = tokens_store if options["objective"] == "mlm" else chat_store
    with pytest.raises(UsageError, match=told):
        do_train(
            of,
            {**options, "max_steps": 1, "threads": 1, "holdout": 0.2, "most_lost": 1.0},
            base=[ModelFolder(folder_of(name))],
        )


def test_a_model_that_reads_more_than_text_is_refused_by_name(tmp_path):
    from transformers import Gemma3Config

    from stages.models.inference.chain import load_model

    Gemma3Config().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="gemma3 reads more than text"):
        load_model(tmp_path, dtype=torch.float32, device=CPU)
