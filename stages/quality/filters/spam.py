"""Gambling, loans, pills and other advertising."""

import numpy as np

from pipeline.docs import Docs
from stages.text.phrases import automaton, tally
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share

KOREAN = (
    "카지노", "바카라", "토토사이트", "사설토토", "먹튀", "슬롯머신", "슬롯사이트", "룰렛", "홀덤", "꽁머니", "첫충", "가입머니", "충전머니",
    "환전 가능", "파워볼", "사다리게임", "놀이터 추천", "출장마사지", "출장안마", "건마", "오피걸", "조건만남", "유흥", "룸살롱", "비아그라",
    "시알리스", "레비트라", "정품 구매", "당일대출", "무직자 대출", "소액대출", "신용불량자 대출", "급전", "카드깡", "휴대폰 소액결제",
    "소액결제 현금화", "상품권 매입", "최저가 보장", "무료상담 문의", "카톡 문의", "텔레그램 문의", "010-",
)  # fmt: skip
ENGLISH = (
    "online casino", "casino bonus", "free spins", "slot machine", "sports betting", "bet now", "betting tips", "poker online",
    "payday loan", "bad credit loan", "no credit check", "viagra", "cialis", "levitra", "weight loss pills", "male enhancement",
    "replica watches", "cheap jordans", "louis vuitton outlet", "escort service", "adult dating", "webcam girls", "buy followers",
    "seo services", "backlinks", "make money online", "work from home", "click here to", "limited time offer", "100% free",
    "risk free", "act now", "order now",
)  # fmt: skip
GROUPS = tuple((phrase,) for phrase in KOREAN + ENGLISH)


class Spam(Rule):
    """Advertising phrases: how many different ones, and how many per hundred words. Lists of our own, Korean and English.

    One mention is no spam (an article may speak of a casino): several different ones are, or many in few words.
    """

    max_different: int | None = 3
    "Most different phrases."
    max_per_hundred: float | None = 5
    "Most phrases per hundred words."
    bounds = (Bound("different", high="max_different"), Bound("per_hundred", high="max_per_hundred"))

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        found = tally(docs.data, docs.offsets[:-1], docs.offsets[1:], automaton(GROUPS))
        total = found.sum(axis=1)
        return {
            "different": (found > 0).sum(axis=1),
            "per_hundred": np.where(total > 1, np.nan_to_num(100 * share(total, docs.cached(read).words)), 0),
        }
