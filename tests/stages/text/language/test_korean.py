"""Korean measures against plain Python."""

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.docs import Docs
from pipeline.schema import apply_edits
from stages.text.language.korean import Runs, spacing
from stages.text.language.script import Scripts

TEXTS = st.lists(st.text("가나다ㅋㅠ!~^a1 .\n日", max_size=40), min_size=1, max_size=5)
RUN = re.compile(r"([\u3131-\u318e~^!?♡♥;])\1{2,}")


def docs_of(texts: list[str]) -> Docs:
    return Docs(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


@settings(deadline=None, max_examples=150)
@given(TEXTS)
def test_runs_are_those_of_a_pattern(texts):
    edits, totals = docs_of(texts).cached(Runs(2))
    for row, text in enumerate(texts):
        assert apply_edits(text, edits[row])[0] == RUN.sub(r"\1\1", text)
        assert totals[row] == sum(len(m[0]) for m in RUN.finditer(text))


def test_many_runs_in_one_text():
    text = "ㅋㅋㅋ ㅠㅠㅠ " * 2000
    edits, _ = docs_of([text]).cached(Runs(2))
    assert apply_edits(text, edits[0])[0] == "ㅋㅋ ㅠㅠ " * 2000


@settings(deadline=None, max_examples=150)
@given(TEXTS)
def test_spacing_of_eojeol(texts):
    found = docs_of(texts).cached(spacing)
    for row, text in enumerate(texts):
        words = [w for w in text.split() if re.search("[가-힣]", w)]
        single = [w for w in words if re.fullmatch(r"[.!~^]*[가-힣][.!~^]*", w)]
        assert found.words[row] == len(words)
        if words:
            assert np.isclose(found.single[row], len(single) / len(words))


def test_shares_of_scripts():
    docs = docs_of(["가나ab", "ㅋㅋ日a", "123"])
    found = docs.cached(Scripts())
    assert found.hangul.tolist() == [2, 2, 0] and (found.latin + found.cjk + found.other).tolist() == [2, 2, 0]
    head = docs.cached(Scripts(2))
    assert head.hangul.tolist() == [2, 2, 0] and head.chars.tolist() == [2, 2, 2]
