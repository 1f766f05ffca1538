def test_a_list(reasons):
    assert reasons("short_lines", ["one\ntwo\nthree", "a line that is well above thirty characters long"]) == [
        "short_lines.high",
        None,
    ]


def test_the_length_is_an_option(reasons):
    assert reasons("short_lines", ["one\ntwo\nthree"], length=2) == [None]


def test_not_judged_in_korean(reasons):
    assert reasons("short_lines", ["하나\n둘\n셋"], "ko") == [None]
