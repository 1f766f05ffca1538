"""A text's vector follows from the text and the model alone: pooled over its own tokens, whatever stands beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.errors import UsageError
from stages.dedup.semantic.embedder import Embedder

TEXTS = [
    "맷돌은 곡식을 가는 도구이다",
    "a mill grinds grain",
    "mill",
    "a mill grinds grain and the stone turns on and on " * 9,
    "?!",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A folder with a small encoder of seeded weights and a tokenizer of its own."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    folder = tmp_path_factory.mktemp("encoder")
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
        ),
    )
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder)
    torch.manual_seed(5)
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    }
    BertModel(BertConfig(vocab_size=words.get_vocab_size(), **shape)).save_pretrained(folder)
    return folder


def slowly(folder, text: str, how: str, limit: int) -> np.ndarray:
    """The vector by the library alone: one text, no mask, no padding."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    ids = ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return {"mean": states.mean(0), "cls": states[0], "max": states.amax(0), "last": states[-1]}[how].numpy()


def layered(encoder, tmp_path, pooling: dict, *more: str):
    """The folder again in Sentence Transformers' layout."""
    for path in encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    kinds = ["Transformer", "Pooling", *more]
    (tmp_path / "modules.json").write_text(
        json.dumps([{"path": "1_Pooling", "type": f"sentence_transformers.models.{kind}"} for kind in kinds])
    )
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return tmp_path


def test_a_plain_folder_is_pooled_by_the_mean_of_its_tokens(encoder):
    reader = Embedder(encoder)
    assert (reader.pooling, reader.limit) == ("mean", 64)
    found = reader.embed(TEXTS)
    for text, vector in zip(TEXTS, found):
        assert np.allclose(vector, slowly(encoder, text, "mean", 64), atol=1e-5)
    assert np.array_equal(found[::-1], reader.embed(TEXTS[::-1])), "bit for bit, in any order"
    assert np.array_equal(found[1:2], reader.embed(TEXTS[1:2])) and reader.embed([]).shape == (0, 32)


def test_padding_of_a_batch_changes_nothing_but_last_digits(encoder):
    reader = Embedder(encoder)
    together = reader._run([reader._ids(text) for text in TEXTS])
    assert np.allclose(together, reader.embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize("how", ["mean", "cls", "max", "last"])
@pytest.mark.parametrize("layout", ["older", "newer"])
def test_pooling_and_length_of_a_sentence_transformers_folder(encoder, tmp_path, how, layout):
    word = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "last": "lasttoken"}[how]
    pooling = (
        {f"pooling_mode_{word}": True} if layout == "older" else {"pooling_mode": how if how != "last" else "lasttoken"}
    )
    reader = Embedder(layered(encoder, tmp_path, pooling, "Normalize"))
    assert (reader.pooling, reader.limit) == (how, 16)
    for text, vector in zip(TEXTS, reader.embed(TEXTS)):
        assert np.allclose(vector, slowly(encoder, text, how, 16), atol=1e-5)


def test_what_cannot_be_read_is_refused_with_the_hint(encoder, tmp_path):
    with pytest.raises(UsageError, match="Dense"):
        Embedder(layered(encoder, tmp_path, {}, "Dense"))
    with pytest.raises(UsageError, match="holds no encoder"):
        Embedder(tmp_path / "1_Pooling")
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in encoder.iterdir():
        if path.suffix != ".safetensors":
            (bare / path.name).write_bytes(path.read_bytes())
    (bare / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(UsageError, match="safetensors"):
        Embedder(bare)


def test_the_level_takes_an_encoder_and_knows_it_by_its_content(encoder, make_store, tmp_path):
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.dedup import Dedup

    texts = ["a mill grinds grain", "a MILL grinds grain", "맷돌은 곡식을 가는 도구이다", None, " "]
    source = make_store(tmp_path / "in", texts)
    stage = Dedup.build({"levels": ["semantic"], "encoder": str(encoder), "cosine": 0.999}, "dedup")
    store = Store(tmp_path / "out")
    (receipt,) = stage.run(Inputs({"of": [source]}), store, Inline())
    assert receipt.reasons == {"dedup.semantic": 1} and receipt.notes["semantic"]["without"] == 2
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in encoder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    inputs = Inputs({"of": [source]})
    assert Dedup.build({"levels": ["semantic"], "encoder": str(moved), "cosine": 0.999}, "dedup").key(
        inputs
    ) == stage.key(inputs)
