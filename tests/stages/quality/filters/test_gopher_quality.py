from stages.quality.build import build

PROSE = "The people of the town have to be there and that is with it. " * 6


def test_prose_passes(reasons):
    assert reasons("gopher_quality", [PROSE]) == [None]


def test_each_rule(reasons):
    cases = {
        "words.low": "the be to of",
        "mean_length.low": "a b the of to c d e f g " * 10,
        "mean_length.high": "theunbelievablylongword toanothersuchwords " * 30,
        "hashes.high": PROSE + "# " * 40,
        "ellipses.high": PROSE + "... " * 40,
        "bullet_lines.high": "\n".join("- the words of a line that have to be long" for _ in range(20)),
        "ellipsis_lines.high": "\n".join("the words of a line that have to be long…" for _ in range(20)),
        "alphabetic.low": PROSE + "12345 " * 60,
        "stop_words.low": "some words about cats dogs birds fish " * 10,
    }
    off = {"max_ellipses": None}
    for rule, text in cases.items():
        options = off if rule == "ellipsis_lines.high" else {}
        assert reasons("gopher_quality", [text], **options) == [f"gopher_quality.{rule}"], rule


def test_a_text_of_nothing_fails_and_does_not_pass_as_nan(reasons):
    off = dict.fromkeys(("min_words", "max_words", "min_stop_words"))
    assert reasons("gopher_quality", ["... !!!"], **off) == ["gopher_quality.mean_length.empty"]


def test_every_measure_is_kept_for_kept_and_dropped(judge):
    ledger = judge("gopher_quality", [PROSE, "few words"]).ledger
    assert ledger["gopher_quality.words"].to_pylist() == [84.0, 2.0]
    assert {n.split(".")[1] for n in ledger.column_names if n.startswith("gopher_quality.")} == {
        b.measure for b in build(["gopher_quality"])[0].bounds
    }
