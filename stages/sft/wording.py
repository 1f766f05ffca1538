"""How a task is asked: templates written by hand in Korean and English, one level of politeness to a row.

Korean has three registers here: `formal` (해 주십시오, 습니다), `polite` (해 주세요, 해요) and `plain` (하라, 한다). The register of
a row is that of its answer, so that a question in one and an answer in another never meet; where the answer shows none
(a list of words, a title) the dice choose. A slot may name a pair of particles, `{term:은/는}`, and gets the fitting one.
"""

from __future__ import annotations

import random
import re

from stages.text.language.particles import josa

REGISTERS = ("formal", "polite", "plain")
_SLOT = re.compile(r"\{(\w+)(?::([^{}]+))?\}")

KO: dict[str, dict[str, tuple[str, ...]]] = {
    "summarise": {
        "formal": (
            "다음 글의 핵심을 간추려 주십시오.\n\n{text}",
            "아래 글을 한 문단으로 요약해 주십시오.\n\n{text}",
            "{text}\n\n위 글의 요지를 짧게 정리해 주십시오.",
        ),
        "polite": (
            "다음 글을 짧게 요약해 주세요.\n\n{text}",
            "아래 글이 말하는 핵심만 간추려 주세요.\n\n{text}",
            "{text}\n\n이 글을 한 문단으로 줄이면 어떻게 될까요?",
        ),
        "plain": (
            "다음 글을 짧게 요약하라.\n\n{text}",
            "아래 글의 요지를 한 문단으로 정리하라.\n\n{text}",
            "{text}\n\n위 글의 핵심을 간추려라.",
        ),
    },
    "title": {
        "formal": ("다음 글에 알맞은 제목을 붙여 주십시오.\n\n{text}", "아래 글의 제목을 지어 주십시오.\n\n{text}"),
        "polite": (
            "다음 글에 어울리는 제목을 지어 주세요.\n\n{text}",
            "{text}\n\n이 글에 제목을 붙인다면 뭐가 좋을까요?",
        ),
        "plain": ("다음 글에 알맞은 제목을 붙여라.\n\n{text}", "아래 글의 제목을 써라.\n\n{text}"),
    },
    "continue": {
        "formal": (
            "다음 글에 이어질 문단을 써 주십시오.\n\n{text}",
            "‘{title}’에 관한 글의 앞부분입니다. 이어서 써 주십시오.\n\n{text}",
        ),
        "polite": (
            "다음 글에 이어질 문단을 써 주세요.\n\n{text}",
            "‘{title}’에 관한 글의 앞부분이에요. 자연스럽게 이어 써 주세요.\n\n{text}",
        ),
        "plain": (
            "다음 글에 이어질 문단을 써라.\n\n{text}",
            "‘{title}’에 관한 글의 앞부분이다. 이어서 써라.\n\n{text}",
        ),
    },
    "section": {
        "formal": (
            "‘{title}’에 관한 글에서 ‘{heading}’ 부분을 써 주십시오.",
            "‘{heading}’에 대해 설명해 주십시오. (주제: {title})",
        ),
        "polite": (
            "‘{title}’에 관한 글에서 ‘{heading}’ 부분을 써 주세요.",
            "‘{heading}’에 대해 설명해 주세요. (주제: {title})",
        ),
        "plain": ("‘{title}’에 관한 글에서 ‘{heading}’ 부분을 써라.", "‘{heading}’에 대해 설명하라. (주제: {title})"),
    },
    "define": {
        "formal": (
            "{term:이란/란} 무엇입니까?",
            "{term:이/가} 무엇인지 설명해 주십시오.",
            "{term}의 뜻을 알려 주십시오.",
        ),
        "polite": ("{term:이/가} 뭔가요?", "{term:이/가} 무엇인지 설명해 주세요.", "{term:이란/란} 무엇인가요?"),
        "plain": ("{term:이란/란} 무엇인가?", "{term:이/가} 무엇인지 설명하라.", "{term}의 뜻을 설명하라."),
    },
    "define_in": {
        "formal": ("‘{title}’에서 {term:은/는} 무엇을 뜻합니까?", "‘{title}’에 나오는 {term:을/를} 설명해 주십시오."),
        "polite": ("‘{title}’에서 {term:은/는} 무엇을 뜻하나요?", "‘{title}’에 나오는 {term:을/를} 설명해 주세요."),
        "plain": ("‘{title}’에서 {term:은/는} 무엇을 뜻하는가?", "‘{title}’에 나오는 {term:을/를} 설명하라."),
    },
    "about": {
        "formal": ("‘{heading}’에 대해 설명해 주십시오.", "‘{heading}’에 관해 알려 주십시오."),
        "polite": ("‘{heading}’에 대해 설명해 주세요.", "‘{heading}’에 관해 알려 주세요."),
        "plain": ("‘{heading}’에 대해 설명하라.", "‘{heading}’에 관해 서술하라."),
    },
    "how": {
        "formal": ("{act} 방법을 알려 주십시오.", "{act} 방법이 궁금합니다. 설명해 주십시오."),
        "polite": ("{act} 방법을 알려 주세요.", "{act} 방법이 궁금해요. 어떻게 하나요?"),
        "plain": ("{act} 방법을 설명하라.", "{act} 방법을 차례대로 서술하라."),
    },
    "how_to": {
        "formal": ("{act:을/를} 하려면 어떻게 해야 합니까?", "{act} 방법을 설명해 주십시오."),
        "polite": ("{act:은/는} 어떻게 하나요?", "{act} 방법을 알려 주세요."),
        "plain": ("{act} 방법을 설명하라.", "{act:은/는} 어떻게 하는가?"),
    },
    "how_in": {
        "formal": ("‘{title}’에서 {act} 방법을 알려 주십시오.", "‘{title}’에서 {act} 방법을 설명해 주십시오."),
        "polite": ("‘{title}’에서 {act} 방법을 알려 주세요.", "‘{title}’에서 {act} 방법이 궁금해요. 어떻게 하나요?"),
        "plain": ("‘{title}’에서 {act} 방법을 설명하라.", "‘{title}’에서 {act} 방법을 서술하라."),
    },
    "how_to_in": {
        "formal": ("‘{title}’에서 {act:은/는} 어떻게 합니까?", "‘{title}’에서 {act} 방법을 설명해 주십시오."),
        "polite": ("‘{title}’에서 {act:은/는} 어떻게 하나요?", "‘{title}’에서 {act} 방법을 알려 주세요."),
        "plain": ("‘{title}’에서 {act:은/는} 어떻게 하는가?", "‘{title}’에서 {act} 방법을 설명하라."),
    },
    "how_if": {
        "formal": ("{act} 어떻게 해야 합니까?", "{act} 어떻게 하면 됩니까?"),
        "polite": ("{act} 어떻게 해야 하나요?", "{act} 어떻게 하면 되나요?"),
        "plain": ("{act} 어떻게 해야 하는가?", "{act} 어떻게 하면 되는가?"),
    },
    "keywords": {
        "formal": (
            "다음 글의 핵심어를 {n}개 뽑아 주십시오.\n\n{text}",
            "아래 글에서 중요한 낱말 {n}개를 골라 주십시오.\n\n{text}",
        ),
        "polite": (
            "다음 글의 핵심어를 {n}개 뽑아 주세요.\n\n{text}",
            "{text}\n\n이 글의 키워드 {n}개를 쉼표로 나누어 적어 주세요.",
        ),
        "plain": (
            "다음 글의 핵심어를 {n}개 뽑아라.\n\n{text}",
            "아래 글에서 중요한 낱말 {n}개를 골라 적어라.\n\n{text}",
        ),
    },
    "write": {
        "formal": (
            "다음 낱말을 모두 넣어 한 문단을 써 주십시오: {words}",
            "‘{title}’에 관해 한 문단을 써 주십시오. 다음 낱말이 모두 들어가야 합니다: {words}",
        ),
        "polite": (
            "다음 낱말을 모두 넣어 한 문단을 써 주세요: {words}",
            "‘{title}’에 관한 글을 한 문단 써 주세요. 이 낱말들을 꼭 넣어 주세요: {words}",
        ),
        "plain": (
            "다음 낱말을 모두 넣어 한 문단을 써라: {words}",
            "‘{title}’에 관한 글을 한 문단 써라. 다음 낱말을 모두 써야 한다: {words}",
        ),
    },
    "order": {
        "formal": ("다음은 ‘{title}’의 단계를 뒤섞어 놓은 것입니다. 올바른 차례로 늘어놓아 주십시오.\n\n{text}",),
        "polite": ("‘{title}’의 단계가 뒤섞여 있어요. 올바른 순서로 다시 적어 주세요.\n\n{text}",),
        "plain": ("다음은 ‘{title}’의 단계를 뒤섞은 것이다. 올바른 차례로 다시 적어라.\n\n{text}",),
    },
    "cloze": {
        "formal": (
            "다음 글의 빈칸 [   ]에 들어갈 말을 쓰십시오.\n\n{text}",
            "{text}\n\n위 글의 [   ]에 알맞은 말은 무엇입니까?",
        ),
        "polite": (
            "다음 글의 빈칸 [   ]에 들어갈 말을 써 주세요.\n\n{text}",
            "{text}\n\n위 글의 [   ]에 알맞은 말은 무엇인가요?",
        ),
        "plain": (
            "다음 글의 빈칸 [   ]에 들어갈 말을 써라.\n\n{text}",
            "{text}\n\n위 글의 [   ]에 알맞은 말은 무엇인가?",
        ),
    },
    "effect": {
        "formal": (
            "다음 일의 결과로 이어지는 내용을 쓰십시오.\n\n{text}",
            "{text}\n\n그 결과 어떻게 되는지 설명해 주십시오.",
        ),
        "polite": ("다음 일의 결과로 이어지는 내용을 써 주세요.\n\n{text}", "{text}\n\n그래서 어떻게 되나요?"),
        "plain": ("다음 일의 결과로 이어지는 내용을 써라.\n\n{text}", "{text}\n\n그 결과 어떻게 되는지 서술하라."),
    },
    "cause": {
        "formal": ("다음 일의 까닭을 쓰십시오.\n\n{text}", "{text}\n\n왜 그렇습니까?"),
        "polite": ("다음 일의 까닭을 알려 주세요.\n\n{text}", "{text}\n\n왜 그런가요?"),
        "plain": ("다음 일의 까닭을 써라.\n\n{text}", "{text}\n\n왜 그런가?"),
    },
    "entail": {
        "formal": (
            "다음 글에서 이끌어 낼 수 있는 문장을 고르십시오.\n\n{text}\n\n{choices}",
            "{text}\n\n위 글에 이어지는 결론은 어느 쪽입니까?\n\n{choices}",
        ),
        "polite": (
            "다음 글에서 이끌어 낼 수 있는 문장을 골라 주세요.\n\n{text}\n\n{choices}",
            "{text}\n\n위 글에 이어지는 결론은 어느 쪽인가요?\n\n{choices}",
        ),
        "plain": (
            "다음 글에서 이끌어 낼 수 있는 문장을 골라라.\n\n{text}\n\n{choices}",
            "{text}\n\n위 글에 이어지는 결론은 어느 쪽인가?\n\n{choices}",
        ),
    },
    "translate_en": {
        "formal": ("다음 글을 영어로 옮겨 주십시오.\n\n{text}",),
        "polite": ("다음 글을 영어로 번역해 주세요.\n\n{text}",),
        "plain": ("다음 글을 영어로 번역하라.\n\n{text}",),
    },
    "translate_ko": {
        "formal": ("다음 영어 글을 우리말로 옮겨 주십시오.\n\n{text}",),
        "polite": ("다음 영어 글을 한국어로 번역해 주세요.\n\n{text}",),
        "plain": ("다음 영어 글을 한국어로 번역하라.\n\n{text}",),
    },
    "sentiment": {
        "formal": ("다음 평가가 긍정인지 부정인지 판단해 주십시오.\n\n{text}",),
        "polite": ("다음 글은 긍정적인가요, 부정적인가요?\n\n{text}",),
        "plain": ("다음 평가가 긍정인지 부정인지 판단하라.\n\n{text}",),
    },
}
EN: dict[str, tuple[str, ...]] = {
    "summarise": (
        "Summarise the following text.\n\n{text}",
        "{text}\n\nGive the gist of the text above in one short paragraph.",
        "What is the main point of this text?\n\n{text}",
    ),
    "title": ("Write a title for the following text.\n\n{text}", "{text}\n\nSuggest a fitting title for this text."),
    "continue": (
        "Write the next paragraph of this text.\n\n{text}",
        'This is the beginning of a text about "{title}". Continue it.\n\n{text}',
    ),
    "section": (
        'Write the section "{heading}" of a text about "{title}".',
        'In the context of "{title}", explain "{heading}".',
    ),
    "define": ('What does "{term}" mean?', 'Explain the term "{term}".', 'Define "{term}".'),
    "define_in": ('In "{title}", what does "{term}" stand for?', 'Explain "{term}" as used in "{title}".'),
    "about": ("Explain: {heading}", 'What should I know about "{heading}"?'),
    "how": ("How do I {act}?", "Explain how to {act}.", "What are the steps to {act}?"),
    "how_ing": ("What are the steps for {act}?", "Explain how one goes about {act}."),
    "how_to": ("Explain the steps: {act}", "How does this work: {act}?"),
    "how_in": ('In the context of "{title}": how do I {act}?', 'About "{title}": explain how to {act}.'),
    "how_to_in": ('In the context of "{title}", explain the steps: {act}',),
    "how_if": ("How does one go about this: {act}?",),
    "keywords": (
        "List {n} keywords of the following text.\n\n{text}",
        "{text}\n\nName the {n} most important terms in this text, separated by commas.",
    ),
    "write": (
        "Write a paragraph that uses all of these words: {words}",
        'Write a paragraph about "{title}" using these words: {words}',
    ),
    "order": ('The steps of "{title}" have been shuffled. Put them in the right order.\n\n{text}',),
    "cloze": ("Fill in the blank [   ] in this text.\n\n{text}", "{text}\n\nWhich word belongs in the blank [   ]?"),
    "effect": ("What follows from this?\n\n{text}", "{text}\n\nWhat is the consequence?"),
    "cause": ("What is the reason for this?\n\n{text}", "{text}\n\nWhy is that so?"),
    "entail": (
        "Which of these follows from the text?\n\n{text}\n\n{choices}",
        "{text}\n\nWhich conclusion does this text lead to?\n\n{choices}",
    ),
    "translate_en": ("Translate the following Korean text into English.\n\n{text}",),
    "translate_ko": ("Translate the following text into Korean.\n\n{text}",),
    "sentiment": ("Is the following review positive or negative?\n\n{text}",),
}

