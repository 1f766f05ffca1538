"""Documents of a packed row stay apart without a written mask: flex attention's numbers, and the bounds the flash kernel is handed.

torch has no backward pass of flex attention on a CPU and no flash kernel there: flex is compared forward, and a plain loop over the
bounds stands for the flash kernel. What a card computes is compared by the data check when a run begins.
"""

import numpy as np
import pytest

from pipeline.errors import StageFailed, UsageError
from stages.models.chat.rows import EncodedSegment, collate, join, segment

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def made(way, window=None, both_ways=False):
    """A small model with grouped heads, the same weights whatever the way; `window` makes it a Mistral."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    from stages.models.inference.attention import attend
    from stages.models.inference.device import arithmetic

    configured, kind = (LlamaConfig, LlamaForCausalLM) if window is None else (MistralConfig, MistralForCausalLM)
    config = configured(
        **SHAPE,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        **({} if window is None else {"sliding_window": window}),
    )
    if both_ways:
        config.is_causal = False
    with arithmetic(1, 3):
        return attend(kind(config), way)


def looped(handed):
    """Attention by a plain loop over the documents, in the kernel's place; what it was handed is written down."""

    def varlen(query, key, value, held, scale, window):
        handed.append((held, window, query.dtype))
        key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
        out = torch.empty_like(query)
        ends = held.bounds.tolist()
        for start, end in zip(ends, ends[1:]):
            q, k, v = (part[start:end].transpose(0, 1) for part in (query, key, value))
            scores = q @ k.transpose(1, 2) * scale
            apart = torch.arange(end - start)[:, None] - torch.arange(end - start)[None]
            hidden = ((apart < 0) & (window[1] == 0)) | ((apart > window[0]) & (window[0] >= 0))
            out[start:end] = (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(0, 1)
        return out

    return varlen


@pytest.fixture
def handed(monkeypatch):
    from stages.models.inference import attention

    found = []
    monkeypatch.setattr(attention, "varlen", looped(found))
    return found


@pytest.fixture
def rows(random_ids):
    """Two packed rows of unlike documents, one of them longer than flex's blocks, and a row of one."""
    parts = [segment(random_ids(n, seed=n)) for n in (5, 17, 1, 140, 9, 30, 12)]
    return [join(parts[:5]), join(parts[5:]), join(parts[3:4])]


def scored(model, rows, width=None):
    from stages.models.inference.score import token_logps

    return token_logps(model, collate(rows, 0, CPU, width))


@pytest.mark.parametrize("width", [None, 200])
@pytest.mark.parametrize("window", [None, 8])
def test_flex_attention_gives_every_document_the_loss_of_the_written_mask_and_of_itself_alone(rows, window, width):
    with torch.no_grad():
        written, flex = (scored(made(way, window), rows, width) for way in ("sdpa", "flex"))
        assert (written - flex).abs().max() < 1e-5
        alone = [
            join([EncodedSegment(rows[0].ids[rows[0].segments == n], rows[0].labels[rows[0].segments == n])])
            for n in range(1, 6)
        ]
        lone = torch.cat([scored(made("flex", window), [part])[0] for part in alone])
        assert (flex[0, : len(lone)] - lone).abs().max() < 1e-5


def test_flex_attention_of_a_model_that_reads_both_ways(random_ids):
    from stages.models.inference.score import token_logps
    from stages.train.objective.masked import both_ways

    row = join([segment(random_ids(n, seed=n)) for n in (5, 17, 30)])
    batch = both_ways([row, row], 0, CPU, 60)
    with torch.no_grad():
        written, flex = (token_logps(made(way, both_ways=True), batch) for way in ("sdpa", "flex"))
    assert (written - flex).abs().max() < 1e-5


def test_the_block_mask_lets_no_token_see_another_document(rows):
    from torch.nn.attention.flex_attention import create_mask

    from stages.models.inference.attention import blocks

    batch = collate(rows, 0, CPU)
    mask = blocks(batch.positions, None, True)
    dense = create_mask(mask.mask_mod, len(rows), 1, *batch.ids.shape[1:], batch.ids.shape[1], device="cpu")
    for n, row in enumerate(rows):
        size = len(row.ids)
        same = torch.from_numpy(row.segments[:, None] == row.segments[None, :]).tril()
        assert torch.equal(dense[n, 0, :size, :size], same)
    first, second = np.flatnonzero(np.diff(rows[0].segments))[:2] + 1
    assert not dense[0, 0, first:second, :first].any() and dense[0, 0, second - 1, first:second].all()


def test_documents_that_see_each_other_are_found(rows, monkeypatch):
    """The fault put in on purpose: with one document a row, the loss is another."""
    from stages.models.inference import attention

    with torch.no_grad():
        right = scored(made("flex"), rows)
        real = attention.blocks
        monkeypatch.setattr(
            attention,
            "blocks",
            lambda positions, *rest: real(torch.arange(positions.shape[1]).expand_as(positions), *rest),
        )
        assert (scored(made("flex"), rows) - right).abs().max() > 1e-3


def test_the_flash_kernel_is_handed_the_bounds_of_the_documents(rows, handed):
    with torch.no_grad():
        scored(made("flash"), rows[:2])
    sizes = [np.bincount(row.segments)[1:].tolist() for row in rows[:2]]
    padding = sum(sizes[0]) - sum(sizes[1])
    bounds = np.cumsum([0, *sizes[0], *sizes[1], padding]).tolist()
    assert len(handed) == SHAPE["num_hidden_layers"]
    for held, window, kind in handed:
        assert held.bounds.tolist() == bounds and held.bounds.dtype == torch.int32
        assert held.longest == 140 and window == (-1, 0) and kind == torch.float32


@pytest.mark.parametrize("window", [None, 8])
def test_over_those_bounds_loss_and_gradient_are_those_of_the_written_mask(rows, handed, window):
    def gradient(way):
        model = made(way, window)
        logps = scored(model, rows)
        (-logps.sum()).backward()
        return logps.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}

    (written, wanted), (flash, found) = gradient("sdpa"), gradient("flash")
    assert (written - flash).abs().max() < 1e-5
    assert handed[0][1] == ((-1, 0) if window is None else (window - 1, 0))
    for name, tensor in wanted.items():
        assert (tensor - found[name]).abs().max() < 1e-4 * max(1.0, float(tensor.abs().max())), name


