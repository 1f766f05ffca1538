def test_each_kind_of_repetition(reasons):
    plain = " ".join(f"word{n}" for n in range(200))
    cases = {
        "paragraphs.high": "\n\n".join(["same here"] * 5 + [plain]),
        "lines.high": "\n".join(["same here"] * 5 + [plain]),
        "top_2.high": plain + " buy now" * 60,
    }
    for rule, text in cases.items():
        assert reasons("gopher_repetition", [text]) == [f"gopher_repetition.{rule}"], rule
    assert reasons("gopher_repetition", [plain]) == [None]


def test_long_phrases(reasons):
    plain = " ".join(f"word{n}" for n in range(40))
    phrase = " ".join(f"phrase{n}" for n in range(12))
    assert reasons("gopher_repetition", [f"{phrase} {plain} {phrase}"]) == ["gopher_repetition.repeated_5.high"]


def test_korean_as_fineweb_2(reasons):
    # one line in three stood before: above Gopher's .30, below FineWeb-2's .374, and no phrase makes up much of the text
    other = [
        f"{chr(0xAC00 + n)}낱말{n} {chr(0xB098 + n)}글{n} {chr(0xB2E4 + n)}줄{n} {chr(0xB77C + n)}끝{n}"
        for n in range(30)
    ]
    text = "\n".join(other + other[:15])
    off = {f"max_repeated_{n}": None for n in range(5, 11)}
    assert reasons("gopher_repetition", [text], "ko", **off) == [None]
    assert reasons("gopher_repetition", [text.replace("\n", "\n\n")], "en", **off) == [
        "gopher_repetition.paragraphs.high"
    ]
