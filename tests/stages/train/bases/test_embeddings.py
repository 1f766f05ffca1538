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
    options = {"steps": 2, "batch": 4, "threads": 1, "holdout": 0.2, "learning_rate": 1e-5}
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


def test_an_adapter_and_another_tokenizer_are_refused(
    extended, base_store, tokens_store, tiny_tokenizer, do_train, tmp_path
):
    options = {"steps": 1, "batch": 4, "threads": 1, "holdout": 0.2}
    with pytest.raises(UsageError, match="4 tokens that the base has not, and they are learnt by method full alone"):
        do_train(tokens_store, {**options, "method": "lora"}, tokenizer=extended, base=[base_store])
    folder = tmp_path / "other"
    shutil.copytree(tiny_tokenizer.artefact(), folder)
    page = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = page["model"]["vocab"]
    vocabulary["z"], vocabulary["q"] = vocabulary["q"], vocabulary["z"]
    (folder / "tokenizer.json").write_text(json.dumps(page, ensure_ascii=False))
    with pytest.raises(UsageError, match="2 ids stand for other tokens"):
        do_train(
            tokens_store,
            options,
            tokenizer=store_of(folder, tmp_path / "store"),
            base=[ModelFolder(base_store.artefact())],
        )


def test_a_base_without_a_tokenizer_has_nothing_to_extend(tmp_path):
    from stages.models.inference.chain import ChainLink

    assert own_tokenizer([]) is None and own_tokenizer([ChainLink(tmp_path, {"kind": "model"}, "x")]) is None
