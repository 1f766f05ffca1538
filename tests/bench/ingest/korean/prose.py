"""Korean text for made-up pages: paragraphs, titles, comments, names and numbers, drawn with a seed. All of it was written here."""

from __future__ import annotations

import random

SUBJECTS = {
    "kitchen": "된장찌개 멸치육수 들기름 돌솥 묵은지 메밀국수 감자전 두부조림 보리차 식혜 장아찌 무나물 콩국수 오이소박이".split(),
    "travel": "섬마을 둘레길 산장 포구 갈대밭 등대 약수터 간이역 폐교 캠핑장 다랭이논 해변 고갯길 수목원".split(),
    "machine": "압축기 배터리 그래픽카드 공유기 키보드 모니터 세탁기 전기자전거 프린터 스캐너 냉각팬 메인보드 충전기 드라이버".split(),
    "town": "주민센터 도서관 경로당 버스노선 재활용장 공영주차장 하천 보건소 놀이터 체육관 상수도 가로등 전통시장 보도육교".split(),
    "money": "적금 환율 물가 월세 수출 반도체주 채권 보험료 연금 세액공제 금리 임대료 관세 배당".split(),
    "garden": "모종 퇴비 고추밭 비닐하우스 사과나무 호박 상추 진딧물 배수로 낙엽 거름 씨감자 옥수수 들깨".split(),
}
PLACES = "강릉 통영 구례 영월 목포 춘천 안동 제천 서귀포 군산 문경 하동 속초 공주 태안".split()
WHEN = [
    "지난주에",
    "올봄에",
    "어제저녁에",
    "작년 가을에",
    "며칠 전에",
    "이번 달 초에",
    "장마가 끝난 뒤에",
    "추석을 앞두고",
    "해가 진 다음에",
    "아침 일찍",
]
FRAMES = [
    "{when} {place}에 다녀오면서 {a:을} 다시 살펴보았다.", "{a:은} 처음 볼 때보다 손이 많이 가는 편이었고, 생각보다 {b:이} 결과를 크게 바꾸었다.",
    "무엇보다 {a:을} 고를 때는 값보다 쓰임새를 먼저 따져야 한다.", "{n}년 동안 {a:을} 다룬 사람들은 한결같이 {b:을} 먼저 확인하라고 말한다.",
    "{place}의 한 관계자는 “{a:이} 줄어든 만큼 {b:이} 늘었다”고 설명했다.", "표로 적어 보니 {n}번 가운데 {m}번은 {a:이} 원인이었다.",
    "그래서 순서를 바꾸어 {b:을} 먼저 손보고, 남은 시간에 {a:을} 정리했다.", "{a:과} {b:은} 비슷해 보이지만 오래 두면 차이가 뚜렷해진다.",
    "처음에는 {a:이} 문제라고 여겼는데, 알고 보니 {b:이} 더 큰 까닭이었다.", "비용은 모두 {w}원이 들었고, 그 가운데 절반은 {a:을} 바꾸는 데 썼다.",
    "{when} 찍어 둔 사진과 견주면 {a:의} 모습이 얼마나 달라졌는지 알 수 있다.", "다음에 같은 일을 한다면 {a:보다} {b:에} 시간을 더 쓰겠다.",
    "설명서에는 {n}분이면 된다고 적혀 있지만 실제로는 {m}시간 가까이 걸렸다.", "{place} 사람들은 {a:을} 두고 아직도 의견이 갈린다.",
    "이 방법은 {a:이} 없는 곳에서도 쓸 수 있다는 점에서 쓸모가 있다.", "시는 {when} {a:과} 관련한 지침을 고쳐 {b:까지} 범위를 넓혔다고 밝혔다.",
    "자료를 모으는 동안 {a:에} 대한 기록이 {n}건, {b:에} 대한 기록이 {m}건 나왔다.", "날이 더워지면 {a:은} 금세 상태가 나빠지므로 그늘에 두는 것이 좋다.",
    "같은 값이라도 {a:의} 크기에 따라 {b:이} 전혀 다르게 움직인다.", "결국 남은 것은 {a:뿐이었고}, 우리는 {b:을} 포기하기로 했다.",
    "주민 {n}명이 모여 {a:을} 어떻게 나눌지 두 시간 넘게 이야기했다.", "{b:을} 고치고 나니 {a:에서} 나던 소리가 사라졌다.",
]  # fmt: skip
TITLES = [
    "{a:과} {b:을} 함께 쓰는 법", "{place}에서 본 {a}", "{a:을} 바꾸고 나서 달라진 것", "{when} 다녀온 {place}, 그리고 {a}", "{a} 고르는 기준 {n}가지", "{place} {a} 정비 {n}월 시작",
    "{a} 때문에 고생한 이야기", "{b:보다} {a:이} 먼저인 까닭", "{a} 관련 안내", "{a} 값 {n}년 만에 올라",
]  # fmt: skip
REMARKS = [
    "{a:은} 저도 같은 걸 쓰는데 괜찮더라고요.", "글 잘 읽었습니다. {b:은} 어디서 구하셨어요?", "ㅋㅋㅋ {a} 사진이 압권이네요", "저는 반대로 {b:이} 더 나았습니다.", "{place}에 사는데 여기는 사정이 다릅니다.",
    "정보 고맙습니다. 저장해 두고 따라 해 볼게요.", "{n}번 문항은 조금 다르게 생각해요. {a:이} 먼저 아닌가요?", "헐 {w}원이면 너무 비싼데요", "이거 {m}년 전에도 같은 말이 나왔어요.", "{a:을} 빼고 해도 되나요?",
    "공감합니다. {b} 이야기는 아무도 안 하더군요.", "작성자님 덕분에 {a:을} 제대로 알았네요.", "음... {b:은} 아닌 것 같은데", "다음 글도 기다릴게요!", "ㅠㅠ 저희 집도 {a:이} 말썽이에요",
]  # fmt: skip
NAMES = "물레방아 새벽이슬 돌담길 곰돌이 푸른솔 바람개비 산들 단풍잎 초롱 하늘소 느티 조약돌 보름달 나그네 콩새 달팽이".split()
PEOPLE = "김하늘 이도현 박서연 정민재 최유진 한지우 오세빈 윤가람 임보라 서한결 문다솜 조은별".split()
_AFTER = {"을": ("을", "를"), "은": ("은", "는"), "이": ("이", "가"), "과": ("과", "와")}


