"""Requests that wait are answered together where they draw alike, and one that fails takes no other with it."""

import pytest

from stages.models.inference.generate import SamplingParams
from stages.serve.jobs import ChatJob
from stages.serve.requests import ChatRequest, RequestFault
from stages.serve.worker import ChatWorker

TEXTS = ("3: how do you call 콩?", "밀는 영어로?", "5: how do you call 쌀?")
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}
CALLS = "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
WARM = SamplingParams(12, temperature=1.5)


def jobs(heard, sampling=WARM, texts=TEXTS, n=1):
    return [
        ChatJob(sampling, seed, n, heard.setdefault(text, []).append, [{"role": "user", "content": text}])
        for seed, text in enumerate(texts)
    ]


def done(worker, some):
    """Run the worker over jobs that all wait already."""
    for job in some:
        assert worker.submit(job)
    worker.submit(None)
    worker.run()


def test_jobs_that_draw_alike_are_one_batch_and_get_what_they_get_alone(answering, monkeypatch):
    batches, answer = [], answering.answer
    monkeypatch.setattr(answering, "answer", lambda rows, *a, **k: batches.append(len(rows)) or answer(rows, *a, **k))
    heard = {}
    other = jobs(heard, WARM._replace(temperature=0.0), ["7: how do you call 조?"])
    done(ChatWorker(answering, 16), [*jobs(heard), *other])
    assert batches == [3, 1]
    monkeypatch.undo()
    for seed, text in enumerate(TEXTS):
        *pieces, answers = heard[text]
        alone = answering.chat([[{"role": "user", "content": text}]], WARM._replace(seed=seed))[0]
        assert answers == alone
        assert "".join(event.part.text for event in pieces).strip() == alone[0].text.strip()


def test_one_that_cannot_be_asked_is_told_and_the_others_are_answered(answering):
    heard = {}
    done(ChatWorker(answering, 16), jobs(heard, texts=[TEXTS[0], "x </s> y", TEXTS[1], "콩 " * 300]))
    assert isinstance(heard["x </s> y"][0], RequestFault) and "control token" in heard["x </s> y"][0].message
    assert heard["콩 " * 300][0].code == "context_length_exceeded"
    assert all(isinstance(heard[text][-1], list) for text in TEXTS[:2])


def test_a_batch_that_fails_does_not_end_the_worker(answering, monkeypatch):
    heard, answer = {}, answering.answer

    def failing(rows, *rest, **more):
        if len(rows) > 1:
            raise RuntimeError("out of memory")
        return answer(rows, *rest, **more)

    monkeypatch.setattr(answering, "answer", failing)
    some = jobs(heard)
    done(ChatWorker(answering, 16), [*some[:2], *jobs(heard, WARM._replace(top_p=0.5), TEXTS[2:])])
    assert all(isinstance(heard[text][-1], RuntimeError) for text in TEXTS[:2])
    assert isinstance(heard[TEXTS[2]][-1], list)


def test_where_the_server_ends_those_that_wait_are_told_and_what_is_under_way_is_answered(answering, monkeypatch):
    heard, answer = {}, answering.answer
    some = [*jobs(heard)[:1], *jobs(heard, WARM._replace(top_p=0.5), TEXTS[1:])]
    worker = ChatWorker(answering, 16)

    def ending(*given, **more):
        worker.end()
        return answer(*given, **more)

    monkeypatch.setattr(answering, "answer", ending)
    done(worker, some)
    assert isinstance(heard[TEXTS[0]][-1], list)
    assert [heard[text][0].status for text in TEXTS[1:]] == [503, 503], "the one taken out of the queue too"
    assert not worker.submit(some[0])


def test_one_whose_client_is_gone_is_not_answered(answering, monkeypatch):
    heard, batches, answer = {}, [], answering.answer
    monkeypatch.setattr(answering, "answer", lambda rows, *a, **k: batches.append(len(rows)) or answer(rows, *a, **k))
    some = jobs(heard)
    some[0].wanted = False
    done(ChatWorker(answering, 16), some)
    assert batches == [2] and heard[TEXTS[0]] == []


