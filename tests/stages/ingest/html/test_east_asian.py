"""Chinese and Japanese pages under a Western label or none are read; nothing else is taken for one."""

from __future__ import annotations

import json
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.charset import WESTERN, codec, decode
from stages.ingest.east_asian import LEAST, east_asian

JAPANESE = (
    "石臼は穀物を粉にするための道具である。",
    "水車小屋のそばを流れる川は、冬でも凍らない。",
    "村の人々は秋になると大麦を運んで来ました。",
    "新しい橋ができてから、市場まで歩いて行けるようになった。",
    "昔の記録によれば、この粉ひき場は三百年前に建てられたという。",
    "お問い合わせは下のフォームからお願いします。",
)
SIMPLIFIED = (
    "石磨是用来把粮食磨成面粉的工具。",
    "村里的人们在秋天把大麦运到河边的磨坊。",
    "这座桥是去年建的，我们可以走过去看看。",
    "他说这个地方的水在冬天也不会结冰。",
    "如果你有问题，就到下面的地方来问我们。",
    "从前这里没有学校，孩子们要走很远的路。",
)
TRADITIONAL = (
    "石磨是用來把糧食磨成麵粉的工具。",
    "村裡的人們在秋天把大麥運到河邊的磨坊。",
    "這座橋是去年建的，我們可以走過去看看。",
    "他說這個地方的水在冬天也不會結冰。",
    "如果你有問題，就到下面的地方來問我們。",
    "從前這裡沒有學校，孩子們要走很遠的路。",
)
EAST = {"cp932": JAPANESE, "euc_jp": JAPANESE, "gb18030": SIMPLIFIED, "big5hkscs": TRADITIONAL}
OTHERS: dict[tuple[str, ...], str] = {
    ("cp949",): "맷돌은 곡식을 가는 돌이다. ㅋㅋㅋㅋㅋㅋ 정말요? ㅠㅠ ㅎㅎ ㅇㅋ. 물레방아 옆의 강은 겨울에도 얼지 않는다. 제분소 영업시간 안내. ㅋㅋㅋㅋㅋㅋㅋㅋㅋ ㄱㄱ ㅅㅅ",
    ("cp1252", "iso8859_15", "mac_roman", "cp1254", "cp850"): "Über die Brücke zur Mühle: Äpfel, Öl, Größe. L'été, près du fleuve, où le blé mûr était moulu à côté. El niño y la cigüeña. ÀÉÈÊÂÔÇ ÅÄÖ ÆØÅ øre på Å, ça déjà vu; não há maçã.",
    ("cp1250", "iso8859_2"): "Žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń nad rzeką. Őrült árvíztűrő tükörfúrógép. ŽÁÍÉŮ",
    ("cp1251", "koi8_r", "iso8859_5", "mac_cyrillic", "cp866"): "Мельница стоит у реки, и зимой вода не замерзает. Люди везут ячмень осенью через мост. ОБЩОТО СЪБРАНИЕ на селото. Все мы ели хлеб, пили чай и шли домой. И вот он был там.",
    ("cp1253", "iso8859_7"): "Ο μύλος είναι δίπλα στο ποτάμι και το νερό δεν παγώνει τον χειμώνα. ΨΩΜΙ ΚΑΙ ΑΛΕΥΡΙ",
    ("cp874",): "โรงสีอยู่ริมแม่น้ำ น้ำไม่เคยแข็งในฤดูหนาว ชาวบ้านขนข้าวมาในฤดูใบไม้ร่วง ภาษาไทย ครับ ค่ะ มาก",
    ("cp1255",): "הטחנה עומדת ליד הנהר ובחורף המים אינם קופאים. לחם וקמח",
    ("cp1256",): "الطاحونة بجانب النهر والماء لا يتجمد في الشتاء. خبز ودقيق",
    ("cp1257",): "Malūnas stovi prie upės, žiemą vanduo neužšąla. Šių ąžuolų, ėjo, čia, ūkis.",
    ("cp1258",): "Cối xay nằm bên bờ sông, đường đến chợ qua cầu. Ðức Âu Ô Ê",
    ("cp1254", "iso8859_9"): "Değirmen ırmağın yanında, kışın su donmaz. İğne, şöyle çünkü, ÇĞİÖŞÜ",
}  # fmt: skip
LABELS = [None, "iso-8859-1", "windows-1252", "us-ascii", "iso-8859-15"]


def page(text: str, label: str | None) -> str:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={label}">' if label else ""
    return f"<html><head>{meta}<title>{text[:12]}</title></head><body><div class=a>\n<p>{text}</p>\n<a href=/>1</a></div></body></html>"


