"""The plan of models as labs have them against the models themselves: weights, what adapters train, what 4 bits leave."""

import pytest

from pipeline.errors import UsageError
from stages.train import Train
from stages.train.planning import budget as b
from stages.train.planning.counted import counted
from tests.stages.train.bases import architectures

torch = pytest.importorskip("torch")
NAMES = [*architectures.SHAPES, *architectures.OTHERS]
CARD = b.machine("h100")


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return architectures.tiny_model(request.param)


def plan(model, **options):
    stage = Train(objective="sft", dtype="fp32", **options)
    return b.budget(stage, counted(model.config.to_dict()), 64, 1000, CARD)


def test_weights_are_counted_to_the_last_one(model):
    shape = counted(model.config.to_dict())
    assert shape.weights == sum(p.numel() for p in model.parameters())
    assert plan(model).parts["weights"] == 4 * shape.weights == plan(model).parts["gradients"]


@pytest.mark.parametrize(
    "options", [{"lora.r": 4}, {"lora.r": 4, "lora.target_modules": ("o_proj",)}, {"lora.r": 4, "lora.use_dora": True}]
)
def test_adapters_train_what_peft_makes(model, options):
    from peft import get_peft_model

    from stages.train.model import config_of

    stage = Train(objective="sft", method="lora", **options)
    shape = counted(model.config.to_dict())
    with torch.device("meta"):
        empty = type(model)._from_config(model.config)
    try:
        made = get_peft_model(empty, config_of(stage))
    except ValueError:
        from stages.train.model import adapted

        assert options.get("lora.use_dora") and ".experts." in " ".join(name for name, _ in model.named_parameters())
        with torch.device("meta"):
            empty = type(model)._from_config(model.config)
        with pytest.raises(UsageError, match=f"no such adapter on {model.config.model_type}"):
            adapted(stage, empty, 0, None)
        return
    assert b.trained_weights(stage, shape) == sum(p.numel() for p in made.parameters() if p.requires_grad)


def test_last_layers_are_what_is_opened(model):
    from stages.train.model import open_layers

    stage = Train(objective="sft", method="freeze", **{"freeze.trainable_layers": 1})
    with torch.device("meta"):
        empty = type(model)._from_config(model.config)
    open_layers(stage, empty)
    assert b.trained_weights(stage, counted(model.config.to_dict())) == sum(
        p.numel() for p in empty.parameters() if p.requires_grad
    )


def test_four_bits_leave_what_is_no_linear_layer(model, tmp_path):
    """Bytes of the weights as bitsandbytes loads them; at this size the scales of blocks weigh more than the plan's .03 bytes a weight."""
    from stages.models.inference.chain import load_model

    model.save_pretrained(tmp_path)
    held = load_model(tmp_path, dtype=torch.float32, device=torch.device("cpu"), four_bit=True)
    packed = [p for p in held.parameters() if type(p).__name__ == "Params4bit"]
    others = sum(p.numel() * p.element_size() for p in held.parameters() if type(p).__name__ != "Params4bit")
    shape = counted(model.config.to_dict())
    assert 2 * sum(p.numel() for p in packed) == shape.quantised
    trained = plan(model, method="qlora").trained
    planned = plan(model, method="qlora").parts["weights"] - 4 * trained
    assert planned == round(0.53 * shape.quantised + others)


def test_a_token_works_with_the_experts_it_chooses():
    mixtral = architectures.tiny_model("Mixtral")
    shape = counted(mixtral.config.to_dict())
    routed = sum(p.numel() for name, p in mixtral.named_parameters() if ".experts." in name)
    assert shape.working == shape.weights - 512 * 32 * (0 if shape.tied else 1) - routed // 2
    assert shape.intermediate == 2 * 64, "two experts of 64"
    dense = counted(architectures.tiny_model("Llama").config.to_dict())
    assert dense.working < shape.working < shape.weights
    tokens = 1000
    seconds = [
        b.budget(Train(), one, 64, tokens, CARD).seconds
        for one in (dense, shape, shape._replace(counts=shape.counts._replace(working=shape.weights)))
    ]
    assert seconds[0] < seconds[1] < seconds[2]


def test_nested_and_unknown_configurations():
    from transformers import Gemma3Config

    text = {**architectures.SHAPE, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}
    nested = counted(Gemma3Config(text_config=text).to_dict())
    assert nested.hidden == 32 and nested.head is None and nested.counts.vocabulary == 512
    unknown = {
        "model_type": "never-heard-of",
        "vocab_size": 512,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "num_key_value_heads": 2,
    }
    assert counted(unknown).counts is None and counted(unknown).weights == b.Shape(512, 64, 2, 4, 2, 192).weights


def test_published_sizes():
    """Weights as their makers give them, from configurations alone."""
    mixtral = {
        "model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    shape = counted(mixtral)
    assert shape.weights == 46_702_792_704 and 12.5e9 < shape.working < 13e9
    qwen = {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    }  # fmt: skip
    assert counted(qwen).weights == 596_049_920 and counted(qwen).head == 128


def test_the_plan_of_a_recipe_reads_base_tokenizer_and_rows(chat_store, tiny_tokenizer, tmp_path):
    """A mixture of experts whose tokenizer is extended, under FSDP on two cards: real row lengths, per card."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from pipeline.engine.recipe import parse
    from stages.train.planning import outlook

    shape = {**architectures.SHAPE, **architectures.OTHERS["Qwen3Moe"], "vocab_size": 500}
    small = Qwen3MoeForCausalLM(Qwen3MoeConfig(**shape))
    small.save_pretrained(tmp_path / "base")
    common = {
        "of": chat_store.path,
        "base": str(tmp_path / "base"),
        "tokenizer": tiny_tokenizer.path,
        "objective": "sft",
        "max_steps": 10,
    }
    steps = [
        {"train": {"name": "whole", "method": "full", "parallel": "fsdp", "sft.packing": False, **common}},
        {"train": {"name": "adapter", "method": "lora", "lora.r": 2, "max_length": 48, **common}},
    ]
    run = {"steps": {"whole": {"workers": 2, "gpus": 1}}}
    recipe = parse({"name": "x", "root": str(tmp_path / "run"), "steps": steps, "run": run})
    whole, adapter = (outlook.estimate(recipe, step, CARD) for step in recipe.steps)
    weights = sum(p.numel() for p in small.parameters()) + 12 * 32
    sides = 1 if small.config.tie_word_embeddings else 2
    assert whole.budget.shape.weights == weights + (sides - 1) * 12 * 32 and whole.budget.shape.added == 12
    assert whole.workers == 2 and whole.budget.parts["weights"] == 4 * whole.budget.shape.weights // 2
    assert whole.width < 64, "the longest conversation, not what the base reaches"
    [(text, fits), (other, _)] = list(outlook.pages(recipe, "h100", None, 2.0))
    assert "the longest there is (max_length is not set)" in text and "for each of 2 workers" in text and fits
    assert "in rows of 48;" not in other and "max_length is not set" not in other
    assert adapter.budget.trained == b.trained_weights(recipe.steps[1].stage, adapter.budget.shape)
