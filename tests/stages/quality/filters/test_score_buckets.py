"""Several scores as one bucket."""

import numpy as np
import pytest

from pipeline.errors import OptionError
from stages.quality import Quality
from stages.quality.filters.score_buckets import ScoreBuckets

EDGES = {"a": (0.1, 0.5, 0.9), "b": (1.5, 2.5, 3.5)}
SCORES = {"a": np.array([0.0, 0.1, 0.6, np.nan, np.nan]), "b": np.array([4.0, 1.0, 2.5, 2.0, np.nan])}


@pytest.mark.parametrize(
    "combine, wanted", [("max", [3, 1, 2, 1, None]), ("min", [0, 0, 2, 1, None]), ("mean", [1, 0, 2, 1, None])]
)
def test_ranks_are_combined(combine, wanted):
    found = ScoreBuckets(edges=EDGES, combine=combine).combined(SCORES)
    assert [None if np.isnan(x) else int(x) for x in found] == wanted


def test_the_bucket_is_a_column_and_a_limit(batch_of):
    texts = ["가나다 " * 20, "This is plain English about nothing much at all.", "!!! ..."]
    filters = [{"language": {"min": None}}, {"score_buckets": {"edges": {"lang_score": [0.3, 0.75]}, "min": 1}}]
    work = Quality.build({"filters": filters}, "quality").work(batch_of(texts))
    assert work.kept["quality_bucket"].to_pylist() == [2, 2] and work.ledger["score_buckets.bucket"].to_pylist()[
        :2
    ] == [2, 2]
    assert work.ledger["reasons"][2].as_py() == ["score_buckets.empty"]


@pytest.mark.parametrize(
    "edges, message", [({"a": [0.5, 0.1]}, "rising"), ({"a": [1], "b": [1, 2]}, "as many edges"), ({"a": []}, "rising")]
)
def test_wrong_edges_are_named(edges, message):
    with pytest.raises(OptionError, match=message):
        ScoreBuckets.build({"edges": edges}, "score_buckets")


def test_an_absent_column_is_named(batch_of):
    with pytest.raises(OptionError, match="put the filter that writes it before"):
        Quality.build({"filters": [{"score_buckets": {"edges": {"quality_score": [0.5]}}}]}, "quality").work(
            batch_of(["x"])
        )
