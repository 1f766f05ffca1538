"""The recipe of a lab that goes on from a Llama 3: planned at its published shape."""

from pathlib import Path

import pytest
import yaml

from pipeline import cli
from tests.stages.models.chat.test_turns import letters

pytest.importorskip("torch")
RECIPE = Path(__file__).resolve().parents[2] / "configs" / "llama-lab.yaml"
COMMIT = "a" * 40
PUBLISHED = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta": 500000.0, "tie_word_embeddings": False,
}  # fmt: skip
"""Of Llama 3.1 8B, from its config.json."""


def snapshot(cache: Path) -> Path:
    """The folder of the recipe's checkpoint in huggingface_hub's cache, with a tokenizer under Llama's template."""
    tokenizer = letters.__wrapped__()
    tokenizer.add_special_tokens({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "additional_special_tokens": ["<|start_header_id|>", "<|end_header_id|>"]})  # fmt: skip
    head = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    tokenizer.chat_template = f"{{{{ bos_token }}}}{{% for m in messages %}}{head}{{{{ m.content }}}}<|eot_id|>{{% endfor %}}{{% if add_generation_prompt %}}<|start_header_id|>assistant<|end_header_id|>\n\n{{% endif %}}"
    page = yaml.safe_load(RECIPE.read_text("utf-8"))
    base = next(step["train"]["base"] for step in page["steps"] if isinstance(step, dict) and step.get("train", {}).get("name") == "korean")  # fmt: skip
    repository, _, revision = base.removeprefix("hf://").partition("@")
    root = cache / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / COMMIT
    (root / "refs").mkdir(parents=True)
    (root / "refs" / revision).write_text(COMMIT)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder, and the cache of a hub that cannot be reached."""
    from huggingface_hub import constants

    from stages.models.inference.folder import fetched

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    fetched.cache_clear()
    yield tmp_path
    fetched.cache_clear()


def maetdol(*words: str) -> None:
    assert not cli.cli.main(list(words), standalone_mode=False)


def test_the_published_shape_is_planned_and_every_step_is_to_do(place, capsys):
    from transformers import LlamaConfig

    folder = snapshot(place / "cache")
    LlamaConfig(architectures=["LlamaForCausalLM"], **PUBLISHED).save_pretrained(folder)
    maetdol("tokenizer", "adopt", str(folder), "runs/llama-tokenizer")
    capsys.readouterr()
    maetdol("train-plan", str(RECIPE), "--card", "h100", "--tokens", "5e8")
    plan = capsys.readouterr().out
    assert plan.count("8,030,261,248 weights") == 3 and "DOES NOT FIT" not in plan
    assert "1 worker x 2 x 32 = 64 rows a step" in plan and "1 worker x 1 x 64 = 64 pairs a step" in plan
    maetdol("run", str(RECIPE), "--dry-run")
    assert "15 of 15 steps to do" in capsys.readouterr().out


def test_what_was_set_aside_is_measured_whole_and_all_models_in_one_width():
    """Of a store that no model was trained on, the share that training holds out of its own would be left: of a twentieth a fiftieth."""
    steps = [step for step in yaml.safe_load(RECIPE.read_text("utf-8"))["steps"] if isinstance(step, dict)]
    aside = {step["split"]["name"] for step in steps if step.get("split", {}).get("rest")}
    measured = [step["evaluate"] for step in steps if "evaluate" in step]
    for one in measured:
        of = {one["of"]} if isinstance(one["of"], str) else set(one["of"])
        assert of <= aside if one.get("holdout") == 1 else not of & aside
        assert one["width"] == 4096
    assert len(measured) == 2
