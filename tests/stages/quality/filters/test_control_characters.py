def test_binary(reasons):
    assert reasons("control_characters", ["a\x00b\x01c", "a\u200bb", "plain\ttext\n"]) == [
        "control_characters.high",
        "control_characters.high",
        None,
    ]
