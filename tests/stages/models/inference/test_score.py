"""Packing is exact: a packed row gives every document the log-probabilities it has alone."""

import numpy as np
import pytest

from stages.models.chat.rows import Batch, collate, join, segment

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    from stages.models.inference.device import arithmetic

    shape = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    }
    with arithmetic(1, 3):
        return LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True)).eval()


def test_a_packed_document_scores_as_it_does_alone(llama, random_ids):
    from stages.models.inference.score import token_logps

    parts = [segment(random_ids(n, seed=n)) for n in (5, 17, 1, 30, 9)]
    cpu = torch.device("cpu")
    with torch.no_grad():
        packed = token_logps(llama, collate([join(parts)], 0, cpu, width=70))[0]
        at = 0
        for part in parts:
            alone = token_logps(llama, collate([join([part])], 0, cpu))[0]
            assert torch.allclose(packed[at : at + len(alone)], alone, atol=1e-5, rtol=0)
            at += len(alone)


def test_without_the_mask_documents_would_see_each_other(llama, random_ids):
    """The fault put in on purpose: the proof above must not hold for a row read as one document."""
    from stages.models.inference.score import token_logps

    parts = [segment(random_ids(n, seed=n)) for n in (20, 20)]
    batch = collate([join(parts)], 0, torch.device("cpu"))
    causal = Batch(batch.ids, batch.labels, torch.arange(40)[None], None)
    with torch.no_grad():
        assert not torch.allclose(token_logps(llama, batch), token_logps(llama, causal), atol=1e-3)


def test_it_is_what_the_models_own_loss_says(llama, random_ids):
    from stages.models.inference.score import token_logps

    ids = random_ids(50)
    tensor = torch.from_numpy(ids.astype(np.int64))[None]
    with torch.no_grad():
        own = llama(input_ids=tensor, labels=tensor).loss
        ours = -token_logps(llama, collate([join([segment(ids)])], 0, torch.device("cpu"))).sum() / 49
    assert torch.allclose(own, ours, atol=1e-5)


def test_slices_of_the_head_change_neither_loss_nor_gradient(llama, random_ids, monkeypatch):
    from stages.models.inference import score

    batch = collate([join([segment(random_ids(40, seed=n))]) for n in range(3)], 0, torch.device("cpu"))

    def gradient() -> tuple[float, torch.Tensor]:
        llama.zero_grad()
        loss = -score.token_logps(llama, batch).sum()
        loss.backward()
        return float(loss.detach()), llama.model.layers[0].self_attn.q_proj.weight.grad.clone()

    loss, whole = gradient()
    monkeypatch.setattr(score, "CELLS", 512 * 16)
    sliced_loss, sliced = gradient()
    assert sliced_loss == pytest.approx(loss, abs=1e-3)
    assert torch.allclose(whole, sliced, atol=1e-4)


def test_the_gradient_writes_logits_as_often_as_the_models_own(llama, random_ids):
    """Logits are the largest tensors of a step: one more a backward pass is memory and time."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from stages.models.inference.score import token_logps

    class Written(TorchDispatchMode):
        def __init__(self, numbers: int):
            super().__init__()
            self.numbers, self.times = numbers, 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            self.times += isinstance(found, torch.Tensor) and found.numel() == self.numbers and not func.is_view
            return found

    ids = random_ids(50)
    tensor = torch.from_numpy(ids.astype(np.int64))[None]
    batch = collate([join([segment(ids)])], 0, torch.device("cpu"))
    own, ours = Written(50 * 512), Written(49 * 512)
    loss = llama(input_ids=tensor, labels=tensor).loss
    with own:
        loss.backward()
    loss = -token_logps(llama, batch).sum()
    with ours:
        loss.backward()
    assert ours.times == own.times > 0
