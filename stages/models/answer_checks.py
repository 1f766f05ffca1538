"""What can be seen of an answer without a model: its script, refusals, leaked templates, repetition. Korean and English.

Shared by the checks of preference pairs, of what a teacher writes, and the selection of conversations.
"""

from __future__ import annotations

import re
import unicodedata

FEW_LETTERS = 5
"""With fewer letters than this a text is written in no script that could be told."""
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|afraid|unable)|i (?:can(?:no|')t|cannot|am not able to|won't be able to)|as an ai\b|as a(?:n ai)? language model)"
    r"|(?:죄송|미안|유감|안타깝)[^.!?\n]{0,40}(?:수 없|어렵|못 )|(?:도와\s?드릴|답변(?:을)?\s?(?:드릴|할)|제공(?:해)?\s?(?:드릴|할)|알려\s?드릴) 수(?:가|는)? 없|(?:AI|인공지능)(?: 언어)? 모델(?:로서|이라|이므로)",
    re.IGNORECASE,
)
REFUSAL_HEAD = 160
"""A refusal opens an answer: code points looked at."""
LEAK = re.compile(
    r"<\|[a-z_]{2,24}\|>|^\s*\[(?:입력|출력|맥락|Input|Output|Context)\]|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|^\s*(?:###? ?(?:Instruction|Response|Input|Output|지시(?:문|사항)?|응답|입력|출력) ?:?\s*$)"
    r"|^\s*(?:Human|Assistant|System|사용자|어시스턴트|인공지능) ?: ?\S|\bBelow is an instruction that describes a task\b|아래는 작업을 설명하는 (?:명령|지시)"
    r"|\{(?:input|instruction|context|question|passage|answer|질문|지시문|문맥|답변)\}|\{\{ ?[a-z_.]+ ?\}\}|\bas (?:requested|described) in the (?:prompt|instruction)s?\b",
    re.IGNORECASE | re.MULTILINE,
)
GRAM = 10
"""Characters of the pieces that are counted for repetition (data-juicer's character_repetition_filter)."""


def refuses(text: str) -> bool:
    """Does the answer open by refusing, in Korean or English?"""
    return bool(REFUSAL.search(text[:REFUSAL_HEAD]))


def leaks(text: str) -> bool:
    """Does a piece of a prompt or chat template stand in it: a control mark, a speaker's label, an unfilled slot?

    >>> leaks("### Response:\\nRice."), leaks("Rice: a grain."), leaks("{input}에 답합니다"), leaks("답은 쌀입니다.")
    (True, False, True, False)
    """
    return bool(LEAK.search(text))


def repetition(text: str) -> float:
    """Share of the text's character 10-grams that stood in it before, 0..1; 0 for a text too short to tell.

    >>> repetition("곡식을 간다. " * 20) > 0.9, repetition("맷돌은 곡식을 가는 도구이고 두 짝의 돌로 이루어진다.") == 0.0
    (True, True)
    """
    plain = " ".join(text.split())
    total = len(plain) - GRAM + 1
    if total < 2 * GRAM:
        return 0.0
    return 1 - len({plain[at : at + GRAM] for at in range(total)}) / total


def same_script(one: str, two: str) -> bool:
    """Are both texts written mainly in the same script? True where either has too few letters to tell."""
    scripts = [script(one), script(two)]
    return None in scripts or scripts[0] == scripts[1]


def script(text: str) -> str | None:
    """The script most letters are of: `hangul`, `kana` (with the Han characters beside it), `han`, or the first word of
    the letter's Unicode name (`latin`, `cyrillic`, `arabic`, ...); None for fewer than five letters."""
    counts: dict[str, int] = {}
    for char in text:
        if char.isalpha():
            name = _script_of(char)
            counts[name] = counts.get(name, 0) + 1
    if sum(counts.values()) < FEW_LETTERS:
        return None
    if counts.get("kana"):
        counts["kana"] += counts.pop("han", 0)
    return max(sorted(counts), key=lambda name: counts[name])


def _script_of(char: str) -> str:
    code = ord(char)
    if code < 0x250:
        return "latin"
    if 0xAC00 <= code <= 0xD7A3 or 0x1100 <= code <= 0x11FF or 0x3130 <= code <= 0x318F:
        return "hangul"
    if 0x3040 <= code <= 0x30FF:
        return "kana"
    if 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF:
        return "han"
    return unicodedata.name(char, "unknown").split()[0].lower()
