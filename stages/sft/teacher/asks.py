"""What a teacher is asked about a passage, and how its answer is read.

Every task answers in one form, a JSON list of objects with `instruction` and `answer`, so that one strict reader serves all
of them and hand-written answers too. `backtranslate` gives the instruction alone: its answer is the passage itself.
"""

from __future__ import annotations

from typing import Literal

from stages.models.teacher.prompts import FewShotExample, Lang, PromptTemplate
from stages.models.teacher.structured import fault_in, pairs_in

Task = Literal["qa", "backtranslate", "summary", "title", "explain", "list"]
TASKS: tuple[str, ...] = ("qa", "backtranslate", "summary", "title", "explain", "list")

_FORM = {
    "ko": 'JSON 배열만 적으세요: [{"instruction": "...", "answer": "..."}]. 물을 만한 것이 없으면 [].',
    "en": 'Give a JSON list and nothing else: [{"instruction": "...", "answer": "..."}]. If nothing is worth asking, give [].',
}
_GROUNDED = {
    "ko": "입력 글에 있는 내용만 쓰고, 수와 이름은 글에 적힌 그대로 옮기세요. 질문만 읽어도 무엇을 묻는지 알 수 있어야 하며 ‘이 글’이나 ‘위에서’라고 쓰지 마세요.",
    "en": 'Use only what the input says, and copy numbers and names exactly. A question must be clear on its own: never write "the text" or "above".',
}
_SHOTS = {
    "ko": (
        (
            "솔내 도서관은 월요일에 쉰다. 책은 한 번에 다섯 권까지 두 주 동안 빌릴 수 있고, 예약한 사람이 없으면 한 번 더 늘릴 수 있다.",
            '[{"instruction": "솔내 도서관에서는 책을 몇 권까지 얼마 동안 빌릴 수 있나요?", "answer": "한 번에 다섯 권까지 두 주 동안 빌릴 수 있고, 예약한 사람이 없으면 한 번 더 늘릴 수 있습니다."}]',
        ),
        (
            "메주는 콩을 삶아 찧은 뒤 네모나게 빚어 볏짚으로 매달아 말린다. 겉이 마르면 따뜻한 방에서 두 달쯤 띄운다.",
            '[{"instruction": "메주는 어떻게 만드나요?", "answer": "콩을 삶아 찧어 네모나게 빚고 볏짚으로 매달아 말립니다. 겉이 마르면 따뜻한 방에서 두 달쯤 띄웁니다."}, '
            '{"instruction": "메주는 얼마나 오래 띄우나요?", "answer": "따뜻한 방에서 두 달쯤 띄웁니다."}]',
        ),
        ("ⓒ 2019 솔내군. 모든 권리 보유. 찾아오시는 길 | 개인정보 처리방침 | 사이트맵", "[]"),
    ),
    "en": (
        (
            "The Alder library is closed on Mondays. Up to five books may be borrowed for two weeks, and renewed once unless someone has reserved them.",
            '[{"instruction": "How many books may be borrowed from the Alder library, and for how long?", "answer": "Up to five books for two weeks, renewable once unless someone has reserved them."}]',
        ),
        (
            "To sharpen a chisel, flatten its back on a coarse stone, then hold the bevel at 25 degrees and draw it over a fine stone until a burr forms.",
            '[{"instruction": "How is a chisel sharpened?", "answer": "Flatten its back on a coarse stone, then draw the bevel over a fine stone at 25 degrees until a burr forms."}, '
            '{"instruction": "At what angle is the bevel of a chisel held on the stone?", "answer": "At 25 degrees."}]',
        ),
        ("(c) 2019 Alder Town. All rights reserved. Directions | Privacy | Sitemap", "[]"),
    ),
}
_WANTED: dict[str, dict[str, str]] = {
    "qa": {
        "ko": "입력 글에서 사람들이 물을 만한 질문과 그 답을 최대 {n}쌍 뽑아, 답을 매끄러운 문장으로 다듬으세요.",
        "en": "Extract up to {n} questions a reader would ask, with their answers, from the input, and refine the answers into fluent sentences.",
    },
    "summary": {
        "ko": "입력 글을 요약해 달라는 지시와, 그에 따른 두세 문장의 요약을 한 쌍 쓰세요. 지시에는 글의 주제를 밝히세요.",
        "en": "Write one pair: an instruction asking for a summary of what the input says about its subject (name the subject), and that summary in two or three sentences.",
    },
    "title": {
        "ko": "입력 글의 주제를 밝히고 제목을 청하는 지시와, 글에 나온 말로 지은 제목을 한 쌍 쓰세요.",
        "en": "Write one pair: an instruction that names the subject of the input and asks for a title, and a title in the input's own words.",
    },
    "explain": {
        "ko": "입력 글에 나오는 개념이나 방법 가운데 하나를 골라, 그것을 설명해 달라는 지시와 설명을 한 쌍 쓰세요.",
        "en": "Choose one concept or method in the input and write one pair: an instruction asking to explain it, and the explanation.",
    },
    "list": {
        "ko": "입력 글에 나열된 것이 있으면, 그것을 들어 달라는 지시와 그 목록을 한 쌍 쓰세요.",
        "en": "If the input enumerates something, write one pair: an instruction asking for those things, and the list.",
    },
    "backtranslate": {
        "ko": "입력 글이 가장 알맞은 답이 될 지시를 하나 지으세요. answer는 빈 문자열로 두세요.",
        "en": 'Write the one instruction to which the input would be the best answer. Leave "answer" an empty string.',
    },
}
_RATE = {
    "ko": PromptTemplate(
        "ko",
        "지시와 답이 주어집니다. 답이 지시에 얼마나 알맞은지 1점에서 5점까지 매기세요. 5점: 지시에 꼭 맞고 군더더기가 없음. 4점: 거의 맞음. 3점: 일부만 맞음. 2점: 겉돎. 1점: 상관없음.",
        '{"score": 1에서 5 사이의 수}만, JSON으로 적으세요.',
    ),
    "en": PromptTemplate(
        "en",
        "You are given an instruction and an answer. Rate from 1 to 5 how well the answer meets the instruction. 5: exactly, nothing beside the point. 4: nearly. 3: in part. 2: barely. 1: not at all.",
        'Give {"score": a number from 1 to 5}, as JSON and nothing else.',
    ),
}


def prompt_for(
    task: str, lang: Lang, pairs: int, persona: str = "", shots: int = 1, steps: bool = False
) -> PromptTemplate:
    """The prompt of a task in a language; the first `shots` examples where the task answers in pairs; `steps` asks to reason first."""
    instruction = _WANTED[task][lang].replace("{n}", str(pairs))
    if task != "backtranslate":
        instruction += " " + _GROUNDED[lang]
    examples = tuple(FewShotExample(*shot) for shot in _SHOTS[lang][:shots]) if task == "qa" else ()
    return PromptTemplate(lang, instruction, _FORM[lang], examples, persona, steps)


def rating(lang: Lang, instruction: str, answer: str) -> tuple[tuple[str, str], ...]:
    """Messages that ask how well a passage answers a backtranslated instruction (Humpback's self-curation)."""
    names = ("지시", "답") if lang == "ko" else ("Instruction", "Answer")
    return _RATE[lang].render(f"{names[0]}: {instruction}\n\n{names[1]}:\n{answer}")


__all__ = ["TASKS", "Task", "fault_in", "pairs_in", "prompt_for", "rating"]
