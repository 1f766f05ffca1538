"""Models as labs have them: tiny, random, of the real configuration classes. The loss is the model's own, a packed document scores as
it does alone, and a LoRA adapter trains, saves, reloads and merges.

By default four architectures that differ most from a Llama (per-layer windows, sinks, scaled logits); the others are slow, their figures
stand in tests/bench/train/RESULTS.md.
"""

import json

import pytest

from pipeline.errors import UsageError
from stages.models.chat.rows import collate, join, segment
from stages.models.inference.folder import ModelFolder

torch = pytest.importorskip("torch")

CPU = torch.device("cpu")


def own(model, ids, labels):
    """The likelihoods by the model's own logits, of one document alone."""
    logits = model(input_ids=ids).logits.float().log_softmax(-1)
    return torch.where(labels == -100, 0.0, logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0])[0]


def test_the_loss_is_the_models_own_and_so_is_its_gradient_packed_or_alone(architecture, made, random_ids, monkeypatch):
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
