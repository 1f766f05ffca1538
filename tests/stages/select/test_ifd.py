"""IFD and perplexity against the definition written out: one conversation at a time, full logits, no padding."""

import numpy as np
import pytest
import torch

from stages.models.chat.templates import Chat, ChatFault, load_tokenizer
from stages.select.ifd import opening_size, score, terms

ROWS = [
    [("user", "쌀은 영어로?"), ("assistant", "rice")],
    [
        ("user", "What is a millstone for, and who turns it, and when?"),
        ("assistant", "It grinds grain between two stones; whoever is hungry turns it."),
    ],
    [
        ("system", "Be brief."),
        ("user", "콩?"),
        ("assistant", "beans"),
        ("user", "밀?"),
        ("assistant", "wheat, that is 밀"),
    ],
]
OTHERS = {
    "no opening": "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}",
    "with begin": "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
}


def talks():
    return [[{"role": role, "content": content} for role, content in row] for row in ROWS]


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    size = len(load_tokenizer(tiny_tokenizer.artefact()))
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(params=[None, *OTHERS])
def chat(request, tiny_tokenizer):
    return Chat(load_tokenizer(tiny_tokenizer.artefact(), OTHERS.get(request.param)))


def slow(model, chat, messages):
    """(mean loss after the conversation, alone) of the last answer's tokens."""
    encoded = chat.encode(messages, 1)
    first = int(np.flatnonzero(encoded.trained)[0])
    answer = encoded.ids[encoded.trained].tolist()
    opening = encoded.ids[first - opening_size(chat, messages) : first].tolist()
    bos = [chat.tokenizer.bos_token_id] if encoded.ids[0] == chat.tokenizer.bos_token_id else []
    found = []
    skip = 0 if bos or opening else 1
    for before in (encoded.ids[:first].tolist(), bos + opening):
        with torch.no_grad():
            logps = model(input_ids=torch.tensor([before + answer])).logits[0].double().log_softmax(-1)
        asked = range(skip, len(answer))
        found.append(-np.mean([logps[len(before) + n - 1, answer[n]].item() for n in asked]))
    return found


def test_as_defined_whatever_the_batch(model, chat):
    for batch in (1, 3):
        made = score(model, chat, talks(), batch, torch.device("cpu"), 256)
        for one, messages in zip(made, talks()):
            after, alone = slow(model, chat, messages)
            assert one.reason is None
            assert (one.after, one.alone) == pytest.approx((after, alone), rel=1e-5)
            assert one.ifd == pytest.approx(after / alone, rel=1e-5) and one.perplexity == pytest.approx(
                np.exp(after), rel=1e-5
            )


def test_both_terms_ask_for_the_same_tokens(chat):
    for messages in talks():
        made = terms(chat, messages, 256)
        asked = [row.labels[row.labels != -100].tolist() for row in (made.after, made.alone)]
        assert asked[0] == asked[1] and len(asked[0]) == made.tokens > 0


def test_a_question_the_model_knows_helps_and_a_foreign_one_does_not(tiny_tokenizer, model):
    """The weights are taught six answers by heart: their own questions give them away, another's leads astray."""
    import copy

    pupil, chat = copy.deepcopy(model).train(), Chat(load_tokenizer(tiny_tokenizer.artefact()))
    pairs = [
        ("rice?", "쌀"),
        ("bean?", "콩"),
        ("wheat?", "밀"),
        ("millet?", "조"),
        ("oat?", "귀리"),
        ("barley?", "보리"),
    ]

    def ask(question, answer):
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    steps = torch.optim.AdamW(pupil.parameters(), lr=1e-2)
    for _ in range(60):
        for question, answer in pairs:
            ids = torch.from_numpy(chat.encode(ask(question, answer)).ids.astype(np.int64))[None]
            pupil(input_ids=ids, labels=ids).loss.backward()
        steps.step()
        steps.zero_grad()
    pupil.eval()
    own = score(pupil, chat, [ask(*pair) for pair in pairs], 6, torch.device("cpu"), 64)
    foreign = score(pupil, chat, [ask(pairs[n - 1][0], pairs[n][1]) for n in range(6)], 6, torch.device("cpu"), 64)
    assert np.mean([one.ifd for one in own]) < 0.5 and np.mean([one.ifd for one in foreign]) > 1


@pytest.mark.parametrize(
    "messages, reason", [([], "chat.no_answer"), ([{"role": "user", "content": "?"}], "chat.no_answer")]
)
def test_what_cannot_be_scored_says_why(model, tiny_tokenizer, messages, reason):
    chat = Chat(load_tokenizer(tiny_tokenizer.artefact()))
    [one, fits] = score(model, chat, [messages, talks()[0]], 4, torch.device("cpu"), 256)
    assert one.reason == reason and np.isnan(one.ifd) and fits.reason is None
    with pytest.raises(ChatFault):
        terms(chat, talks()[1], 8)


TOOLS = '[{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]'
SHOWS_TOOLS = (
    "{% if tools %}<|system|>\n{{ tools | tojson }}</s>{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def test_the_tools_of_a_row_stand_before_its_answer(model, tiny_tokenizer):
    chat = Chat(load_tokenizer(tiny_tokenizer.artefact(), SHOWS_TOOLS))
    messages = talks()[1]
    with_tools = terms(chat, messages, 256, TOOLS)
    assert "lookup" in chat.tokenizer.decode(with_tools.after.ids)
    assert "lookup" not in chat.tokenizer.decode(with_tools.alone.ids)
    assert with_tools.alone.ids.tolist() == terms(chat, messages, 256).alone.ids.tolist()
    bare, shown = score(model, chat, [messages] * 2, 2, torch.device("cpu"), 256, [None, TOOLS])
    assert bare.after != shown.after and bare.alone == pytest.approx(shown.alone)
