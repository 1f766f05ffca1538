"""Korean postal addresses with a building number, read outward from the number. Compiled.

`경기도 성남시 분당구 판교역로146번길 20, 101동 1203호` hangs on the number behind a word that ends in 로 or 길 (road name) or 동,
리 or 가 (lot). Before that word only names of provinces, cities, counties and districts may stand; the county-level ones
are a closed list of the state's own divisions, and one of them makes the address certain. Without one the word 주소 or its
like must stand before it. Behind the number follow building, floor, unit, and the legal district in brackets.

Names: Ministry of the Interior and Safety, administrative divisions of the Republic of Korea.
"""

from __future__ import annotations

import numpy as np

from stages.pii.kernels.among import holds
from stages.text.compiled import part

PROVINCES = (
    "서울 부산 대구 인천 광주 대전 울산 세종 경기 강원 충북 충남 전북 전남 경북 경남 제주 서울시 부산시 대구시 인천시 광주시 대전시 울산시 세종시 "
    "서울특별시 부산광역시 대구광역시 인천광역시 광주광역시 대전광역시 울산광역시 경기도 강원도 강원특별자치도 충청북도 충청남도 "
    "전라북도 전북특별자치도 전라남도 경상북도 경상남도 제주도 제주특별자치도"
)
DISTRICTS = (
    "종로구 중구 용산구 성동구 광진구 동대문구 중랑구 성북구 강북구 도봉구 노원구 은평구 서대문구 마포구 양천구 강서구 구로구 금천구 "
    "영등포구 동작구 관악구 서초구 강남구 송파구 강동구 서구 동구 남구 북구 영도구 부산진구 동래구 해운대구 사하구 금정구 연제구 "
    "수영구 사상구 기장군 수성구 달서구 달성군 군위군 미추홀구 연수구 남동구 부평구 계양구 강화군 옹진군 광산구 유성구 대덕구 울주군 "
    "세종시 세종특별자치시 수원시 성남시 의정부시 안양시 부천시 광명시 평택시 동두천시 안산시 고양시 과천시 구리시 남양주시 오산시 시흥시 군포시 "
    "의왕시 하남시 용인시 파주시 이천시 안성시 김포시 화성시 양주시 포천시 여주시 연천군 가평군 양평군 장안구 권선구 팔달구 영통구 "
    "수정구 중원구 분당구 만안구 동안구 원미구 소사구 오정구 상록구 단원구 덕양구 일산동구 일산서구 처인구 기흥구 수지구 춘천시 원주시 "
    "강릉시 동해시 태백시 속초시 삼척시 홍천군 횡성군 영월군 평창군 정선군 철원군 화천군 양구군 인제군 고성군 양양군 청주시 충주시 "
    "제천시 보은군 옥천군 영동군 증평군 진천군 괴산군 음성군 단양군 상당구 서원구 흥덕구 청원구 천안시 공주시 보령시 아산시 서산시 "
    "논산시 계룡시 당진시 금산군 부여군 서천군 청양군 홍성군 예산군 태안군 동남구 서북구 전주시 군산시 익산시 정읍시 남원시 김제시 "
    "완주군 진안군 무주군 장수군 임실군 순창군 고창군 부안군 완산구 덕진구 목포시 여수시 순천시 나주시 광양시 담양군 곡성군 구례군 "
    "고흥군 보성군 화순군 장흥군 강진군 해남군 영암군 무안군 함평군 영광군 장성군 완도군 진도군 신안군 포항시 경주시 김천시 안동시 "
    "구미시 영주시 영천시 상주시 문경시 경산시 의성군 청송군 영양군 영덕군 청도군 고령군 성주군 칠곡군 예천군 봉화군 울진군 울릉군 "
    "창원시 진주시 통영시 사천시 김해시 밀양시 거제시 양산시 의창구 성산구 마산합포구 마산회원구 진해구 의령군 함안군 창녕군 남해군 "
    "하동군 산청군 함양군 거창군 합천군 제주시 서귀포시"
)
# Common words that end as a lot's district does.
NO_LOTS = (
    "거리 자리 관리 처리 정리 우리 소리 머리 다리 수리 유리 분리 심리 원리 진리 논리 승리 권리 요리 활동 운동 이동 자동 행동 노동 공동 "
    "변동 아동 합동 감동 작동 출동 구동 연동 수동 가동 발동 진동 충동 파동 소동 선동 격동 기동 율동 부동 반동 유동 제동 시동"
)
# Adverbs and nouns in 로 that a number may follow.
NO_ROADS = (
    "바로 서로 주로 새로 따로 홀로 별로 가로 세로 도로 경로 통로 진로 회로 활로 미로 선로 수로 항로 철로 위로 피로 대로 기로 원로 실제로 그대로 "
    "대체로 별도로 스스로 함부로 억지로 제대로 차례로 때때로 순서대로 마음대로 이대로 저대로 멋대로 뜻대로 진실로 참으로 날로 갈수록 "
    "고속도로 산책로 등산로 자전거도로 횡단보도로 제각기로 하나로 둘로 셋으로 개별로 종류별로 단계별로 날짜별로 연도별로 최초로 최대로"
)
BUILDINGS = "아파트 빌딩 타워 빌라 오피스텔 맨션 주택 센터 상가 하이츠 파크 캐슬 자이 래미안 푸르지오 힐스테이트 마을 단지 연립 지하 별관 본관"
BRANCHES = "가나다라마바사아자차카타파하안"
"""What may stand between the number of a branch and its 길."""
UNITS = "개 명 년 월 일 시 분 초 원 천 억 곳 회 번째 번길 길 대 배 권 건 군데 여 호선 미터 킬로 만원 만명"
LIMIT = 240
"""Bytes an address may reach back from its number."""