def test_an_answer_nobody_wants_any_more_ends(answering):
    heard = []

    def tell(event):
        heard.append(event)
        job.wanted = len(heard) < 2

    job = ChatJob(SamplingParams(24), 0, 1, tell, [{"role": "user", "content": TEXTS[0]}])
    done(ChatWorker(answering, 16), [job])
    assert heard[-1][0].tokens <= 5 and heard[-1][0].finish == "length"


@pytest.mark.parametrize("n, together", [(1, [4, 1]), (2, [2, 2, 1]), (3, [2, 2, 1])])
def test_no_more_answers_at_a_time_than_the_batch(answering, monkeypatch, n, together):
    batches, answer = [], answering.answer
    monkeypatch.setattr(answering, "answer", lambda rows, *a, **k: batches.append(len(rows)) or answer(rows, *a, **k))
    done(ChatWorker(answering, 16), jobs({}, SamplingParams(2), [f"{n}: how do you call 쌀?" for n in range(5)], n))
    assert batches == together


def test_a_full_queue_says_so(answering):
    worker = ChatWorker(answering, 2)
    assert [worker.submit(job) for job in jobs({})] == [True, True, False]


def test_tools_are_shown_by_a_template_that_has_them(answering, monkeypatch):
    from stages.models.chat.templates import DEFAULT, Chat

    tools = ChatRequest.model_validate({"messages": [{"role": "user", "content": "x"}], "tools": [TOOL]}).schemas()
    calls = DEFAULT.replace(
        "{{ message['content'] + eos_token }}{% endgen", "{{ message['content'] }}" + CALLS + "{{ eos_token }}{% endgen"
    )
    template = "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}" + calls
    monkeypatch.setattr(answering, "chat_template", Chat(answering.tokenizer, template))
    heard: dict = {}
    with_tools, plain = jobs(heard, texts=TEXTS[:1])[0], jobs(heard, texts=TEXTS[1:2])[0]
    with_tools.tools = tools
    done(ChatWorker(answering, 16), [with_tools, plain])
    alone = answering.chat([[{"role": "user", "content": TEXTS[0]}]], WARM._replace(seed=0), tools=[tools])[0]
    assert heard[TEXTS[0]][-1] == alone
    without = answering.chat([[{"role": "user", "content": TEXTS[0]}]], WARM._replace(seed=0))[0]
    assert alone[0].prompt_tokens > without[0].prompt_tokens


def test_a_template_that_writes_no_call_takes_no_tools(answering, monkeypatch):
    from stages.models.chat.templates import DEFAULT, Chat

    shows = "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}" + DEFAULT
    monkeypatch.setattr(answering, "chat_template", Chat(answering.tokenizer, shows))
    heard: dict = {}
    [job] = jobs(heard, texts=TEXTS[:1])
    job.tools = ChatRequest.model_validate({"messages": [{"role": "user", "content": "x"}], "tools": [TOOL]}).schemas()
    done(ChatWorker(answering, 16), [job])
    assert heard[TEXTS[0]][0].status == 400 and "no notation" in heard[TEXTS[0]][0].message


def test_calls_and_their_results_come_as_rows_have_them():
    asked = ChatRequest.model_validate(
        {
            "tool_choice": "none",
            "tools": [TOOL],
            "messages": [
                {"role": "user", "content": "콩?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "콩"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "beans"},
            ],
        }
    )
    assert asked.schemas() is None, "tool_choice none shows none"
    _, called, result = [message.row() for message in asked.messages]
    assert called["tool_calls"] == [{"id": "c1", "name": "look_up", "arguments": '{"q": "콩"}'}]
    assert called["content"] == "" and result["tool_call_id"] == "c1" and result["role"] == "tool"
