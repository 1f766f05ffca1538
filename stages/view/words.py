"""What the pages say, in English and Korean."""

from __future__ import annotations

KOREAN = {
    "after": "바뀐 뒤", "all": "전체", "also": "다른 사유", "alike": "서로 같은 글", "apply": "적용", "as Python": "Python으로", "before": "지금",
    "both": "나란히", "bytes": "바이트", "came": "새로 생김", "changed": "바뀜", "chosen": "고른 답", "clear": "지우기", "columns": "컬럼",
    "compare": "비교", "conversation": "대화", "copy": "복사", "count": "수", "dark or light": "어둡게/밝게", "document": "문서", "documents": "문서",
    "drag the line or type a limit": "선을 끌거나 기준값을 입력하세요", "drop": "버림", "dropped": "버린 행", "duplicates": "중복", "edits": "고친 곳",
    "everything about it": "이 문서의 모든 단계", "export": "내보내기", "from the limit": "기준에서", "find a document by id, URL or file": "id, URL, 파일 이름으로 문서 찾기",
    "first": "순서대로", "funnel": "흐름", "held out": "남겨 둠", "in": "입력", "it holds for every language": "모든 언어에 적용됩니다", "keep": "남김", "kept": "남긴 행", "keys": "단축키", "label": "라벨", "labels": "라벨",
    "language": "언어", "life of a document": "문서의 일생", "limit": "기준", "limits": "기준값", "literal": "그대로 찾기", "made of": "재료", "measured": "잰 값",
    "members": "묶인 글", "metric": "지표", "metrics": "지표", "model": "모델", "more": "더 보기", "nearest": "기준에 가까운 순", "next": "다음", "no rows": "행이 없습니다",
    "no texts on disk": "이 스토어의 글은 디스크에 없습니다", "not found": "찾지 못했습니다", "nothing would change": "바뀌는 것이 없습니다", "option": "옵션", "options": "옵션",
    "order": "순서", "out": "출력", "paint": "학습되는 토큰 칠하기", "previous": "이전", "random": "무작위", "reason": "사유", "reasons": "버린 사유", "rejected": "버린 답",
    "representative": "남은 글", "row": "행", "rows": "행", "sample": "표본", "search": "찾기", "seed": "시드", "shape": "형태", "similarity": "유사도", "step": "단계",
    "steps": "단계", "store": "스토어", "tags": "태그", "text": "글", "text before the step": "이 단계 앞의 글", "to": "로", "trained": "학습됨", "what would change": "무엇이 바뀌나",
    "went": "사라짐", "when": "언제", "where": "조건", "who": "누가", "why": "왜", "why rows were dropped": "행을 버린 사유", "would be dropped": "버려질 문서", "would come back": "되살아날 문서",
    "recipe": "레시피", "show": "보기", "difference from the step before": "앞 단계와 다른 곳", "unchanged": "그대로", "packed": "묶은 행", "not trained": "학습 안 됨",
    "personal data is masked": "개인정보를 가렸습니다", "skip to content": "본문으로", "there are none": "없습니다", "write the labels as a store": "라벨을 스토어로 쓰기",
    "here": "여기", "there": "저기", "dropped here alone": "여기서만 버림", "kept here alone": "여기에만 있음", "kept there alone": "저기에만 있음",
}  # fmt: skip


class PageWords:
    """`t("kept")` in the language of the page; English where there is no other."""

    def __init__(self, language: str):
        self.language = language

    def __call__(self, words: str) -> str:
        return KOREAN.get(words, words) if self.language == "ko" else words
