def test_hashes_and_ellipses(reasons):
    assert reasons("symbol_ratio", ["# a b", "a ... b", "a b"]) == [
        "symbol_ratio.hashes.high",
        "symbol_ratio.ellipses.high",
        None,
    ]


def test_six_dots_are_two_ellipses(judge):
    assert judge("symbol_ratio", ["a...... b"], max_ellipses=None).ledger["symbol_ratio.ellipses"].to_pylist() == [1.0]
