"""Texts and token ids gone on with, through OpenAI's own client, held against what the model itself says of them."""

import asyncio

import httpx
import pytest

from stages.models.inference.generate import SamplingParams
from stages.models.inference.token_scores import TokenBytes
from tests.stages.serve.scripted import CHANNELS, MARKS, ScriptedModel, running
from tests.stages.serve.test_tools import template

torch = pytest.importorskip("torch")
openai = pytest.importorskip("openai")
TEXTS = ["3: how do you call 콩?", "What is a mill"]


def asked(generator, **request):
    async def go(client):
        got = await client().completions.create(model="mill", **request)
        return [chunk async for chunk in got] if request.get("stream") else got

    with running(generator) as client:
        return asyncio.run(go(client))


def scores(generator, ids):
    """Log-probabilities of every token but the first by one forward pass, and of the likeliest two in its place."""
    with torch.inference_mode():
        found = generator.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return found.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist(), found.topk(2).values.tolist()


def encoded(generator, text):
    return [generator.tokenizer.bos_token_id, *generator.tokenizer(text, add_special_tokens=False)["input_ids"]]


def test_a_text_is_gone_on_with_as_the_model_does(answering):
    got = asked(answering, prompt=TEXTS[0], max_tokens=12, temperature=0)
    [[made]] = answering.complete(TEXTS[:1], SamplingParams(12))
    assert got.object == "text_completion" and got.id.startswith("cmpl-")
    assert got.choices[0].text.strip() == made.text.strip() and got.choices[0].finish_reason == made.finish
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (made.prompt_tokens, made.tokens)
    assert asked(answering, prompt=TEXTS[1], temperature=1.9, seed=1).usage.completion_tokens == 16, "OpenAI's number"


