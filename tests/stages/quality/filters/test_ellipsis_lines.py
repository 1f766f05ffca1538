def test_lines_that_break_off(reasons):
    assert reasons("ellipsis_lines", ["one...\ntwo…  \nthree", "one\ntwo... and on\nthree"]) == [
        "ellipsis_lines.high",
        None,
    ]
