"""The charset of a page: order of evidence, Korean labels, detection of short Korean text, counted fallbacks."""

from __future__ import annotations

import json
import lzma

import pytest

from stages.ingest.charset import codec, decode, detect, header_label, meta_label

KOREAN = "맷돌은 곡식을 가는 돌이다. 똠방각하 펲시콜라 햏"


@pytest.mark.parametrize(
    "label",
    ["euc-kr", "EUC-KR", "ks_c_5601-1987", "KSC5601", "korean", "windows-949", "UHC", "ms949", "cp949", '"euc-kr"'],
)
def test_every_korean_label_is_cp949(label):
    assert codec(label) == "cp949"


@pytest.mark.parametrize(
    "label, name",
    [("latin1", "cp1252"), ("us-ascii", "cp1252"), ("gb2312", "gb18030"), ("shift_jis", "cp932"), ("utf8", "utf-8")],
)
def test_labels_mean_their_wider_code_page(label, name):
    assert codec(label) == name


@pytest.mark.parametrize("label", ["", None, "no-such", "hex", "rot13", "punycode", "x" * 500])
def test_what_is_no_charset_is_none(label):
    assert codec(label) is None


def test_order_is_mark_header_meta_detector():
    html = '<meta charset="euc-kr">' + KOREAN
    assert decode(b"\xef\xbb\xbf" + html.encode(), "euc-kr")[1:4] == ("utf-8", "bom", 0)
    assert decode(html.encode("cp949"), "cp949")[1:4] == ("cp949", "header", 0)
    assert decode(html.encode("cp949"))[1:4] == ("cp949", "meta", 0)
    assert decode(KOREAN.encode("cp949"))[1:4] == ("cp949", "detector", 0)


def test_syllables_beyond_euc_kr_are_read_under_its_label():
    decoded = decode(('<meta http-equiv="Content-Type" content="text/html; charset=euc-kr">' + KOREAN).encode("cp949"))
    assert KOREAN in decoded.text and decoded.replaced == 0


def test_a_western_label_on_other_bytes_gives_way_and_is_counted():
    decoded = decode(KOREAN.encode(), "iso-8859-1")
    assert decoded.text == KOREAN and decoded.learnt == "detector" and decoded.fallbacks == 1
    decoded = decode(("<meta charset=euc-kr>" + KOREAN).encode("cp949"), "latin1")
    assert KOREAN in decoded.text and decoded.learnt == "meta" and decoded.fallbacks == 1


def test_header_wins_over_a_meta_tag_that_contradicts_it():
    html = '<meta charset="shift_jis">' + KOREAN
    assert decode(html.encode("cp949"), "euc-kr").text == html


def test_an_unknown_label_is_a_counted_fallback():
    decoded = decode(KOREAN.encode(), "x-klingon")
    assert decoded.text == KOREAN and decoded.fallbacks == 1


def test_a_damaged_position_does_not_change_the_charset():
    data = bytearray((KOREAN * 40).encode())
    data[101] = 0xFF
    decoded = decode(bytes(data))
    assert decoded.encoding == "utf-8" and decoded.replaced >= 1 and KOREAN in decoded.text


def test_utf8_cut_in_a_character_is_utf8():
    assert decode(KOREAN.encode()[:-1]).encoding == "utf-8"


def test_utf16_by_mark_and_a_meta_tag_that_cannot_be_true():
    assert decode(b"\xff\xfe" + KOREAN.encode("utf-16-le")).text == KOREAN
    assert meta_label(b'<meta charset="utf-16">') == "utf-8"


def test_plain_text_has_no_meta_tag():
    assert decode(b'<meta charset="utf-16be"> plain', html=False).learnt == "detector"


LANGUAGES = {
    "ko": "맷돌은 곡식을 가는 도구이며 물레방아와 함께 쓰였다. 마을 사람들이 모여 밀을 갈았다.",
    "ja": "石臼は穀物を挽くための道具であり、水車とともに使われた。村の人々が集まった。",
    "zh": "石磨是用来磨谷物的工具，常与水车一起使用。村里的人们聚在一起磨面粉。",
    "ru": "Жернова мелют зерно, и мельница стоит у реки. Люди приносят мешки с ячменём.",
    "th": "โม่หินใช้บดเมล็ดพืช และโรงสีตั้งอยู่ริมแม่น้ำ ชาวบ้านนำข้าวมาที่นี่",
    "fr": "Le moulin à eau moud le blé près de la rivière ; l’été, les meuniers y travaillent très tôt.",
}
STALE = "euc-kr cp949 shift_jis euc-jp iso-2022-jp gb2312 gbk gb18030 big5 iso-8859-1 iso-8859-15 windows-1250 windows-1251 windows-1252 windows-1254 koi8-r tis-620 windows-874 utf-16 utf-7 cp037".split()


