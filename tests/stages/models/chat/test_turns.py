"""The mask of every template TRL ships is the answer and its end, character by character."""

import copy
import importlib.util
import re
from pathlib import Path

import pytest

from stages.models.chat.templates import Chat, ChatFault, dated

FOUND = importlib.util.find_spec("trl")
TEMPLATES = sorted((Path(FOUND.origin).parent / "chat_templates").glob("*.jinja")) if FOUND else []
U, A, S = ({"role": role, "content": ""} for role in ("user", "assistant", "system"))
TALK = [
    {**U, "content": "첫 질문?"},
    {**A, "content": "첫 답 🌾."},
    {**U, "content": "second?"},
    {**A, "content": "second answer."},
]


@pytest.fixture(scope="module")
def letters():
    """A tokenizer of one token a byte, so that the mask shows every character."""
    from transformers import PreTrainedTokenizerFast

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    raw = Tokenizer(
        models.BPE(vocab={c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def trained(chat, messages, **more):
    encoded = chat.encode(messages, **more)
    return chat.tokenizer.decode(encoded.ids[encoded.trained].tolist())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_template_trains_the_answers_and_their_ends(path, letters, trained_text):
    chat = Chat(letters, path.read_text("utf-8"))
    both = ["첫 답 🌾.", "second answer."]
    assert trained(chat, TALK) == trained_text(path.stem, both)
    assert trained(chat, TALK[:2]) == trained_text(path.stem, both[:1])
    assert trained(chat, [{**S, "content": " \n"}, *TALK]) == trained_text(path.stem, both), (
        "an empty system turn is none"
    )
    assert (
        trained(chat, [*TALK[:1], {**TALK[1], "train": False}, *TALK[2:]])
        == trained_text(path.stem, both[1:])
        == trained(chat, TALK, turns=1)
    )
    with_system = [{**S, "content": "Be brief."}, *TALK]
    if path.stem in ("gemma", "gemma_training"):
        with pytest.raises(ChatFault, match="chat.system"):
            chat.encode(with_system)
    else:
        assert trained(chat, with_system) == trained_text(path.stem, both)


QWEN = (
    "{% for m in messages %}<|{{m.role}}|>\n{% if m.role=='assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA2 = "{% for m in messages %}{% if m.role=='user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
ENDED = "{{ bos_token }}{% for m in messages %}<|{{m.role}}|>{{ m.content }}<pad>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def test_rewritten_turns_and_a_begin_token_each_turn(letters):
    assert trained(Chat(letters, QWEN), TALK) == "첫 답 🌾.</s><think>\n\n</think>\n\nsecond answer.</s>"
    assert trained(Chat(letters, LLAMA2), TALK) == " 첫 답 🌾. </s> second answer. </s>"


def test_an_answer_stops_where_the_template_ends_it(letters):
    assert Chat(letters, ENDED).stops() == sorted([letters.pad_token_id, letters.eos_token_id])
    assert Chat(letters, QWEN).stops() == [letters.eos_token_id]


def test_a_date_is_fixed(letters, monkeypatch):
    asks = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }} {{ strftime_now(\"%Y-%m\") }}{% endif %}" + QWEN
    )
    said = Chat(letters, asks).render(TALK)
    assert said.startswith("26 Jul 2024 2024-07<|user|>") and dated(dated(asks)) == dated(asks)
    assert Chat(letters, "\n" + asks).render(TALK) == "\n" + said, "nothing else moves"


CALL = [
    TALK[0],
    {**A, "tool_calls": [{"id": "c12345678", "name": "look", "arguments": '{"q": "x"}'}]},
    {"role": "tool", "content": "21 C", "name": "look", "tool_call_id": "c12345678"},
    TALK[3],
]


@pytest.mark.parametrize(
    "name, mask",
    [
        (
            "qwen2_5",
            '<tool_call>\n{"name": "look", "arguments": {"q": "x"}}\n</tool_call><|im_end|>second answer.<|im_end|>',
        ),
        (
            "gptoss",
            ' to=functions.look<|channel|>commentary json<|message|>{"q": "x"}<|call|><|channel|>final<|message|>second answer.<|return|>',
        ),
        (
            "glm4moe",
            "\n<think></think>\n<tool_call>look\n<arg_key>q</arg_key>\n<arg_value>x</arg_value>\n</tool_call><|observation|>\n<think></think>\nsecond answer.<|user|>",
        ),
        ("llama3", None),
        ("deepseek_r1_distill_training", None),
    ],
)
def test_tool_calls_are_trained_or_refused(name, mask, letters):
    chat = Chat(letters, next(path for path in TEMPLATES if path.stem == name).read_text("utf-8"))
    tools = '[{"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {}}}}]'
    if mask is None:
        with pytest.raises(ChatFault, match="chat.(tools|role)"):
            chat.encode(CALL, tools=tools)
    else:
        assert trained(chat, CALL, tools=tools) == mask and "look" in chat.render(CALL[:1], tools=tools)
        assert mask.startswith(trained(chat, CALL[:2], tools=tools)), "a call that stands last is ended too"


@pytest.mark.parametrize("name, mask", [
    ("gptoss", ' to=functions.look<|channel|>commentary json<|message|>{"q": "x"}<|call|><|channel|>final<|message|>second answer.<|return|>'),
    ("llama3_1", '{"name": "look", "parameters": {"q": "x"}}<|eot_id|>second answer.<|eot_id|>'),
])  # fmt: skip
def test_words_beside_a_call_that_the_template_leaves_out_are_counted_and_the_mask_stays_right(name, mask, letters):
    chat = Chat(letters, next(path for path in TEMPLATES if path.stem == name).read_text("utf-8"))
    talk = [CALL[0], {**CALL[1], "content": "let me see"}, *CALL[2:]]
    assert trained(chat, talk) == mask and chat.encode(talk).unseen == 1


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_generation_stops_where_every_template_ends_an_answer(path, letters, trained_text):
    from transformers import AddedToken

    end = re.findall(
        r"<[^<>]+>", trained_text(path.stem, ["x"]).removesuffix("</s>" if path.stem.startswith("phi3") else "")
    )[-1]
    own = copy.deepcopy(letters)
    own.add_tokens([AddedToken(end, special=True)])
    assert own.convert_tokens_to_ids(end) in Chat(own, path.read_text("utf-8")).stops()


def test_reasoning_is_rendered_or_counted(letters):
    talk = [TALK[0], {**TALK[1], "reasoning": "for this"}]
    assert "for this" in trained(
        Chat(letters, next(path for path in TEMPLATES if path.stem == "qwen3").read_text("utf-8")), talk
    )
    assert Chat(letters, QWEN).encode(talk).unseen == 1
    with pytest.raises(ChatFault, match="chat.not_trained"):
        Chat(letters, QWEN).encode([TALK[0], {**TALK[1], "train": False}])


@pytest.mark.parametrize("name, end", [("glm4moe", "<|observation|>"), ("gptoss", "<|call|>"), ("qwen3", "<|im_end|>")])
def test_generation_stops_where_a_template_ends_a_call_of_a_tool(name, end, letters):
    from transformers import AddedToken

    own = copy.deepcopy(letters)
    own.add_tokens([AddedToken(mark, special=True) for mark in (end, "</tool_call>")])
    stops = Chat(own, next(path for path in TEMPLATES if path.stem == name).read_text("utf-8")).stops()
    assert own.convert_tokens_to_ids(end) in stops and own.convert_tokens_to_ids("</tool_call>") not in stops
