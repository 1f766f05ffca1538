"""Values that were met in the open and missed, or taken for what they are not; each by kernels and reference alike."""

from __future__ import annotations

import pyarrow as pa
import pytest

from stages.pii.actions import canonical, hashed
from stages.pii.detect import detect
from stages.pii.engines.reference import spans, without_overlaps
from stages.pii.entities import PATTERNED
from stages.pii.kernels.rules import rule_book

KINDS = frozenset(PATTERNED)


def found(text: str) -> list[tuple[str, str]]:
    """(kind, value) of every finding of the kernels, which the reference must share."""
    fast = [(f.entity, text[f.start : f.end]) for f in detect(pa.array([text], pa.large_string()), KINDS)]
    every = [span for rule in rule_book() if rule.entity in KINDS for span in spans(text, rule, 50)]
    slow = [(s.rule.entity, text[s.start : s.end]) for s in without_overlaps(every, text)]
    assert fast == slow
    return fast


ADDRESSES = [
    "대구광역시 수성구 동대구로 23길 12", "서울 강남구 논현로 71길 5", "서울특별시 마포구 월드컵로 1길 14, 201호", "세종시 도움5로 20", "세종시 한누리대로 2130",
    "천안시 서북구 4공단로 88", "경기도 안산시 단원구 1공단로 7", "제주시 연동 312-7", "용인시 처인구 이동 77-1", "세종대로 110 서울시청 8층",
    "판교역로 235, H스퀘어 N동 8층", "테헤란로 427 위워크타워 10층", "서울 중구 세종대로 110 서울시청 8층", "부산 해운대구 센텀중앙로 79 1203호",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_found_whole(address):
    assert found(f"{address}") == [("kr_address", address)]
    assert found(f"본사는 {address}에 있다.") == [("kr_address", address)]
    assert found(f"주소: {address}\n다음 줄") == [("kr_address", address)]


@pytest.mark.parametrize(
    "address",
    [
        "논현로 71길 5",
        "동대구로 23길 12",
        "종로 1길 50",
        "논현로 99번안길 12",
        "동탄대로 5나길 14",
        "순환로 87번나길 3-1",
    ],
)
def test_a_blank_before_the_branch_and_a_label(address):
    assert found(f"주소: {address}") == [("kr_address", address)]


@pytest.mark.parametrize(
    "text",
    [
        "실제로 3 건물 2층에서",
        "강남구 23로 12",
        "연동 12회",
        "처리 연동 312-7",
        "그대로 12, 5층까지",
        "2호선으로 10 정거장 3층",
    ],
)
def test_adverbs_and_common_words_are_no_addresses(text):
    assert [kind for kind, _ in found(text) if kind == "kr_address"] == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Tel. unter +4915228817386\n\nTermin: 28.02.2020", ["+4915228817386"]),
        ("전화 02-123-4567\n학번: 201710452", ["02-123-4567"]),
        ("전화 02-123-4567 학번: 201710452", ["02-123-4567"]),
        ("연락처: 02-123-4567, 접수 20.03.2021", ["02-123-4567"]),
        ("Phone 555 0123 and account of 201710452", ["555 0123"]),
        ("연락처: 홍길동\n20171045", []),
        ("555 0123\nfax", []),
        ("전화:\n069 900123", ["069 900123"]),
        ("전화번호: 069 900123", ["069 900123"]),
        ("Tel: 069 900123, 069 900124", ["069 900123", "069 900124"]),
        ("Tel: 069 / 900 09 123", ["069 / 900 09 123"]),
        ("Telefon: 030/12 34 56 78", ["030/12 34 56 78"]),
        ("Tel (0221) / 4710123", ["(0221) / 4710123"]),
        ("Tel: 030 - 12345678", ["030 - 12345678"]),
        ("Tel: 0221 – 47 10 123", ["0221 – 47 10 123"]),
        ("Tel. 030 - 901820, 2019 - 2021", ["030 - 901820"]),
        ("Tel: 02-123-4567 / 02-234-5678", ["02-123-4567", "02-234-5678"]),
    ],
)
def test_a_label_names_one_number(text, values):
    assert [value for kind, value in found(text) if kind == "phone"] == values


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("외국인등록번호 680201-7044880", "kr_frn", "680201-7044880"),
        ("외국인등록번호: 991301-5044880", "kr_frn", "991301-5044880"),
        ("주민등록번호 901332-1234567", "kr_rrn", "901332-1234567"),
        ("주민등록번호: 9013321234567", "kr_rrn", "9013321234567"),
        ("사업자등록번호: 214-86-55193", "kr_brn", "214-86-55193"),
        ("사업자번호 2148655193", "kr_brn", "2148655193"),
        ("SSN: 536 22 1123", "us_ssn", "536 22 1123"),
        ("ssn 536.22.1123", "us_ssn", "536.22.1123"),
        ("My social security number is 536221123.", "us_ssn", "536221123"),
        ("여권번호: C8471203", "kr_passport", "C8471203"),
        ("여권번호 M 12345678", "kr_passport", "M 12345678"),
        ("Passport No. AB1234567", "kr_passport", "AB1234567"),
        ("passport number 561234567", "kr_passport", "561234567"),
    ],
)
def test_the_right_form_beside_its_own_label(text, kind, value):
    assert found(text) == [(kind, value)]
    (finding,) = detect(pa.array([text], pa.large_string()), KINDS)
    assert finding.score < 0.95
    assert found(value) == [], "the form alone says nothing"


