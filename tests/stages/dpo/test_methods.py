"""Strong over weak, mixed candidates, reward models and the balance of lengths: who stands on which side, and why pairs fall."""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import Store
from stages.dpo import Dpo
from stages.dpo.pairs import unbalanced
from stages.models.inference.generate import Generation
from tests.stages.dpo.conftest import Scripted, chat_row

WEAK, STRONG = (
    "맷돌은 무거운 돌이라고만 들었습니다. 잘은 모릅니다.",
    "맷돌은 곡식을 갈아 가루를 내는 돌로 된 도구입니다.",
)


@pytest.fixture
def strong(tmp_path):
    (tmp_path / "strong-weights").mkdir()
    (tmp_path / "strong-weights" / "model.bin").write_bytes(b"better weights")
    store = Store(tmp_path / "strong")
    store.put_artefact(tmp_path / "strong-weights", COLUMNS.empty_table(), key="test")
    return store


@pytest.fixture
def make(tmp_path, model, strong, monkeypatch):
    """A function (of, weak, better, reward, **options) -> the pair store; the answers are functions of (prompt, sample)."""

    def run(of, weak=lambda *_: WEAK, better=lambda *_: STRONG, reward=None, ports=(), name="pairs", **options):
        students = {"model": Scripted(weak), "strong": Scripted(better)}
        monkeypatch.setattr(
            "stages.dpo.student._student",
            lambda folders, *_: students["strong" if "/strong/" in folders[0] else "model"],
        )
        stores = {"of": [of], "student": [model], **({"strong": [strong]} if "strong" in ports else {})}
        if reward is not None:
            scorer = type(
                "Reward",
                (),
                {
                    "score": lambda self, talks: __import__("numpy").array(
                        [reward(talk[-1]["content"]) for talk in talks]
                    )
                },
            )
            monkeypatch.setattr("stages.dpo.make._reward_model", lambda *_: scorer())
            stores["reward"] = [strong]
        sink = Store(tmp_path / name)
        Dpo.build(options, "dpo").run(Inputs(stores, 17), sink, Inline())
        return sink

    return run


def told(of, pairs):
    by_id = {entry["id"]: entry for entry in pairs.ledgers().to_pylist()}
    return [by_id[name]["reason"] for name in of.table()["id"].to_pylist()]


def meta(row):
    return {entry["key"]: entry["value"] for entry in row["meta"]}


def test_the_strong_model_is_chosen_and_the_student_rejected(chats, make):
    of = chats(range(4))

    def better(prompt, _):
        return Generation(STRONG, "length", 9, 5) if "2번째" in prompt else STRONG

    pairs = make(of, better=better, ports=("strong",), method="strong_weak")
    assert told(of, pairs) == [None, None, "dpo.truncated", None]
    row = pairs.table().to_pylist()[0]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (STRONG, WEAK)
    assert row["method"] == "strong_weak" and meta(row)["chosen_by"] == "strong"


def test_both_models_answer_once_and_a_changed_check_asks_neither(chats, make):
    of = chats(range(3))
    make(of, ports=("strong",), method="strong_weak")

    def nobody(*_):
        return pytest.fail("asked again")

    assert (
        len(make(of, weak=nobody, better=nobody, ports=("strong",), method="strong_weak", length_ratio=5).table()) == 3
    )


@pytest.mark.parametrize(
    "options", [{"method": "strong_weak"}, {"method": "best_of_n", "candidates": ("strong", "label")}]
)
def test_without_the_strong_model_nothing_is_begun(chats, make, options):
    with pytest.raises(UsageError, match="strong"):
        make(chats(range(2)), reward=len, **options)


def test_nobody_to_score_is_said_before_anything_is_asked(chats, make):
    with pytest.raises(UsageError, match="reward"):
        make(chats(range(2)), weak=lambda *_: pytest.fail("asked"), method="best_of_n", samples=2)


