"""What the terminal of `chat` says, in the languages it knows."""

from __future__ import annotations

from pipeline.inspection.words import language_of

WORDS = {
    "en": {
        "you": "you> ",
        "model": "model> ",
        "hello": "{model}: {context} tokens of context. /help shows the commands.",
        "help": "/system TEXT  another system turn (nothing behind it: none)\n/reset        forget the conversation\n/quit         end (or Ctrl-D)\nCtrl-C stops an answer.",
        "reset": "The conversation begins anew.",
        "system": "System turn: {system}",
        "no_system": "No system turn.",
        "unknown": "There is no command {command}: /help shows those there are.",
        "left_out": "(The first {count} messages no longer fit the context and were left out.)",
        "length": "(Cut at {count} tokens: --max-new-tokens allows more.)",
        "not_kept": "(No answer that can be kept: the question is not part of the conversation.)",
        "stopped": "(Stopped: the question is not part of the conversation.)",
    },
    "ko": {
        "you": "나> ",
        "model": "모델> ",
        "hello": "{model}: 컨텍스트 {context} 토큰. /help 를 치면 명령을 보여 줍니다.",
        "help": "/system 글   시스템 메시지를 바꿉니다 (글이 없으면 지웁니다)\n/reset       대화를 처음부터 다시 시작합니다\n/quit        끝냅니다 (Ctrl-D 도 됩니다)\nCtrl-C 는 답변을 멈춥니다.",
        "reset": "대화를 새로 시작합니다.",
        "system": "시스템 메시지: {system}",
        "no_system": "시스템 메시지가 없습니다.",
        "unknown": "{command} 명령은 없습니다. /help 를 쳐 보십시오.",
        "left_out": "(앞의 메시지 {count}개는 컨텍스트에 들어가지 않아 뺐습니다.)",
        "length": "(토큰 {count}개에서 잘렸습니다. --max-new-tokens 로 늘릴 수 있습니다.)",
        "not_kept": "(남길 답변이 없어 이 질문은 대화에 넣지 않았습니다.)",
        "stopped": "(멈췄습니다. 이 질문은 대화에 넣지 않았습니다.)",
    },
}
COMMANDS = {
    "/system": "/system", "/reset": "/reset", "/quit": "/quit", "/exit": "/quit", "/help": "/help",
    "/시스템": "/system", "/처음": "/reset", "/끝": "/quit", "/도움말": "/help",
}  # fmt: skip
"""What is typed, and the command it means."""


def words_of(language: str) -> dict[str, str]:
    """The words in `language`; `auto`: the one of the environment's locale, English where it is another."""
    return WORDS[language_of(language)]
