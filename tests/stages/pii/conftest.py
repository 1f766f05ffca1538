"""A seeded source of Korean sentences with and without personal data. It shares no table and no code with the detector."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

PARTICLES = "은 는 이 가 을 를 에 에서 로 으로 와 과 도 만 의 입니다 이며 인데 까지 부터".split()
PEOPLE = ["서도윤", "문가람", "배하린", "오지안", "황보민", "남궁솔", "차예준", "맹수아"]
ROADS = [
    ("서울특별시 종로구", "율곡로"),
    ("부산광역시 해운대구", "센텀중앙로"),
    ("경기도 고양시 덕양구", "화신로"),
    ("대전 유성구", "대학로"),
    ("전라남도 순천시", "장명로"),
    ("강원특별자치도 춘천시", "경춘로"),
    ("제주특별자치도 서귀포시", "일주동로"),
    ("인천 연수구", "송도과학로16번길"),
]
LOTS = [
    ("서울 마포구", "상암동"),
    ("충청북도 청주시 흥덕구", "가경동"),
    ("경남 김해시", "내외동"),
    ("전북특별자치도 군산시", "나운동"),
]
BANKS = {
    "국민은행": (6, 2, 6),
    "신한은행": (3, 3, 6),
    "우리은행": (4, 3, 6),
    "하나은행": (3, 6, 5),
    "농협": (3, 4, 4, 2),
    "카카오뱅크": (4, 2, 7),
    "토스뱅크": (4, 4, 4),
    "새마을금고": (4, 4, 4, 1),
    "기업은행": (3, 6, 2, 3),
    "우체국": (6, 2, 6),
    "부산은행": (3, 4, 4, 2),
    "케이뱅크": (3, 3, 6),
}
NEUTRAL = [
    "어제 {v}{p} 다시 확인했다.",
    "{n}씨가 {v}{p} 적어 주었다",
    "메모: {v}{p}",
    "그는 {v}{p} 말했다.",
    "아래 줄에 {v}{p} 있다.",
    "({v}){p} 함께 제출",
]
HOLDER = ["{l}{g}{v}{p} 남겼다", "{l}는 {v}{p}", "{n} {l}{g}{v}{p}", "제 {l}{g}{v}{p} 맞나요?"]
GLUE = ["", " ", ": ", " : ", "="]


class Sentence(NamedTuple):
    """`text`; where personal data stands in it and of what kind (empty for hard negatives); the name of its maker."""

    text: str
    spans: list[tuple[int, int, str]]
    maker: str


class Korean:
    """Makes sentences from a seed."""

    def __init__(self, seed: int):
        self.r = random.Random(seed)

    # -- numbers -----------------------------------------------------------------------------------------------------

    def digits(self, n: int) -> str:
        return "".join(self.r.choice("0123456789") for _ in range(n))

    def nonzero(self, n: int) -> str:
        return self.r.choice("123456789") + self.digits(n - 1)

    def day(self, first: int, last: int) -> datetime.date:
        start = datetime.date(first, 1, 1).toordinal()
        return datetime.date.fromordinal(self.r.randrange(start, datetime.date(last, 12, 31).toordinal() + 1))

    def resident(self, *, foreign: bool = False, valid: bool = True, late: bool = False) -> str:
        """Thirteen digits. `late`: born after the check digit was given up."""
        born = self.day(2021, 2024) if late else self.day(1935, 2019)
        sex = (5 if foreign else 1) + (2 if born.year >= 2000 else 0) + self.r.randrange(2)
        head = born.strftime("%y%m%d") + str(sex) + f"{self.r.randrange(96):02d}" + self.digits(3)
        if late:
            return head + self.digits(1)
        total, weight = 0, 2
        for sign in head:
            total += int(sign) * weight
            weight = 2 if weight == 9 else weight + 1
        check = ((13 if foreign else 11) - total % 11) % 10
        return head + str(check if valid else (check + self.r.randrange(1, 10)) % 10)

    def business(self, valid: bool = True) -> str:
        head = str(self.r.randrange(101, 700)) + f"{self.r.randrange(1, 89):02d}" + self.digits(4)
        total = sum(int(a) * b for a, b in zip(head, [1, 3, 7, 1, 3, 7, 1, 3])) + sum(divmod(int(head[8]) * 5, 10))
        check = (10 - total % 10) % 10
        return head + str(check if valid else (check + self.r.randrange(1, 10)) % 10)

    def corporation(self) -> str:
        head = (
            self.r.choice(["1101", "1201", "1341", "1801", "2847"])
            + self.r.choice(["11", "12", "14", "21"])
            + self.digits(6)
        )
        total = sum(int(d) if k % 2 == 0 else 2 * int(d) for k, d in enumerate(head))
        return head + str((10 - total % 10) % 10)

    def card(self, valid: bool = True) -> str:
        head = self.r.choice(["4", "51", "55", "9", "6250", "3566"])
        head += self.digits(15 - len(head))
        odd = sum(int(d) for d in head[1::2])
        even = sum(int(d) * 2 - (9 if int(d) > 4 else 0) for d in head[0::2])
        check = -(odd + even) % 10
        return head + str(check if valid else (check + self.r.randrange(1, 10)) % 10)

    def cut(self, number: str, *sizes: int, by: str = "-") -> str:
        parts, at = [], 0
        for size in sizes:
            parts.append(number[at : at + size])
            at += size
        return by.join(parts)

    def wide(self, value: str) -> str:
        """The value as typed on a Japanese keyboard."""
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)

    # -- values ------------------------------------------------------------------------------------------------------

    def mobile(self) -> str:
        a, b, c = (
            self.r.choice(["010"] * 8 + ["011", "016"]),
            self.nonzero(4),
            self.digits(3) + self.r.choice("23456789"),
        )
        by = self.r.choice(["-", " ", ".", " - ", "–"])
        plain = f"{a}-{b}-{c}"
        return self.r.choice(
            [
                f"{a}{by}{b}{by}{c}",
                plain,
                plain,
                f"010{b}{c}",
                f"({a}) {b}-{c}",
                f"+82-10-{b}-{c}",
                f"+82 10 {b} {c}",
                self.wide(plain),
            ]
        )

    def landline(self) -> str:
        area = self.r.choice(["02", "031", "032", "042", "051", "053", "062", "064", "070", "0507"])
        by = self.r.choice(["-", "-", ".", " "])
        return self.r.choice(
            [
                f"{area}{by}{self.nonzero(4)}{by}{self.digits(4)}",
                f"({area}) {self.nonzero(3)}-{self.digits(4)}",
                f"{area}){self.nonzero(3)}-{self.digits(4)}",
            ]
        )

    def written_resident(self, number: str) -> str:
        by = self.r.choice(["-"] * 5 + [" - ", " ", "–", "."])
        value = f"{number[:6]}{by}{number[6:]}"
        return self.wide(value) if self.r.random() < 0.06 else value

    def road(self) -> str:
        where, road = self.r.choice(ROADS)
        number = self.r.choice([self.nonzero(self.r.randrange(1, 4)), f"{self.nonzero(2)}-{self.r.randrange(1, 40)}"])
        rest = self.r.choice(
            [
                "",
                "",
                f", {self.r.randrange(101, 130)}동 {self.r.randrange(101, 2500)}호",
                f" {self.r.randrange(2, 20)}층",
                " (수송동)",
            ]
        )
        return f"{where} {road} {number}{rest}"

    def lot(self) -> str:
        where, town = self.r.choice(LOTS)
        return f"{where} {town} {self.r.choice(['', '산 '])}{self.nonzero(3)}{self.r.choice(['', '-' + str(self.r.randrange(1, 30))])}{self.r.choice(['', '번지'])}"

    def account(self) -> tuple[str, str]:
        bank = self.r.choice(list(BANKS))
        number = self.nonzero(sum(BANKS[bank]))
        return bank, self.cut(number, *BANKS[bank]) if self.r.random() < 0.8 else number

    def plate(self) -> str:
        letter = self.r.choice("가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주하허호")
        front = self.r.choice(["", "", "서울 ", "경기", "부산 "])
        return f"{front}{self.r.randrange(10, 999)}{letter}{self.r.choice(['', ' ']) if front else ''}{self.digits(4)}"

    def passport(self) -> str:
        return self.r.choice("MSR") + self.digits(3) + self.r.choice("ABCDEFGH") + self.digits(4)

    def address_of_host(self) -> str:
        return f"{self.r.choice([23, 58, 61, 112, 118, 175, 203, 211, 220])}.{self.r.randrange(1, 255)}.{self.r.randrange(256)}.{self.r.randrange(1, 255)}"

    def hexes(self, groups: int, size: int, by: str) -> str:
        return by.join("".join(self.r.choice("0123456789abcdef") for _ in range(size)) for _ in range(groups))

    # -- sentences ---------------------------------------------------------------------------------------------------

    def put_value(self, value: str, entity: str, maker: str, labels: tuple[str, ...] = ()) -> Sentence:
        """`value` in a sentence, a particle attached; behind one of `labels` where it needs one."""
        template = self.r.choice(HOLDER if labels else NEUTRAL)
        label = self.r.choice(labels) if labels else ""
        words = {
            "p": self.r.choice(PARTICLES),
            "n": self.r.choice(PEOPLE),
            "l": label,
            "g": self.r.choice(GLUE),
            "v": "\0",
        }
        text = template.format(**words)
        at = text.index("\0")
        return Sentence(text.replace("\0", value), [(at, at + len(value), entity)] if entity else [], maker)

    def positive(self) -> Sentence:
        return self.r.choice(self.positives())()

    def negative(self) -> Sentence:
        return self.r.choice(self.negatives())()

    def positives(self) -> list[Callable[[], Sentence]]:
        """A maker per kind of personal data; those that no form betrays come with a label."""
        r, put = self.r, self.put_value
        rrn, frn = ("주민등록번호", "주민번호", "주민 번호"), ("외국인등록번호", "외국인 등록번호")

        def account() -> Sentence:
            bank, number = self.account()
            return put(number, "kr_bank_account", "account", (bank, f"{bank} 계좌", "입금 계좌"))

        def mail() -> Sentence:
            name = r.choice(["dyseo", "moon.ga", "ha_rin92", "jian-oh", "hwangbo+tax"])
            return put(
                f"{name}@{r.choice(['sangam.co.kr', 'naju.or.kr', 'mail.hwasin.com', 'gimhae.ac.kr', 'uni.kr'])}",
                "email",
                "mail",
            )

        def spelled() -> Sentence:
            at, dot = (
                r.choice([" [at] ", "(at)", "[골뱅이]", " 골뱅이 ", "{AT}"]),
                r.choice([".", ".", " [dot] ", "(점)"]),
            )
            return put(
                f"{r.choice(['dyseo', 'moon.ga', 'rin92'])}{at}{r.choice(['sangam', 'mail.gimhae'])}{dot}{r.choice(['com', 'kr', 'net'])}",
                "email",
                "mail spelled",
            )

        def hangul_mail() -> Sentence:
            return put(
                r.choice([f"{r.choice(PEOPLE)}@sangam.co.kr", "dyseo@상암전자.kr", "moon@나주.한국"]),
                "email",
                "mail hangul",
            )

        return [
            spelled,
            hangul_mail,
            lambda: put(self.written_resident(self.resident()), "kr_rrn", "rrn"),
            lambda: put(self.written_resident(self.resident(late=True)), "kr_rrn", "rrn late"),
            lambda: put(self.written_resident(self.resident(valid=False)), "kr_rrn", "rrn reissued", rrn),
            lambda: put(self.resident(), "kr_rrn", "rrn bare", rrn),
            lambda: put(self.written_resident(self.resident(foreign=True)), "kr_frn", "frn"),
            lambda: put(self.written_resident(self.resident(foreign=True, late=True)), "kr_frn", "frn late", frn),
            lambda: put(self.passport(), "kr_passport", "passport", ("여권번호", "여권")),
            lambda: put(
                r.choice("MSR") + self.digits(8), "kr_passport", "passport old", ("여권번호", "여권", "여권 번호")
            ),
            lambda: put(
                self.cut(f"{r.randrange(11, 27)}" + self.digits(10), 2, 2, 6, 2, by=r.choice(["-", "-", " "])),
                "kr_driver_license",
                "licence",
            ),
            lambda: put(
                f"{r.randrange(11, 27)}" + self.digits(10),
                "kr_driver_license",
                "licence bare",
                ("운전면허번호", "면허번호", "운전면허"),
            ),
            lambda: put(self.cut(self.business(), 3, 2, 5), "kr_brn", "business"),
            lambda: put(
                self.business(), "kr_brn", "business bare", ("사업자등록번호", "사업자번호", "사업자 등록번호")
            ),
            lambda: put(self.cut(self.corporation(), 6, 7), "kr_corp", "corporation", ("법인등록번호", "법인번호")),
            lambda: put(
                f"{r.randrange(1, 9)}-{self.digits(10)}",
                "kr_health_insurance",
                "health",
                ("건강보험증번호", "건강보험증 번호", "보험증번호"),
            ),
            account,
            lambda: put(self.mobile(), "phone", "mobile"),
            lambda: put(self.landline(), "phone", "landline"),
            lambda: put(
                r.choice(["02", "031", "062"]) + self.nonzero(7),
                "phone",
                "landline bare",
                ("전화", "연락처", "전화번호", "팩스"),
            ),
            mail,
            lambda: put(self.cut(self.card(), 4, 4, 4, 4, by=r.choice(["-", " "])), "card", "card"),
            lambda: put(self.card(), "card", "card bare", ("카드번호", "신용카드", "카드 번호")),
            lambda: put(self.address_of_host(), "ip", "host"),
            lambda: put("2406:" + self.hexes(7, 4, ":"), "ip", "host six"),
            lambda: put(self.hexes(6, 2, r.choice([":", "-"])), "mac", "mac"),
            lambda: put(self.plate(), "kr_plate", "plate", ("차량번호", "차량 번호", "번호판")),
            lambda: put(self.road(), "kr_address", "road"),
            lambda: put(self.lot(), "kr_address", "lot"),
        ]

    def negatives(self) -> list[Callable[[], Sentence]]:
        """Numbers that are nobody's, as they stand in ordinary text."""
        r, d, put = self.r, self.digits, self.put_value

        def bare(value: str, maker: str, *labels: str) -> Sentence:
            return put(value, "", maker, labels)

        def isbn() -> Sentence:
            body = "979" + r.choice(["11", "89"]) + d(7)
            check = -sum(int(c) * (1, 3)[k % 2] for k, c in enumerate(body)) % 10
            whole = f"{body}{check}"
            return bare(r.choice([whole, self.cut(whole, 3, 2, 5, 2, 1)]), "isbn", "ISBN", "ISBN 번호")

        born = lambda: self.resident(valid=False)  # noqa: E731
        return [
            lambda: bare(f"{self.day(2021, 2024):%Y%m%d}-{d(7)}", "order", "주문번호", "주문 번호"),
            lambda: bare(f"{self.day(2021, 2024):%y%m%d}-{d(7)}", "order short", "주문번호", "접수번호"),
            lambda: bare(self.nonzero(12), "parcel", "운송장번호", "송장번호", "운송장 번호"),
            isbn,
            lambda: bare(f"{self.day(1990, 2030):%Y-%m-%d}", "date"),
            lambda: bare(
                f"{self.day(1990, 2030):%Y%m%d}{r.randrange(24):02d}{r.randrange(60):02d}{r.randrange(60):02d}",
                "moment",
            ),
            lambda: bare(
                f"{self.day(1990, 2030):%Y.%m.%d} {r.randrange(24):02d}:{r.randrange(60):02d}", "moment written"
            ),
            lambda: bare(
                f"{r.randrange(1, 30)}.{r.randrange(20)}.{r.randrange(20)}.{r.randrange(300)}",
                "version",
                "버전",
                "version",
                "빌드 버전",
            ),
            lambda: bare(f"v{r.randrange(1, 30)}.{r.randrange(99)}.{r.randrange(99)}", "version"),
            lambda: bare(self.hexes(1, r.choice([32, 40, 64]), ""), "hash"),
            lambda: bare("-".join((self.hexes(1, 8, ""), self.hexes(3, 4, "-"), self.hexes(1, 12, ""))), "uuid"),
            lambda: bare(f"{self.nonzero(4)} + {self.nonzero(4)} = {self.nonzero(5)}", "sum"),
            lambda: bare(f"{r.random() * 1000:.12f}", "real"),
            lambda: bare(f"{r.randrange(10, 999)},{d(3)},{d(3)}원", "money"),
            lambda: bare(
                f"{r.choice('ABCKXZ')}{r.choice('ABCKXZ')}-{d(4)}-{d(4)}", "product", "제품코드", "모델명", "상품코드"
            ),
            lambda: bare(f"{r.choice('MSR')}{d(8)}", "product", "모델명", "품번", "제품 코드"),
            lambda: bare("880" + d(10), "barcode", "바코드", "상품번호"),
            lambda: bare(r.choice(["1588", "1577", "1600", "1899", "1666"]) + "-" + d(4), "hotline"),
            lambda: bare(f"080-{d(3)}-{d(4)}", "hotline"),
            lambda: bare(r.choice(["112", "119", "1339", "110", "02-120"]), "emergency"),
            lambda: bare(self.cut(born(), 6, 7), "rrn invalid"),
            lambda: bare(born(), "rrn invalid bare"),
            lambda: bare(self.cut(self.business(valid=False), 3, 2, 5), "business invalid"),
            lambda: bare(self.cut(self.card(valid=False), 4, 4, 4, 4), "card invalid"),
            lambda: bare(self.card(valid=False), "card invalid", "카드번호"),
            lambda: bare(str(r.randrange(1_600_000_000_000, 1_760_000_000_000)), "milliseconds"),
            lambda: bare(f"{r.randrange(33, 39)}.{d(6)}, {r.randrange(125, 130)}.{d(6)}", "coordinates"),
            lambda: bare(f"{r.randrange(1300, 1950)}-{r.randrange(1950, 2025)}", "years"),
            lambda: bare(f"{r.randrange(1, 90)}가 {d(2)}번", "lane"),
            lambda: bare(f"{r.randrange(10, 40)}조 {self.nonzero(4)}억원", "money"),
            lambda: bare(f"제{r.randrange(1, 900)}조 제{r.randrange(1, 20)}항", "article"),
            lambda: bare(f"std::{r.choice(['add', 'bad', 'face'])}::{r.choice(['beef', 'cafe'])}", "namespace"),
            lambda: bare(f"a[{r.randrange(9)}::{r.randrange(2, 9)}]", "slice"),
            lambda: bare(f"골뱅이 {r.choice(['무침', '소면', '통조림'])} {r.randrange(1, 9)}개", "snail"),
            lambda: bare(f"items[at]{r.choice(['value', 'first.name', 'next'])}", "index"),
            lambda: bare(f"icon@{r.randrange(2, 4)}x.png", "file"),
            lambda: bare(f"user@{r.randrange(1, 9)}.{r.randrange(9)}", "tag"),
            lambda: bare(f"{r.randrange(10, 24)}:{r.randrange(60):02d}:{r.randrange(60):02d}", "time"),
            lambda: bare("0x" + self.hexes(1, r.choice([8, 16]), ""), "pointer"),
        ]


@pytest.fixture(scope="session")
def korean() -> Callable[[int], Korean]:
    """`korean(seed)` -> a source of sentences."""
    return Korean


@pytest.fixture(scope="session")
def find():
    """`find(texts, entities=..., floor=.5)` -> findings of the kernels, over every patterned kind unless named."""
    import pyarrow as pa

    from stages.pii.detect import detect
    from stages.pii.entities import PATTERNED

    def found(texts: list[str], entities=PATTERNED, floor: float = 0.5):
        return detect(pa.array(texts, pa.large_string()), frozenset(entities), floor)

    return found
