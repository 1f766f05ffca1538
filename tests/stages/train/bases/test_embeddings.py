"""A base goes on under an extended tokenizer: an added token begins as the mean of what the base wrote it with."""

import json
import shutil

import pytest

from pipeline.errors import UsageError
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import Store
from stages.models.chat.templates import load_tokenizer
from stages.models.inference.folder import ModelFolder
from stages.train.embeddings import added, grow, own_tokenizer

torch = pytest.importorskip("torch")


def store_of(folder, path):
    store = Store(path)
    store.put_artefact(folder, COLUMNS.empty_table(), key="test", stage="tokenizer")
    store.commit_manifest(
        {"stage": "test", "shape": "artefact:tokenizer", "key": "test", "lineage": {}, "schema": []}, []
    )
    return store


@pytest.fixture(scope="module")
def extended(tiny_tokenizer, tmp_path_factory):
    """The tiny tokenizer with three merges more (`zq`, ` zq`, `qz`) and one control token: ids 512 to 515."""
    folder = tmp_path_factory.mktemp("extended") / "made"
    shutil.copytree(tiny_tokenizer.artefact(), folder)
    page = json.loads((folder / "tokenizer.json").read_text())
    vocabulary, merges = page["model"]["vocab"], page["model"]["merges"]
    for left, right in [("z", "q"), ("Ġ", "zq"), ("q", "z")]:
        vocabulary[left + right] = len(vocabulary)
        merges.append([left, right])
    page["added_tokens"].append({**page["added_tokens"][-1], "id": len(vocabulary), "content": "<|new|>"})
    (folder / "tokenizer.json").write_text(json.dumps(page, ensure_ascii=False))
    assert len(load_tokenizer(folder)) == 516
    return store_of(folder, tmp_path_factory.mktemp("extended-store"))


def test_what_is_added_is_found_with_its_parts(tokenizer, extended):
    mine = load_tokenizer(extended.artefact())
    found = added(mine, tokenizer)
    assert found.ids == [512, 513, 514, 515] and found.known == 512
    ids = tokenizer.convert_tokens_to_ids
    assert found.parts[:3] == [[ids("z"), ids("q")], [ids("Ġ"), ids("z"), ids("q")], [ids("q"), ids("z")]]
    assert found.parts[3] == tokenizer("<|new|>", add_special_tokens=False)["input_ids"]
    assert added(tokenizer, tokenizer) is None
    assert mine("a zq", add_special_tokens=False)["input_ids"][-1] == 513


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [512, 640])
def test_rows_are_the_mean_of_the_parts_in_what_reads_and_in_what_writes(tied, rows, tokenizer, extended):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=rows, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=tied,
    ))  # fmt: skip
    before = [part.weight.detach().clone() for part in (model.get_input_embeddings(), model.get_output_embeddings())]
    found = added(load_tokenizer(extended.artefact()), tokenizer)
    grow(model, found, 516)
    after = [part.weight for part in (model.get_input_embeddings(), model.get_output_embeddings())]
    assert (after[0] is after[1]) == tied and after[0].shape[0] == max(rows, 516) == model.config.vocab_size
    for old, new in zip(before, after):
        assert torch.equal(old[:512], new[:512])
        for number, parts in zip(found.ids, found.parts):
            assert torch.allclose(new[number], old[parts].mean(0), atol=1e-6)


def test_continual_pretraining_under_it(extended, base_store, tokens_store, do_train, read_history):
    options = {"max_steps": 2, "per_device_train_batch_size": 4, "threads": 1, "holdout": 0.2, "learning_rate": 1e-5}
    store = do_train(tokens_store, options, tokenizer=extended, base=[base_store])
    plain = do_train(tokens_store, options, base=[base_store])
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(store.artefact())
    assert model.config.vocab_size == 516 == len(load_tokenizer(store.artefact()))
    assert store.receipt("artefact").notes["tokens_added"] == 4
    first, same = (read_history(one).held[0]["loss"] for one in (store, plain))
    assert same <= first < same + 0.05, (
        "the base's own tokens are foretold as before, but for the share of the new ones"
    )


OPTIONS = {"max_steps": 3, "per_device_train_batch_size": 4, "threads": 1, "holdout": 0.2, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def spoken(extended, make_rows_store):
    """Documents packed under the extended tokenizer, in which its new tokens stand."""
    from pipeline.schema import child_id

    mine, rows = load_tokenizer(extended.artefact()), []
    for number in range(60):
        text = f"{number}: the zq of zq is qz, and the millstone grinds. " * 4
        ids = [mine.bos_token_id, *mine(text, add_special_tokens=False)["input_ids"], mine.eos_token_id][:64]
        docs = [{"id": child_id("d", "test", "doc", number), "start": 0, "end": len(ids), "offset": 0}]
        rows.append({"id": child_id("r", "test", "row", number), "input_ids": ids, "docs": docs})
    assert {513, 514} <= {one for row in rows for one in row["input_ids"]}
    return make_rows_store("TOKENS", rows)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(request, tokens_store, tiny_tokenizer, tiny, do_train):
    return do_train(
        tokens_store,
        {**tiny, "max_steps": 20, "per_device_train_batch_size": 8, "model.tie_word_embeddings": request.param},
        tokenizer=tiny_tokenizer,
    )


def logits(model, ids=(1, 513, 40, 514, 515, 9)):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def matrices(folder):
    from safetensors.torch import load_file

    found = load_file(folder / "model.safetensors")
    return {name: tensor for name, tensor in found.items() if "embed_tokens" in name or "lm_head" in name}


def test_the_added_rows_alone(base, extended, spoken, do_train, read_history):
    """Everything else is byte for byte the base's; what comes out is a whole model, on which a second step trains the rest."""
    from safetensors.torch import load_file

    store = do_train(spoken, {**OPTIONS, "method": "embeddings", "max_steps": 12}, tokenizer=extended, base=[base])
    assert store.shape == "artefact:model" and not (store.artefact() / "adapter_config.json").exists()
    before, after = load_file(base.artefact() / "model.safetensors"), load_file(store.artefact() / "model.safetensors")
    rows = matrices(store.artefact())
    assert before.keys() == after.keys() and rows
    for name, tensor in after.items():
        assert torch.equal(tensor[:512] if name in rows else tensor, before[name])
    for name, tensor in rows.items():
        mean = before[name].float().mean(0)
        assert tensor.shape[0] == 516 and not torch.equal(tensor[513], mean)
    notes = store.receipt("artefact").notes
    assert notes["trained_parameters"] == 4 * 64 * len(rows)
    first, last = (line["loss"] for line in (read_history(store).train[0], read_history(store).train[-1]))
    assert last < first
    then = do_train(spoken, {**OPTIONS, "method": "lora"}, base=[store])
    assert "tokens_added" not in then.receipt("artefact").notes
    assert then.shape == "artefact:adapter"


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_keeps_the_rows_it_has_learnt(method, base, extended, spoken, pair_store, do_train, tmp_path):
    from peft import AutoPeftModelForCausalLM
    from safetensors.torch import load_file

    from stages.models.inference.chain import assemble, chain_in

    store = do_train(spoken, {**OPTIONS, "method": method, "lora.r": 4}, tokenizer=extended, base=[base])
    state = load_file(store.artefact() / "adapter_model.safetensors")
    tied = len(matrices(base.artefact())) == 1
    rows = {name: tensor for name, tensor in state.items() if "lora_" not in name}
    assert {tuple(tensor.shape) for tensor in rows.values()} == {(4, 64)} and len(rows) == (1 if tied else 2)
    cpu = torch.device("cpu")
    chain = chain_in([base.path, store.path])
    stacked = assemble(chain, dtype=torch.float32, device=cpu)
    held = [stacked.get_input_embeddings().weight, stacked.get_output_embeddings().weight]
    assert all(any(torch.equal(tensor, weight[512:516]) for weight in held) for tensor in rows.values())
    alone = AutoPeftModelForCausalLM.from_pretrained(store.artefact()).eval()
    assert torch.allclose(logits(alone), logits(stacked), atol=1e-5)
    merged = assemble(chain, dtype=torch.float32, device=cpu, merge=True)
    assert torch.allclose(logits(merged), logits(stacked), atol=1e-5) and merged.config.vocab_size == 516
    merged.save_pretrained(tmp_path / "merged")
    assert torch.allclose(logits(type(merged).from_pretrained(tmp_path / "merged").eval()), logits(stacked), atol=1e-5)
    # A wrong row is seen: what was learnt is not what the base was grown with.
    changed = assemble(chain, dtype=torch.float32, device=cpu)
    changed.get_input_embeddings().weight.data[513] = 0
    assert not torch.allclose(logits(changed), logits(stacked), atol=1e-3)
    # It serves the next step: an adapter is stacked on it, and its tokenizer is the extended one.
    preferred = do_train(
        pair_store,
        {**OPTIONS, "objective": "dpo", "method": "lora", "max_steps": 1, "max_length": 64},
        base=[base, store],
    )
    assert len(load_tokenizer(preferred.artefact())) == 516
    three = assemble(chain_in([base.path, store.path, preferred.path]), dtype=torch.float32, device=cpu)
    assert torch.isfinite(logits(three)).all()


def test_what_cannot_learn_added_tokens_is_refused(
    extended, base_store, sft_store, spoken, pair_store, tokens_store, tiny_tokenizer, do_train, tmp_path
):
    refused = [
        (pair_store, {"objective": "dpo", "method": "lora", "max_length": 64}, [base_store], "4 tokens that the base has not; they are learnt by clm"),
        (spoken, {"method": "ia3"}, [base_store], "they are learnt by clm: full, embeddings, lora, qlora"),
        (spoken, {"method": "lora"}, [base_store, sft_store], "the base is a model with adapters"),
    ]  # fmt: skip
    for store, options, base, words in refused:
        with pytest.raises(UsageError, match=words):
            do_train(store, {**OPTIONS, **options}, tokenizer=extended, base=base)
    with pytest.raises(UsageError, match="it adds none"):
        do_train(tokens_store, {**OPTIONS, "method": "embeddings"}, base=[base_store])
    folder = tmp_path / "other"
    shutil.copytree(tiny_tokenizer.artefact(), folder)
    page = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = page["model"]["vocab"]
    vocabulary["z"], vocabulary["q"] = vocabulary["q"], vocabulary["z"]
    (folder / "tokenizer.json").write_text(json.dumps(page, ensure_ascii=False))
    with pytest.raises(UsageError, match="2 ids stand for other tokens"):
        do_train(
            tokens_store,
            OPTIONS,
            tokenizer=store_of(folder, tmp_path / "store"),
            base=[ModelFolder(base_store.artefact())],
        )


def test_a_head_with_a_bias_is_refused(tokenizer, extended):
    from transformers import PhiConfig, PhiForCausalLM

    from stages.train.embeddings import learnt_rows

    model = PhiForCausalLM(
        PhiConfig(vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    )
    with pytest.raises(UsageError, match="the head of phi has a bias"):
        learnt_rows(model, added(load_tokenizer(extended.artefact()), tokenizer))


def test_a_base_without_a_tokenizer_has_nothing_to_extend(tmp_path):
    from stages.models.inference.chain import ChainLink

    assert own_tokenizer([]) is None and own_tokenizer([ChainLink(tmp_path, {"kind": "model"}, "x")]) is None