def test_the_blank_between_a_text_and_what_follows_it_is_kept(answering):
    """The tokens behind the text, decoded with it: what a decoder of SentencePiece leaves out in front of a text stands here."""
    got = asked(answering, prompt=TEXTS[1], max_tokens=10, temperature=0, echo=True, logprobs=0).choices[0]
    tokens = b"".join(token.encode() for token in got.logprobs.tokens if not token.startswith("bytes:")).decode()
    assert got.text.startswith(TEXTS[1]) and tokens.endswith(got.text[len(TEXTS[1]) :])
    streamed = asked(answering, prompt=TEXTS[1], max_tokens=10, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == got.text[len(TEXTS[1]) :]


def test_texts_and_ids_are_the_same_and_are_answered_in_their_order(answering):
    ids = [encoded(answering, text) for text in TEXTS]
    how = {"max_tokens": 8, "temperature": 1.3, "seed": 4, "n": 2}
    texts = asked(answering, prompt=TEXTS, **how)
    assert [choice.index for choice in texts.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in texts.choices] == [choice.text for choice in asked(answering, prompt=ids, **how).choices]  # fmt: skip
    for number, one in enumerate(ids):
        alone = asked(answering, prompt=one, **how)
        assert [choice.text for choice in alone.choices] == [choice.text for choice in texts.choices[2 * number :][:2]]
    assert texts.usage.prompt_tokens == sum(map(len, ids))
    assert len({choice.text for choice in texts.choices}) > 2
    bare = asked(answering, prompt=TEXTS[0], extra_body={"add_special_tokens": False}, **how)
    assert bare.usage.prompt_tokens == len(ids[0]) - 1
    twice = answering.tokenizer.bos_token + TEXTS[0]
    assert asked(answering, prompt=twice, **how).usage.prompt_tokens == len(ids[0]), "it has its opening already"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_tokens", [0, 1, 6])
def test_the_scores_of_an_echoed_prompt_are_those_of_one_forward_pass(answering, max_tokens, stream):
    """What lm-evaluation-harness asks of `local-completions`: token ids, echo, logprobs, one token at most."""
    ids = encoded(answering, TEXTS[0])
    got = asked(answering, prompt=[ids], max_tokens=max_tokens, temperature=0, echo=True, logprobs=2, stream=stream)
    parts = [chunk.choices[0].logprobs for chunk in got if chunk.choices[0].logprobs] if stream else [got.choices[0].logprobs]  # fmt: skip
    tokens, values, tops, offsets = ([one for part in parts for one in getattr(part, name)] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"))  # fmt: skip
    by_bytes = TokenBytes(answering.tokenizer)
    made = [next(n for n in range(len(answering.tokenizer)) if by_bytes(n).decode("utf-8", "ignore") == word) for word in tokens[len(ids) :]]  # fmt: skip
    assert len(tokens) == len(ids) + len(made) and len(made) <= max_tokens and (max_tokens == 0 or made)
    assert values[0] is None and tops[0] is None
    right, likeliest = scores(answering, ids + made)
    assert values[1:] == pytest.approx(right, abs=1e-4)
    for top, best in zip(tops[1:], likeliest):
        assert sorted(top.values(), reverse=True)[:2] == pytest.approx(best, abs=1e-4)
    assert all(token in top for token, top in zip(tokens[1:], tops[1:])), "the one that was taken is among them"
    text = "".join(chunk.choices[0].text for chunk in got) if stream else got.choices[0].text
    assert offsets == sorted(offsets) and offsets[-1] < len(text)


def test_offsets_of_a_text_are_its_own_characters(answering):
    got = asked(answering, prompt=TEXTS[0], max_tokens=3, temperature=0, echo=True, logprobs=0).choices[0]
    found = answering.tokenizer(TEXTS[0], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert got.logprobs.text_offset[: len(found) + 1] == [0, *(start for start, _ in found)]
    assert got.logprobs.text_offset[len(found) + 1] == len(TEXTS[0])


def test_parts_of_a_character_are_told_apart_and_a_stop_string_is_cut(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says("콩 STOP and more")
    got = asked(model.generator, prompt="a", stop="STOP", logprobs=1, max_tokens=64).choices[0]
    assert (got.text, got.finish_reason) == ("콩 ", "stop")
    assert got.logprobs.tokens[:3] == [f"bytes:\\x{byte:02x}" for byte in "콩".encode()]
    assert got.logprobs.text_offset[3:5] == [1, 2]


def test_a_text_of_a_model_with_channels_is_not_taken_apart(tmp_path):
    model = ScriptedModel(tmp_path, template("gptoss"), CHANNELS)
    for stream in (False, True):
        model.says("<|channel|>analysis<|message|>hm<|end|>so")
        got = asked(model.generator, prompt="<|start|>assistant", max_tokens=64, stream=stream)
        assert ("".join(one.choices[0].text for one in got) if stream else got.choices[0].text) == "analysishmso"
    model.says("so")
    usage = asked(model.generator, prompt="<|start|>assistant").usage
    assert usage.prompt_tokens == 1 + 1 + len("assistant"), "the opening, and the control token as one"


REFUSED = [
    ({}, "prompt: Field required"),
    ({"prompt": []}, "prompt: a text, token ids, or a list of either"),
    ({"prompt": ["a", [1]]}, "prompt: a text, token ids"),
    ({"prompt": [True]}, "prompt: a text, token ids"),
    ({"prompt": [10**9]}, "prompt: token ids of this model are 0 to"),
    ({"prompt": [[]]}, "the prompt is empty"),
    ({"prompt": "콩 " * 300}, "tokens, the context"),
    ({"prompt": ["a"] * 100, "n": 64}, "more than 4,096 answers"),
    ({"prompt": "a", "max_tokens": 0}, "max_tokens: 0 is for requests with echo"),
    ({"prompt": "a", "suffix": "b"}, "suffix: is not supported here"),
    ({"prompt": "a", "best_of": 2}, "best_of: is not supported here"),
    ({"prompt": "a", "logit_bias": {"1": 1}}, "logit_bias: is not supported here"),
    ({"prompt": "a", "logprobs": 21}, "logprobs: Input should be less"),
]


@pytest.mark.parametrize("body, words", REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_done_is_refused_by_name(answering, body, words):
    async def go(client):
        http = client()._client
        return await http.post("http://localhost/v1/completions", json=body)

    with running(answering) as client:
        got = asyncio.run(go(client))
    assert isinstance(got, httpx.Response) and got.status_code == 400 and words in got.json()["error"]["message"]