_FORMAL = re.compile(r"(?:니다|니까|십시오|시오)[.!?\"'”’)\]]*$")
_POLITE = re.compile(r"(?:요|죠)[.!?~\"'”’)\]]*$")
_PLAIN = re.compile(r"[다라까냐지자][.!?\"'”’)\]]*$")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


def register(text: str) -> str | None:
    """The register most Korean sentences of `text` end in; None where none shows."""
    counts = dict.fromkeys(REGISTERS, 0)
    for match in _SENTENCE.finditer(text[:4000]):
        piece = match.group().strip()
        for name, ending in zip(REGISTERS, (_FORMAL, _POLITE, _PLAIN)):
            if ending.search(piece):
                counts[name] += 1
                break
    best = max(REGISTERS, key=lambda name: counts[name])
    return best if counts[best] else None


def fill(template: str, slots: dict[str, str]) -> str:
    """The template with its slots filled; what a slot holds is never read as a template."""

    def value(match: re.Match) -> str:
        text = slots[match[1]]
        return josa(text, match[2]) if match[2] else text

    return _SLOT.sub(value, template)


def ask(task: str, lang: str, dice: random.Random, answer: str = "", **slots: str) -> tuple[str, str]:
    """(instruction, register) for a task in `ko` or `en`, in the register of `answer`. A template whose slot is empty is not
    drawn; KeyError for an unknown task."""
    if lang == "ko":
        level = register(answer) or dice.choice(REGISTERS)
        known = KO[task][level]
    else:
        level, known = "", EN[task]
    fitting = [t for t in known if all(slots.get(m[1]) for m in _SLOT.finditer(t))]
    if not fitting:
        raise KeyError(f"{task}: no template can do without its slots")
    return fill(dice.choice(fitting), slots), level