@pytest.mark.parametrize("by", ["header", "meta"])
@pytest.mark.parametrize("label", STALE)
def test_bytes_that_are_utf8_are_utf8_under_any_label(label, by):
    for words in LANGUAGES.values():
        source = (
            f"<meta charset={label if by == 'meta' else 'utf-8'}><script>{'var a = 1;' * 1500}</script><p>{words}</p>"
        )
        decoded = decode(source.encode(), label if by == "header" else None)
        assert (
            decoded.text == source
            and decoded.encoding == "utf-8"
            and decoded.fallbacks == (0 if (label, by) == ("utf-16", "meta") else 1)
        )


@pytest.mark.parametrize("label", ["euc-kr", "shift_jis", "gbk", "windows-1252"])
@pytest.mark.parametrize("cut", [1, 2])
def test_utf8_cut_at_its_end_is_utf8_under_any_label(label, cut):
    decoded = decode(f"<p>{LANGUAGES['ko']}".encode()[:-1] + "가".encode()[:cut], label)
    assert decoded.encoding == "utf-8" and LANGUAGES["ko"][:-1] in decoded.text and decoded.replaced == 1


def test_ascii_around_them_does_not_make_unreadable_characters_few():
    words = LANGUAGES["fr"]
    decoded = decode(("<p>" + "plain words " * 2000 + words).encode("cp1252"), "utf-8")
    assert words in decoded.text and decoded.replaced == 0 and decoded.fallbacks == 1
    decoded = decode(("<p>" + "plain words " * 2000 + LANGUAGES["ko"]).encode("cp949"), "utf-8")
    assert LANGUAGES["ko"] in decoded.text and decoded.encoding == "cp949"


def test_korean_text_under_a_label_of_another_script():
    for label in ("iso-8859-1", "windows-1251", "gb2312", "shift_jis"):
        assert decode(LANGUAGES["ko"].encode("cp949"), label).text == LANGUAGES["ko"], label


@pytest.mark.parametrize(
    "language, label",
    [
        ("zh", "gb2312"),
        ("zh", "gb18030"),
        ("ja", "shift_jis"),
        ("ja", "euc-jp"),
        ("ru", "koi8-r"),
        ("ru", "windows-1251"),
        ("th", "tis-620"),
        ("fr", "latin1"),
    ],
)
def test_a_true_label_is_believed(language, label):
    words = LANGUAGES[language]
    decoded = decode(words.encode(codec(label)), label)
    assert decoded.text == words and decoded.learnt == "header" and decoded.fallbacks == 0


@pytest.mark.parametrize("name", ["cp1251", "mac_cyrillic", "koi8-r"])
def test_short_russian_is_read_in_its_own_charset(name):
    text = "Мельница стоит у реки и мелет ячмень по вечерам.\n" * 3
    assert decode(text.encode(name)).text == text


def test_hz_is_told_by_its_escapes():
    assert decode(LANGUAGES["zh"].encode("hz")).text == LANGUAGES["zh"]
    script = "var a = {b: '~{' + c + '~}'};"
    assert decode(script.encode()).text == script


@pytest.mark.parametrize(
    "hidden",
    [
        "<!-- <meta charset=iso-8859-1> -->",
        "<!-- > <meta charset=iso-8859-1> --!>",
        "<script>document.write('<meta charset=iso-8859-1>')</script>",
        "<style>/* <meta charset=iso-8859-1> */</style>",
        "<title><meta charset=iso-8859-1></title>",
        "<textarea><meta charset=iso-8859-1></textarea>",
        "<noscript><meta charset=iso-8859-1></noscript>",
        "<template><meta charset=iso-8859-1></template>",
        "<![CDATA[ <p> <meta charset=iso-8859-1> ]]>",
        "<a title='<meta charset=iso-8859-1>'>x</a>",
        '<div class="x""><meta data-charset=iso-8859-1 name=charset content=iso-8859-1>',
    ],
)
def test_a_meta_tag_that_no_browser_reads_says_nothing(hidden):
    assert meta_label(hidden.encode()) is None
    assert (
        meta_label(f"{hidden}<META http-equiv=Content-Type content='text/html; CHARSET=euc-kr'>".encode()) == "euc-kr"
    )


