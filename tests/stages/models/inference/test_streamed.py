"""Pieces of an answer, joined, are the answer; characters come whole, stop strings never show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from stages.models.inference.generate import Generator, SamplingParams
from stages.models.inference.streamed import Listener, Pieces, begun, spelled
from stages.serve.answering import Parting

ASKED = [
    [{"role": "user", "content": text}] for text in ("3: how do you call 콩?", "밀는 영어로?", "5: how do you call 쌀?")
]
TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("가힣맷돌 🌾ᄀ\u1161\n"), max_size=40)


@pytest.fixture(scope="module")
def generator(base_store, sft_store):
    return Generator(base_store.artefact(), [sft_store.artefact()], threads=1, batch=2)


@pytest.fixture(scope="module")
def byte_fallback():
    """A tokenizer of SentencePiece's kind: words with a blank in front, single bytes for what it does not know."""
    from transformers import PreTrainedTokenizerFast

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "▁mill", "▁", "돌", "stone"]
    merges = [("▁", "the"), ("▁", "mill")]
    raw = Tokenizer(
        models.BPE(
            {word: n for n, word in enumerate([*words, "the", "mill"])}, merges, unk_token="<unk>", byte_fallback=True
        )
    )
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="</s>")


def said(pieces, ids):
    return [pieces.add(token) for token in ids]


