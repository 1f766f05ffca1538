"""What stands in the documents measured on is left out, whole or in part; everything else stays, and the ledger says which met which."""

import random
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.storage.ledger import check
from pipeline.storage.store import Store
from stages.exclude_overlap import ExcludeOverlap
from stages.exclude_overlap.known import evaluated, gather

WORDS = [
    f"{a}{b}" for a in ("mill", "grain", "stone", "맷돌", "곡식", "쌀") for b in ("s", "er", "이", "를", "ing", "에서")
]


def text_of(seed, words=120):
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


KNOWN = [text_of(seed) for seed in range(4)]


@pytest.fixture
def excluded(tmp_path, make_store):
    """Exclude KNOWN from the texts given: (reasons, representatives as numbers, kept texts)."""

    def run(texts, known=KNOWN, **options):
        source, against = make_store(tmp_path / "of", texts), make_store(tmp_path / "known", known)
        sink = Store(tmp_path / "out")
        ExcludeOverlap(**options).run(Inputs({"of": [source], "against": [against]}), sink, Inline())
        ledger = sink.ledger(0)
        check(source.table()["id"], sink.read(0)["id"], ledger, "exclude_overlap")
        names = against.table()["id"].to_pylist()
        representatives = [names.index(one) if one else None for one in ledger["duplicate_of"].to_pylist()]
        return ledger["reason"].to_pylist(), representatives, sink.read(0)["text"].to_pylist()

    return run


def test_copies_edits_extracts_and_quotations_go_and_the_known_text_is_named(excluded):
    words = KNOWN[1].split()
    edited = " ".join("changed" if n % 20 == 7 else word for n, word in enumerate(words))
    extract = " ".join(words[30:60])
    quotes = text_of(90, 900) + " " + " ".join(words[:70]) + " " + text_of(91, 900)
    texts = [KNOWN[0], KNOWN[0].upper().replace(" ", " ,\n"), edited, extract, quotes, text_of(50)]
    reasons, representatives, kept = excluded(texts)
    assert reasons == [
        "exclude_overlap.copy",
        "exclude_overlap.copy",
        "exclude_overlap.near",
        "exclude_overlap.copy",
        "exclude_overlap.holds",
        None,
    ]
    assert representatives == [0, 0, 1, 1, 1, None] and kept == [text_of(50)]


def test_copies_among_the_rows_themselves_stay(excluded):
    reasons, _, kept = excluded([text_of(50), text_of(50), text_of(51)])
    assert reasons == [None, None, None] and len(kept) == 3


def test_short_texts_are_known_by_the_whole_of_them(excluded):
    reasons, _, _ = excluded(["맷돌이 돈다", "맷돌이 돈다.", "돈다 맷돌이", "", "!?"], known=["맷돌이 돈다", "", "..."])
    assert reasons == ["exclude_overlap.copy", "exclude_overlap.copy", None, None, None], (
        "texts without a word are alike in nothing"
    )


def test_a_passing_quotation_stays_until_the_share_is_low_enough(excluded):
    words = KNOWN[2].split()
    text = text_of(60, 300) + " " + " ".join(words[:24])
    assert excluded([text])[0] == [None]
    assert excluded([text], share=0.1)[0] == ["exclude_overlap.holds"]


def test_nothing_is_known_of_an_empty_store_and_shares_are_checked(excluded):
    assert excluded([KNOWN[0]], known=[])[0] == [None]
    with pytest.raises(OptionError, match="share"):
        ExcludeOverlap.build({"share": 0}, "exclude_overlap")


def runs(text, width):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[n : n + width]) for n in range(max(1, len(words) - width + 1))} if words else set()


TEXTS = st.lists(st.lists(st.sampled_from("가 나 다 a b c".split()), max_size=14).map(" ".join), max_size=5)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_shares_are_those_of_brute_force(make_documents, make_store, tmp_path_factory, texts, known):
    stage = ExcludeOverlap(share=0.5, width=3)
    against = make_store(tmp_path_factory.mktemp("known"), known)
    batches = make_documents(texts).combine_chunks().to_batches()
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], make_documents([]).schema)
    ledger = evaluated(stage, gather([against], stage), batch).ledger
    for number, text in enumerate(texts):
        mine = runs(text, 3)
        own = max((len(mine & runs(one, 3)) / len(mine) for one in known if mine), default=0.0)
        held = max((len(mine & runs(one, 3)) / len(runs(one, 3)) for one in known if runs(one, 3)), default=0.0)
        assert np.isclose(ledger["exclude_overlap.own"][number].as_py(), own) and np.isclose(
            ledger["exclude_overlap.held"][number].as_py(), held
        )
        assert (ledger["reason"][number].as_py() is None) == (own < 0.5 and held < 0.5)
