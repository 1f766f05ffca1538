"""A made-up page under construction: its gold text is what its templates mark while they write, in the page's order."""

from __future__ import annotations

import html
import random
from collections.abc import Callable
from typing import NamedTuple

from tests.bench.ingest.korean.prose import Writer

MENUS = [
    "홈 공지사항 자유게시판 질문과답변 갤러리 자료실 회원가입 로그인 정보찾기 새글".split(),
    "뉴스 정치 경제 사회 문화 스포츠 연예 오피니언 지역 전체기사 구독신청 기사제보".split(),
    "신상품 베스트 할인 이벤트 고객센터 장바구니 주문조회 마이페이지 배송조회 쿠폰".split(),
    "카테고리 방명록 태그 글쓰기 관리 구독하기 공지 링크 최근글 인기글".split(),
    "민원 정보공개 열린행정 분야별정보 소식 참여 기관소개 조직도 오시는길 사이트맵".split(),
]
FOOTERS = [
    "개인정보처리방침 | 이용약관 | 이메일무단수집거부 | 사이트맵", "상호 : (주)맷돌상사 대표 : 김하늘 사업자등록번호 : 000-00-00000 통신판매업신고 : 제0000-서울-0000호",
    "무단전재 및 재배포 금지", "Copyright © 2021 All rights reserved.", "본 사이트의 콘텐츠는 저작권법의 보호를 받습니다.", "등록번호 : 가나00000 | 발행인 : 박서연 | 청소년보호책임자 : 정민재",
    "고객센터 1588-0000 평일 09:00 ~ 18:00 (점심 12:00 ~ 13:00)",
]  # fmt: skip


CODE = [
    "def average(values):\n    total = 0\n    for value in values:\n        if value > {n}:\n            total += value\n    return total / max(len(values), {m})",
    "server:\n  port: 80{n}\n  workers: {m}\nlogging:\n  level: info\n  file: /var/log/mill.log",
    "$ mill build --jobs {m}\nreading 1{n} files\n\nwritten to build/out",
    "SELECT station, COUNT(*) AS visits\n  FROM readings\n WHERE level < {n} AND day >= '2021-0{m}-01'\n GROUP BY station;",
]
"""Short pieces of code; `{n}` and `{m}` are numbers."""


class Page:
    """`gold` holds the text that an extractor should find, a line each; `kind` and `title` of the page stand beside it."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.write = Writer(dice)
        self.gold: list[str] = []
        self.markdown: list[str] = []
        """Headings, items and code of the gold as Markdown."""
        self.title = self.write.title()

    def keep(self, text: str) -> str:
        """Text of the main content, as HTML."""
        self.gold.append(text)
        return html.escape(text, quote=False)

    def heading(self, level: int) -> str:
        """A section's heading."""
        text = self.write.title()
        self.markdown.append(f"{'#' * level} {text}")
        return f"<h{level}>{self.keep(text)}</h{level}>"

    def listing(self, low: int, high: int) -> str:
        """A list of remarks."""
        items = [self.write.remark() for _ in range(self.dice.randint(low, high))]
        self.markdown += [f"- {text}" for text in items]
        return "<ul>" + "".join(f"<li>{self.keep(text)}</li>" for text in items) + "</ul>"

    def code(self, form: str) -> str:
        """A few lines of code, in `form` with {} for them."""
        lines = self.dice.choice(CODE).format(n=self.write.count(99), m=self.write.count(9)).splitlines()
        self.markdown += ["```", *lines, "```"]
        return form.format("\n".join(self.keep(line) if line.strip() else line for line in lines))

    def paragraphs(self, form: str, low: int = 3, high: int = 8) -> str:
        """Paragraphs of main content, each in `form` (with `{}` for its text)."""
        return "\n".join(form.format(self.keep(text)) for text in self.write.paragraphs(low, high))

    def menu(self, which: int, form: str = "<li><a href='/m/{n}'>{}</a></li>") -> str:
        return "".join(form.format(word, n=n) for n, word in enumerate(MENUS[which]))

    def footer(self, lines: int = 3) -> str:
        return "<br>".join(self.dice.sample(FOOTERS, lines))

    def titles(self, count: int, form: str) -> str:
        """Titles of other pages: furniture. `form` may use {} for the title, {n} a number, {day}, {nick}."""
        return "\n".join(
            form.format(
                html.escape(self.write.title()), n=self.write.count(99999), day=self.write.day(), nick=self.write.nick()
            )
            for _ in range(count)
        )

    def some(self, low: int, high: int, form: str) -> str:
        """Comments that belong to the main content, in `form` with {text}, {nick}, {day}, {clock}, {n}."""
        out = []
        for n in range(self.dice.randint(low, high)):
            out.append(
                form.format(
                    text=self.keep(self.write.remark()),
                    nick=self.write.nick(),
                    day=self.write.day(),
                    clock=self.write.clock(),
                    n=n + 1,
                )  # fmt: skip
            )
        return "\n".join(out)


class Template(NamedTuple):
    name: str
    kind: str
    held_out: bool
    charset: str
    make: Callable[[Page], str]


TEMPLATES: list[Template] = []


def template(kind: str, held_out: bool = False, charset: str = "utf-8") -> Callable:
    """Registers a template by its function's name; held-out ones are never trained on."""

    def register(make: Callable[[Page], str]) -> Callable[[Page], str]:
        TEMPLATES.append(Template(make.__name__, kind, held_out, charset, make))
        return make

    return register


def document(page: Page, body: str, head: str = "", site: str = "맷돌마을") -> str:
    return (
        (
            f"<!DOCTYPE html>\n<html lang='ko'><head><meta charset='{{charset}}'><title>{html.escape(page.title)} : {site}</title>{head}"
            f"<script>var g5_url='/';function f(){{{{return 1}}}}</script></head>\n<body>{body}</body></html>"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )
