"""A model is used under the template it was trained on, or refused with the first tokens that differ."""

import pytest

from pipeline.errors import UsageError
from stages.models.chat.template_lock import check_lock, lock_of
from stages.models.chat.templates import DEFAULT, Chat


def test_the_same_template_passes_and_a_changed_one_is_refused(tokenizer):
    held = lock_of(Chat(tokenizer))
    check_lock(held, Chat(tokenizer), "it")
    check_lock(None, Chat(tokenizer), "it")
    with pytest.raises(UsageError) as fault:
        check_lock(held, Chat(tokenizer, DEFAULT.replace("<|user|>", "### user")), "the base")
    assert "the base was trained under another chat template" in str(fault.value)
    assert "'<|user|>'" in str(fault.value) and "at token" in str(fault.value)


def test_one_blank_or_a_second_bos_is_enough(tokenizer):
    held = lock_of(Chat(tokenizer))
    for other in (DEFAULT.replace("'<|assistant|>\n'", "'<|assistant|>\n '"), "{{ bos_token }}" + DEFAULT):
        assert lock_of(Chat(tokenizer, other))["hash"] != held["hash"]


def test_a_template_that_takes_no_system_message_has_a_lock_too(tokenizer):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + DEFAULT
    assert lock_of(Chat(tokenizer, strict))["tokens"]


ACTS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.reasoning_content or '' }}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_what_a_template_does_with_tools_is_locked_too(tokenizer):
    held = lock_of(Chat(tokenizer, ACTS))
    check_lock(held, Chat(tokenizer, ACTS.replace("m.content", "m['content']")), "it")  # the same, written otherwise
    for other in (ACTS.replace("<call>", "<do>"), ACTS.replace("m.reasoning_content", "m.nothing")):
        with pytest.raises(UsageError, match="with tools, at token"):
            check_lock(held, Chat(tokenizer, other), "it")
        check_lock({k: v for k, v in held.items() if k != "acting"}, Chat(tokenizer, other), "a card of before")
    assert lock_of(Chat(tokenizer))["acting"] is None
    with pytest.raises(UsageError, match="with tools"):
        check_lock(held | {"hash": lock_of(Chat(tokenizer))["hash"]}, Chat(tokenizer), "it")


def test_the_date_of_the_template_stands_in_the_card(tokenizer):
    asks = "{{ strftime_now('%d %b %Y') }}" + DEFAULT
    assert lock_of(Chat(tokenizer, asks))["date"] == "2024-07-26"
    assert "26" in "".join(lock_of(Chat(tokenizer, asks))["tokens"])