@pytest.mark.parametrize(
    "url",
    [
        "https://www.facebook.com/x/posts/2395361813834269",
        "https://a.example/photo?fbid=2395361813834269",
        "http://a.example/b/status/4111111111111111?s=20",
    ],
)
def test_the_number_of_a_page_is_no_card(url):
    assert [kind for kind, _ in found(f"see {url} there") if kind == "card"] == []
    number = next(part for part in url.replace("?s=20", "").replace("=", "/").split("/") if part.isdigit())
    assert [kind for kind, _ in found(f"카드 {number}")] == ["card"]


HIDDEN = [
    "\u00ad",
    "\u034f",
    "\u061c",
    "\u180b",
    "\u200b",
    "\u200d",
    "\u202e",
    "\u2060",
    "\u3164",
    "\ufe0f",
    "\ufeff",
    "\uffa0",
    "\U000e0041",
    "\U000e0100",
]


@pytest.mark.parametrize("sign", HIDDEN, ids=ascii)
def test_signs_without_a_width_hide_nothing(sign):
    for value in ("010-1234-5678", "hong@example.com"):
        written = sign.join(value)
        assert [v for _, v in found(f"x {written} y")] == [written]


@pytest.mark.parametrize("dash", "\u02d7\u2010\u2013\u2212\u2043\u2500\u30fc\u3161\uff0d\uff70", ids=ascii)
def test_every_dash_parts_a_number(dash):
    assert [kind for kind, _ in found(f"tel 010{dash}1234{dash}5678")] == ["phone"]


@pytest.mark.parametrize("tilde", "~\uff5e")
def test_tildes_part_a_mobile_number_and_no_range(tilde):
    assert found(f"tel 010{tilde}1234{tilde}5678") == [("phone", f"010{tilde}1234{tilde}5678")]
    assert found(f"010{tilde}1234-5678, 1{tilde}1234{tilde}5678, 010{tilde}1234") == []


@pytest.mark.parametrize("dot", "\u00b7\u2022\u2219\u22c5\u30fb\u318d\uff0e\uff61\uff65", ids=ascii)
def test_every_dot_parts_a_number_and_a_host(dot):
    assert [kind for kind, _ in found(f"tel 010{dot}1234{dot}5678")] == ["phone"]
    assert [kind for kind, _ in found(f"mail hong@example{dot}com")] == ["email"]


def test_an_ideographic_full_stop_in_an_address():
    assert found("mail hong@example。com now") == [("email", "hong@example。com")]
    assert found("전화 ０１０ー１２３４ー５６７８") == [("phone", "０１０ー１２３４ー５６７８")]
    assert found("010 · 1234 · 5678") == [("phone", "010 · 1234 · 5678")]


@pytest.mark.parametrize("text", ["서울·부산·대구", "サーバー", "です。そして", "1・2", "10\n-5\n", "a@\n"])
def test_the_same_signs_between_words_change_nothing(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "value",
    [
        "010-\n1234-5678",
        "010-1234\n-5678",
        "hong@\nexample.com",
        "010-1\n234-5678",
        "010-12\n34-5678",
        "010-123\n4-5678",
    ],
)
def test_a_line_break_inside_a_value(value):
    assert [v for _, v in found(f"x {value} y")] == [value]


@pytest.mark.parametrize("text", ["02-123-4567\n02-234-5678", "010-1234-5678\n010-2345-6789", "031-987-6543\n12 sacks"])
def test_a_line_break_between_values_parts_them(text):
    assert [value for _, value in found(text)] == [line for line in text.split("\n") if "-" in line]


@pytest.mark.parametrize("text", ["score 2-1\n3-0 end", "1-2\n3-4\n5-6", "10-12\n34-56", "a-1\n2-b"])
def test_line_breaks_between_other_numbers_change_nothing(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("ip", "1.23.45.6", "12.3.45.6"),
        ("kr_address", "연동 12-3", "연동 1-23"),
        ("kr_address", "가로 1, 23호", "가로 12, 3호"),
    ],
)
def test_what_stands_between_digits_tells_values_apart(kind, one, other):
    key = b"0123456789abcdef"
    assert canonical(kind, one) != canonical(kind, other)
    assert hashed(kind, one, key) != hashed(kind, other, key)
    assert hashed("phone", "010-1234-5678", key) == hashed("phone", "010 12345678", key)
    assert hashed(kind, one, key) == hashed(kind, "\u200b" + one, key)
