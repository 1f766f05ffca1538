"""split, SFT's share and dpo in one recipe: ports fit, nothing is done twice, tasks travel between processes."""

import pickle

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.recipe import parse
from pipeline.engine.run import plan, run
from pipeline.engine.stage import Inputs
from stages.dpo import Dpo
from stages.dpo import student as students


@pytest.fixture
def page(tmp_path, chats, model):
    model.commit_manifest({"stage": "train", "shape": "artefact:model", "key": "k", "lineage": {}, "schema": []}, [])
    of = chats(range(200), shards=2).path

    def make(**dpo):
        steps = [
            {"split": {"name": "sft-rows", "of": of, "share": 0.6}},
            {"dpo": {"of": of, "sft": "sft-rows", "student": model.path, "sft_overlap": 0.5, **dpo}},
        ]
        return parse({"name": "r", "root": str(tmp_path / "root"), "steps": steps, "run": {"pool": "inline"}})

    return make


def test_the_share_is_reached_through_a_recipe_and_a_second_run_does_nothing(page, scripted):
    student = scripted()
    recipe = page()
    run(recipe)
    pairs = recipe.store("dpo")
    trained = {row["id"] for row in recipe.store("sft-rows").table().to_pylist()}
    rows = pairs.table().to_pylist()
    inside = [row["chat_id"] in trained for row in rows]
    assert len(rows) > 100 and abs(sum(inside) / len(rows) - 0.5) <= 0.005 and inside == [row["in_sft"] for row in rows]
    assert pairs.manifest()["sft_overlap"]["prompts"] == len(rows)
    asked = len(student.asked)
    assert not any(outcome.did for outcome in run(recipe)) and len(student.asked) == asked


def test_one_changed_check_redoes_dpo_alone_and_asks_nobody(page, scripted):
    student = scripted()
    run(page())
    asked = len(student.asked)
    changed = page(similarity_max=0.9)
    assert [status.state for status in plan(changed)] == ["done", "stale"]
    assert [outcome.did for outcome in run(changed)] == [False, True] and len(student.asked) == asked


def test_tasks_can_be_sent_to_other_processes(chats, model, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(students, "run_tasks", lambda pool, sink, fn, tasks, stage: sent.extend(tasks))
    prompts = [students.StudentPrompt(row["id"], row["messages"][:1]) for row in chats(range(3)).table().to_pylist()]
    students.answer(prompts, Dpo(), Inputs({"student": [model]}), model, Inline())
    (task,) = sent
    again = pickle.loads(pickle.dumps(task))
    assert (
        again.prompts == task.prompts
        and again.key == task.key
        and again.students[0].path == model.path
        and again.name == task.name
    )
