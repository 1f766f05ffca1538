def test_placeholder(reasons):
    assert reasons("lorem_ipsum", ["Text.\nLorem Ipsum dolor", "Text."]) == ["lorem_ipsum.high", None]