@pytest.mark.parametrize("name", EAST)
@pytest.mark.parametrize("label", LABELS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_declared_western_or_not_at_all_is_read(name, label, data):
    """Two sentences and more in any order, by a header, a meta tag, or neither."""
    text = "".join(data.draw(st.lists(st.sampled_from(EAST[name]), min_size=2, max_size=6)))
    header = data.draw(st.booleans())
    source = page(text, None if header else label)
    decoded = decode(source.encode(name), label if header else None)
    assert (decoded.text, decoded.encoding, decoded.learnt, decoded.replaced) == (source, name, "detector", 0)
    assert decoded.fallbacks == (label is not None)


@pytest.mark.parametrize(
    "name, label", [("cp932", "shift_jis"), ("euc_jp", "euc-jp"), ("gb18030", "gb2312"), ("big5hkscs", "big5")]
)
def test_a_label_that_fits_is_believed_as_before(name, label):
    source = page("".join(EAST[name]), label)
    assert decode(source.encode(name))[:4] == (source, codec(label), "meta", 0)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_text_of_another_code_page_is_taken_for_it(data):
    """Words of other languages in their code pages, in any order and number, all of even length among them, and cut anywhere. Korean is asked for before."""
    codecs, text = data.draw(st.sampled_from(sorted(OTHERS.items())))
    name = data.draw(st.sampled_from(codecs))
    words = text.split()
    if data.draw(st.booleans()):
        words = [word for word in words if len(word.encode(name, "replace")) % 2 == 0] or words
    drawn = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=60))
    raw = data.draw(st.sampled_from(["", " ", "\n", "<br>"])).join(drawn).encode(name, "replace")
    raw = raw[data.draw(st.integers(0, 3)) :]
    assert name == "cp949" or east_asian(raw) is None


@pytest.mark.parametrize("label", ["koi8-r", "windows-1251", "tis-620", "windows-1253", "iso-8859-2"])
def test_a_label_that_is_not_western_is_believed(label):
    assert codec(label) not in WESTERN or label == "iso-8859-2"
    source = "Мельница" if "125" in label or "koi" in label else "abc"
    raw = source.encode(codec(label), "replace")
    assert decode(raw, label, html=False).encoding == codec(label)


def test_a_word_said_again_and_again_is_no_evidence():
    raw = ("το" + "ΑΛΕΥΡΙ" * 9).encode("cp1253")
    assert raw.decode("gb18030").count("了") == 9 and east_asian(raw) is None


def test_korean_letters_are_no_kana():
    """ㅋ and ㅠ stand in EUC-KR where hiragana do in EUC-JP, syllables where everyday kanji do."""
    raw = ("ㅋㅋㅋㅋㅋ ㅎㅎㅎ ㅠㅠ ㅇㅇ ㄱㄱ ㅅㅅ ㅈㅈ ㅡㅡ " * 4 + "정말 재미").encode("cp949")
    assert all("ぁ" <= c <= "ん" or c in " " or c > "一" for c in raw.decode("euc_jp")), "they do read as Japanese"
    assert east_asian(raw) is None


def test_little_is_no_evidence():
    assert east_asian("水の中に".encode("cp932")) is None and LEAST == 8
    assert east_asian(b"") is None and east_asian(b"\xa4") is None


def test_the_declaration_of_human_rights_in_every_language(shared):
    """Each paragraph of 532 versions in every single-byte code page that has its letters: none is taken for Chinese or Japanese; whole
    texts of those are found."""
    singles = "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 koi8_r koi8_u iso8859_2 iso8859_5 iso8859_7 mac_roman mac_cyrillic cp866".split()
    own = {"Hans": ["gb18030"], "Hant": ["big5hkscs"], "Jpan": ["cp932", "euc_jp"]}
    tried, found = 0, 0
    for line in lzma.open(shared / "G-udhr-532.jsonl.xz", "rt", encoding="utf-8"):
        row = json.loads(line)
        paragraphs = [part if isinstance(part, str) else part["text"] or "" for part in row["paras"]]
        for name in own.get(row["script"], singles):
            for text in ["\n".join(paragraphs)] if row["script"] in own else paragraphs:
                try:
                    raw = text.encode(name)
                except UnicodeEncodeError:
                    continue
                if not raw.isascii():
                    tried += 1
                    assert east_asian(raw) == (name if row["script"] in own else None), (row["key"], name)
                    found += row["script"] in own
    assert tried > 50_000 and found >= 15