def test_a_mix_of_on_and_off_policy_answers_competes(chats, make):
    """Rewards order label > strong > student; where the label is bad (a question asks for it), it is rejected instead."""
    of = chats(range(4))

    def rank(text):
        return 3.0 if "이야기는" in text else 2.0 if text == STRONG else 0.0

    mixed = {"method": "best_of_n", "candidates": ("student", "strong", "label"), "ports": ("strong",)}
    rows = make(of, reward=rank, **mixed).table().to_pylist()
    assert {(meta(row)["chosen_by"], meta(row)["rejected_by"]) for row in rows} == {("label", "student")}
    assert {(row["score_chosen"], row["score_rejected"]) for row in rows} == {(3.0, 0.0)}
    rows = make(of, reward=lambda text: -rank(text), name="other", **mixed).table().to_pylist()
    assert {(meta(row)["chosen_by"], meta(row)["rejected_by"]) for row in rows} == {("student", "label")}


@pytest.mark.parametrize(
    "gap, band, reason",
    [
        (1.0, {}, None),
        (0.0, {}, "dpo.student_wins"),
        (-1.0, {}, "dpo.student_wins"),
        (0.5, {"margin_min": 0.6}, "dpo.margin_low"),
        (4.0, {"margin_max": 3.0}, "dpo.margin_high"),
    ],
)
def test_rewards_keep_the_band(chats, make, gap, band, reason):
    of = chats(range(3))
    pairs = make(of, reward=lambda text: gap if "이야기는" in text else 0.0, **band)
    assert told(of, pairs) == [reason] * 3
    if reason is None:
        assert {(row["score_chosen"], row["score_rejected"]) for row in pairs.table().to_pylist()} == {(1.0, 0.0)}


@pytest.mark.parametrize("near", [0.0, 0.1, 0.5])
def test_lengths_are_balanced_as_asked(make_rows_store, make, near):
    """Chosen is longer in three of four pairs; the share comes within `near` of one half, and every pair has its reason."""
    of = make_rows_store("CHAT", [chat_row(n, label=WEAK[:18] + "가" * (20 if n % 4 else 1)) for n in range(80)])
    pairs = make(
        of, length_balance=near, length_ratio=5, weak=lambda *_: "콩은 밭에서 나는 고기라고들 하는 작물입니다."
    )
    rows = pairs.table().to_pylist()
    longer = sum(len(row["chosen"][0]["content"]) > len(row["rejected"][0]["content"]) for row in rows)
    assert abs(longer / len(rows) - 0.5) <= near and pairs.receipt(0).notes["chosen_longer"] == longer
    dropped = told(of, pairs).count("dpo.length_balance")
    assert dropped == 80 - len(rows) and (dropped == 0) == (near == 0.5)
    assert len(rows) >= {0.0: 40, 0.1: 50, 0.5: 80}[near]


def test_balance_is_the_same_choice_for_the_same_seed(pair_store):
    first, again, other = (unbalanced([pair_store.read(0)], 0.0, seed) for seed in (1, 1, 2))
    assert first == again and set(first.values()) <= {"dpo.length_balance"} and (not first or first != other)


@pytest.mark.slow
def test_a_trained_reward_model_scores_the_pairs(pair_store, chat_store, base_store, do_train, tmp_path, monkeypatch):
    """Trained on pairs whose rejected answer begins with "No": it prefers the label to a student that says so."""
    reward = do_train(
        pair_store,
        {
            "objective": "reward",
            "num_train_epochs": 6,
            "per_device_train_batch_size": 8,
            "threads": 1,
            "holdout": 0.2,
            "learning_rate": 3e-3,
            "max_length": 64,
        },
        base=[base_store],
    )
    wrong = Scripted(lambda prompt, _: "No, who knows, a stone.")
    monkeypatch.setattr("stages.dpo.student._student", lambda *_: wrong)
    sink = Store(tmp_path / "pairs")
    Dpo(length_ratio=10).run(
        Inputs({"of": [chat_store], "student": [base_store], "reward": [reward]}, 17), sink, Inline()
    )
    rows = sink.table().to_pylist()
    assert len(rows) > 120 and all(row["score_chosen"] > row["score_rejected"] for row in rows)


def test_the_report_says_how_the_sides_are_told_apart(make_rows_store, make):
    """A student with a stock phrase: the probe sees it, and the page says so, with the overlap as measured."""
    from pipeline.inspection.sections import Samples
    from stages.dpo.report import _bias

    of = make_rows_store("CHAT", [chat_row(n) for n in range(120)])
    pairs = make(of, weak=lambda prompt, _: "!!! " + WEAK)
    told = " ".join(part.text for part in _bias(pairs, Samples(list)))
    assert "told apart by their surface alone" in told and "length alone" in told and "overlap" not in told
