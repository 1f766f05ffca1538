"""How a teacher is asked for other, harder and new instructions; written by hand in both languages."""

from __future__ import annotations

from collections.abc import Sequence

from stages.models.teacher.base import Message
from stages.models.teacher.prompts import Lang, PromptTemplate

_FORM = {
    "ko": '{"instruction": "..."} 꼴의 JSON만 적으세요.',
    "en": 'Give {"instruction": "..."} as JSON and nothing else.',
}
_PARAPHRASE = {
    "ko": "입력에 적힌 지시를 뜻과 말높임은 그대로 두고 다른 말로 바꾸어 쓰세요. 수와 이름은 그대로 옮기고, 지시에 답하지 마세요.",
    "en": "Say the instruction in the input in other words with the same meaning. Copy numbers and names exactly, and do not answer it.",
}
EVOLVE: dict[str, tuple[str, ...]] = {
    "ko": (
        "입력에 적힌 지시에 조건이나 요구를 하나 더하여 조금 더 어렵게 만드세요.",
        "입력에 적힌 지시를 더 깊이 묻는 지시로 바꾸세요.",
        "입력에 적힌 지시의 막연한 낱말을 더 구체적인 것으로 바꾸세요.",
        "입력에 적힌 지시를 여러 단계로 따져 보아야 답할 수 있는 지시로 바꾸세요.",
        "입력에 적힌 지시와 같은 분야이면서 드물게 묻는 새 지시를 하나 쓰세요.",
    ),
    "en": (
        "Make the instruction in the input a little harder by adding one condition or requirement.",
        "Turn the instruction in the input into one that asks more deeply.",
        "Replace what is general in the instruction of the input by something more specific.",
        "Turn the instruction in the input into one that takes several steps of reasoning.",
        "Write one new instruction from the same field as the input's that is asked more rarely.",
    ),
}
"""Four ways to deepen and one to broaden, as in WizardLM."""
_CLEAR = {
    "ko": "사람이 답할 수 있어야 하고 그 지시만 읽어도 무엇을 묻는지 알 수 있어야 합니다. 지시에 답하지 마세요.",
    "en": "A person must be able to answer it, and it must be clear on its own. Do not answer it.",
}
_INVENT = {
    "ko": "입력에 지시의 보기가 있습니다. 이들과 겹치지 않는 새 지시를 하나 쓰세요. 그림이나 파일이 있어야 하는 지시는 안 됩니다.",
    "en": "The input shows examples of instructions. Write one new instruction unlike any of them. It must not need an image or a file.",
}
_ANSWER = {
    "ko": "지시에 따라 정확하고 알기 쉽게 답하세요. 모르는 것은 지어내지 마세요.",
    "en": "Follow the instruction exactly and clearly. Do not make up what you do not know.",
}


def paraphrase(lang: Lang, instruction: str) -> tuple[Message, ...]:
    return PromptTemplate(lang, _PARAPHRASE[lang], _FORM[lang]).render(instruction)


def evolve(lang: Lang, instruction: str, way: int) -> tuple[Message, ...]:
    return PromptTemplate(lang, f"{EVOLVE[lang][way]} {_CLEAR[lang]}", _FORM[lang]).render(instruction)


def invent(lang: Lang, examples: Sequence[str]) -> tuple[Message, ...]:
    listed = "\n".join(f"{number}. {' '.join(example.split())}" for number, example in enumerate(examples, 1))
    return PromptTemplate(lang, f"{_INVENT[lang]} {_CLEAR[lang]}", _FORM[lang]).render(listed)


def answer(lang: Lang, instruction: str) -> tuple[Message, ...]:
    """The instruction itself, with a system message that asks for honesty."""
    return (("system", _ANSWER[lang]), ("user", instruction))
