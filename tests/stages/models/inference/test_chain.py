"""A chain is put together only from what was trained together, and stacked adapters act as they did."""

import json
import shutil

import pytest

from pipeline.errors import UsageError
from stages.models.chat.rows import collate, join, segment
from stages.models.inference.chain import assemble, chain_of, open_link, prefixes

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


def logps(model, ids):
    from stages.models.inference.score import token_logps

    with torch.no_grad():
        return token_logps(model, collate([join([segment(ids)])], 0, CPU))


def test_any_order_gives_the_chain_and_its_prefixes(base_store, sft_store):
    model, adapter = open_link(base_store.artefact()), open_link(sft_store.artefact())
    assert model.hash == base_store.receipt("artefact").content_hash
    assert [link.hash for link in chain_of([adapter, model])] == [model.hash, adapter.hash]
    assert [len(chain) for chain in prefixes([model, adapter])] == [1, 2]


def test_an_adapter_on_another_base_is_refused(base_store, sft_store, tmp_path):
    shutil.copytree(base_store.artefact(), tmp_path / "other")
    card = json.loads((tmp_path / "other/maetdol.json").read_text())
    (tmp_path / "other/maetdol.json").write_text(json.dumps({**card, "seed": 99}))
    with pytest.raises(UsageError, match="another base"):
        chain_of([open_link(tmp_path / "other"), open_link(sft_store.artefact())])
    with pytest.raises(UsageError, match="is not given"):
        prefixes([open_link(tmp_path / "other"), open_link(sft_store.artefact())])
    with pytest.raises(UsageError, match="no model under the adapter in"):
        chain_of([open_link(sft_store.artefact())])
    with pytest.raises(UsageError, match="exactly one model under its adapters, 2 given"):
        chain_of([open_link(base_store.artefact()), open_link(tmp_path / "other"), open_link(sft_store.artefact())])


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UsageError, match="no weights in safetensors"):
        open_link(tmp_path)


def test_four_bits_means_four_bits_twice_quantised(base_store):
    import bitsandbytes as bnb

    model = assemble(chain_of([open_link(base_store.artefact())]), dtype=torch.float32, device=CPU, four_bit=True)
    linears = [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(linears) == 2 * 7, "every linear layer of both blocks"
    for linear in linears:
        assert (
            linear.weight.dtype == torch.uint8
            and linear.weight.quant_type == "nf4"
            and linear.weight.quant_state.nested
        )
        assert linear.weight.numel() * 2 == linear.in_features * linear.out_features


def test_an_evaluation_leaves_a_four_bit_layer_fit_for_training(base_store, random_ids):
    """bitsandbytes repacks weights at the first evaluation on some CPUs, and gradients are lost from then on."""
    model = assemble(chain_of([open_link(base_store.artefact())]), dtype=torch.float32, device=CPU, four_bit=True)
    from stages.models.inference.score import token_logps

    batch = collate([join([segment(random_ids(20))])], 0, CPU)
    embeddings = model.get_input_embeddings()

    def gradient() -> torch.Tensor:
        embeddings.weight.requires_grad_(True)
        embeddings.weight.grad = None
        model.train()
        (-token_logps(model, batch).sum()).backward()
        return embeddings.weight.grad.clone()

    before = gradient()
    model.eval()
    logps(model, random_ids(20))
    assert torch.equal(before, gradient())


def test_merged_weights_answer_as_the_stacked_adapter_does(base_store, sft_store, random_ids):
    chain = chain_of([open_link(base_store.artefact()), open_link(sft_store.artefact())])
    stacked = assemble(chain, dtype=torch.float32, device=CPU)
    merged = assemble(chain, dtype=torch.float32, device=CPU, merge=True)
    assert not hasattr(merged, "peft_config")
    assert torch.allclose(logps(stacked, random_ids(30)), logps(merged, random_ids(30)), atol=1e-4)
    quantised = assemble(chain, dtype=torch.float32, device=CPU, four_bit=True, merge=True)
    assert quantised.get_submodule("model.layers.0.self_attn.q_proj").weight.dtype == torch.uint8