def _hash(word: str) -> int:
    value = 2166136261  # FNV-1a in 32 bits, so that no product leaves a signed 64-bit word
    for byte in word.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def _hashes(words: str) -> np.ndarray:
    return np.array(sorted({_hash(word) for word in words.split()}), np.int64)


_BRANCHES, _PROVINCES, _DISTRICTS, _NO_LOTS, _NO_ROADS = (
    _hashes(" ".join(BRANCHES)),
    _hashes(PROVINCES),
    _hashes(DISTRICTS),
    _hashes(NO_LOTS),
    _hashes(NO_ROADS),
)


def _table(words: str) -> np.ndarray:
    rows = sorted((word.encode() for word in words.split()), key=lambda word: (-len(word), word))
    table = np.zeros((len(rows), 1 + max(len(row) for row in rows)), np.uint8)
    for row, word in enumerate(rows):
        table[row, 0] = len(word)
        table[row, 1 : 1 + len(word)] = list(word)
    return table


_BUILDINGS, _UNITS, _NUMBERED, _FLOORS = _table(BUILDINGS), _table(UNITS), _table("동 호 층 호실"), _table("층 호 호실")
_RO, _GIL, _DONG, _RI, _GA = 0xB85C, 0xAE38, 0xB3D9, 0xB9AC, 0xAC00
_EUP, _MYEON, _SAN, _EU, _BEON = 0xC74D, 0xBA74, 0xC0B0, 0xC73C, 0xBC88


