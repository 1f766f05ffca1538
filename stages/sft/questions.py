"""What makes a line a question or a how-to, and how a heading becomes an instruction."""

from __future__ import annotations

import re

from stages.sft.page import Page
from stages.sft.wording import ask
from stages.text.language.particles import final_consonant

_SURE_KO = re.compile(
    r"(?:니까|나요|가요|까요|는가|은가|인가|운가|른가|큰가|던가|을까|일까|할까|될까|날까|릴까|무엇인가|뭔가|뭐죠)$"
)
_ASKS_EN = re.compile(
    r"(?:(?:what|why|how|when|where|who|which)\s+(?:is|are|do|does|did|can|should|will|was|were|would)|"
    r"(?:is|are|can|could|do|does|should|will|would)\s+(?:it|i|you|there|the|this|my|we|they)|what's|who's)\b.{3,}",
    re.IGNORECASE,
)
_HOW_EN = re.compile(r"^how (?:do (?:i|we|you) |can (?:i|we|you) |to )", re.IGNORECASE)
_TAIL = re.compile(r"[\s.:：…)\]\"'”’]+$")
NUMBER = re.compile(
    r"^\s*(?:(?:(?:chapter|section|part|step|appendix)\s+)?(?:\d{1,3}(?:\.\d{1,3})*[.):]?|[A-Z]\.(?:\d{1,3}\.?)*|[가-하][.)]|[①-⑳])|"
    r"(?:제\s*)?\d{1,3}\s*[장절편부][.:]?|부록\s*[A-Z][.:]?|appendix\s+[A-Z][.:]?)\s+",
    re.IGNORECASE,
)
"""A heading's numbering: `1.2.3.`, `B.4.`, `제2장`, `가.`, `①`."""
IMPERATIVES = frozenset(
    "add adjust allow apply assign attach back backup browse build burn cancel change check choose clean clear close collect compare compile "
    "configure connect control convert copy create customise customize cut define delete deploy detect disable disconnect display download "
    "drag edit eject enable encrypt enter execute export extract fill filter find fix format generate get give hide import improve include "
    "increase insert install invert join launch limit load lock log make manage mark measure merge mix modify monitor mount move mute open "
    "organise organize pair paste pause perform pick play prepare prevent print protect put quit read rebuild receive record recover reduce "
    "refresh register remap remove rename repair repeat replace report reset resize resolve restart restore restrict rotate run save scan "
    "schedule search secure select send set setup share show shut sort split start stop store switch sync test track transfer translate "
    "troubleshoot turn type undo uninstall unlock unmount update upgrade upload use verify view wake watch work write zoom".split()
)
GERUNDS = frozenset(f for v in IMPERATIVES for f in (v + "ing", v.removesuffix("e") + "ing", v + v[-1] + "ing"))
_CAPITAL = re.compile(r"\b[A-Z][a-z]+\b")
_LOWER = re.compile(r"\b[a-z]+\b")
_WAY_KO = re.compile(r"(?P<act>.{2,}(?:는|한|할)|.{2,}?)\s*방법$")
_DOING_KO = re.compile(r"(?P<act>.*[가-힣]{2,}|.+\s[가-힣])기$")
_NOT_DOING = re.compile(
    r"(?:[보듣읽쓰말]기|이야기|표기|경기|전기|무기|용기|초기|주기|크기|분위기|계기|동기|시기|위기|악기|후기|일기|감기|복사기|번역기|검색기|생성기|편집기|관리기|[가-힣](?:자|기|연|세|무|비|습|행|승|처|역|단|장|말|중|학|분|상|정)기)$"
)
_TASK_KO = re.compile(
    r"(?:설치|설정|구성|변경|추가|제거|삭제|생성|작성|편집|관리|사용|이용|실행|시작|종료|연결|해제|복구|복원|백업|업그레이드|업데이트|내보내기|가져오기|인쇄|검색|신청|등록|발급|예약|결제|환불|교환|반품|가입|탈퇴|충전|청소|조리|손질|보관|세탁|수리|점검|조립|분해|교체|만들기)$"
)


def clean_heading(heading: str) -> str:
    """A heading without numbering, trailing marks and the pilcrow some sites put there. A bracket it opens stays closed."""
    head = _TAIL.sub("", NUMBER.sub("", heading.replace("¶", "").strip(" #*-–—•▶■◆◇●○※▪")))
    return head + ")" if head.count("(") > head.count(")") else head


