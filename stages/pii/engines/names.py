"""Names of persons and places: windows first, then rules or a model in them.

A window is what stands around a trigger: a name-like word before a title or form of address (씨, 대표, Mr.) or an age in
brackets, a label (이름, 담당자, name:). On reviews and manuals that is 2 to 5 % of the text, on news 17 %, and a model costs
that share of what it costs on everything; it sees the persons who stand so, 28 % of those in KLUE's news.

`rules` decides there alone, by surname, title and label; it is plain and knows nothing of meaning, and its measure stands in
tests/bench/pii/RESULTS.md. `model` hands the windows to a spaCy pipeline or a transformers token classifier from a local
folder.

Surnames: the most frequent of the 2015 census of Statistics Korea, which nearly everybody bears, and the compound ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.errors import OptionError
from stages.pii.detect import Finding, apart

SURNAMES = "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지엄채원천방공현함변염추도석선설마길"
COMPOUND = "남궁|황보|제갈|사공|선우|서문|독고|동방"
TITLES = (
    "씨|님|군|양|대표이사|대표|사장|회장|부회장|이사장|교수|박사|과장|부장|차장|대리|팀장|실장|국장|본부장|센터장|이사|전무|상무|원장|의원|"
    "장관|차관|총리|대통령|시장|군수|구청장|도지사|지사|기자|아나운서|앵커|판사|검사|변호사|선생님|선생|선수|감독|코치|작가|시인|배우|가수|"
    "간호사|의사|목사|신부|스님|위원장|위원|총장|총재|사무총장|대변인|비서관|수석|후보|고객님|고객|사원|주임|연구원|조교|PD|피디|"
    "부장판사|부장검사|경장|경위|경감|경정|총경|대위|중위|소위|소령|중령|대령|소장|중장"
)
LABELS = "이름|성명|예금주|담당자|담당|작성자|대표자|수령인|받는 ?분|보내는 ?분|신청인|환자명|고객명|성함|저자|글쓴이"
_AFTER = (
    "은|는|이|가|을|를|에게|의|와|과|도|만|께서|께|이다|입니다|이며|이고|으로|로|에|랑|하고|처럼|보다|까지|부터|한테"
)
_NAME = f"(?:(?:{COMPOUND})[가-힣]{{1,2}}|[{SURNAMES}][가-힣]{{2}})"
_END = f"(?=(?:들|{_AFTER})?(?![가-힣]))"
TITLED = re.compile(rf"(?<![가-힣])({_NAME}) ?(?:\([0-9]{{1,3}}\) ?)?(?:{TITLES}){_END}")
CALLED = re.compile(rf"(?<![가-힣])([{SURNAMES}](?:[가-힣]|아무개)?) ?(?:\([0-9]{{1,3}}\) ?)?씨{_END}")
TITLE_FIRST = re.compile(rf"(?<![가-힣])(?:{TITLES}) ({_NAME})(?=\(|,|{_AFTER}|[^가-힣]|\Z)")
LABELLED = re.compile(rf"(?:{LABELS})(?:은|는)? ?[:：=]? ?({_NAME}){_END}")
AGED = re.compile(
    rf"(?<![가-힣])({_NAME}|[{SURNAMES}](?:모|아무개|[가-힣])?) ?(?:씨 ?)?\((?:[0-9]{{1,2}}|여|남)[세살,)]"
)
ENGLISH = re.compile(
    r"(?<![A-Za-z])(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir|Madam)\.? {0,2}((?:[A-Z][a-z'-]{1,20}|[A-Z]\.)(?: (?:[A-Z][a-z'-]{1,20}|[A-Z]\.)){0,2})"
)
ENGLISH_LABEL = re.compile(
    r"(?i:\b(?:my name is|name:|i am called|signed by|sincerely,|regards,))\s{1,3}((?:[A-Z][a-z'-]{1,20})(?: [A-Z][a-z'-]{1,20}){0,2})"
)
_RULES = (
    ("titled", TITLED, 0.75), ("called", CALLED, 0.75), ("aged", AGED, 0.8), ("name_label", LABELLED, 0.8), ("title_first", TITLE_FIRST, 0.6),
    ("english_title", ENGLISH, 0.8), ("english_label", ENGLISH_LABEL, 0.75),
)  # fmt: skip
NOT_NAMES = frozenset(
    "마음 이사 고객 사원 주인 기자 대표 선생 이후 이상 이하 정도 이번 지난 우리 저희 모든 여러 전체 관리 담당 주요 현재 신임 전임 최고 최대 최소 임시 "
    "공동 부대표 한국 조선 서울 부산 경기 강원 인천 광주 제주 전국 국회 시의 도의 구의 방송 연예 유명 인기 신인 원로 여자 남자 성인 소년 소녀 "
    "주치 한의 양의 수의 외국 내국 공무 경찰 소방 여성 남성 노인 성우 안내 상담 사용 이용 가입 회원 서비스 전문 연구 이런 그런 저런 어떤".split()
)
TRIGGER = re.compile(
    rf"(?<![가-힣]){_NAME} ?(?:{TITLES})|(?<![가-힣])[{SURNAMES}](?:[가-힣]{{1,2}}|아무개)? ?(?:씨|\()|(?:{LABELS})|\b(?:Mr|Mrs|Ms|Dr|Prof)\b|(?i:\bmy name is\b|\bname:)"
)
MARGIN = 48
"""Code points of a window on either side of its trigger."""


def by_rules(text: str) -> Iterator[tuple[int, int, str, float]]:
    """(start, end, rule, score) of names that a title, an age or a label betrays. Linear: every part is bounded."""
    for rule, pattern, score in _RULES:
        for match in pattern.finditer(text):
            start, end = match.span(1)
            if text[start:end] not in NOT_NAMES:
                yield start, end, rule, score


def windows(text: str, margin: int = MARGIN) -> list[tuple[int, int]]:
    """Stretches around triggers, joined where they touch and widened to blanks."""
    found: list[list[int]] = []
    for match in TRIGGER.finditer(text):
        start, end = max(0, match.start() - margin), min(len(text), match.end() + margin)
        if found and start <= found[-1][1]:
            found[-1][1] = max(end, found[-1][1])
        else:
            found.append([start, end])
    out = []
    for start, end in found:
        start = max(text.rfind(" ", 0, start), text.rfind("\n", 0, start), 0) if start else 0
        stops = [at for at in (text.find(" ", end), text.find("\n", end)) if at >= 0]
        out.append((start, min(stops) if stops else len(text)))
    return out


def names_finder(model: str | None, wanted: frozenset[str], floor: float) -> Callable[[pa.Array], list[Finding]]:
    """A finder of persons (and, with a model, places) in large_string arrays; OptionError for a folder that is no model."""
    recognise = recogniser(Path(model)) if model else None

    def find(texts: pa.Array) -> list[Finding]:
        strings = texts.to_pylist()
        made: list[list[Finding]] = [[] for _ in strings]
        if "person" in wanted:
            for item, text in enumerate(strings):
                made[item] = [
                    Finding(item, start, end, "person", rule, score) for start, end, rule, score in by_rules(text)
                ]
        if recognise:
            for finding in in_windows(strings, recognise):
                if finding.entity in wanted:
                    made[finding.item].append(finding)
        return [f for found in made for f in apart([f for f in found if f.score >= floor])]

    return find


PIECE = 256
"""Most code points of what a model is given at once: a window, or a part of windows that ran together, cut at blanks."""


def in_windows(
    texts: list[str], recognise: Recognise, cut: Callable[[str], list[tuple[int, int]]] = windows
) -> list[Finding]:
    """What the model sees in the windows of all `texts`: one call, the short pieces first, so that little is padded."""
    pieces = [
        (item, low, high)
        for item, text in enumerate(texts)
        for start, end in (cut(text) if text else ())
        for low, high in _pieces(text, start, end)
    ]
    pieces.sort(key=lambda piece: (piece[2] - piece[1], piece))
    found = [
        Finding(item, low + start, low + end, entity, "model", score)
        for (item, low, high), spans in zip(pieces, recognise([texts[item][low:high] for item, low, high in pieces]))
        for start, end, entity, score in spans
    ]
    return sorted(found, key=lambda f: (f.item, f.start))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > PIECE:
        blank = text.rfind(" ", start + PIECE // 2, start + PIECE)
        stop = blank if blank > 0 else start + PIECE
        yield start, stop
        start = stop
    yield start, end


Span = tuple[int, int, str, float]
Recognise = Callable[[list[str]], list[list[Span]]]
"""Texts to (start, end, person or place, score) per text."""
KINDS = {
    "PER": "person", "PERSON": "person", "PS": "person", "LOC": "place", "LC": "place", "GPE": "place", "LOCATION": "place", "FAC": "place",
}  # fmt: skip


def recogniser(folder: Path) -> Recognise:
    """The model in `folder`: a spaCy pipeline (meta.json, config.cfg) or a transformers token classifier (config.json)."""
    if (folder / "meta.json").is_file() and (folder / "config.cfg").is_file():
        return _spacy(folder)
    if (folder / "config.json").is_file():
        return _transformers(folder)
    raise OptionError(
        f"{folder} holds neither a spaCy pipeline nor a transformers model",
        "give the folder that save_pretrained or to_disk wrote",
    )


def _spacy(folder: Path) -> Recognise:
    from stages.pii.engines.presidio import without_heavy

    try:
        with without_heavy():
            import spacy

            nlp = spacy.load(folder)
    except (ImportError, ValueError, OSError) as fault:
        raise OptionError(
            f"{folder} cannot be loaded by spaCy: {type(fault).__name__}",
            "pip install 'maetdol[ner]', or give another folder",
        ) from None

    def recognise(texts: list[str]) -> list[list[Span]]:
        return [
            [(e.start_char, e.end_char, KINDS[e.label_], 0.85) for e in doc.ents if e.label_ in KINDS]
            for doc in nlp.pipe(texts)
        ]

    return recognise


def _transformers(folder: Path) -> Recognise:
    try:
        from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

        model = AutoModelForTokenClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, ValueError, OSError) as fault:
        raise OptionError(
            f"{folder} cannot be loaded as a token classifier: {type(fault).__name__}",
            "save it with save_pretrained (safetensors)",
        ) from None
    room = int(getattr(model.config, "max_position_embeddings", 0) or 512) - 2  # RoBERTa's positions begin at 2
    tokenizer.model_max_length = min(
        int(tokenizer.model_max_length), room
    )  # what is longer is cut, not a fault in the model
    classify = pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device="cpu"
    )

    def recognise(texts: list[str]) -> list[list[Span]]:
        found = []
        for groups in classify(texts, batch_size=16) if texts else []:
            spans = [
                (
                    int(g["start"]),
                    int(g["end"]),
                    KINDS.get(str(g["entity_group"]).upper(), ""),
                    round(float(g["score"]), 2),
                )
                for g in groups
            ]
            found.append([span for span in spans if span[2] and span[1] > span[0]])
        return found

    return recognise
