"""Removes lines about cookies, policies and JavaScript."""

import numpy as np

from stages.text.lines.rules import LineRule
from stages.text.lines.table import Lines

ENGLISH = (
    "javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
KOREAN = (
    "자바스크립트를 활성화", "자바스크립트를 사용", "쿠키를 사용", "쿠키 사용", "쿠키 정책", "이용약관", "개인정보처리방침",
    "개인정보 처리방침", "개인정보취급방침", "청소년보호정책", "이메일무단수집거부",
)  # fmt: skip


class PolicyLines(LineRule):
    """Drops lines that mention JavaScript, cookies, terms of use or privacy policies; English as C4 has it, and Korean."""

    max_words: int = 40
    "Longer lines stay: an article may speak of cookies (C4: no limit)."

    def drop(self, table: Lines) -> np.ndarray:
        return (table.phrases((ENGLISH + KOREAN,), table.words <= self.max_words) > 0)[:, 0]
