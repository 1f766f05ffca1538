"""Chat templates met in the open (../shared/faults/inputs), by the class that training uses."""

import copy
import json
from pathlib import Path

import pytest

from stages.models.chat.templates import Chat

INPUTS = Path(__file__).resolve().parents[4] / "shared" / "faults" / "inputs"
pytestmark = pytest.mark.skipif(not INPUTS.is_dir(), reason="../shared/faults is not beside this checkout")
ROWS = "03-rows.jsonl", "40-sft.jsonl"


def rows(name):
    return [json.loads(line)["messages"] for line in (INPUTS / name).read_text("utf-8").splitlines() if line.strip()]


def trained(chat, messages):
    encoded = chat.encode(messages)
    return chat.tokenizer.decode(encoded.ids[encoded.trained].tolist(), skip_special_tokens=False)


@pytest.mark.parametrize("name", ["02-date.jinja", "03-qwen3.jinja", "04-llama2.jinja", "40-gemma.jinja"])
@pytest.mark.parametrize("file", ROWS)
def test_every_answer_of_every_row_is_trained_and_no_question(tokenizer, name, file):
    chat = Chat(tokenizer, (INPUTS / name).read_text("utf-8"))
    for messages in rows(file):
        text, at = trained(chat, messages), 0
        for message in messages:
            if message["role"] == "assistant":
                at = text.index(message["content"], at) + len(message["content"])
            else:
                assert message["content"] not in text


def test_the_date_is_the_same_on_every_day(tokenizer):
    chat = Chat(tokenizer, (INPUTS / "02-date.jinja").read_text("utf-8"))
    asked = rows("03-rows.jsonl")[0]
    first = chat.render(asked)
    assert first.count("Today ") == 1 and Chat(tokenizer, chat.template).render(asked) == first


def test_what_a_template_ends_an_answer_with_stops_generation(tokenizer):
    from transformers import AddedToken

    own = copy.deepcopy(tokenizer)
    own.add_tokens([AddedToken("<|end|>", special=True)])
    chat = Chat(own, (INPUTS / "40-gemma.jinja").read_text("utf-8"))
    assert own.convert_tokens_to_ids("<|end|>") in chat.stops()
    assert all(trained(chat, messages).endswith("<|end|>") for messages in rows("40-sft.jsonl"))