@pytest.mark.parametrize("way", ["flex", "flash"])
def test_no_mask_is_written_for_them(rows, handed, way, monkeypatch):
    """It takes rows x width x width bytes, which is what long rows cannot afford."""
    from stages.models.inference.score import token_logps

    batch = collate(rows, 0, CPU)
    assert tuple(batch.mask.shape) == (3, 1, 172, 172)
    asked = []
    unwritten = batch._replace(mask=lambda: asked.append(1))
    with torch.no_grad():
        token_logps(made(way), unwritten)
        assert not asked
        token_logps(made("sdpa"), unwritten)  # here transformers makes it, of the kind each layer wants
    assert not asked


def test_in_bf16_the_kernel_gets_bf16(rows, handed):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        written, flash = (scored(made(way), rows) for way in ("sdpa", "flash"))
    assert {kind for _, _, kind in handed} == {torch.bfloat16}
    assert (written - flash).abs().mean() < 2e-2


def test_the_data_check_finds_bounds_that_are_wrong(rows, handed, monkeypatch):
    from stages.models.inference import attention
    from stages.train.data_check import documents_apart

    class Data:
        row = staticmethod(lambda n: rows[0])
        __len__ = staticmethod(lambda: 1)

    where = (Data(), 0, CPU, torch.float32)
    assert documents_apart(made("flash"), *where).fault == ""
    real = attention.documents
    monkeypatch.setattr(
        attention,
        "documents",
        lambda positions, causal: real(torch.arange(positions.shape[1]).expand_as(positions), causal),
    )
    assert "documents see each other" in documents_apart(made("flash"), *where).fault


def test_a_model_without_bounds_does_not_answer(random_ids):
    ids = torch.from_numpy(random_ids(20).astype(np.int64))[None]
    for way in ("flex", "flash"):
        with pytest.raises(StageFailed, match=f"{way} attention was called without the documents"), torch.no_grad():
            made(way)(input_ids=ids)


def test_attention_that_is_not_plain_is_refused():
    from transformers import LlamaConfig, LlamaForCausalLM

    from stages.models.inference.attention import attend

    with pytest.raises(UsageError, match="attention_dropout"):
        attend(LlamaForCausalLM(LlamaConfig(**SHAPE, attention_dropout=0.1)), "flash")
    wide = {**SHAPE, "hidden_size": 1040, "num_attention_heads": 2}
    with pytest.raises(UsageError, match="heads of width 520"):
        attend(LlamaForCausalLM(LlamaConfig(**wide)), "flash")


def test_what_is_saved_names_no_way_of_attending(tmp_path):
    made("flex").save_pretrained(tmp_path)
    assert "maetdol" not in (tmp_path / "config.json").read_text()
