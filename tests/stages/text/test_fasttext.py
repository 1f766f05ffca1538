"""The arrays of a model give the library's labels and scores, whatever the model's options and the text."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import OptionError
from stages.text.classify.apply import scorer
from stages.text.classify.model_file import read

WORDS = (
    "맷돌 사람이 the of and go 가나다 über naïve ㅋㅋ 12 foo_bar __label__x it's well-known 日本語 東京 привет".split()
)
KINDS = {
    "hierarchical, quantised": ({"loss": "hs", "minn": 2, "maxn": 4, "dim": 16, "bucket": 5000}, {"cutoff": 3000, "retrain": False}),
    "softmax with word pairs": ({"loss": "softmax", "minn": 2, "maxn": 4, "dim": 10, "wordNgrams": 2, "bucket": 3000}, None),
    "words alone": ({"loss": "softmax", "minn": 0, "maxn": 0, "dim": 8, "bucket": 0}, None),
    "three words, quantised with norms": ({"loss": "softmax", "minn": 0, "maxn": 0, "dim": 9, "wordNgrams": 3, "bucket": 2000}, {"qnorm": True, "qout": True, "cutoff": 1500}),
    "one against all": ({"loss": "ova", "minn": 3, "maxn": 3, "dim": 6, "bucket": 1000}, None),
}  # fmt: skip
CHILD = """
import json, sys
from fasttext import FastText
order = json.load(sys.stdin)
model = FastText.train_supervised(**order["train"])
if order["quantise"] is not None:
    model.quantize(input=order["train"]["input"], thread=1, **order["quantise"])
model.save_model(order["model"])
"""


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    """A small model of one kind: (its path, the library's own object)."""
    from fasttext.FastText import _FastText

    folder = tmp_path_factory.mktemp("model")
    rng = random.Random(3)
    labels = ["en", "ko", "ja", "de", "ru", "fr"] * 4 + [f"l{n}" for n in range(300)]  # quantised outputs need 256 rows
    with open(folder / "train.txt", "w", encoding="utf-8") as out:
        for label in labels * 4:
            words = [rng.choice(WORDS) + rng.choice(["", "", str(rng.randrange(40))]) for _ in range(8)]
            out.write(f"__label__{label} {' '.join(word for word in words if not word.startswith('__'))} {label}\n")
    train, quantise = KINDS[request.param]
    order = {
        "train": {"input": str(folder / "train.txt"), "thread": 1, "epoch": 3, "lr": 0.5, "verbose": 0, **train},
        "quantise": quantise,
        "model": str(folder / "model"),
    }
    env = {**os.environ, "MALLOC_PERTURB_": "255"}
    subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(order), text=True, check=True, env=env, capture_output=True
    )
    return str(folder / "model"), _FastText(str(folder / "model"))


def asked(path: str, texts: list[str], count: int = 4):
    column = pa.array(texts, pa.large_string())
    offsets = np.frombuffer(column.buffers()[1], np.int64)[: len(texts) + 1]
    sums = scorer(path).sums(np.frombuffer(column.buffers()[2] or b"", np.uint8), offsets[:-1], offsets[1:])
    best, scores = scorer(path).top(sums.means[:, 0], count)
    return [
        list(zip([scorer(path).labels[n] for n in row], own)) if there else []
        for row, own, there in zip(best.tolist(), scores.tolist(), sums.features[:, 0])
    ]


TEXTS = (
    st.lists(st.one_of(st.sampled_from(WORDS), st.text("ab가나é<>_\x00\t\u3000日ㅋ-", max_size=6)), max_size=12)
    .map(" ".join)
    .filter(lambda text: "</s>" not in text)
)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_labels_and_scores_are_those_of_the_library(model, texts):
    path, library = model
    labels, scores = library.predict([text.replace("\n", " ") for text in texts], k=4)
    for names, values, found in zip(labels, scores, asked(path, texts)):
        # labels of equal score may change places
        assert [score for _, score in found] == pytest.approx([min(float(v), 1.0) for v in values], abs=2e-4)
        theirs = dict(zip(names, map(float, values)))
        assert all(score == pytest.approx(theirs[name], abs=2e-4) for name, score in found if name in theirs)


def test_what_is_remembered_changes_nothing(model):
    path, _ = model
    first = asked(path, ["the 맷돌 of"])
    asked(path, [" ".join(f"word{n}" for n in range(200_000))])
    assert asked(path, ["the 맷돌 of"]) == first


def test_the_end_mark_in_a_text_is_passed_over(model):
    assert asked(model[0], ["the </s> 맷돌"]) == asked(model[0], ["the 맷돌"])


def test_words_are_told_from_what_is_none(model):
    sums = summed(model[0], "it's 맷돌, 12 a_b=1 well-known 東京 привет")
    assert sums.letters[0, 1].tolist() == [2, 12, 2, 6] and sums.letters[0, 0].tolist() == [2, 14, 2, 6]


def summed(path: str, text: str):
    data = np.frombuffer(text.encode(), np.uint8)
    return scorer(path).sums(data, np.array([0]), np.array([len(data)]))


def test_long_texts_are_counted_whole(model):
    assert summed(model[0], "맷돌 " * 30_000).letters[0, 0, 0] == 60_000


@pytest.mark.parametrize("cut", [3, 40, 70, 4000, -5])
def test_a_broken_file_is_refused(model, tmp_path, cut):
    with open(model[0], "rb") as whole:
        (tmp_path / "cut.bin").write_bytes(whole.read()[:cut])
    with pytest.raises(OptionError, match="no fastText model"):
        read(str(tmp_path / "cut.bin"))


def test_vectors_without_labels_are_refused(model, tmp_path):
    with open(model[0], "rb") as whole:
        data = bytearray(whole.read())
    data[8 + 7 * 4] = 1  # skip-gram
    (tmp_path / "vectors.bin").write_bytes(data)
    with pytest.raises(OptionError, match="not trained to tell labels apart"):
        read(str(tmp_path / "vectors.bin"))
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(OptionError, match="ends too early"):
        read(str(tmp_path / "empty.bin"))


@pytest.mark.slow
def test_lid_176_on_the_shared_texts(shared):
    """The bundled model on 3,000 Korean and English documents: the library's label for every one."""
    import lzma

    from fasttext.FastText import _FastText

    from stages.text.language.identify import bundled_model

    texts = []
    for name, field in (
        ("C-cpp-docs-ko.jsonl.xz", "markdown"),
        ("C-python311-rst-en.jsonl.xz", "text"),
        ("I-dclm-quality-nonunanimous.jsonl.xz", "text"),
    ):
        with lzma.open(shared / name, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)[field] for _, line in zip(range(2_300), lines)]
    labels, scores = _FastText(str(bundled_model())).predict([text.replace("\n", " ") for text in texts])
    found = asked(str(bundled_model()), texts, 1)
    assert len(texts) > 2_900 and [row[0][0] for row in found] == [row[0] for row in labels]
    assert [row[0][1] for row in found] == pytest.approx([min(float(row[0]), 1.0) for row in scores], abs=1e-4)
