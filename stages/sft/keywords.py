"""The words a text turns on, without a model: counted by stem, weighed by length, title and headings."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from stages.sft.grounding import GENERIC_KO, NOUN_PARTICLES
from stages.text.language.particles import fold, is_function, is_hangul, particle, stem, words

GENERIC_EN = frozenset(
    "people thing things way ways time times day days year years number part parts lot case cases point example examples information "
    "page pages site website section following click see find know need want help work works like want good new many much first last "
    "different available possible able current default available note also may right left using used based set list type name value "
    "use uses user users file files line lines next step steps following called provides provide include includes including".split()
)
_COMMON_KO = frozenset(
    "사용 이용 가능 필요 관련 제공 진행 확인 선택 포함 해당 기본 이상 이하 정도 모든 다른 새로운 여러 다양 자신 우리나라 지난 올해 이번 당시 "
    "그래 이렇 그렇 시작 이후 이전 최근 계속 실제 결국 사실 이때 그때 오늘날 중요 대표 클릭 버튼 화면 페이지 사이트 메뉴 항목 아래 위쪽 오른쪽 왼쪽 여기서 거기서 이곳 그곳 저곳 이러한 그러한".split()
)


_ADDRESS = re.compile(
    r"https?://\S+|\S+@\S+|[A-Za-z0-9._~-]+/[A-Za-z0-9._~/-]+|(?:[A-Za-z0-9-]+\.)+(?:com|org|net|io|kr|html?|txt|conf|deb|gz|exe|dll)\b"
)
"""Addresses, paths and file names: their parts are no words."""
_WITH_EUL = frozenset("마을 가을 노을 구을 여을 고을".split())
"""Nouns that end like a particle; any other word of two syllables on 을 is one syllable with its particle (`값을`)."""
_CLAUSE = re.compile(r"^것|(?:는지|은지|인지|을지|것)$")


class Term(NamedTuple):
    """A keyword: the form it is written in, its stem, how often it occurs, its weight."""

    form: str
    stem: str
    count: int
    weight: float


def candidates(text: str) -> tuple[Counter, dict[str, Counter]]:
    """Counts by stem, and the surface forms of each stem, of words that can be terms."""
    counts: Counter = Counter()
    forms: dict[str, Counter] = {}
    for word in words(_ADDRESS.sub(" ", text)):
        if word[0].isdigit() or is_function(word):
            continue
        base = stem(word)
        if is_hangul(word):
            if (
                len(base) < 2
                or base in GENERIC_KO
                or base in _COMMON_KO
                or is_function(base)
                or _CLAUSE.search(base)
                or (base[-1] in "을를" and base not in _WITH_EUL)
            ):
                continue
            form = base
        else:
            if len(base) < 3 or base in GENERIC_EN:
                continue
            form = word.removesuffix("'s").removesuffix("’s")
        counts[base] += 1
        forms.setdefault(base, Counter())[form] += 1
    return counts, forms


def nominal(text: str) -> set[str]:
    """Korean stems that stand at least once with a noun's particle: verbs and adverbs have none."""
    return {stem(word) for word in set(words(text)) if is_hangul(word) and particle(word) in NOUN_PARTICLES}


def terms(text: str, title: str = "", headings: str = "", most: int = 12) -> list[Term]:
    """Up to `most` terms of a text, heaviest first; ties in the order of the text.

    Weight = count, times 1.5 for a word of the title, 1.25 for one of a heading, times a length factor of up to 1.5.
    """
    counts, forms = candidates(text)
    nouns = nominal(text)
    in_title = {stem(w) for w in words(title)}
    in_headings = {stem(w) for w in words(headings)}
    found = []
    for base, count in counts.items():
        if is_hangul(base) and base not in nouns and base not in in_title:
            continue
        weight = count * (1.5 if base in in_title else 1.0) * (1.25 if base in in_headings else 1.0)
        weight *= 1 + min(len(base), 10) / 20 * (2 if is_hangul(base) else 1)
        form = min(forms[base].items(), key=lambda item: (-item[1], item[0] != fold(item[0]), item[0]))[0]
        found.append(Term(form, base, count, weight))
    found.sort(key=lambda term: -term.weight)
    return found[:most]
