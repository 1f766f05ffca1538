"""A corpus and a small tokenizer trained on it."""

import random

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.pack import Pack
from stages.tokenizer import Tokenizer

WORDS = "맷돌 곡식 콩 물 두부 마을 할머니 아침 천천히 곱게 the millstone grinds grain slowly while water turns a wheel of stone".split()


def prose(seed: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(draw.choice([1, 3, 10, 40, 200]))) + "뷁\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, make_store):
    """A finished tokenizer store."""
    folder = tmp_path_factory.mktemp("tokenizer")
    docs = make_store(folder / "docs", [prose(n) for n in range(200)])
    sink = Store(folder / "tokenizer")
    Tokenizer(vocab_size=420).run(Inputs({"of": [docs]}), sink, Inline())
    return sink


@pytest.fixture
def documents(tmp_path, make_store):
    """Ninety documents in three shards; one empty, one null, one of a character outside the vocabulary."""
    return make_store(tmp_path / "docs", [prose(n) for n in range(87)] + ["", None, "힣"], shards=3)


@pytest.fixture
def packed(tmp_path, tokenizer):
    """A function (source, name, **options) -> the packed store."""

    def run(source, name="packed", **options):
        sink = Store(tmp_path / name)
        Pack(**options).run(Inputs({"of": [source], "tokenizer": [tokenizer]}), sink, Inline())
        return sink

    return run