@part
def syllable(data, at, high):
    """Code point of the Hangul syllable at byte `at`; 0 where there is none."""
    if at < 0 or at + 3 > high or data[at] < 0xEA or data[at] > 0xED:
        return 0
    point = (np.int64(data[at]) & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | (np.int64(data[at + 2]) & 63)
    return point if 0xAC00 <= point <= 0xD7A3 else 0


@part
def _word_start(data, low, end, digits):
    """Where the word that ends at `end` begins: Hangul syllables, and ASCII digits if `digits`."""
    at = end
    while at > low and end - at < 60:
        if at - 3 >= low and data[at - 1] >= 0x80 and syllable(data, at - 3, end):
            at -= 3
        elif digits and 48 <= data[at - 1] <= 57:
            at -= 1
        else:
            break
    return at


@part
def _among(data, start, end, hashes):
    value = np.int64(2166136261)
    for at in range(start, end):
        value = ((value ^ np.int64(data[at])) * 16777619) & 0xFFFFFFFF
    return holds(hashes, value)


@part
def _begins(data, at, high, table):
    """Length of the table's word that stands at `at`; 0 where none does."""
    for row in range(table.shape[0]):
        size = np.int64(table[row, 0])
        if at + size > high:
            continue
        same = True
        for k in range(size):
            if data[at + k] != table[row, 1 + k]:
                same = False
                break
        if same:
            return size
    return 0


@part
def _number(data, at, high):
    """End of `12`, `12-3`, `12번지` or `12-3번지` at `at`; -1 when it counts something or runs on."""
    end = at
    while end < high and 48 <= data[end] <= 57:
        end += 1
    if end - at > 5 or data[at] == 48:
        return -1
    stop = end + 1
    while end < high and data[end] == 45 and stop < high and 48 <= data[stop] <= 57:
        stop += 1
    if 1 < stop - end <= 5:
        end = stop
    if end < high and (
        data[end] == 37
        or data[end] == 46
        and end + 1 < high
        and 48 <= data[end + 1] <= 57
        or data[end] == 58
        or data[end] == 95
    ):
        return -1
    if end < high and (48 <= data[end] <= 57 or 65 <= data[end] <= 90 or 97 <= data[end] <= 122):
        return -1
    if syllable(data, end, high) == _BEON and syllable(data, end + 3, high) == 0xC9C0:
        return end + 6
    return -1 if _begins(data, end, high, _UNITS) else end


@part
def _details(data, end, high):
    """Building, floor, unit and bracketed district behind the number: where they end."""
    for _ in range(5):
        at = end
        if at < high and data[at] == 44:
            at += 1
        while at < high and data[at] == 32 and at - end < 3:
            at += 1
        if at < high and data[at] == 40:
            stop, named = at + 1, False
            while stop < high and stop - at < 80 and data[stop] != 41 and data[stop] != 10:
                point = syllable(data, stop, high)
                following = data[stop + 3] if point and stop + 3 < high else 0
                named = named or ((point in (_DONG, _GA, _RI)) and (following == 44 or following == 41))
                stop += 3 if point else 1
            if not named or stop >= high or data[stop] != 41:
                return end
            end = stop + 1
            continue
        stop = _unit(data, at, high) if at > end else -1
        if stop < 0:
            return end
        end = stop
    return end


@part
def _unit(data, at, high):
    """End of `101동`, `지하 1층`, `B동`, `한빛아파트 3동`, `서울시청 8층` at `at`; -1 where none stands."""
    named = at
    for turn in range(2):
        stop, letters = at, 0
        while stop < high and stop - at < 42:
            size = _begins(data, stop, high, _NUMBERED)
            if size and stop > at and (48 <= data[stop - 1] <= 57 or letters == 1):
                return stop + size
            if syllable(data, stop, high):
                stop += 3
                letters = 9
            elif 48 <= data[stop] <= 57 or 65 <= data[stop] <= 90 or 97 <= data[stop] <= 122 or data[stop] == 45:
                stop += 1
                letters += 1
            else:
                break
        if turn == 1 or stop >= high or data[stop] != 32 or stop == named:
            return -1
        found = False
        for row in range(_BUILDINGS.shape[0]):
            size = np.int64(_BUILDINGS[row, 0])
            if stop - size >= named and _begins(data, stop - size, stop, _BUILDINGS[row : row + 1]):
                found = True
        if not found:
            return _floor(data, stop + 1, high)
        at = stop + 1
    return -1


@part
def _floor(data, at, high):
    """End of `8층`, `1203호` or `N동` at `at`, which a word of any kind may stand before; -1 where none stands."""
    stop = at
    while stop < high and 48 <= data[stop] <= 57 and stop - at < 5:
        stop += 1
    if stop > at:
        size = _begins(data, stop, high, _FLOORS)
        return stop + size if size else -1
    letter = stop < high and (65 <= data[stop] <= 90 or 97 <= data[stop] <= 122)
    return stop + 4 if letter and syllable(data, stop + 1, high) == _DONG else -1


@part
def _floored(data, at, end):
    """Does a floor or a room (`8층`, `1203호`) stand in `data[at:end]`?"""
    for k in range(at + 1, end - 2):
        if 48 <= data[k - 1] <= 57 and _begins(data, k, end, _FLOORS):
            return True
    return False


@part
def address(data, low, high, at):
    """(start, end, kind) of the address whose number begins at `at`: kind 0 none, 1 road, 2 lot, 3 only with a label."""
    i = at - 1 if at > low and data[at - 1] == 32 else at
    last = syllable(data, i - 3, i) if i - 3 >= low else 0
    if last == _SAN and i - 4 >= low and data[i - 4] == 32:
        i -= 4
        last = syllable(data, i - 3, i) if i - 3 >= low else 0
    if last not in (_RO, _GIL, _DONG, _RI, _GA):
        return 0, 0, 0
    floor = max(low, at - LIMIT)
    word = _word_start(data, floor, i, True)
    road = last in (_RO, _GIL)
    branch = last == _GIL and _branch(data, word, i)
    common = (last in (_DONG, _RI)) and _among(data, word, i, _NO_LOTS)
    if not branch and not _plausible(data, word, i, last):
        return 0, 0, 0
    end = _number(data, at, high)
    if end < 0:
        return 0, 0, 0
    start = word
    if branch:  # `판교로 228번길 17`, `동대구로 23길 12`: the word before is the road
        if word - 4 < floor or data[word - 1] != 32 or syllable(data, word - 4, word) != _RO:
            return 0, 0, 0
        start = _word_start(data, floor, word - 1, True)
    begin, certain = start, False
    for turn in range(5):
        if common and turn > 0 and not certain:
            break  # 연동, 이동: a lot's district only right behind the county's name
        if begin - 4 < floor or data[begin - 1] != 32:
            break
        token = _word_start(data, floor, begin - 1, False)
        if token == begin - 1:
            break
        tail = syllable(data, begin - 4, begin)
        if _among(data, token, begin - 1, _DISTRICTS):
            certain, begin = True, token
        elif certain and _among(data, token, begin - 1, _PROVINCES):
            begin = token
            break
        elif not certain and (tail in (_EUP, _MYEON, _DONG, _RI)) and begin - 1 - token >= 6:
            begin = token
        else:
            break
    stop = _details(data, end, high)
    if certain:
        return begin, stop, 1 if road else 2
    if common:
        return 0, 0, 0
    if road and _floored(data, end, stop) and not _among(data, word, i, _NO_ROADS):
        return start, stop, 1  # a floor or a room says as much as a county's name
    return start, stop, 3


@part
def _plausible(data, word, i, last):
    """Can this word be a road or a lot's district? Particles (으로) and common words cannot."""
    if i - word < 6:
        return False
    before = syllable(data, i - 6, i)
    if last == _RO:
        return before != _EU and not _only_digits(data, word, i - 3)
    if last == _GA:
        return 48 <= data[i - 4] <= 57
    return True


@part
def _only_digits(data, at, end):
    while at < end and 48 <= data[at] <= 57:
        at += 1
    return at == end


@part
def _branch(data, word, i):
    """Is the word a branch of the road before it: `228번길`, `23길`, `99번안길`, `5나길`?"""
    at = word
    while at < i and 48 <= data[at] <= 57:
        at += 1
    if at == word:
        return False
    if syllable(data, at, i) == _BEON:
        at += 3
    return i - at == 3 or (i - at == 6 and _among(data, at, i - 3, _BRANCHES))