def is_question(line: str) -> bool:
    """Whether the line asks: a question mark at its end, a Korean interrogative ending, or an English question's head."""
    line = line.strip().rstrip("\"'”’」』 ")
    if line.endswith(("?", "？")):
        return len(line) > 2
    bare = _TAIL.sub("", line)
    if bare and "가" <= bare[-1] <= "힣":
        return bool(_SURE_KO.search(bare)) and len(bare) >= 4
    return bool(_ASKS_EN.match(bare))


def small(heading: str, known: frozenset[str]) -> str:
    """A heading in Title Case with those words in lower case that the page itself writes so: names keep their capitals."""
    capitals = _CAPITAL.findall(heading)
    if len(capitals) < 2:
        return heading
    return _CAPITAL.sub(lambda m: m[0].lower() if m.start() and m[0].lower() in known else m[0], heading)


def lower_words(page: Page) -> frozenset[str]:
    """Words the page writes in lower case somewhere."""
    return frozenset(_LOWER.findall(page.text))


def how_to(heading: str, page: Page) -> tuple[str, str] | None:
    """(task, act) for a heading that promises to show how something is done; None for any other."""
    head = clean_heading(heading)
    if page.lang == "ko":
        return _how_ko(head)
    found = _how_en(head) if page.lang == "en" else None
    if found is None:
        return None
    task, act = found
    act = small("x " + act, page.cached(lower_words))[2:]
    return task, act[:1].lower() + act[1:] if act[1:2].islower() or act[1:2] == " " else act


def _how_en(head: str) -> tuple[str, str] | None:
    if match := _HOW_EN.match(head):
        act = head[match.end() :].strip()
        return ("how", act) if len(act) > 3 else None
    first, _, rest = head.partition(" ")
    if first.lower() == "to" and rest.split(" ", 1)[0].lower() in IMPERATIVES and " " in rest:
        return "how", rest
    if first.lower() in IMPERATIVES and rest and len(head.split()) <= 14:
        return "how", head
    if first.lower() in GERUNDS and rest and len(head.split()) <= 12:
        return "how_ing", head
    return None


_COORDINATED = re.compile(r"기(?:와|과|,|/| 및)\s|[와과]\s*$")
"""Two acts in one heading (`내보내기와 가져오기`): no template asks for both."""
_GOVERNED = re.compile(r"(?:을|를|에서|에게|으로|로|하여|해서|[가-힣]{2,}에)\s+[^\s]+$")
"""An object or place before a verbal noun (`셀을 편집`): it wants its verb."""


def _how_ko(head: str) -> tuple[str, str] | None:
    if _COORDINATED.search(head):
        return None
    if head.endswith("려면"):
        return "how_if", head
    if match := _WAY_KO.fullmatch(head):
        act = match["act"].strip()
        return ("how", act) if len(act) >= 2 and not act.endswith(("의", "다른", "여러", "이", "그", "위한")) else None
    if (match := _DOING_KO.fullmatch(head)) and not _NOT_DOING.search(head):
        return "how", attributive(match["act"])
    if _TASK_KO.search(head) and " " in head and len(head) <= 40:
        return ("how", head + "하는") if _GOVERNED.search(head) and not head.endswith("기") else ("how_to", head)
    return None


def attributive(verb: str) -> str:
    """The stem of a verb in its attributive form: `만들` -> `만드는`, `바꾸` -> `바꾸는`."""
    if final_consonant(verb[-1]) == 8:
        verb = verb[:-1] + chr(ord(verb[-1]) - 8)
    return verb + "는"


def worded(page: Page, heading: str, answer: str, purpose: str) -> tuple[str, dict[str, str]]:
    """(instruction, facts) of a heading: a question stands as it is; how-to and other headings are asked in a template.

    The instruction is empty where no template speaks the page's language.
    """
    head = clean_heading(heading)
    if is_question(head) or is_question(heading):
        return NUMBER.sub("", heading.strip(" #*¶")).strip(), {}
    if page.lang is None or not head:
        return "", {}
    found = how_to(head, page)
    task, slots = (found[0], {"act": found[1]}) if found else ("about", {"heading": head})
    question, level = ask(task, page.lang, page.dice(f"{purpose}/{head}"), answer, **slots)
    return question, {"register": level} if level else {}
