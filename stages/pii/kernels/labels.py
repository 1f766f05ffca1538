"""Words that say what the number beside them is.

`주민등록번호: 900101-...` names its number; so does `운송장번호`, to the opposite effect. The label *nearest before* a number
decides, within a reach that depends on the label; only when none stands before it is the text right behind looked at
(`110-123-456789 (신한)`, `555 0123 fax`). Latin labels count as whole words only, Korean ones wherever they stand, since
particles and compounds attach to them.

Sources: the headings of Korean forms (주민등록표, 사업자등록증, 운전면허증, 여권, 건강보험증), the banks of the Korea Federation
of Banks and the mutual finance institutions, presidio's context lists for the English ones.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from stages.pii.kernels.automaton import Automaton, find_words, kept

KINDS: dict[str, tuple[int, int, int]] = {
    # kind: (bit, reach before the number, reach behind it), reaches in bytes of UTF-8
    "phone": (1 << 0, 44, 3),
    "card": (1 << 1, 60, 3),
    "bank": (1 << 2, 60, 4),
    "bank_name": (1 << 3, 24, 4),
    "bank_word": (1 << 4, 4, -1),
    "rrn": (1 << 5, 60, 3),
    "frn": (1 << 6, 60, 3),
    "passport": (1 << 7, 60, 3),
    "license": (1 << 8, 60, 3),
    "brn": (1 << 9, 60, 3),
    "corp": (1 << 10, 60, 3),
    "health": (1 << 11, 60, 3),
    "plate": (1 << 12, 36, 3),
    "address": (1 << 13, 60, -1),
    "ip": (1 << 14, 44, 3),
    "mac": (1 << 15, 60, 3),
    "iban": (1 << 16, 60, 3),
    "ssn": (1 << 17, 60, 3),
    "region": (1 << 18, 1, -1),
    "crypto": (1 << 19, 60, 3),
    "version": (1 << 20, 14, -1),
    "other": (1 << 21, 14, 2),
}
NEGATIVE = KINDS["version"][0] | KINDS["other"][0]
"""Labels that say: this is no personal number."""

WORDS: dict[str, str] = {
    "phone": "전화 연락처 휴대폰 핸드폰 휴대전화 휴대번호 손전화 팩스 문의 대표번호 직통 내선 콜백 통화 연락 번호로_전화 ☎ ☏ ✆ 📞 📱 "
    "tel phone telephone telefon rufnummer mobile cell cellphone fax call_me_at call_me_on answering_at messages_to registered desk office "
    "hp h.p contact whatsapp 카톡 모바일",
    "card": "카드 신용카드 체크카드 card cards cc visa mastercard amex credit debit 비자 마스터카드",
    "bank": "계좌 통장 입금 송금 예금주 이체 환불계좌 account acct a/c 납부처",
    "bank_name": "국민은행 kb국민 신한은행 신한 우리은행 하나은행 keb하나 농협 nh농협 기업은행 ibk기업 ibk sc제일 제일은행 씨티은행 한국씨티 "
    "카카오뱅크 카뱅 토스뱅크 토뱅 케이뱅크 케뱅 새마을금고 mg새마을 신협 우체국 수협 부산은행 경남은행 대구은행 im뱅크 광주은행 전북은행 "
    "제주은행 산업은행 kdb 산림조합 저축은행 은행 kb nh sc",
    "bank_word": "국민 우리 하나 기업 제일 씨티 카카오 토스 새마을 부산 경남 대구 광주 전북 제주 산업 신용협동조합",
    "rrn": "주민등록번호 주민번호 주민등록 주민 rrn resident_registration 실명번호 생년월일_성별",
    "frn": "외국인등록번호 외국인번호 외국인등록 외국인_등록 거소신고번호 국내거소신고 frn alien_registration foreigner_registration",
    "passport": "여권번호 여권 passport",
    "license": "운전면허번호 운전면허 면허번호 면허증 driver's_license driver_license driving_licence driver's_licence license_no",
    "brn": "사업자등록번호 사업자번호 사업자등록 사업자 brn business_registration business_number",
    "corp": "법인등록번호 법인번호 법인등록 corporate_registration",
    "health": "건강보험증번호 건강보험증 건강보험번호 건강보험 보험증번호 보험증_번호 증번호 health_insurance",
    "plate": "차량번호 차량_번호 차량 번호판 차번호 자동차등록번호 자동차번호 자동차 주차 차종 승용차 렌터카 plate",
    "address": "주소 소재지 거주지 배송지 자택 본적 등록기준지 사는_곳 address",
    "ip": "ip ip주소 아이피 ipv4 ipv6 address addr host 서버 server 접속 dns gateway 게이트웨이 호스트 클라이언트 client ping proxy 프록시",
    "mac": "mac 맥주소 물리적_주소 물리_주소 bssid ethernet",
    "iban": "iban",
    "ssn": "ssn social_security",
    "region": "서울 부산 대구 인천 광주 대전 울산 세종 경기 강원 충북 충남 전북 전남 경북 경남 제주",
    "crypto": "비트코인 이더리움 지갑 wallet bitcoin btc ethereum eth",
    "version": "버전 버젼 릴리스 릴리즈 빌드 version versions ver v release build rev revision 펌웨어 firmware 어셈블리 assembly "
    "python windows chrome sdk kernel 커널 드라이버 driver 절 항목 section oid",
    "other": "주문번호 주문_번호 주문코드 송장번호 송장 운송장번호 운송장_번호 운송장 접수번호 접수_번호 예약번호 예약_번호 상품번호 상품코드 "
    "상품_번호 상품_코드 제품번호 제품코드 제품_번호 제품_코드 품번 모델명 모델번호 모델 일련번호 일련_번호 시리얼 관리번호 문서번호 "
    "사건번호 특허번호 특허 출원번호 고유번호 우편번호 바코드 승인번호 거래번호 이슈 티켓 해시 커밋 도서번호 청구번호 허가번호 인증번호 "
    "등록상표 좌표 위도 경도 금액 가격 타임스탬프 isbn issn doi order order_no order_number invoice tracking tracking_number sku model "
    "serial serial_number part_no part_number product_code product item batch lot commit sha md5 hash checksum patent case_no ticket "
    "ref reference timestamp barcode ean upc guid uuid pid",
}


class LabelTable(NamedTuple):
    """The label automaton: per word its kind bit, its length in bytes, its reaches, and whether it must stand alone."""

    automaton: Automaton
    bit: np.ndarray
    size: np.ndarray
    before: np.ndarray
    behind: np.ndarray
    alone: np.ndarray


@cache
def labels() -> LabelTable:
    """All labels, compiled once per process."""
    rows = [(word.replace("_", " "), kind) for kind, words in WORDS.items() for word in words.split()]
    rows.sort(key=lambda row: (-len(row[0].encode()), row))
    encoded = [word.encode() for word, _ in rows]
    kinds = [KINDS[kind] for _, kind in rows]
    return LabelTable(
        kept(find_words, [word for word, _ in rows]),
        np.array([bit for bit, _, _ in kinds], np.int64),
        np.array([len(word) for word in encoded], np.int64),
        np.array([before for _, before, _ in kinds], np.int64),
        np.array([behind for _, _, behind in kinds], np.int64),
        np.array([word[0] < 128 for word in encoded], np.bool_),
    )


def bits_of(kinds: str) -> int:
    """The bit mask of space-separated kind names."""
    mask = 0
    for kind in kinds.split():
        mask |= KINDS[kind][0]
    return mask
