"""What a lab does with a model from elsewhere, in one recipe: LoRA-SFT on a Qwen3 folder, pairs by that student, DPO on top, evaluation;
then the adapters are merged, and plain transformers and `chat` say the same."""

import json
import shlex
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.storage.store import ARTEFACT, Store

torch = pytest.importorskip("torch")

RECIPE = """
name: lab
root: {root}
steps:
  - train: {{name: tuned, objective: sft, method: lora, of: {chats}, base: {base}, rank: 16, steps: 120, batch: 8, learning_rate: 1.0e-2, holdout: 0.2, threads: 1}}
  - dpo: {{name: pairs, of: {chats}, student: [{base}, tuned], max_prompts: 30, sampling: {{max_tokens: 12, temperature: 1.5}}, truncated: keep, length_ratio: 1000, same_language: false}}
  - train: {{name: preferred, objective: dpo, method: lora, of: pairs, base: [{base}, tuned], rank: 4, steps: 6, batch: 4, learning_rate: 1.0e-3, holdout: 0.2, threads: 1, most_lost: 1}}
  - evaluate: {{of: [{chats}, pairs], model: [{base}, tuned, preferred], rows: 20, samples: 2, bootstrap: 100, max_new_tokens: 12, threads: 1}}
run: {{pool: inline}}
"""
ASKED = "3: how do you call 콩?"


def maetdol(line):
    code = cli.cli.main(shlex.split(line), standalone_mode=False)
    assert not code, f"{line} ended with {code}"


@pytest.fixture(scope="module")
def qwen(tiny_tokenizer, tmp_path_factory):
    """A Qwen3 with random weights and Qwen3's own template, whose end mark is not the end-of-sequence token of the tokenizer here."""
    import trl
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("hub") / "Qwen3-random"
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer.artefact())
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text()
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=3, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lab(qwen, chat_store, tmp_path_factory):
    """The root of the finished recipe, and the folder its adapters were merged into."""
    place = tmp_path_factory.mktemp("lab")
    (place / "lab.yaml").write_text(RECIPE.format(root=place / "run", chats=chat_store.path, base=qwen))
    maetdol(f"run {place / 'lab.yaml'} -q")
    chain = " ".join(f"--chain {path}" for path in (qwen, place / "run" / "tuned", place / "run" / "preferred"))
    maetdol(f"merge {chat_store.path} {place / 'merged'} {chain} --holdout 0.2 --threads 1")
    return place


def figures(lab, name):
    report = json.loads((Store(lab / "run" / "evaluate").artefact() / "report.json").read_text())
    chain = Store(lab / "run" / name).receipt(ARTEFACT).content_hash
    return next(model for model in report["models"] if model["chain"] and model["chain"][-1] == chain)["metrics"]


def test_every_step_stands_on_the_one_before(lab, qwen):
    from huggingface_hub import ModelCard

    report = json.loads((Store(lab / "run" / "evaluate").artefact() / "report.json").read_text())
    assert [model["name"] for model in report["models"]] == ["model", "sft", "dpo"]
    before, tuned = report["models"][0]["metrics"], figures(lab, "tuned")
    assert tuned["loss on answers"] < before["loss on answers"] - 0.5
    assert Store(lab / "run" / "pairs").require()["rows"] > 5
    assert figures(lab, "preferred")["preference margin"] > tuned["preference margin"]
    card = ModelCard.load(lab / "run" / "preferred" / "artefact" / "README.md")
    assert {one.metric_type: one.metric_value for one in card.data.eval_results} == figures(lab, "preferred")
    assert "stands on other adapters" in card.text and str(qwen) in card.text


def test_plain_transformers_and_chat_say_the_same(lab, qwen, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = lab / "merged"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    given = tokenizer.apply_chat_template(
        [{"role": "user", "content": ASKED}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**given, do_sample=False, max_new_tokens=40)[0, given["input_ids"].shape[1] :].tolist()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert made[-1] == end and made.count(end) == 1 and len(made) < 40, "it stops where the template ends an answer"
    plain = tokenizer.decode(made, skip_special_tokens=True)
    assert "It is" in plain
    said = []
    for words in (f"{folder}", f"{qwen} {lab}/run/tuned {lab}/run/preferred"):
        capsys.readouterr()
        maetdol(f"chat {words} --ask '{ASKED}' --temperature 0 --threads 1 --max-new-tokens 40 --reasoning")
        said.append(capsys.readouterr().out.strip())
    from stages.serve.answering import Parting

    part = Parting()
    shown = "".join(piece.text for piece in [*part.add(plain, last=True)]).strip()
    assert said == [shown, shown]


def test_the_merged_model_is_one_like_any_other(lab, chat_store):
    """It is a base again: nothing of the chain below is asked for."""
    from stages.models.inference.chain import chain_in

    [link] = chain_in([str(lab / "merged")])
    assert not link.is_adapter and link.card["base"] == [] and len(link.card["made_from"]) == 3
    assert link.card["merge_divergence"][link.card["merged_into"]] < 1e-4
    from huggingface_hub import ModelCard

    card = ModelCard.load(lab / "merged" / "README.md")
    assert card.data.library_name == "transformers" and all(f"`{one}`" in card.text for one in link.card["made_from"])
    assert "## What tuned was trained on" in card.text and "| pairs | dpo |" in card.text
