"""Byte-level BPE: the same ids by tokenizers, transformers and tiktoken; what its options promise of every token."""

import base64
import json
import lzma
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import OptionError, UsageError, WorkError
from pipeline.options import content_hash
from stages.models.byte_letters import is_part
from stages.models.encoder import Encoder, own_library
from stages.models.fast_ids import DIFFICULT
from stages.tokenizer import Tokenizer, patterns

KINDS = {
    "gpt4o": {"pattern": "gpt4o"},
    "llama3": {"pattern": "llama3"},
    "qwen": {"pattern": "qwen"},
    "eojeol": {"pattern": "llama3", "digits": "one", "hangul": "eojeol", "characters": "whole"},
    "particle": {"pattern": "gpt4o", "hangul": "particle", "characters": "hangul", "vocab_size": 12_400},
}
TEXTS = [
    *DIFFICULT,
    "콩을API를 갈아서 두부와 2024년",
    "맷돌은 곡식을 가는 돌이다. 마을에서는 아침부터 저녁까지",
    "뷁 힣 㐀",
]


@pytest.fixture(scope="module", params=list(KINDS))
def opened(request, module_corpus):
    """(name of the kind, folder, transformers' tokenizer, tiktoken's encoding)."""
    from transformers import AutoTokenizer

    folder = module_corpus(Tokenizer(**{"vocab_size": 700, **KINDS[request.param]}, model_type="byte_bpe"))
    return request.param, folder, AutoTokenizer.from_pretrained(str(folder)), _tiktoken(folder)


