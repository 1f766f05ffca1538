"""Names with a transformers token classifier that is trained here, from nothing, on labelled Korean sentences."""

import importlib.util

import pyarrow as pa
import pytest

from stages.pii import Pii

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(repo, shared):
    spec = importlib.util.spec_from_file_location("pii_ner_bench", repo / "tests/bench/pii/ner.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(bench, tmp_path_factory):
    made = tmp_path_factory.mktemp("ner")
    bench.train(made, bench.klue()[0][:800], 4)
    return made


def test_the_model_names_persons_that_rules_do_not(bench, folder):
    from stages.pii.engines.names import in_windows, names_finder, recogniser

    held, recognise = bench.klue()[1], recogniser(folder)
    everything = bench.judged(held, lambda texts: in_windows(texts.to_pylist(), recognise, bench.whole))["person"]
    rules = bench.judged(held, names_finder(None, frozenset(("person",)), 0.5))["person"]
    assert everything["recall"] > rules["recall"] + 0.1 and everything["precision"] > 0.4, (everything, rules)


def test_the_stage_hands_it_windows_only_and_takes_long_ones(folder):
    stage = Pii.build({"names": "model", "model": str(folder)}, "pii")
    find = stage.plan().find
    quiet = "숫자만 있는 문장입니다 " * 50
    assert find(pa.array([quiet, "", None], pa.large_string()).fill_null("")) == []
    crowd = "김철수 교수와 박영희 기자는 " * 400
    found = find(pa.array([crowd], pa.large_string()))
    assert len(found) >= 700 and {f.entity for f in found} <= {"person", "place"}
    assert all(a.end <= b.start for a, b in zip(found, found[1:]))


def test_the_stage_with_a_model_is_the_same_twice(folder, make_documents):
    rows = (
        make_documents(["김철수 교수는 서울에서 박영희 기자를 만났다. 메일 hong@example.com"] * 3)
        .combine_chunks()
        .to_batches()[0]
    )
    options = {"names": "model", "model": str(folder)}
    first, second = (Pii.build(options, "pii").work(rows).kept for _ in range(2))
    assert (
        first.equals(second)
        and "<PERSON>" in first.column("text")[0].as_py()
        and "김철수" not in first.column("text")[0].as_py()
    )
    assert Pii.build(options, "pii").work(first).kept.equals(first)
