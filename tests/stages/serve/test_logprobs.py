"""Log-probabilities of tokens: those of one forward pass over the whole, streamed or not, whatever shapes the draw."""

import asyncio

import pytest

from stages.models.inference.token_scores import TokenBytes
from tests.stages.serve.scripted import MARKS, ScriptedModel, running
from tests.stages.serve.test_tools import template

torch = pytest.importorskip("torch")
pytest.importorskip("openai")
ASKED = [{"role": "user", "content": "3: how do you call 콩?"}]


def asked(generator, **request):
    async def go(client):
        got = await client().chat.completions.create(model="mill", messages=ASKED, **request)
        return [chunk async for chunk in got] if request.get("stream") else got

    with running(generator) as client:
        return asyncio.run(go(client))


def plain(generator, content):
    """Log-probabilities that one forward pass gives to the tokens of `content` behind the prompt, and the likeliest two beside each."""
    prompt = generator.chat_template.prompt(ASKED)
    words = [bytes(one.bytes) for one in content]
    spelled = {TokenBytes(generator.tokenizer)(token): token for token in range(len(generator.tokenizer))}
    ids = [spelled[word] for word in words]
    with torch.inference_mode():
        scores = generator.model(torch.tensor([[*prompt.tolist(), *ids]])).logits[0, len(prompt) - 1 : -1]
    scores = scores.log_softmax(-1)
    return scores.gather(-1, torch.tensor(ids)[:, None])[:, 0].tolist(), scores.topk(2).values.tolist()


@pytest.mark.parametrize(
    "drawn", [{"temperature": 0}, {"temperature": 1.5, "seed": 3, "presence_penalty": 1.0, "frequency_penalty": 0.5}]
)
def test_they_are_those_of_one_forward_pass(answering, drawn):
    got = asked(answering, max_tokens=12, logprobs=True, top_logprobs=2, **drawn).choices[0]
    content = got.logprobs.content
    assert b"".join(bytes(one.bytes) for one in content).decode("utf-8", "replace").lstrip() == got.message.content
    chances, likeliest = plain(answering, content)
    assert [one.logprob for one in content] == pytest.approx(chances, abs=1e-4)
    assert [[top.logprob for top in one.top_logprobs] for one in content] == [pytest.approx(row, abs=1e-4) for row in likeliest]  # fmt: skip
    if drawn["temperature"] == 0:
        assert all(one.token == one.top_logprobs[0].token for one in content)


def test_streamed_they_come_with_their_pieces(answering):
    request = {"max_tokens": 12, "logprobs": True, "top_logprobs": 1, "temperature": 1.2, "seed": 4, "n": 2}
    whole = asked(answering, **request)
    chunks = asked(answering, stream=True, **request)
    for choice in whole.choices:
        mine = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        content = [token for one in mine if one.logprobs for token in one.logprobs.content]
        assert content == choice.logprobs.content
        early = next(one for one in mine if one.delta.content and one.logprobs)
        text = b"".join(bytes(token.bytes) for token in early.logprobs.content).decode("utf-8", "replace")
        assert text.lstrip().startswith(early.delta.content)


def test_none_where_none_are_wanted_and_none_of_the_likeliest(answering):
    assert asked(answering, max_tokens=4, temperature=0).choices[0].logprobs is None
    got = asked(answering, max_tokens=4, temperature=0, logprobs=True).choices[0].logprobs.content
    assert len(got) > 1 and all(one.top_logprobs == [] for one in got)


def test_parts_of_a_character_are_bytes_and_a_stop_string_ends_them(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says("콩 STOP and more")
    got = model.ask(logprobs=True, stop=["STOP"])
    content = got.choices[0].logprobs.content
    assert [one.bytes for one in content[:3]] == [[byte] for byte in "콩".encode()] and content[0].token == "\ufffd"
    assert b"".join(bytes(one.bytes) for one in content).decode() == "콩 STOP"
    assert got.choices[0].message.content == "콩 " and got.usage.completion_tokens == len(content)


def test_reasoning_and_calls_are_scored_too(tmp_path):
    from tests.stages.serve.test_tools import HERMES, TOOLS

    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    for stream in (False, True):
        model.says(f"<think>\nhm\n</think>\n\n{HERMES}")
        got = model.ask(tools=TOOLS, max_tokens=400, logprobs=True, stream=stream)
        content = [token for chunk in got if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content] if stream else got.choices[0].logprobs.content  # fmt: skip
        assert b"".join(bytes(one.bytes) for one in content).decode() == f"<think>\nhm\n</think>\n\n{HERMES}"


def test_bytes_of_tokens_of_a_sentencepiece_tokenizer():
    from tests.stages.models.inference.test_streamed import byte_fallback

    tokenizer = byte_fallback.__wrapped__()
    spell = TokenBytes(tokenizer)
    ids = tokenizer("the mill 돌콩", add_special_tokens=False)["input_ids"]
    assert b"".join(map(spell, ids)).decode() == " the mill 돌콩"
    assert spell(tokenizer.eos_token_id) == b"</s>" and spell(10**6) == b""