class _Noun(str):
    """A noun that takes the particle its last syllable asks for: `{a:을}` is 를 after a vowel."""

    def __format__(self, particle: str) -> str:
        closed = (ord(self[-1]) - 0xAC00) % 28 != 0 if "가" <= self[-1] <= "힣" else True
        return str(self) + (_AFTER[particle][0 if closed else 1] if particle in _AFTER else particle)


class Writer:
    """Draws text about one subject."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.subject = dice.choice(sorted(SUBJECTS))

    def _fill(self, frame: str) -> str:
        a, b = self.dice.sample(SUBJECTS[self.subject], 2)
        return frame.format(
            a=_Noun(a), b=_Noun(b), place=self.dice.choice(PLACES), when=self.dice.choice(WHEN), n=self.dice.randrange(2, 30), m=self.dice.randrange(2, 9),
            w=f"{self.dice.randrange(3, 900) * 1000:,}",
        )  # fmt: skip

    def sentences(self, low: int, high: int) -> str:
        return " ".join(self._fill(frame) for frame in self.dice.sample(FRAMES, self.dice.randint(low, high)))

    def paragraphs(self, low: int, high: int) -> list[str]:
        return [self.sentences(2, 5) for _ in range(self.dice.randint(low, high))]

    def title(self) -> str:
        return self._fill(self.dice.choice(TITLES))

    def remark(self) -> str:
        return " ".join(self._fill(frame) for frame in self.dice.sample(REMARKS, self.dice.choice((1, 1, 1, 2))))

    def nick(self) -> str:
        return self.dice.choice(NAMES) + self.dice.choice(["", "", str(self.dice.randrange(10, 99))])

    def person(self) -> str:
        return self.dice.choice(PEOPLE)

    def noun(self) -> str:
        return self.dice.choice(SUBJECTS[self.subject])

    def day(self) -> str:
        return f"20{self.dice.randrange(12, 26)}-{self.dice.randrange(1, 13):02}-{self.dice.randrange(1, 29):02}"

    def clock(self) -> str:
        return f"{self.dice.randrange(24):02}:{self.dice.randrange(60):02}"

    def count(self, most: int = 5000) -> str:
        return f"{self.dice.randrange(most):,}"

    def price(self) -> str:
        return f"{self.dice.randrange(3, 900) * 1000:,}"
