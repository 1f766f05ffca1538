def test_three_long_lines(reasons):
    long = "word " * 40
    assert reasons("c4_paragraphs", [f"{long}x\n{long}y\n{long}z", f"{long}x\n{long}y\nshort"]) == [
        None,
        "c4_paragraphs.low",
    ]
