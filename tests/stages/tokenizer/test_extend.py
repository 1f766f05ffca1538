"""Extended tokenizers of three families: no id moves, texts without new tokens are cut as before, every new token is reached."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import SourceError, UsageError, WorkError
from pipeline.options import content_hash
from pipeline.storage.store import Store
from stages.models.encoder import Encoder
from stages.models.fast_ids import DIFFICULT
from stages.tokenizer import Tokenizer, byte_level, patterns
from stages.tokenizer.commands import Extend

from .conftest import prose

N = 90
"""Tokens added."""
ENGLISH = [prose(n, "en") for n in range(80)] + ["def f(a): return a + 12  # <s>\n"]
CHECKED = [*DIFFICULT, *(prose(900 + n, lang) for n in range(6) for lang in ("ko", "en")), "맷돌stone할머니 2024년"]


def llama3(folder):
    """Byte-level, whole matches first, control tokens that stand beside the model alone."""
    write(folder, "llama3", "PreTrainedTokenizerFast", ignore_merges=True)


def qwen(folder):
    """Byte-level, trained merges in order, vocab.json and merges.txt beside it, a token in use that is not special."""
    page = write(folder, "qwen", "Qwen2Tokenizer", ignore_merges=False)
    (folder / "vocab.json").write_text(json.dumps(page["model"]["vocab"]))
    (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in page["model"]["merges"]))


def write(folder, family, kind, ignore_merges):
    plan = byte_level.BytePlan(600, patterns.expression(family), ("<|endoftext|>", "<call>"), "bytes", 1.0, False)
    tokens = byte_level.fit(plan, lambda: ENGLISH)
    byte_level.write(tokens, plan, folder, "{{ messages }}")
    page = json.loads((folder / "tokenizer.json").read_text())
    page["model"]["ignore_merges"] = ignore_merges
    page["added_tokens"][-1]["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(page))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, "tokenizer_class": kind, "extra_special_tokens": []})
    )
    return page


def llama2(folder):
    """SentencePiece with a blank in front and bytes to fall back to, opened and saved by transformers."""
    import io

    import sentencepiece
    from transformers import AutoTokenizer

    folder.mkdir()
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in ENGLISH for line in text.split("\n")]), model_writer=out, model_type="bpe", vocab_size=420,
        byte_fallback=True, normalization_rule_name="identity", split_digits=True, remove_extra_whitespaces=False, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(out.getvalue())
    said = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "legacy": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    AutoTokenizer.from_pretrained(str(folder)).save_pretrained(str(folder))
    (folder / "tokenizer.model").write_bytes(out.getvalue())


def own(folder):
    """The SentencePiece kind made here."""
    from stages.models.chat.templates import DEFAULT
    from stages.tokenizer import fit
    from stages.tokenizer import folder as export

    plan = fit.TrainerPlan(450, "bpe", ("<|user|>",), 1.0, True, False, 1000)
    export.write(
        fit.fit(plan, (line for text in ENGLISH for line in text.split("\n"))), folder, "bpe", ("<|user|>",), DEFAULT
    )
    (folder / "card.json").write_text(json.dumps({"format": "maetdol-tokenizer-1"}))


BASES = {"llama3": llama3, "qwen": qwen, "llama2": llama2, "own": own}


@pytest.fixture(scope="module", params=list(BASES))
def extended(request, tmp_path_factory, make_store):
    """(name of the family, folder of the base, store of the extension by N tokens learnt on Korean and English)."""
    root = tmp_path_factory.mktemp(request.param)
    BASES[request.param](root / "base")
    make_store(root / "docs", [prose(n, lang) for n in range(60) for lang in ("ko", "ko", "en")])
    Extend(
        base=str(root / "base"), store=str(root / "more"), corpus=[str(root / "docs")], tokens=N, sample_mb=0.03
    ).run()
    return request.param, root / "base", Store(root / "more")


def hub_of(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def ids_of(hub, texts):
    return hub(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_no_id_moves_and_texts_without_new_tokens_are_cut_as_before(extended):
    _, base, store = extended
    old, new = hub_of(base), hub_of(store.artefact())
    ids = old.get_vocab()
    assert {token: new.get_vocab()[token] for token in ids} == ids
    first = max(ids.values()) + 1
    assert sorted(set(new.get_vocab().values()) - set(ids.values())) == list(range(first, first + N))
    assert (new.bos_token_id, new.eos_token_id) == (old.bos_token_id, old.eos_token_id)
    untouched = 0
    for before, after in zip(ids_of(old, CHECKED), ids_of(new, CHECKED)):
        if max(after, default=0) < first:
            untouched += 1
            assert before == after
    assert untouched >= 10
    card = json.loads((store.artefact() / "card.json").read_text())["extension"]
    assert card["moved"] == 0 and card["words"] > 5 and card["added"] == card["asked"] == N


def test_every_new_token_is_reached_and_korean_takes_fewer(extended):
    _, base, store = extended
    old, new = hub_of(base), hub_of(store.artefact())
    texts = [prose(n, lang) for n in range(60) for lang in ("ko", "en")]
    alone = [new.decode([number]) for number in range(len(old), len(new))]
    seen = {number for ids in ids_of(new, texts + alone) for number in ids}
    card = json.loads((store.artefact() / "card.json").read_text())
    steps = set(range(len(new) - N, len(new))) - seen
    assert len(steps) <= card["extension"]["steps"] < N // 2
    merges = json.loads((store.artefact() / "tokenizer.json").read_text())["model"]["merges"]
    words = {word for pair in merges for word in (pair if isinstance(pair, list) else pair.split(" "))}
    assert set(new.convert_ids_to_tokens(sorted(steps))) <= words
    before, after = card["before"]["by_language"]["all"], card["measured"]["by_language"]["all"]
    assert after["fertility"] < 0.6 * before["fertility"] and after["exact"] == before["exact"]
    assert after["documents"] == before["documents"] > 0


def test_all_readers_agree(extended):
    name, _, store = extended
    folder = store.artefact()
    hub, encoder = hub_of(folder), Encoder(folder)
    expected = ids_of(hub, CHECKED)
    assert [ids.tolist() for ids in encoder.encode(CHECKED)] == expected
    ids, bounds = encoder.encode_column(pa.array(CHECKED, pa.large_string()))
    assert [ids[a:b].tolist() for a, b in zip(bounds, bounds[1:])] == expected
    assert [hub.decode(one) for one in expected[-13:]] == CHECKED[-13:]
    if name in ("llama2", "own"):
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        assert pieces.get_piece_size() == len(hub) and pieces.encode(CHECKED[-13:]) == expected[-13:]
    assert not {"vocab.json", "merges.txt"} & {path.name for path in folder.iterdir()}


def test_train_begins_new_rows_from_the_map(extended):
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    from stages.models.chat.templates import load_tokenizer
    from stages.train.embeddings import added, grow

    _, base, store = extended
    mine, theirs = load_tokenizer(store.artefact()), load_tokenizer(base)
    found, page = added(mine, theirs), json.loads((store.artefact() / "extension.json").read_text())
    assert {str(number): parts for number, parts in zip(found.ids, found.parts)} == page["tokens"] and len(
        found.ids
    ) == N
    assert all(parts and max(parts) < found.known for parts in found.parts)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=found.known, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=False
        )
    )  # fmt: skip
    before = model.get_input_embeddings().weight.detach().clone()
    grow(model, found, len(mine))
    row = model.get_input_embeddings().weight[found.ids[7]]
    assert torch.allclose(row, before[found.parts[7]].mean(0), atol=1e-6)


def test_through_pack_and_back_to_text(extended, tmp_path, make_store):
    from stages.pack import Pack

    _, _, store = extended
    texts = [prose(n, "ko") for n in range(12)]
    docs = make_store(tmp_path / "docs", texts)
    sink = Store(tmp_path / "packed")
    Pack(seq_len=64, holdout=0.0).run(Inputs({"of": [docs], "tokenizer": [store]}), sink, Inline())
    encoder = Encoder(store.artefact())
    found = {}
    for row in sink.table().to_pylist():
        for part in row["docs"]:
            found.setdefault(part["id"], {})[part["offset"]] = row["input_ids"][part["start"] : part["end"]]
    ids = [
        sum((parts[at] for at in sorted(parts)), [])
        for parts in (found[name] for name in docs.table()["id"].to_pylist())
    ]
    strip = 1 if encoder.bos is not None else 0
    assert [encoder.decode(np.asarray(one[strip:-1])) for one in ids] == texts
    assert any(number >= encoder.size - N for one in ids for number in one)


def test_the_same_again_and_what_the_corpus_does_not_hold_is_said(tmp_path, make_store, capsys):
    llama3(tmp_path / "base")
    make_store(tmp_path / "docs", ["맷돌 콩 맷돌 콩"] * 3)
    said = {"base": str(tmp_path / "base"), "corpus": [str(tmp_path / "docs")]}
    for name in ("one", "two"):
        Extend(**said, store=str(tmp_path / name)).run()
    assert content_hash(Store(tmp_path / "one").artefact()) == content_hash(Store(tmp_path / "two").artefact())
    assert "added of 8,192 asked for; the sample supports no more" in capsys.readouterr().out
    with pytest.raises(UsageError, match="there already"):
        Extend(**said, store=str(tmp_path / "one")).run()
    make_store(tmp_path / "none", ["a", "b"])
    with pytest.raises(WorkError, match="nothing to add"):
        Extend(base=said["base"], corpus=[str(tmp_path / "none")], store=str(tmp_path / "three")).run()


def test_a_root_knows_what_it_was_made_of(tmp_path, make_store):
    """A takedown, a report and a second extension find corpus and base by it."""
    from pipeline.inspection.inspect import stores_of

    own(tmp_path / "base")
    docs = make_store(tmp_path / "words", [prose(n, "ko") for n in range(60)])
    for base, name in (("base", "later"), ("later", "again")):
        Extend(
            base=str(tmp_path / base), store=str(tmp_path / name), corpus=[docs.path], tokens=8, sample_mb=0.03
        ).run()
    first, second = (Store(tmp_path / name).require()["lineage"] for name in ("later", "again"))
    assert first == {"of": [{"store": "words", "content_hash": docs.content_hash}], "base": []}
    assert second["of"] == first["of"] and [entry["store"] for entry in second["base"]] == ["later"]
    assert [store.name for store in stores_of(str(tmp_path))] == ["words", "later", "again"]


def test_what_cannot_be_extended_is_refused_with_the_reason(tmp_path, module_corpus, make_store):
    from tokenizers import Tokenizer as Library
    from tokenizers import models

    unigram = module_corpus(Tokenizer(vocab_size=700, model_type="unigram"))
    for name, model in {
        "wordpiece": models.WordPiece({"a": 0, "[UNK]": 1}),
        "clip": models.BPE(end_of_word_suffix="</w>"),
        "plain": models.BPE(),
    }.items():
        (tmp_path / name).mkdir()
        Library(model).save(str(tmp_path / name / "tokenizer.json"))
    make_store(tmp_path / "docs", ["콩"])
    for folder, reason in (
        (unigram, "unigram model"),
        (tmp_path / "wordpiece", "longest piece"),
        (tmp_path / "clip", "spelled otherwise at the end"),
        (tmp_path / "plain", "neither byte-level"),
    ):
        with pytest.raises(UsageError, match=reason):
            Extend(base=str(folder), corpus=[str(tmp_path / "docs")], store=str(tmp_path / "out")).run()
    with pytest.raises(SourceError, match="no tokenizer at"):
        Extend(base=str(tmp_path / "gone"), corpus=[str(tmp_path / "docs")], store=str(tmp_path / "out")).run()


def test_merges_in_front_of_the_bases_are_found(extended):
    """The measure of what is cut otherwise, with the fault put in: a pair within a word that the base has whole."""
    from stages.tokenizer import extend

    if extended[0] not in ("qwen", "own"):
        pytest.skip("words that are tokens are taken whole (llama3), or the base has each of these pairs (llama2)")
    opened = extend.opened(extended[1])
    pair = next([a, b] for a, b in ("ra", "to", "wh", "lo", "mi", "gr", "ai") if a + b not in opened.vocabulary)
    page = extend.page_of(opened, ["".join(pair)], [pair])
    assert extend.moved(opened, page, ENGLISH)[1] == 0
    page["model"]["merges"].insert(0, page["model"]["merges"].pop())
    assert extend.moved(opened, page, ENGLISH)[1] > 0
