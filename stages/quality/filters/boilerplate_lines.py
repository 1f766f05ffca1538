"""Removes menu, sharing and subscription lines, in English and Korean."""

import numpy as np

from stages.text.lines.flags import TERMINATED
from stages.text.lines.rules import LineRule
from stages.text.lines.table import Lines

ENGLISH = (
    "skip to content", "skip to main content", "skip to navigation", "sign in", "sign up", "log in", "log out",
    "create an account", "forgot password", "subscribe to our", "subscribe now", "newsletter", "follow us on", "share this",
    "share on facebook", "share on twitter", "tweet this", "pin it", "email this", "print this page", "read more", "load more",
    "show more", "view all", "see all", "back to top", "previous post", "next post", "leave a comment", "leave a reply",
    "post a comment", "add to cart", "add to wishlist", "all rights reserved", "copyright ©", "powered by", "site map",
    "related posts", "related articles", "you may also like", "advertisement", "sponsored content", "accept all", "cookie settings",
)  # fmt: skip
KOREAN = (
    "본문 바로가기", "본문으로 바로가기", "메뉴 바로가기", "주메뉴", "로그인", "로그아웃", "회원가입", "아이디/비밀번호", "마이페이지",
    "장바구니", "고객센터", "사이트맵", "오시는 길", "공유하기", "페이스북으로 공유", "트위터로 공유", "카카오톡으로 공유", "카카오스토리",
    "URL 복사", "주소복사", "스크랩하기", "인쇄하기", "글자크기", "글씨 크기", "댓글쓰기", "댓글 쓰기", "댓글 달기", "답글쓰기", "이전글", "다음글",
    "이전 글", "다음 글", "목록으로", "목록보기", "더보기", "전체보기", "맨위로", "맨 위로", "관련기사", "관련 기사", "추천기사", "인기기사", "많이 본 뉴스",
    "구독하기", "뉴스레터", "알림 신청", "무단전재", "무단 전재", "저작권자", "all rights reserved", "사업자등록번호", "통신판매업신고",
    "신고하기", "접기", "펼치기", "이 글을 공유",
)  # fmt: skip


class BoilerplateLines(LineRule):
    """Drops short lines that hold the words of menus, sharing buttons and footers. Lists of our own, in both languages."""

    max_words: int = 8
    "Longer lines stay."
    ended: bool = False
    "Drop also lines that end as sentences end."

    def drop(self, table: Lines) -> np.ndarray:
        short = table.words <= self.max_words
        if not self.ended:
            short &= ~table.has(TERMINATED)
        return table.phrases((ENGLISH + KOREAN,), short)[:, 0] > 0
