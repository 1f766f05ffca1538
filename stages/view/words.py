"""What the pages say, in English and Korean."""

from __future__ import annotations

from pipeline.inspection.words import PageWords, words_of_stages

KOREAN = {
    "after": "바뀐 뒤", "all": "전체", "also": "다른 사유", "apply": "적용", "as Python": "Python으로", "before": "지금", "both": "나란히", "came": "새로 생김",
    "changed": "바뀜", "clear": "지우기", "columns": "컬럼", "compare": "비교", "conversation": "대화", "copy": "복사", "count": "수", "dark or light": "어둡게/밝게",
    "difference from the step before": "앞 단계와 다른 곳", "document": "문서", "drag the line or type a limit": "선을 끌거나 기준값을 입력하세요", "drop": "버림",
    "drawn from {} of {} shards": "샤드 {1}개 가운데 {0}개에서 뽑음", "go on searching": "이어서 찾기", "searched: shards {} to {} of {}": "찾은 곳: 샤드 {2}개 가운데 {0}~{1}번",
    "dropped here alone": "여기서만 버림", "duplicates": "중복", "edits": "고친 곳", "everything about it": "이 문서의 모든 단계", "export": "내보내기",
    "find a document by id, URL or file": "id, URL, 파일 이름으로 문서 찾기", "first": "순서대로", "{} % from the limit": "기준에서 {} %", "funnel": "흐름", "here": "여기",
    "it holds for every language": "모든 언어에 적용됩니다", "keep": "남김", "kept here alone": "여기에만 있음", "kept there alone": "저기에만 있음", "keys": "단축키",
    "label": "라벨", "labels": "라벨", "life of a document": "문서의 일생", "limit": "기준", "literal": "그대로 찾기", "made of": "재료", "members": "묶인 글",
    "metrics": "지표", "model": "모델", "more": "더 보기", "nearest": "기준에 가까운 순", "next": "다음", "no rows": "행이 없습니다",
    "no texts on disk": "이 스토어의 글은 디스크에 없습니다", "not found": "찾지 못했습니다", "not trained": "학습 안 됨", "nothing would change": "바뀌는 것이 없습니다",
    "options": "옵션", "order": "순서", "packed": "묶은 행", "paint": "학습되는 토큰 칠하기", "personal data is masked": "개인정보를 가렸습니다", "previous": "이전",
    "random": "무작위", "reasons": "버린 사유", "row": "행", "rows": "행", "search": "찾기", "seed": "시드", "shape": "형태", "show": "보기", "similarity": "유사도",
    "skip to content": "본문으로", "store": "스토어", "tags": "태그", "text": "글", "text before the step": "이 단계 앞의 글", "there": "저기",
    "there are none": "없습니다", "to": "로", "trained": "학습됨", "unchanged": "그대로", "went": "사라짐", "what would change": "무엇이 바뀌나", "when": "언제",
    "where": "조건", "who": "누가", "why": "왜", "would be dropped": "버려질 문서", "would come back": "되살아날 문서", "write the labels as a store": "라벨을 스토어로 쓰기",
}  # fmt: skip


def page_words(language: str) -> PageWords:
    """The words of these pages, of the report, and of what stages say in it."""
    return PageWords(language, {**words_of_stages(), **KOREAN})
