"""Where the assistant's turns stand in a rendered conversation, for templates that say so and for those that do not.

A template may rewrite earlier turns (Qwen3 drops their reasoning), end the last one otherwise than the others (gpt-oss), or leave its
end to the next header (GLM-4), so what a turn adds to a prefix is not always what stands in the whole. Each text is therefore rendered
a second time with private-use characters around it; where taking them out gives the first rendering again, they show the positions.
From there a turn begins behind what opens it (the generation prompt) and ends with what ends it, both learnt from short probes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from copy import copy
from os.path import commonprefix
from typing import Any, NamedTuple

OPEN, CLOSE, PAST = "\ue0f0", "\ue0f1", "\ue0f2"
"""Around what an assistant says; behind what anyone else says. Private use; a conversation that holds one is measured by prefixes."""
MARK = r"<[^<>\s]{1,60}>|\[/?[A-Z_]{2,40}\]"
"""What a control token looks like where the tokenizer lists none."""
Render = Callable[..., str]
Message = dict[str, Any]


class NoTurns(ValueError):
    """A rendering does not show where its turns are."""


class AnswerTurn(NamedTuple):
    """One assistant turn in the text: its first and last character that stand in the row, and the bounds its header and end lie in."""

    before: int
    first: int
    last: int
    after: int


class TemplateTurns:
    """The assistant's turns under one template. `render(messages, prompt=False)` gives text or raises ValueError; `control` finds the
    tokenizer's control tokens."""

    def __init__(self, render: Render, control: re.Pattern):
        self.render = render
        self.mark = re.compile(f"{control.pattern}|{MARK}")
        user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
        rendered = self._try([user])
        self.opening = _beyond(rendered, self._try([user], prompt=True))
        """What opens an assistant's turn (the generation prompt)."""
        last, followed = self._tail([user, answer]), self._tail([user, answer, user])
        common, first = self._marked(commonprefix([last, followed])), [self._first(last), self._first(followed)]
        self.ends = [common] if common else [mark for mark in first if mark] if first[0] else []
        """What ends one: of several the first that comes."""
        self.borrowed = "" if first[0] else first[1]
        """Where the template writes no end: the first mark of the next header, which is then where an answer stops."""
        call = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
        called = self._tail([user, call])
        result = {"role": "tool", "content": "c", "name": _CALL["name"], "tool_call_id": _CALL["id"]}
        self.call_ends = self.mark.findall(called)[-1:]
        """What ends a turn that calls a tool."""
        if self.borrowed and (header := self._first(_beyond(called, self._tail([user, call, result])))):
            self.call_ends = [header]

    def stops(self) -> list[str]:
        """Control tokens that end the last answer of a conversation, or a call of a tool."""
        ends = [*(self.ends[:1] or [self.borrowed]), *self.call_ends]
        return list(dict.fromkeys(mark for end in ends for mark in self.mark.findall(end)[-1:]))

    def spans(self, messages: Sequence[Message], text: str) -> tuple[str, list[tuple[int, int]]]:
        """The text (with an end written to it where the template leaves it out) and a span per assistant turn: what is written
        after the generation prompt, up to and with the end. NoTurns where the turns cannot be found."""
        messages = _without_left_out(messages, text)
        answer_turns = self.answer_turns(messages, text)
        if answer_turns is None:
            return self._by_prefix(messages, text)
        found = []
        for (index, message), turn in zip(_answers(messages), answer_turns):
            ends = [*(self.call_ends if message.get("tool_calls") else ()), *self.ends, self.borrowed]
            at = [(text.find(end, turn.last, turn.after), end) for end in ends if end]
            stop = min(((where + len(end)) for where, end in at if where >= 0), default=turn.last)
            if self.borrowed and turn.after == len(text) and stop == turn.last:
                end = next(end for end in ends if end)
                text = text.rstrip("\n") + end if text[turn.last :].isspace() else text + end
                stop = len(text)
            found.append((self._start(messages, index, text, turn), stop))
        return text, found

    def under(self, render: Render) -> TemplateTurns:
        """The same template where conversations are rendered with more than themselves (tools)."""
        made = copy(self)
        made.render = render
        return made

    def owners(self, messages: Sequence[Message], text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """For each span the assistant turn it belongs to, counted from 0, and where that turn's own part of it begins: a template may
        mark the turn's header too, which generation is given. NoTurns where that is not shown."""
        messages = _without_left_out(messages, text)
        answer_turns = self.answer_turns(messages, text)
        if not answer_turns:
            raise NoTurns("the turns stand nowhere")
        firsts = [turn.first for turn in answer_turns]
        found = []
        for start, end in spans:
            n = max(0, bisect_left(firsts, end) - 1)
            inside = start >= answer_turns[n].before and start < answer_turns[n].first
            found.append(
                (
                    n,
                    max(start, self._start(messages, [i for i, _ in _answers(messages)][n], text, answer_turns[n]))
                    if inside
                    else start,
                )
            )
        return found

    def answer_turns(self, messages: Sequence[Message], text: str) -> list[AnswerTurn] | None:
        """Where every assistant turn stands in `text`; None where the template does not show every one of them once, in order."""
        if any(mark in text for mark in (OPEN, CLOSE, PAST)):
            return None
        counts = [
            (1 if (m["content"] or "").strip() else 0) + len(m.get("tool_calls") or ()) for _, m in _answers(messages)
        ]
        shown = self._try([_marked(message) for message in messages])
        marks, plain = _taken_out(shown)
        kinds = [kind for kind, _ in marks if kind != PAST]
        if plain != text or kinds != [OPEN, CLOSE] * sum(counts) or not all(counts):
            return None
        bounds = [n for n, (kind, _) in enumerate(marks) if kind != PAST]
        answer_turns, at = [], 0
        for count in counts:
            head, tail = bounds[at], bounds[at + 2 * count - 1]
            before = marks[head - 1][1] if head else 0
            after = marks[tail + 1][1] if tail + 1 < len(marks) else len(text)
            answer_turns.append(AnswerTurn(before, marks[head][1], marks[tail][1], after))
            at += 2 * count
        return answer_turns

    def _start(self, messages: Sequence[Message], index: int, text: str, turn: AnswerTurn) -> int:
        """Behind the generation prompt, or as much of it as this turn has; else where the turn's own words begin."""
        cuts = {len(self.opening), *(found.end() for found in re.finditer(f"{self.mark.pattern}|\n", self.opening))}
        for size in sorted(cuts, reverse=True):
            at = text.find(self.opening[:size], turn.before, turn.first) if size else -1
            if at >= 0:
                return at + size
        before = self._try(messages[:index], prompt=True) if not self.opening else ""
        return (
            len(before)
            if before and text.startswith(before) and turn.before <= len(before) <= turn.first
            else turn.first
        )

    def _by_prefix(self, messages: Sequence[Message], text: str) -> tuple[str, list[tuple[int, int]]]:
        spans = []
        for index, _ in _answers(messages):
            before, after = self._try(messages[:index], prompt=True), self._try(messages[: index + 1])
            if not before or not after.startswith(before) or not text.startswith(after):
                raise NoTurns("a turn stands otherwise in the whole than alone")
            spans.append((len(before), len(self.trimmed(after, len(before)))))
        return text, spans

    def trimmed(self, text: str, start: int = 0) -> str:
        """`text` without blanks after the control token that ends it: nobody writes them, generation has stopped."""
        bare = text[: max(start, len(text.rstrip()))]
        ends = [found.end() for found in self.mark.finditer(bare, start)]
        return bare if ends and ends[-1] == len(bare) else text

    def _tail(self, messages: Sequence[Message]) -> str:
        """What follows the words of the first answer, up to the next words."""
        marks, plain = _taken_out(self._try([_marked(message) for message in messages]))
        at = next((n for n, (kind, _) in enumerate(marks) if kind == CLOSE), None)
        if at is None:
            return ""
        return plain[marks[at][1] : marks[at + 1][1] - 1 if at + 1 < len(marks) else len(plain)]

    def _marked(self, text: str) -> str:
        """From the first control token of a text to the end of its last."""
        found = list(self.mark.finditer(text))
        return text[found[0].start() : found[-1].end()] if found else ""

    def _first(self, text: str) -> str:
        found = self.mark.search(text)
        return found[0] if found else ""

    def _try(self, messages: Sequence[Message], prompt: bool = False) -> str:
        try:
            return self.render(messages, prompt)
        except ValueError:
            return ""


def left_out(message: Message, text: str) -> bool:
    """Does a message say something beside its tool calls that the template leaves out of `text` (Llama 3.1; gpt-oss, where an answer follows)?"""
    words = (message["content"] or "").strip()
    return bool(words and message.get("tool_calls")) and words not in text


def _without_left_out(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages without words that the template leaves out."""
    return [{**message, "content": ""} if left_out(message, text) else message for message in messages]


_CALL = {"id": "c1", "name": "f", "arguments": "{}"}


def _answers(messages: Sequence[Message]) -> list[tuple[int, Message]]:
    return [(index, message) for index, message in enumerate(messages) if message["role"] == "assistant"]


def _marked(message: Message) -> Message:
    """The message with marks around what it says; blanks at its ends, and reasoning written into it, stay outside."""
    text = message["content"] or ""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if message["role"] != "assistant":
        return {**message, "content": f"{text[:end]}{PAST}{text[end:]}"} if text.strip() else message
    thought = text.rfind("</think>", 0, end) + len("</think>")
    if len("</think>") <= thought < end:
        start = len(text) - len(text[thought:].lstrip())
    content = f"{text[:start]}{OPEN}{text[start:end]}{CLOSE}{text[end:]}" if text.strip() else text
    calls = [{**call, "name": f"{OPEN}{call['name']}{CLOSE}"} for call in message.get("tool_calls") or ()]
    return {**message, "content": content, "tool_calls": calls}


def _taken_out(text: str) -> tuple[list[tuple[str, int]], str]:
    """The marks of a text (kind, position in the text without them), and that text."""
    marks, parts, size = [], [], 0
    for part in re.split(f"([{OPEN}{CLOSE}{PAST}])", text):
        if part in (OPEN, CLOSE, PAST):
            marks.append((part, size))
        else:
            parts.append(part)
            size += len(part)
    return marks, "".join(parts)


def _beyond(text: str, longer: str) -> str:
    return longer[len(commonprefix([text, longer])) :]