def _tiktoken(folder):
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'maetdol[test]'")
    said = json.loads((folder / "tiktoken.json").read_text())
    rows = (line.split() for line in (folder / "ranks.tiktoken").read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    return tiktoken.Encoding("it", mergeable_ranks=ranks, **said)


def ids_of(hub, texts):
    return hub(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_all_libraries_give_the_same_ids_and_the_text_again(opened):
    _, folder, hub, ranks = opened
    expected = ids_of(hub, TEXTS)
    assert [ranks.encode_ordinary(text) for text in TEXTS] == expected
    encoder = Encoder(folder)
    assert [ids.tolist() for ids in encoder.encode(TEXTS)] == expected
    ids, bounds = encoder.encode_column(pa.array(TEXTS, pa.large_string()))
    assert [ids[a:b].tolist() for a, b in zip(bounds, bounds[1:])] == expected
    assert [encoder.decode(np.asarray(one)) for one in expected] == TEXTS == [ranks.decode(one) for one in expected]
    assert ranks.encode("<|user|>a", allowed_special="all") == hub("<|user|>a", add_special_tokens=False)["input_ids"]
    assert ranks.n_vocab == len(hub) == encoder.size


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(st.sampled_from("콩을갈아는 \n\r\tab'sS12.-ǅ"), max_size=60))
def test_any_text(opened, text):
    _, _, hub, ranks = opened
    (ids,) = ids_of(hub, [text])
    assert ranks.encode_ordinary(text) == ids and hub.decode(ids) == text


def test_real_text(opened, shared):
    _, _, hub, ranks = opened
    with lzma.open(shared / "C-nsmc-reviews.jsonl.xz", "rt") as rows:
        texts = [json.loads(next(rows))["text"] for _ in range(2000)]
    with lzma.open(shared / "C-cpp-docs-ko.jsonl.xz", "rt") as rows:
        texts += [json.loads(next(rows))["markdown"] for _ in range(30)]
    with lzma.open(shared / "G-udhr-532.jsonl.xz", "rt") as rows:
        texts += ["\n".join(json.loads(row)["paras"][:6]) for row in list(rows)[::15]]
    assert ids_of(hub, texts) == [ranks.encode_ordinary(text) for text in texts]


def test_whole_characters(opened):
    """Only parts of one character end inside one, unless tokens are of bytes; every syllable is a token under `hangul`."""
    name, _, hub, ranks = opened
    tokens = [ranks.decode_single_token_bytes(number) for number in range(ranks.n_vocab)]
    across = [token for token in tokens if is_part(token) and any(byte & 0xC0 != 0x80 for byte in token[1:])]
    if KINDS[name].get("characters", "bytes") == "bytes":
        return
    assert not across
    alone = [len(ids) for ids in ids_of(hub, [chr(code) for code in range(0xAC00, 0xD7A4)])]
    assert (max(alone) == 1) == (KINDS[name]["characters"] == "hangul")


def test_borders_of_hangul():
    import regex

    def cut(text, hangul, family="gpt4o"):
        form = patterns.expression(family, None, hangul)
        parts = regex.findall(form, text, regex.V1)
        assert "".join(parts) == text
        return parts

    assert cut("API를 (한글)은", "pattern") == ["API를", " (", "한글", ")은"]
    assert cut("API를 (한글)은", "eojeol") == ["API", "를", " (", "한글", ")", "은"]
    assert cut("집에서는 API를 물과", "particle") == ["집", "에서는", " API", "를", " 물", "과"]
    assert cut("밖으로 나간다", "particle", "llama3") == ["밖", "으로", " 나간다"]


def test_digits():
    assert patterns.expression("llama3", "one") == patterns.expression("qwen")
    assert patterns.expression("qwen", "three") == patterns.expression("llama3")
    assert r"|\p{N}|" in patterns.expression("gpt4o", "one")


def test_same_bytes_whatever_the_shards_and_their_order(mixed, corpus, train):
    texts = [(row["lang"], row["text"]) for row in mixed.table().to_pylist()]
    for options in ({"pattern": "qwen"}, {"characters": "whole"}):
        stage = Tokenizer(vocab_size=600, model_type="byte_bpe", **options)
        name = next(iter(options))
        models = {
            content_hash(train(stage, corpus(some, shards, f"{name}{n}"), f"{name}-{n}").artefact() / "tokenizer.json")
            for n, (some, shards) in enumerate(((texts, 1), (texts, 3), (texts[::-1], 2), (texts, 1)))
        }
        assert len(models) == 1


def test_the_card_compares_on_the_same_documents(mixed, train, tmp_path):
    other = train(Tokenizer(vocab_size=450), mixed, "sentencepiece")
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store

    sink = Store(tmp_path / "bytes")
    stage = Tokenizer(vocab_size=600, model_type="byte_bpe", sample_mb=0.02)
    stage.run(Inputs({"of": [mixed], "beside": [other]}), sink, Inline())
    card = json.loads((sink.artefact() / "card.json").read_text())
    mine, theirs = card["measured"]["by_language"], card["beside"]["sentencepiece"]["by_language"]
    assert {lang: cost["bytes"] for lang, cost in mine.items()} == {
        lang: cost["bytes"] for lang, cost in theirs.items()
    }
    assert all(cost["exact"] == cost["documents"] > 0 for cost in [*mine.values(), *theirs.values()])
    assert mine["ko"]["part_share"] >= mine["ko"]["byte_share"] and mine["ko"]["tokens"] < theirs["ko"]["tokens"]
    begin = card["vocab_size"] - 7
    assert card["ids"] == {"unk": None, "bos": begin, "eos": begin + 1, "pad": begin + 2}
    assert card["options"]["pattern"] == "gpt4o" and card["limited_by_corpus"] == (card["vocab_size"] < 600)
    assert "split_digits" not in card["options"]
    page = (sink.artefact() / "README.md").read_text()
    assert page.count("| sentencepiece | ") == 3 == page.count("| this one | ")
    assert set(sink.receipt("artefact").notes["mb_per_cpu_s"]) == {"this", "sentencepiece"}


def test_too_large_a_vocabulary_is_said(corpus, train):
    store = corpus([("en", "stone water stone water wheel")])
    made = train(Tokenizer(model_type="byte_bpe"), store).artefact()
    card = json.loads((made / "card.json").read_text())
    assert card["limited_by_corpus"] and 263 < card["vocab_size"] < 300
    assert "supports no more" in (made / "README.md").read_text()
    with pytest.raises(UsageError, match=r"set vocab_size to at most \d+"):
        train(Tokenizer(model_type="byte_bpe", hard_limit=True), store)


def test_what_cannot_be_is_refused(corpus, train):
    with pytest.raises(OptionError, match="does not hold the characters"):
        train(Tokenizer(model_type="byte_bpe", characters="hangul", vocab_size=5000), corpus([("ko", "콩 콩")]))
    with pytest.raises(WorkError, match="no text"):
        train(Tokenizer(model_type="byte_bpe"), corpus([("ko", "")], name="none"))
    for bad in (
        {"model_type": "byte_bpe", "split_digits": False},
        {"pattern": "qwen"},
        {"model_type": "byte_bpe", "character_coverage": 0.9},
        {"model_type": "byte_bpe", "symbols": ["<|pad|>"]},
    ):
        with pytest.raises(OptionError):
            Tokenizer.build(bad, "tokenizer")


def test_marks_are_the_librarys_offsets(opened):
    """Counted from bytes, without encoding the text again."""
    _, folder, hub, _ = opened
    encoder = Encoder(folder)
    for text in filter(None, TEXTS):
        (ids,) = encoder.encode([text])
        expected = [start for start, _ in hub.backend_tokenizer.encode(text, add_special_tokens=False).offsets]
        if len(expected) == len(ids):
            assert encoder.marks(text, ids).tolist() == [*expected, len(text)]


def test_it_opens_without_transformers_as_transformers_opens_it(opened, monkeypatch):
    _, folder, hub, _ = opened
    monkeypatch.setitem(sys.modules, "transformers", None)
    encoder = Encoder(folder)
    assert (encoder.bos, encoder.eos, encoder.pad) == (hub.bos_token_id, hub.eos_token_id, hub.pad_token_id)
    mine, theirs = (json.loads(one.to_str()) for one in (encoder._hub, hub.backend_tokenizer))
    assert {name for name in mine if mine[name] != theirs[name]} == {"post_processor"}  # which adds nothing in either


@pytest.mark.parametrize("added", ["a token", "a file", "another class", "another card"])
def test_what_was_added_to_a_folder_is_read_by_transformers(opened, tmp_path, added):
    _, folder, _, _ = opened
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config, size = copy / "tokenizer_config.json", Encoder(folder).size
    page = json.loads(config.read_text())
    if added == "a token":
        config.write_text(json.dumps(page | {"extra_special_tokens": [*page["extra_special_tokens"], "<|new|>"]}))
    elif added == "a file":
        (copy / "added_tokens.json").write_text(json.dumps({"<|new|>": size}))
    elif added == "another class":
        config.write_text(json.dumps(page | {"tokenizer_class": "GPT2TokenizerFast"}))
    else:
        (copy / "card.json").write_text("[]")
    assert own_library(folder) and own_library(copy) is None
    if added == "a token":
        assert Encoder(copy).size == size + 1
