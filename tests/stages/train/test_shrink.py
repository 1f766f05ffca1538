"""Smaller models are measured before they are written, load as they are, and a draft changes no token."""

import json
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from stages.train import commands

torch = pytest.importorskip("torch")


@pytest.fixture
def options(chat_store, base_store, sft_store, tmp_path):
    return {
        "of": chat_store.path,
        "folder": str(tmp_path / "small"),
        "chain": (base_store.path, sft_store.path),
        "holdout": 0.2,
        "threads": 1,
        "most": 1.0,
    }


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantised_model_is_smaller_near_and_loads(bits, options, base_store, capsys):
    from stages.models.inference.generate import Generator, SamplingParams

    assert commands.Shrink(**options, bits=bits).run() == 0
    assert "nats per token from what was trained" in capsys.readouterr().out
    card = json.loads(open(f"{options['folder']}/maetdol.json").read())
    assert (
        card["bits"] == bits
        and 0 < card["shrink_divergence"] < (0.02 if bits == 8 else 0.5)
        and len(card["made_from"]) == 2
    )
    small, whole = (
        sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        for folder in (Path(options["folder"]), base_store.artefact())
    )
    assert small < 0.7 * whole
    [[answer]] = Generator(options["folder"], threads=1).chat(
        [[{"role": "user", "content": "how do you call 쌀?"}]], SamplingParams(8)
    )
    assert answer.text.startswith("It is")


def test_pruning_zeroes_the_smallest_weights_of_every_linear_layer(options, capsys):
    from safetensors.torch import load_file

    assert commands.Shrink(**{**options, "most": 5.0}, prune=0.3).run() == 0
    state = load_file(f"{options['folder']}/model.safetensors")
    shares = {name: float((tensor == 0).float().mean()) for name, tensor in state.items() if "proj" in name}
    assert shares and all(abs(share - 0.3) < 0.01 for share in shares.values())
    assert float((state["model.embed_tokens.weight"] == 0).float().mean()) < 0.05
    card = json.loads(open(f"{options['folder']}/maetdol.json").read())
    assert card["pruned"] == 0.3 and card["shrink_divergence"] > 0


def test_a_model_that_lost_too_much_is_not_written(options, tmp_path):
    with pytest.raises(UsageError, match="nats per token away"):
        commands.Shrink(**{**options, "most": 1e-6}, prune=0.9).run()
    assert not (tmp_path / "small").exists()
    with pytest.raises(UsageError, match="--bits or --prune"):
        commands.Shrink(**options).run()


def test_a_draft_changes_no_token_and_saves_passes(
    chat_store, tokens_store, base_store, tiny_tokenizer, tiny, do_train, capsys
):
    small = do_train(
        tokens_store,
        {
            **tiny,
            "model.hidden_size": 32,
            "model.num_attention_heads": 2,
            "model.num_hidden_layers": 1,
            "max_steps": 40,
        },
        tokenizer=tiny_tokenizer,
    )
    assert (
        commands.Speculate(
            of=chat_store.path,
            target=(base_store.path,),
            draft=(small.path,),
            holdout=0.2,
            rows=6,
            max_new_tokens=24,
            ahead=3,
            threads=1,
        ).run()
        == 0
    )
    said = capsys.readouterr().out
    assert "6 of 6 answers are the same" in said
    assert float(said.split(" tokens per forward pass")[0].split()[-1]) > 1.0
