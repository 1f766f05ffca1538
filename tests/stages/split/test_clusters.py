"""Splits by cluster: prompts that resemble each other stand on one side, held against a count of every two."""

import random

import numpy as np
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.split import Split
from stages.text.minhash.clusters import clusters

NOUNS = "맷돌 절구 방아 두부 콩나물 메밀국수 보리차 찹쌀떡 수수경단 조청 된장 간장 고추장 막걸리 식혜 누룩 도토리묵 팥죽 깨강정 미숫가루".split()
VERBS = [
    "만드는 방법을 순서대로 알려 주세요",
    "오래 보관하려면 어떻게 해야 하나요",
    "어느 계절에 가장 맛있는지 궁금합니다",
    "할 때 흔히 하는 실수는 무엇인가요",
]


def prompts():
    """80 questions far from each other, and two near-copies of every fifth."""
    rng = random.Random(4)
    plain = [
        f"{noun}을 {verb}? {rng.randrange(10**9)}번 손님이 {rng.randrange(10**9)}호에서"
        for noun in NOUNS
        for verb in VERBS
    ]
    return plain, [text + end for text in plain[::5] for end in (" 물었습니다.", " 묻습니다!")]


@pytest.fixture
def store(make_rows_store):
    plain, copies = prompts()
    rows = [
        {"id": f"{n:032x}", "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "네."}]}
        for n, text in enumerate(random.Random(1).sample([*plain, *copies], len(plain) + len(copies)))
    ]
    return make_rows_store("CHAT", rows, 3)


def split(of, folder, **options):
    sink = Store(folder)
    Split(**options).run(Inputs({"of": [of]}), sink, Inline())
    return [row["messages"][0]["content"] for shard in sink.shards() for row in sink.read(shard).to_pylist()], sink


def grams(text):
    return {text[at : at + 5] for at in range(len(text) - 4)}


def test_no_near_copy_of_a_prompt_stands_on_the_other_side(store, tmp_path):
    mine, _ = split(store, tmp_path / "one", share=0.5, by="cluster")
    rest, _ = split(store, tmp_path / "two", share=0.5, by="cluster", rest=True)
    assert len(mine) + len(rest) == 112 and min(len(mine), len(rest)) > 30
    sets = [[grams(text) for text in side] for side in (mine, rest)]
    assert max(len(a & b) / len(a | b) for a in sets[0] for b in sets[1]) < 0.7
    apart, _ = split(store, tmp_path / "three", share=0.5)
    other, _ = split(store, tmp_path / "four", share=0.5, rest=True)
    assert max(len(grams(a) & grams(b)) / len(grams(a) | grams(b)) for a in apart for b in other) > 0.7, (
        "by prompt they were torn apart"
    )


def test_clusters_are_the_components_of_every_two_alike():
    plain, copies = prompts()
    texts = [*plain, *copies]
    sets = [grams(text) for text in texts]
    expected = np.arange(len(texts))
    for one in range(len(texts)):
        for two in range(one):
            if len(sets[one] & sets[two]) / len(sets[one] | sets[two]) >= 0.7:
                expected[expected == expected[one]] = min(expected[one], expected[two])
    found = clusters(texts, 0.7)
    assert len(set(expected.tolist())) == 80 and found.tolist() == expected.tolist()
    assert clusters([], 0.7).tolist() == [] and clusters(["", ""], 0.7).tolist() == [0, 1]


def test_a_shard_is_done_again_when_another_shard_changes(store, make_rows_store):
    stage, inputs = Split(by="cluster"), Inputs({"of": [store]})
    more = Inputs({"of": [make_rows_store("CHAT", [{"id": "f" * 32, "messages": [{"role": "user", "content": "?"}]}])]})
    assert stage.shard_key(inputs, "same") != stage.shard_key(more, "same")
    assert Split().shard_key(inputs, "same") == Split().shard_key(more, "same")


def test_documents_have_no_prompt(make_store, tmp_path):
    with pytest.raises(UsageError, match="no prompt"):
        split(make_store(tmp_path / "docs", ["text"]), tmp_path / "out", by="cluster")
