"""vLLM in the run: what is said where it is missing, what is handed to it, and what becomes of its answers.

vLLM itself needs an accelerator; here its two names stand in a module of that name, and Ray's in another.
"""

import sys
import types

import pytest

from pipeline.errors import OptionError
from stages.models.teacher import vllm as vllm_teacher
from stages.models.teacher.base import Sampling, TeacherOptions
from stages.models.teacher.journal import Journal
from stages.models.teacher.journaled import Journaled, open_teacher


def options(folder, **more):
    return TeacherOptions.build({"kind": "vllm", "folder": str(folder), **more}, "teacher")


def test_where_it_is_missing_that_is_said_with_the_way_round_it(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(vllm_teacher.importlib.util, "find_spec", lambda name: None if name == "vllm" else object())
    with pytest.raises(OptionError, match="vllm, which is not installed") as fault:
        open_teacher(options(tmp_path), tmp_path / "j.jsonl")
    assert "kind: endpoint" in fault.value.hint


def test_adapters_are_refused_and_not_left_out_in_silence(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(OptionError, match="takes no adapters"):
        TeacherOptions.build({"kind": "vllm", "folder": [str(tmp_path), str(tmp_path)]}, "teacher")


@pytest.fixture
def engine(monkeypatch):
    """Stands for vLLM and Ray in this process; `.given` is what they were handed."""
    given = types.SimpleNamespace(models=[], sampling=[], gpus=[])

    class LLM:
        def __init__(self, **options):
            given.models.append(options)

        def chat(self, conversations, sampling, use_tqdm):
            if any("too long" in messages[-1]["content"] for messages in conversations):
                raise ValueError("prompt longer than max_model_len")
            given.sampling += sampling
            ends = {"cut": "length", "mute": "stop"}
            said = [messages[-1]["content"] for messages in conversations]
            outputs = [
                types.SimpleNamespace(
                    text="" if q == "mute" else f" re: {q} ", finish_reason=ends.get(q, "stop"), token_ids=[1, 2]
                )
                for q in said
            ]
            return [types.SimpleNamespace(outputs=[one], prompt_token_ids=[1, 2, 3]) for one in outputs]

    def remote(num_gpus):
        given.gpus.append(num_gpus)
        call = lambda bound: types.SimpleNamespace(remote=bound)  # noqa: E731
        return lambda cls: types.SimpleNamespace(
            remote=lambda *args: types.SimpleNamespace(answer=call(cls(*args).answer))
        )

    vllm = types.ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = LLM, lambda **options: options
    ray = types.ModuleType("ray")
    ray.is_initialized, ray.get, ray.remote = lambda: True, lambda made: made, remote
    for name, module in (("vllm", vllm), ("ray", ray)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(vllm_teacher.importlib.util, "find_spec", lambda name: object())
    return given


def test_answers_reasons_and_parameters(engine, asked, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    given = options(folder, gpus=2)
    teacher = Journaled(vllm_teacher.VllmTeacher(given), Journal(tmp_path / "j.jsonl"), given)
    sampling = Sampling(temperature=0.2, frequency_penalty=0.5, max_tokens=7, stop=("END",))
    replies = {
        r.id: r for r in teacher.answer([asked(q, sampling=sampling) for q in ("fine", "cut", "mute", "too long")])
    }
    teacher.close()
    assert (
        replies["fine"].text == "re: fine"
        and replies["fine"].tokens_in == 3
        and replies["fine"].model.startswith("vllm:")
    )
    assert [replies[q].reason for q in ("cut", "mute", "too long")] == [
        "teacher.truncated",
        "teacher.bad_answer",
        "teacher.refused",
    ]
    assert engine.models == [
        {"model": str(folder), "tensor_parallel_size": 2, "trust_remote_code": False}
    ] and engine.gpus == [2]
    assert engine.sampling[0] == {
        "temperature": 0.2,
        "top_p": 0.95,
        "max_tokens": 7,
        "frequency_penalty": 0.5,
        "seed": 0,
        "stop": ["END"],
    }
    again = Journaled(vllm_teacher.VllmTeacher(given), Journal(tmp_path / "j.jsonl"), given)
    assert next(iter(again.answer([asked("fine", sampling=sampling)]))).journaled and len(engine.models) == 1
    again.close()
