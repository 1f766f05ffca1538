"""A scripted student for the logic, and the stage run in this process."""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import child_id
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import Store
from stages.dpo import Dpo
from stages.models.inference.generate import Generation

ASK = "맷돌에 대해 {0}번째로 알려 주세요."
LABEL = "맷돌은 곡식을 가는 도구이고, {0}번째 이야기는 이렇습니다."


def chat_row(number, ask=None, label=None, **more):
    return {
        "id": child_id("d", "sft", "test", number),
        "messages": [{"role": "user", "content": ask or ASK.format(number)}, {"role": "assistant", "content": label or LABEL.format(number)}],
        "lang": "ko", "source": "site", "url": f"http://maetdol.example/{number}", "licence": "CC0-1.0", "doc_id": f"{number:032x}",
        "span_start": 3, "span_end": 30, "rule": "heading.how", "meta": [], **more,
    }  # fmt: skip


@pytest.fixture
def chats(make_rows_store):
    """A function (numbers, shards) -> CHAT store of those questions."""
    return lambda numbers, shards=1: make_rows_store("CHAT", [chat_row(n) for n in numbers], shards)


class Scripted:
    """Answers by a function of (prompt text, sample number); counts the prompts it was asked."""

    def __init__(self, say):
        self.say, self.asked = say, []

    def chat(self, conversations, sampling, n=1):
        self.asked += [c[-1]["content"] for c in conversations]
        return [[self._one(c[-1]["content"], k, sampling) for k in range(n)] for c in conversations]

    def _one(self, prompt, sample, sampling):
        said = self.say(prompt, sample)
        if isinstance(said, Generation):
            return said
        return Generation(said, "stop", len(said.split()), 5)


@pytest.fixture
def scripted(monkeypatch):
    """A function (say) that puts a scripted student in the place of the model; returns it."""

    def put(say=lambda prompt, sample: f"맷돌은 무거운 돌이라고만 {sample}번 들었습니다. 잘은 모릅니다."):
        student = Scripted(say)
        monkeypatch.setattr("stages.dpo.student._student", lambda *_: student)
        return student

    return put


@pytest.fixture
def model(tmp_path):
    """Something to stand on the student's port where the student is scripted."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(b"weights")
    store = Store(tmp_path / "model")
    store.put_artefact(tmp_path / "weights", COLUMNS.empty_table(), key="test")
    return store


@pytest.fixture
def make_pairs(tmp_path, model):
    """A function (of, sft=None, name="pairs", student=None, seed=17, **options) -> the pair store."""

    def run(of, sft=None, name="pairs", student=None, seed=17, **options):
        stores = {"of": [of], "student": student or [model], **({"sft": [sft]} if sft else {})}
        sink = Store(tmp_path / name)
        Dpo(**options).run(Inputs(stores, seed), sink, Inline())
        return sink

    return run
