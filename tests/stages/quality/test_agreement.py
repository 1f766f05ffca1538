"""Limits held against labels: measures as by hand, a limit found where the labels put it, nothing moved that they do not prove."""

import random

import numpy as np
import pytest
import yaml

from pipeline.cli import cli
from pipeline.errors import UsageError, WorkError
from pipeline.schema import DOCUMENT, STR
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.quality.agreement import agreements, f1_of, kappa_of
from stages.quality.commands import Calibrate

ROWS = 300


@pytest.fixture
def root(tmp_path, make_documents):
    """`root(said, scores)`: a quality step with word_count.min = 20 and a judge's limit of 3, and labels of its rows."""

    def made(words: list[int], scores: list[float], said: list[str]):
        import pyarrow as pa

        table = make_documents([f"text {n}" for n in range(len(words))], lang=["en"] * len(words))
        why = [
            [*(["word_count.low"] if w < 20 else []), *(["llm_judge.low"] if s < 3 else [])]
            for w, s in zip(words, scores)
        ]
        ledger = Ledger.rows(
            table["id"], reason=[each[0] if each else None for each in why], reasons=[each or None for each in why], note=["lang=en;"] * len(words),
            metrics={"word_count.words": words, "llm_judge.score": scores},
        )  # fmt: skip
        kept = table.filter(pa.array([not each for each in why]))
        store, labels = Store(tmp_path / "root/quality"), Store(tmp_path / "root/labels")
        store.put(0, kept, ledger, key="k", stage="quality", input_ids=table["id"])
        judge = {"teacher": {"kind": "recorded", "recorded": "answers.yaml"}, "min": 3}
        options = {"filters": [{"word_count": {"min": 20}}, {"llm_judge": judge}]}
        store.commit_manifest({"stage": "quality", "shape": "DOCUMENT", "key": "k", "options": options}, [0])
        labelled = table.append_column("label", pa.array(said, STR)).cast(pa.schema([*DOCUMENT, ("label", STR)]))
        labels.put(0, labelled, Ledger.rows(table["id"]), key="k", stage="labels")
        labels.commit_manifest({"stage": "labels", "shape": "DOCUMENT", "key": "k"}, [0])
        return tmp_path / "root"

    return made


def order(root, **given) -> Calibrate:
    return Calibrate.build(
        {"source": [str(root / "quality")], "labels": str(root / "labels"), "out": str(root / "q.yaml"), **given},
        "calibrate",
    )


def drawn(seed=5):
    draw = random.Random(seed)
    return [draw.randrange(1, 100) for _ in range(ROWS)], [float(draw.randrange(1, 6)) for _ in range(ROWS)], draw


def test_measures_are_those_counted_by_hand(root):
    words, scores, draw = drawn()
    said = [draw.choice(["keep", "drop"]) for _ in words]
    found = {each.option: each for each in agreements(order(root(words, scores, said)))}
    for option, drops in (("word_count.min", [w < 20 for w in words]), ("llm_judge.min", [s < 3 for s in scores]),
                          ("", [w < 20 or s < 3 for w, s in zip(words, scores)])):  # fmt: skip
        cells = {
            pair: sum(each == pair for each in zip(drops, said))
            for pair in [(d, s) for d in (True, False) for s in ("keep", "drop")]
        }
        right, wrong, missed, fine = (
            cells[True, "drop"],
            cells[True, "keep"],
            cells[False, "drop"],
            cells[False, "keep"],
        )
        each = found[option]
        assert (
            each.rows == ROWS and each.precision == right / (right + wrong) and each.recall == right / (right + missed)
        )
        assert each.f1 == pytest.approx(2 * right / (2 * right + wrong + missed))
        alike = (right + fine) / ROWS
        chance = ((right + wrong) * (right + missed) + (missed + fine) * (wrong + fine)) / ROWS**2
        assert each.kappa == pytest.approx((alike - chance) / (1 - chance))
        assert each.kappa_interval[0] < each.kappa < each.kappa_interval[1]
        assert each.kappa_interval[0] < 0 < each.kappa_interval[1], "labels by a coin agree with nothing"


def test_a_limit_is_found_where_the_labels_put_it_and_moved_in_the_recipe(root):
    words, scores, draw = drawn()
    said = ["drop" if (w < 45) != (draw.random() < 0.05) or s < 3 else "keep" for w, s in zip(words, scores)]
    at = root(words, scores, said)
    found = {each.option: each for each in agreements(order(at, report=str(at / "q.md")))}
    words_limit, judge = found["word_count.min"], found["llm_judge.min"]
    assert (
        abs(words_limit.suggested - 45) <= 3
        and words_limit.suggested_interval[0] <= 45 <= words_limit.suggested_interval[1]
    )
    assert words_limit.proven and words_limit.gain[1] > 0.02
    assert judge.suggested == 3 and not judge.proven, "nothing to gain: it stays"
    step = yaml.safe_load((at / "q.yaml").read_text("utf-8"))[0]["quality"]["filters"]
    assert step[0]["word_count"]["min"] == words_limit.suggested and step[1]["llm_judge"]["min"] == 3
    assert "word_count.min" in (at / "q.md").read_text("utf-8")


def test_labels_that_say_nothing_move_nothing(root):
    words, scores, draw = drawn(9)
    at = root(words, scores, [draw.choice(["keep", "drop"]) for _ in words])
    assert not any(each.proven for each in agreements(order(at)))
    assert yaml.safe_load((at / "q.yaml").read_text("utf-8"))[0]["quality"]["filters"][0] == {"word_count": {"min": 20}}


def test_the_command_prints_a_table(root, capsys):
    words, scores, _ = drawn()
    at = root(words, scores, ["drop" if s < 3 else "keep" for s in scores])
    assert (
        cli.main(
            ["calibrate", str(at / "quality"), "--labels", str(at / "labels"), "--out", str(at / "q.yaml")],
            standalone_mode=False,
        )
        == 0
    )
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("llm_judge.min"))
    assert line.split()[1:7] == ["3", "300", "1.000", "1.000", "1.000", "1.000"], "the judge says what people say"


def test_what_cannot_be_measured_is_named(root):
    words, scores, _ = drawn()
    at = root(words, scores, ["drop"] * 5 + ["keep"] * (ROWS - 5))
    with pytest.raises(WorkError, match="295 keep and 5 drop"):
        agreements(order(at))
    with pytest.raises(UsageError, match="against one step"):
        agreements(Calibrate.build({"source": ["a", "b"], "labels": str(at / "labels")}, "calibrate"))


def test_one_kind_of_decision_has_no_kappa():
    ones = np.ones((4, 1), np.float32)
    assert np.isnan(kappa_of(np.ones(4, bool), np.ones(4, bool), ones)[0])
    assert f1_of(np.zeros(4, bool), np.zeros(4, bool), ones)[0] == 0
