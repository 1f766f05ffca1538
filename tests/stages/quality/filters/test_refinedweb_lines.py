import pytest

from stages.quality.filters.refinedweb_lines import COUNTER

TEXT = "This is a sentence with several words.\nSHOUTED HEADING HERE\n1234\nalone\n3 likes\n조회수 1,204회\nAnd this is another one."


def test_each_kind_of_line_goes(edited):
    kept = edited("refinedweb_lines", TEXT, max_removed=None)
    assert kept == "This is a sentence with several words.\nAnd this is another one."


def test_a_document_that_loses_much_goes(reasons):
    assert reasons("refinedweb_lines", [TEXT, "Nothing to remove in this line."]) == [
        "refinedweb_lines.removed.high",
        None,
    ]


@pytest.mark.parametrize(
    "line", ["3 likes", "1.2K views", "12 Comments", "좋아요 3개", "댓글 12", "조회 1,024", "추천 5", "3개의 댓글"]
)
def test_counters(line):
    assert COUNTER.fullmatch(line)


@pytest.mark.parametrize("line", ["She likes 3 things", "3 people came", "댓글을 12개 달았다", "2024년"])
def test_sentences_are_no_counters(line):
    assert not COUNTER.fullmatch(line)