@settings(deadline=None)
@given(TEXT)
def test_pieces_joined_are_the_text(tokenizer, byte_fallback, text):
    for one in (tokenizer, byte_fallback):
        ids = one(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        whole, pieces = one.decode(ids, skip_special_tokens=True), Pieces(one)
        told = said(pieces, ids)
        if "\ufffd" not in whole:
            assert not any("\ufffd" in piece for piece in told)
        assert "".join(told) + pieces.rest(whole) == whole == pieces.emitted


@settings(deadline=None)
@given(TEXT, st.integers(0, 12))
def test_what_goes_on_with_a_text_is_the_rest_of_both_together(tokenizer, byte_fallback, text, at):
    """With the blank in front that a decoder takes away from a text of its own."""
    for one in (tokenizer, byte_fallback):
        ids = one(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        behind, more = ids[:at], ids[at:]
        before = one.decode(behind, skip_special_tokens=True)
        if not before.endswith("\ufffd"):
            pieces = Pieces(one, behind=behind)
            whole = spelled(one, more, behind=behind)
            assert before + whole == one.decode(ids, skip_special_tokens=True)
            assert "".join(said(pieces, more)) + pieces.rest(whole) == whole


@settings(deadline=None)
@given(TEXT, st.lists(st.text("ab가\n ", min_size=1, max_size=4), max_size=3))
def test_a_stop_string_ends_the_pieces_where_it_stands(tokenizer, text, words):
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    cut = min((whole.find(word) for word in words if word in whole), default=len(whole))
    pieces = Pieces(tokenizer, words)
    told = "".join(said(pieces, ids)) + ("" if pieces.ended else pieces.rest(whole))
    assert told == whole[:cut]


def test_bytes_that_are_no_character_do_not_wait_for_ever(tokenizer):
    [byte] = tokenizer.convert_tokens_to_ids(["Ģ"])  # 0x80: no beginning of a character
    pieces = Pieces(tokenizer)
    told = said(pieces, [byte] * 100)
    assert sum(map(len, told)) > 50 and set("".join(told)) == {"\ufffd"}


def test_what_may_begin_a_stop_string_waits():
    assert begun("a\n", ["\n\n"]) == 1 and begun("ab", ["abc", "bcd"]) == 2 and begun("ab", ["x"]) == 0


@pytest.mark.parametrize(
    "sampling", [SamplingParams(24), SamplingParams(16, temperature=1.5, seed=5), SamplingParams(24, stop=(" is",))]
)
def test_streamed_answers_are_those_that_are_not(generator, sampling):
    plain = generator.chat(ASKED, sampling, n=2)
    heard: dict = {}

    def told(row, sample, piece):
        heard.setdefault((row, sample), []).append(piece)
        return True

    streamed = generator.chat(ASKED, sampling, n=2, on_text=told)
    assert [[one.text for one in row] for row in streamed] == [[one.text for one in row] for row in plain]
    texts = {(row, sample): one.text for row, made in enumerate(plain) for sample, one in enumerate(made) if one.text}
    assert {at: "".join(pieces) for at, pieces in heard.items()} == texts
    assert sampling.stop or max(map(len, heard.values())) > 2  # token by token, not at the end


def test_nothing_more_is_computed_when_nothing_is_wanted(generator):
    heard = []
    made = generator.chat(ASKED[:1], SamplingParams(24), on_text=lambda *piece: heard.append(piece) or len(heard) < 2)
    assert made[0][0].tokens <= 4 and made[0][0].finish == "length"


def test_every_conversation_draws_from_its_own_seed(generator):
    sampling = SamplingParams(16, temperature=1.5)
    together = generator.chat(ASKED, sampling, seeds=[5, 6, 5])
    alone = [generator.chat([one], sampling._replace(seed=seed))[0] for one, seed in zip(ASKED, (5, 6, 5))]
    assert together == alone
    assert together != generator.chat(ASKED, sampling, seeds=[6, 6, 5])


def test_a_draft_model_and_streaming_are_refused(generator, base_store):
    drafted = Generator(base_store.artefact(), threads=1, draft=base_store.artefact())
    with pytest.raises(UsageError, match="draft"):
        drafted.chat(ASKED[:1], SamplingParams(4), on_text=lambda *_: True)


def test_a_listener_stops_a_batch_when_all_rows_have_ended(tokenizer):
    import torch

    ends = {tokenizer.eos_token_id}
    listener = Listener([Pieces(tokenizer), Pieces(tokenizer)], [lambda _: True] * 2, ends)
    ids = torch.zeros(2, 3, dtype=torch.long)
    listener.put(ids)
    listener.put(torch.tensor([tokenizer.eos_token_id, 20]))
    assert not listener(ids, None).any()
    listener.put(torch.tensor([20, tokenizer.eos_token_id]))
    assert listener(ids, None).all() and listener.rows[0].ids == []
    assert np.array_equal(listener.rows[1].ids, [20])


@pytest.fixture(scope="module")
def gptoss():
    """gpt-oss's own chat template over a tokenizer of one token a byte."""
    from stages.models.chat.templates import Chat
    from tests.stages.models.chat.test_turns import TEMPLATES, letters

    template = next((path for path in TEMPLATES if path.stem == "gptoss"), None)
    if template is None:
        pytest.skip("TRL, which brings gpt-oss's template, is not installed")
    tokenizer = letters.__wrapped__()
    marks = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    return Chat(tokenizer, template.read_text("utf-8"))


@pytest.mark.parametrize(
    "reasoning, wanted",
    [(None, "넷 🌾 <b>"), ("둘에 둘을 더하면?", "<think>둘에 둘을 더하면?</think>넷 🌾 <b>")],
)
def test_channels_of_gpt_oss_are_told_as_reasoning_and_answer(gptoss, reasoning, wanted):
    """What the template writes as an answer is what the model generates: its marks are control tokens, its channels' names text."""
    talk = [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "넷 🌾 <b>", "reasoning": reasoning},
    ]
    encoded = gptoss.encode(talk)
    ids = encoded.ids[len(gptoss.prompt(talk[:1])) :].tolist()
    ids = ids[: next(at for at, token in enumerate(ids) if token in gptoss.stops())]
    plain = gptoss.tokenizer.decode(ids, skip_special_tokens=True)
    assert "final" in plain and "<think>" not in plain, "what decoding alone makes of it"
    assert spelled(gptoss.tokenizer, ids) == wanted
    pieces = Pieces(gptoss.tokenizer)
    assert "".join(said(pieces, ids)) + pieces.rest(wanted) == wanted
    part = Parting()
    told = [piece for token in said(Pieces(gptoss.tokenizer), ids) for piece in part.add(token)]
    told += part.add("", last=True)
    assert "".join(one.text for one in told if one.thought) == (reasoning or "")
    assert "".join(one.text for one in told if not one.thought) == "넷 🌾 <b>"
