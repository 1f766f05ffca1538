"""What pages say, in English and Korean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pipeline.engine import catalog

KOREAN = {
    "alike": "서로 같은 글", "artefact": "산출물", "by language": "언어별", "by language, source and host": "언어, 출처, 호스트별", "bytes": "바이트", "characters": "글자",
    "chosen": "고른 답", "Counted over {} of {} rows.": "행 {1}개 중 {0}개에서 센 값입니다.", "CPU seconds": "CPU 시간(초)", "documents": "문서", "dropped": "버린 행",
    "examples": "예", "examples of {} of {} reasons": "사유 {1}개 중 {0}개의 예", "Funnel": "흐름", "held out": "남겨 둠", "histograms": "히스토그램",
    "histograms of {} of {} metrics": "지표 {1}개 중 {0}개의 히스토그램", "host": "호스트", "in": "입력", "kept": "남긴 행", "kept where": "남기는 조건", "language": "언어",
    "languages": "언어", "lengths": "길이", "library": "라이브러리", "licences": "라이선스", "limits": "기준값",
    "Maetdol report · {} stores · last shard {}": "Maetdol 보고서 · 스토어 {}개 · 마지막 샤드 {}", "makes": "만드는 것", "measured": "잰 값", "metric": "지표",
    "mostly": "주된 사유", "Nothing was dropped.": "버린 행이 없습니다.", "option": "옵션", "out": "출력", "Read from {} of {} ledgers.": "원장 {1}개 중 {0}개를 읽었습니다.",
    "Read from {} of {} shards.": "샤드 {1}개 중 {0}개를 읽었습니다.", "reason": "사유", "recipe": "레시피", "Recipe and versions": "레시피와 버전", "rejected": "버린 답",
    "representative": "남은 글", "sample": "표본",
    "Seconds of every task, added up; those of a barrier stage with its passes.": "모든 작업에 걸린 시간을 더한 값입니다. 여러 번 훑는 스테이지는 훑을 때마다 걸린 시간도 더합니다.",
    "sections": "차례", "source": "출처", "stage": "스테이지", "step": "단계", "steps": "단계", "text (personal data masked)": "글(개인정보를 가림)",
    "Texts of {} of these {} shards.": "글은 그 샤드 {1}개 중 {0}개에서 읽었습니다.", "The corpus": "코퍼스", "total": "합계", "version": "버전",
    "wall seconds": "실제 시간(초)", "why rows were dropped": "행을 버린 사유", "Why rows were dropped": "행을 버린 사유",
    "{} documents in {}, {} characters in what was read.": "문서 {}개({}), 읽은 글자 {}자.", "{} of {}, those that lost most": "{1}개 중 많이 버린 {0}개",
}  # fmt: skip
"""What the report says, and what it shares with other pages."""


class PageWords:
    """`t("kept")` in the language of the page; English where there is no other. `more`: Korean of words that one stage alone says."""

    def __init__(self, language: str, more: Mapping[str, str] | None = None):
        self.language = language
        self.known = {**(more or {}), **KOREAN} if language == "ko" else {}

    def __call__(self, words: str, *values: Any) -> str:
        """`values` stand where `words` has braces."""
        found = self.known.get(words, words)
        return found.format(*values) if values else found


def words_of_stages() -> dict[str, str]:
    """What the report hooks of stages bring as `KOREAN`."""
    found: dict[str, str] = {}
    for module in catalog.hooks("report"):
        found |= getattr(module, "KOREAN", {})
    return found


def language_of(language: str = "auto") -> str:
    """`en` or `ko`; auto: what the environment says of its user (`LC_ALL`, `LC_MESSAGES`, `LANG`)."""
    if language != "auto":
        return language
    given = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "ko" if given.lower().startswith("ko") else "en"
