def test_each_rule(reasons):
    line = "A line of some thirty-five characters, that ends."
    cases = {
        "ended_lines.low": "\n".join(["A line of some forty characters that has no end"] * 10),
        "short_lines.high": "\n".join(["Short."] * 9 + [line]),
        "repeated_characters.high": "\n".join([line, line]),
        "newlines.high": "\n\n\n\n\n\n".join(f"{n} A line of some thirty-five characters." for n in range(3)),
    }
    for rule, text in cases.items():
        assert reasons("fineweb", [text]) == [f"fineweb.{rule}"], rule
    assert reasons("fineweb", [line]) == [None]


def test_korean_as_fineweb_2(reasons):
    text = "\n".join(f"{n}번째 짧은 줄이다." for n in range(9))
    assert reasons("fineweb", [text], "ko") == [None]
    assert reasons("fineweb", [text], "en") == ["fineweb.short_lines.high"]
