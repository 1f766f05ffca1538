"""One file that `datasets` opens, whatever its later rows hold; rows that are odd are written, or left out with a reason."""

import doctest
import json

import pytest

from stages.export import lines
from stages.export.trainers import FORMATS, NoForm, opened
from tests.stages.export.test_trainers import export


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def calling(arguments, content=""):
    return turn("assistant", content, tool_calls=[{"id": None, "name": "f", "arguments": arguments}])


@pytest.fixture
def growing(make_rows_store):
    """Sixty short rows, then one of two exchanges, one with reasoning and a call, and one more of each."""
    plain = [[turn("user", f"q{n}"), turn("assistant", "a" * 40)] for n in range(60)]
    two = [turn("user", "q"), turn("assistant", "a"), turn("user", "q"), turn("assistant", "a")]
    thinking = [turn("user", "q"), turn("assistant", "", reasoning="hm", tool_calls=calling('{"n": 1}')["tool_calls"])]
    rows = [*plain, two, thinking, two, thinking]
    return make_rows_store(
        "CHAT", [{"id": f"{n:032x}", "messages": m, "tools": "[]" if n == 61 else None} for n, m in enumerate(rows)]
    )


@pytest.mark.parametrize("to", ["openai", "trl", "axolotl", "llamafactory-alpaca"])
def test_datasets_opens_a_file_whose_fields_come_late(to, growing, tmp_path, monkeypatch):
    """It takes the columns from a first part of the file (10 MiB, here 1,500 bytes) and refuses others behind it."""
    import datasets

    def load(folder):
        return datasets.load_dataset(
            "json",
            data_files=str(folder / f"{growing.name}.jsonl"),
            split="train",
            chunksize=1500,
            cache_dir=str(tmp_path),
        )

    in_order = export(growing, tmp_path / "in-order", to)
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        load(tmp_path / "in-order")
    monkeypatch.setattr(lines, "AHEAD", 1000)
    rows = export(growing, tmp_path / "out", to)
    assert rows[0] in in_order[60:] and rows[1:61] == in_order[:60]
    assert sorted(map(json.dumps, rows)) == sorted(map(json.dumps, in_order))
    assert len(load(tmp_path / "out")) == len(rows)


def test_rows_keep_their_order_where_all_fields_come_early(growing, tmp_path):
    rows = export(growing, tmp_path, "trl")
    assert [row["messages"][0]["content"] for row in rows] == [*(f"q{n}" for n in range(60)), *"qqqq"]


def said(to, messages, **row):
    (made,) = FORMATS[to].chat({"messages": messages, **row})
    return made


def chosen(to, prompt, answer):
    rows = FORMATS[to].pair({"prompt": prompt, "chosen": [answer], "rejected": [turn("assistant", "no")]})
    return list(rows)


@pytest.mark.parametrize("to", [name for name, form in FORMATS.items() if form.chat])
def test_a_turn_without_content_has_an_empty_one(to):
    made = said(to, [turn("system", None), turn("user", None), turn("assistant", None)])
    assert "null" not in json.dumps(made) and '""' in json.dumps(made)


def test_weights_stand_at_answers_alone():
    """OpenAI refuses others; axolotl learns from any turn that is to be; TRL has no word for them."""
    messages = [turn("user", "q", train=False), turn("assistant", "a", train=True)]
    assert [m.get("weight") for m in said("openai", messages)["messages"]] == [None, 1]
    assert [m["train"] for m in said("axolotl", messages)["messages"]] == [False, True]
    assert all(set(m) == {"role", "content"} for m in said("trl", messages)["messages"])


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud83d"}', "[" * 100_000, "not JSON", '{"a": ']
)
def test_arguments_no_json_file_holds_stay_text(text):
    assert opened(text) == text
    made = said("trl", [turn("user", "q"), calling(text)])
    assert json.loads(lines._line(made))["messages"][1]["tool_calls"][0]["function"]["arguments"] == text


def test_axolotl_opens_arguments_and_tools_itself():
    tools = '[{"type": "function", "function": {"name": "f", "parameters": {"properties": {"n": {"default": 1}}}}}]'
    made = said("axolotl", [turn("user", "q"), calling('{"n": 1}')], tools=tools)
    assert made["tools"] == tools
    assert made["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"n": 1}'
    with pytest.raises(NoForm, match="export.arguments"):
        said("axolotl", [turn("user", "q"), calling("{n: 1}")])


@pytest.mark.parametrize(
    "answer, written", [("yes\n \n", "yes"), (" yes", None), ("\nyes", None), ("", None), (" \n", None)]
)
def test_axolotl_finds_an_answer_by_its_words(answer, written):
    """tests/bench/dpo/RESULTS.md: what its own code takes out of a template that trims."""
    prompt = [turn("user", "q")]
    if written is None:
        with pytest.raises(NoForm, match="export.blank"):
            chosen("axolotl", prompt, turn("assistant", answer))
    else:
        assert chosen("axolotl", prompt, turn("assistant", answer))[0]["chosen"]["content"] == written


@pytest.mark.parametrize("to", ["axolotl-chatml", "llamafactory-alpaca", "llamafactory-sharegpt"])
def test_a_prompt_that_ends_with_an_answer_has_no_form(to):
    with pytest.raises(NoForm, match="export.turns"):
        chosen(to, [turn("user", "q"), turn("assistant", "half of")], turn("assistant", "it"))


def test_paths_with_odd_letters_are_quoted(growing, tmp_path, capsys):
    import shlex

    import yaml

    folder = tmp_path / 'a "b" #c: d'
    export(growing, folder, "axolotl")
    (data,) = yaml.safe_load((folder / "axolotl.yaml").read_text())["datasets"]
    assert data["path"] == str(folder / f"{growing.name}.jsonl")
    export(growing, folder, "llamafactory-sharegpt")
    words = shlex.split(capsys.readouterr().out.split("load with: ")[-1])
    assert words[words.index("--dataset_dir") + 1] == str(folder)


def test_examples_in_docstrings():
    assert doctest.testmod(lines).failed == 0
