"""What each rule finds and leaves, one line a case: (text, kind, value), value None where nothing may be found."""

import pytest

FOUND = [
    ('write to "ada lovelace"@example.org now', "email", '"ada lovelace"@example.org'),
    ('"a@b"@example.org', "email", '"a@b"@example.org'),
    ('문의는"홍 길동"@naver.com으로', "email", '"홍 길동"@naver.com'),
    ('{"to": "\\"ada lovelace\\"@example.org"}', "email", '\\"ada lovelace\\"@example.org'),
    ("메일은 hong@example.co.kr로 주세요", "email", "hong@example.co.kr"),
    ("문의hong.gil-dong+1@naver.com입니다", "email", "hong.gil-dong+1@naver.com"),
    ("https://x.kr/?to=hong%40example.com&a=1", "email", "hong%40example.com"),
    ("ｈｏｎｇ＠ｅｘａｍｐｌｅ．ｃｏｍ에게", "email", "ｈｏｎｇ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
    ("<a href='mailto:a_b@mail.example.org'>", "email", "a_b@mail.example.org"),
    ("user@xn--vk1b.xn--3e0b707e 로", "email", "user@xn--vk1b.xn--3e0b707e"),
    ("메일은 홍길동@example.co.kr입니다", "email", "홍길동@example.co.kr"),
    ("hong@한국전력.kr로", "email", "hong@한국전력.kr"),
    ("hong@도메인.한국으로 보내", "email", "hong@도메인.한국"),
    ("문의는 hong.gd [at] naver.com으로", "email", "hong.gd [at] naver.com"),
    ("hong_gd(at)mail.example (dot) co (dot) kr", "email", "hong_gd(at)mail.example (dot) co (dot) kr"),
    ("메일 honggd(골뱅이)naver.com입니다", "email", "honggd(골뱅이)naver.com"),
    ("honggd 골뱅이 naver 점 com 으로", "email", "honggd 골뱅이 naver 점 com"),
    ("honggd [ @ ] naver.com", "email", "honggd [ @ ] naver.com"),
    ("HONG{AT}NAVER[DOT]COM!", "email", "HONG{AT}NAVER[DOT]COM"),
    ("연락처010-1234-5678입니다", "phone", "010-1234-5678"),
    ("전화는 01012345678로", "phone", "01012345678"),
    ("０１０－１２３４－５６７８에", "phone", "０１０－１２３４－５６７８"),
    ("010\u200b-1234\u200b-5678을", "phone", "010\u200b-1234\u200b-5678"),
    ("0 1 0 - 1 2 3 4 - 5 6 7 8", "phone", "0 1 0 - 1 2 3 4 - 5 6 7 8"),
    ("(02) 312-3456으로", "phone", "(02) 312-3456"),
    ("031)912-3456", "phone", "031)912-3456"),
    ("+82-10-9876-5432와", "phone", "+82-10-9876-5432"),
    ("070-8888-1234", "phone", "070-8888-1234"),
    ("명단_010-1234-5678.xlsx", "phone", "010-1234-5678"),
    ("T02-123-4567 M010.1234.5678", "phone", "010.1234.5678"),
    ("call (425) 555-0187 now", "phone", "(425) 555-0187"),
    ("+46 (0)8 928 571 38 fax", "phone", "+46 (0)8 928 571 38"),
    ("Phone: 467 3395", "phone", "467 3395"),
    ("대표번호 1588-1234로", "phone_service", "1588-1234"),
    ("080-123-4567은 무료", "phone_service", "080-123-4567"),
    ("카드 4111-1111-1111-1111을", "card", "4111-1111-1111-1111"),
    ("4111 1111 1111 1111이", "card", "4111 1111 1111 1111"),
    ("AmEx 3782-822463-10005", "card", "3782-822463-10005"),
    ("카드번호 4047737215142", "card", "4047737215142"),
    ("GB82 WEST 1234 5698 7654 32로", "iban", "GB82 WEST 1234 5698 7654 32"),
    ("iban gb42nawi04454264788619", "iban", "gb42nawi04454264788619"),
    ("8.8.8.8은 DNS 서버 8.8.8.8", "ip", "8.8.8.8"),
    ("접속한 211.45.67.89에서", "ip", "211.45.67.89"),
    ("http://203.0.113.7/a", "ip", "203.0.113.7"),
    ("2001:db8::7334가", "ip", "2001:db8::7334"),
    ("::ffff:211.45.67.89", "ip", "::ffff:211.45.67.89"),
    ("127.0.0.1에서", "ip_private", "127.0.0.1"),
    ("fe80::1ff:fe23:4567:890a는", "ip_private", "fe80::1ff:fe23:4567:890a"),
    ("00:1A:2b:3c:4d:5E를", "mac", "00:1A:2b:3c:4d:5E"),
    ("postgres://app:s3cr.t@db.example.com:5432/main", "url_credentials", "postgres://app:s3cr.t@db.example.com:5432"),
    ("redis://:p4ssw0rd@cache.internal:6379", "url_credentials", "redis://:p4ssw0rd@cache.internal:6379"),
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa로", "crypto", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4을", "crypto", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ("0x52908400098527886E0F7030069857D2E4169EE7", "crypto", "0x52908400098527886E0F7030069857D2E4169EE7"),
    ("key AKIAIOSFODNN7EXAMPLE;", "secret", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "secret", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    ("Server=a;Password=h4rd2guess;", "secret", "Password=h4rd2guess;"),
    (
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "secret",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    (
        "url=jdbc:mysql://db.example.com:3306/main?user=root&password=h4rd2guess!",
        "secret",
        "jdbc:mysql://db.example.com:3306/main?user=root&password=h4rd2guess!",
    ),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n끝",
        "secret",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----",
    ),
    ("SSN: 123-45-6789.", "us_ssn", "123-45-6789"),
    ("주민등록번호 900101-1234568입니다", "kr_rrn", "900101-1234568"),
    ("900101-1234568", "kr_rrn", "900101-1234568"),
    ("9001011234568이", "kr_rrn", "9001011234568"),
    ("201105-3123456은", "kr_rrn", "201105-3123456"),
    ("주민번호: 900101-1234567", "kr_rrn", "900101-1234567"),
    ("9 0 0 1 0 1 - 1 2 3 4 5 6 8", "kr_rrn", "9 0 0 1 0 1 - 1 2 3 4 5 6 8"),
    ("외국인등록번호 850303-5123456을", "kr_frn", "850303-5123456"),
    ("여권번호는 M12345678이고", "kr_passport", "M12345678"),
    ("여권 M123A4567과", "kr_passport", "M123A4567"),
    ("11-12-345678-90에", "kr_driver_license", "11-12-345678-90"),
    ("면허 서울 90-123456-78 소지", "kr_driver_license", "서울 90-123456-78"),
    ("사업자등록번호 124-81-00998로", "kr_brn", "124-81-00998"),
    ("법인등록번호 110111-1234567", "kr_corp", "110111-1234567"),
    ("건강보험증번호 8-1234567890", "kr_health_insurance", "8-1234567890"),
    ("국민은행 123456-01-123456으로", "kr_bank_account", "123456-01-123456"),
    ("110-123-456789 (신한)", "kr_bank_account", "110-123-456789"),
    ("입금 계좌 3333011234567", "kr_bank_account", "3333011234567"),
    ("서울 12가 3456", "kr_plate", "서울 12가 3456"),
    ("123가4567이", "kr_plate", "123가4567"),
    (
        "경기도 성남시 분당구 판교역로146번길 20, 101동 1203호에",
        "kr_address",
        "경기도 성남시 분당구 판교역로146번길 20, 101동 1203호",
    ),
    ("서울특별시 강남구 테헤란로 152(역삼동)로", "kr_address", "서울특별시 강남구 테헤란로 152(역삼동)"),
    ("서울 강남구 역삼동 737번지에", "kr_address", "서울 강남구 역삼동 737번지"),
    ("주소: 테헤란로 152", "kr_address", "테헤란로 152"),
    (
        "\u1109\u1165\u110b\u116e\u11af \u1100\u1161\u11bc\u1102\u1161\u11b7\u1100\u116e \u1110\u1166\u1112\u1166\u1105\u1161\u11ab\u1105\u1169 152",
        "kr_address",
        None,
    ),
    ("\u202e 010-1234-5678 \u202c", "phone", "010-1234-5678"),
    ("a\x00010-1234-5678\x00b", "phone", "010-1234-5678"),
]
LEFT = [
    "주문번호 20240115-1234567", "주문번호 240115-3456789", "운송장번호 612345678901", "ISBN 979-11-12345-67-8", "9791112345678",
    "2024-01-15 10:20:30", "20240115102030", "버전 1.2.3.4", "v10.0.19041.1", "Chrome/120.0.0.0", "pkg-1.2.3.4.tar.gz", "1.3.6.1.4.1.311",
    "3.141592653589793", "d41d8cd98f00b204e9800998ecf8427e", "550e8400-e29b-41d4-a716-446655440000", "a[1::2]", "std::add::bad", "x[::2]",
    "골뱅이 무침 2인분", "ok 골뱅이 naver", "look at example.com", "items[at].value.com", "list[at]items.first", "meet (at) 10.30", "a [at] b.kr", "친구@모임에서",
    "을지로 골뱅이 맛집 naver.com", "f(at)x.y", "icon@2x.png", "lodash@4.17.21", "@app.route", "user@127", "1592-1598년", "30조 5000억원", "20주 2024년", "900101-1234567", "9001011234567",
    "991332-1234567", "4111-1111-1111-1112", "124-81-00999", "255.255.255.0", "0.0.0.0", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "1700000000000",
    "제품코드 M12345678", "M12345678", "다시 앞으로 3", "도구로 152", "강남구 테헤란로 3개", "112와 119, 1339", "00:00:00:00:00:00", "12:30:45",
    "555-01-0000", "+0530", "x+12345678", "01011010110", "0100 0000 0000", "666-12-1234", "12345678901234567890", "0000-0000-0000-0000",
]  # fmt: skip


@pytest.mark.parametrize(("text", "entity", "value"), FOUND)
def test_is_found_whole_and_nothing_more(find, text, entity, value):
    found = {(f.entity, text[f.start : f.end]) for f in find([text])}
    assert (entity, value) in found if value else entity in {kind for kind, _ in found}


@pytest.mark.parametrize("text", LEFT)
def test_is_left(find, text):
    assert [text[f.start : f.end] for f in find([text])] == []


PARTICLES = "은 는 이 가 을 를 에 에서 에게 로 으로 와 과 도 만 의 입니다 이며 라고 까지".split()
VALUES = [
    "hong@example.co.kr",
    "010-1234-5678",
    "900101-1234568",
    "4111-1111-1111-1111",
    "211.45.67.89",
    "124-81-00998",
    "GB82WEST12345698765432",
    "00:1a:2b:3c:4d:5e",
]


@pytest.mark.parametrize("value", VALUES)
def test_particles_and_hangul_on_either_side_hide_nothing(find, value):
    texts = [f"번호{value}{particle} 적음" for particle in PARTICLES] + [
        f"{value}",
        f"가{value}나",
        f"「{value}」",
        f"\n{value}\n",
    ]
    found = find(texts)
    assert [(f.item, texts[f.item][f.start : f.end]) for f in found] == [(k, value) for k in range(len(texts))]


HIDDEN = ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e"]
TRICKS = {
    "zero width": "\u200b".join,
    "every hidden sign": lambda value: "".join(sign + HIDDEN[k % len(HIDDEN)] for k, sign in enumerate(value)).rstrip(
        "".join(HIDDEN)
    ),
    "full width": lambda value: "".join(chr(ord(sign) + 0xFEE0) for sign in value),
    "half full width": lambda value: "".join(
        chr(ord(sign) + 0xFEE0) if k % 2 else sign for k, sign in enumerate(value)
    ),
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_of_spelling_hide_nothing(find, trick, value):
    text = f"번호 {TRICKS[trick](value)}입니다"
    (plain,) = find([value])
    assert [(f.entity, text[f.start : f.end]) for f in find([text])] == [(plain.entity, TRICKS[trick](value))]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "around",
    [
        "\u202e{}\u202c",
        "\u2067{}\u2069 \u05d0",
        "\x00{}\x00",
        "\u1112\u1161\u11ab{}\u110b\u1173\u11ab",
        "\ud55c{}\uc740",
        "\u0645 {} \u0645",
        "\r\n{}\t",
    ],
)
def test_what_stands_around_hides_nothing(find, around, value):
    text = around.format(value)
    assert [text[f.start : f.end].strip("\u202c\u202e\u2067\u2069") for f in find([text])] == [value]


def test_labels_in_loose_jamo_are_read(find):
    import unicodedata

    text = unicodedata.normalize("NFD", "주민등록번호 900101-1234567, 여권번호 M12345678")
    assert [f.entity for f in find([text])] == ["kr_rrn", "kr_passport"]


@pytest.mark.parametrize(("bare", "labelled", "entity"), [
    ("900101-1234567", "주민등록번호 900101-1234567", "kr_rrn"),
    ("M12345678", "여권번호 M12345678", "kr_passport"),
    ("123456-01-123456", "국민은행 123456-01-123456", "kr_bank_account"),
    ("121212345678", "운전면허번호 121212345678", "kr_driver_license"),
    ("1248100998", "사업자등록번호 1248100998", "kr_brn"),
    ("0212345678", "전화 0212345678", "phone"),
    ("2.7.2.2", "ip 2.7.2.2", "ip"),
])  # fmt: skip
def test_a_label_lifts_what_form_alone_leaves_open(find, bare, labelled, entity):
    assert entity not in {f.entity for f in find([bare])}
    assert entity in {f.entity for f in find([labelled])}


def test_the_nearest_label_decides(find):
    assert {f.entity for f in find(["주민번호와 다른 주문번호 900101-1234568"])} == set()
    assert {f.entity for f in find(["주문번호 옆의 주민번호 900101-1234568"])} == {"kr_rrn"}


def test_public_and_private_addresses_are_told_apart(find):
    text = "10.20.30.40 192.168.0.9 172.16.3.4 100.64.0.1 169.254.1.1 | 172.32.1.1 100.128.0.1 11.200.0.1"
    kinds = [f.entity for f in find([text])]
    assert kinds == ["ip_private"] * 5 + ["ip"] * 3


def test_of_overlapping_kinds_the_longest_stands(find):
    text = "ftp://me:pw123@host.example.com"
    assert [(f.entity, text[f.start : f.end]) for f in find([text])] == [("url_credentials", text)]
