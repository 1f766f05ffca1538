import pytest

GOOD = "안녕하세요. 반갑습니다."


@pytest.mark.parametrize(
    "text",
    [
        "안녕하세요".encode().decode("cp1252", "replace"),
        "안녕하세요 반갑습니다".encode("cp949").decode("latin-1"),
        "占쏙옙 占쏙옙 占쏙옙",
        "글자 \ufffd\ufffd 깨짐",
        "caf\u00c3\u00a9 caf\u00c3\u00a9",
    ],
)
def test_wrong_charsets(reasons, text):
    assert reasons("mojibake", [text]) == ["mojibake.high"]


@pytest.mark.parametrize("text", [GOOD, "Café déjà vu, naïve coöperation «été»", "Ärger über Öl", "10 € für “Alles”"])
def test_accents_are_no_mojibake(reasons, text):
    assert reasons("mojibake", [text]) == [None]