def test_header_label():
    assert header_label("text/html; Charset='euc-kr'; x=y") == "euc-kr"
    assert header_label("text/html") is None and header_label(None) is None


@pytest.mark.parametrize("size, fewest", [(10, 0.95), (30, 0.99), (100, 1.0), (400, 1.0)])
def test_korean_reviews_without_a_declaration_are_read(shared, size, fewest):
    """Real Korean reviews as small CP949 pages without a meta tag, at the sizes at which detectors fail."""
    texts = []
    with lzma.open(shared / "C-nsmc-reviews.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            texts.append(json.loads(line)["text"])
            if len(texts) == 600:
                break
    right = total = 0
    for start in range(200):
        body = " ".join(texts[start * 3 : start * 3 + 40])[:size]
        try:
            data = f"<html><head><title>x</title></head><body><p>{body}</p></body></html>".encode("cp949")
        except UnicodeEncodeError:
            continue
        total += 1
        right += body in decode(data).text
    assert total > 150 and right >= fewest * total


def test_other_languages_are_not_taken_for_korean():
    assert detect("人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心".encode("gb18030")) == "gb18030"
    assert (
        detect("すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。".encode("euc-jp"))
        == "euc_jp"
    )
    assert (
        detect(
            "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.".encode(
                "cp1252"
            )
        )
        == "cp1252"
    )


UTF16, UTF32 = b"\xff\xfe", b"\xff\xfe\0\0"
PAGE = "<html><body><p>" + KOREAN + "</p><p>The mill at the river grinds barley.</p></body></html>"


@pytest.mark.parametrize("coded", ["utf-8", "cp949", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize(
    "mark",
    [b"\xef\xbb\xbf", UTF16, b"\xfe\xff", UTF32, b"\0\0\xfe\xff"],
    ids=["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"],
)
@pytest.mark.parametrize("page", [PAGE, "<p>The mill grinds.</p>", KOREAN], ids=["page", "ascii", "a line"])
def test_a_mark_is_believed_only_where_the_bytes_are_what_it_says(mark, coded, page):
    if coded == "utf-16-le" and mark == UTF32:
        pytest.skip("the mark of UTF-16 and a NUL: which of them is meant cannot be known")
    if coded == "cp949" and page.isascii():
        pytest.skip("the same bytes in UTF-8")
    decoded = decode(mark + page.encode(coded))
    assert decoded.text == page and decoded.replaced == 0
    assert (decoded.learnt == "bom") == (decoded.fallbacks == 0) == (mark.decode(coded, "ignore") == "\ufeff")


@pytest.mark.parametrize("text", ["挨拶", "漢字と仮名", "가", "a", "", "맷돌은 돈다\n", "“水” — 山"])
@pytest.mark.parametrize("coded", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_true_mark_is_believed_before_a_word(text, coded):
    mark = b"" if coded == "utf-8-sig" else "\ufeff".encode(coded)
    decoded = decode(mark + text.encode(coded))
    assert decoded.text == text and decoded.learnt == "bom"


def test_a_true_mark_is_believed_before_a_damaged_position():
    data = bytearray(UTF16 + (PAGE * 20).encode("utf-16-le"))
    data[100:102] = b"\x00\xdc"
    assert decode(bytes(data)).learnt == "bom"
    assert decode(b"\xef\xbb\xbf" + KOREAN.encode() * 3 + b"\xb0").learnt == "bom"


@pytest.mark.parametrize(
    "head, label",
    [
        (b"<META content='text/html; CharSet=euc-kr' http-equiv=content-type>", "euc-kr"),
        (b"<meta name=a><script charset=big5></script><p>", None),
        (b"<meta name=a><script>'<meta charset=big5>'</script><meta charset=euc-kr>", "euc-kr"),
        (b"<meta charset=euc-kr><script>'<meta charset=big5>'</script>", "euc-kr"),
        (b"<meta content='<meta' charset=euc-kr>", "euc-kr"),
        (b"charset<meta name=x>", None),
    ],
)
def test_a_label_is_found_before_the_last_mention_of_a_charset(head, label):
    assert meta_label(head) == label
