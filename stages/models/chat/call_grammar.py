"""Answers that have to call a tool, as a grammar: the notation the chat template writes calls in, with the schemas of the tools in it.

What stands around a call's name and arguments is measured, as the notation is (`calls`): calls that are known are rendered and cut at what
is known of them. Arguments in JSON are held to their schema as it is; arguments in tags or with marks for quotes one by one.
The text is Lark as llguidance reads it (`stages.models.inference.grammar`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import count
from os.path import commonprefix
from typing import Any, NamedTuple

from stages.models.chat.calls import CHANNELS, PROBE
from stages.models.chat.calls import TOOL as PROBED
from stages.models.teacher.reply import TAG

KEYS, VALUES, NUMBER = ("kqk", "zqz"), ("vqv", "wqw"), "31415"
"""Names of parameters and values that stand nowhere in a template."""
OTHER = "ping_pong"
"""The tool of a second call."""
THOUGHT = "\ue0f4"
PLAIN = re.compile(r"[\w.-]+")
"""Names that every notation can write without quotes."""
NOTES = {"type", "title", "description", "default", "examples", "nullable", "deprecated"}
"""Keywords of a schema that hold a string to nothing."""
TEXT = "/(.|\\n)*/"
BLANKS = "/[ \\n\\r\\t]{1,8}/"
JSON_BLANKS = r"[\x20\x0A\x0D\x09]{1,64}"
"""Between the parts of JSON; bounded, or a model could write blanks for ever."""


class UnheldCall(ValueError):
    """Calls that cannot be held to what was asked: why."""


class ParameterForm(NamedTuple):
    """How arguments are written that are no JSON: `first` name `named` value (`next` name `named` value)... `last`."""

    first: str
    named: str
    next: str
    last: str
    none: str
    """In place of all of that where there are no arguments."""
    quotes: tuple[str, str]
    """Around a string."""
    end: str
    """Behind every value, where a string has no quotes."""
    ordered: bool
    """Do names come in the order of the alphabet?"""
    json: bool
    """Are lists and objects JSON?"""


class CallForm(NamedTuple):
    """How calls are written: `open` name `named` arguments (`between` name `named` arguments)... `close`."""

    open: str
    named: str
    between: str | None
    """None: a turn has one call."""
    close: str
    parameters: ParameterForm | None
    """None: arguments are JSON."""
    thought: tuple[str, str] | None
    """Around what is thought before a call, where the answer itself opens it."""


class _Written(NamedTuple):
    """A rendered turn that calls tools: what stands behind the name of the first, and where that name is."""

    text: str
    at: int
    behind: str


def call_form(chat: Any) -> CallForm | None:
    """How the template of a `Chat` writes calls; None where it writes none, or where that cannot be told."""
    if chat.notation is None:
        return None
    given = json.loads(PROBE["arguments"])
    try:
        one = _written(chat, [given])
        where = _json_in(one.behind, given)
        parameters = None if where else _parameters(chat)
        if where is None:
            if parameters is None:
                return None
            one = _written(chat, [{KEYS[0]: VALUES[0]}])
            at = one.behind.find(VALUES[0]) + len(VALUES[0] + parameters.quotes[1])
            where = at, at
        close = one.behind[where[1] :]
        between = _between(chat, one, where[1], parameters)
        opening = one.text[_start(chat, one) : one.at]
        return CallForm(
            opening,
            "" if parameters else one.behind[: where[0]],
            between,
            "" if parameters else close,
            parameters,
            _thought(chat, opening),
        )
    except (ValueError, LookupError):
        return None


def _written(chat: Any, calls: Sequence[dict[str, Any]], reasoning: str | None = None) -> _Written:
    names = [PROBE["name"], OTHER]
    made = [{**PROBE, "name": name, "arguments": json.dumps(one)} for name, one in zip(names, calls)]
    turn = {"role": "assistant", "content": "", "tool_calls": made, "reasoning": reasoning}
    text = chat.render([{"role": "user", "content": "a"}, turn], False, [PROBED])
    at = text.index(PROBE["name"], len(commonprefix([_prompt(chat), text])))
    marks = [found for mark in chat.turns.stops() if (found := text.find(mark, at)) >= 0]
    return _Written(text, at, text[at + len(PROBE["name"]) : min(marks, default=len(text))].rstrip("\n"))


def _prompt(chat: Any) -> str:
    return chat.render([{"role": "user", "content": "a"}], True, [PROBED])


def _start(chat: Any, one: _Written) -> int:
    """Where the first call begins: where its notation does, or the turn itself."""
    field = chat.notation.field
    pattern = field.get("open_pattern") or re.escape(field["open"])
    begun = [found.start() for found in re.finditer(pattern, one.text) if found.start() <= one.at]
    at = begun[-1] if begun else len(commonprefix([_prompt(chat), one.text]))
    return at + (len(one.text[at:]) - len(one.text[at:].lstrip()) if begun else 0)


def _json_in(text: str, value: Any) -> tuple[int, int] | None:
    """Where a JSON value stands in a text."""
    for found in re.finditer(r"\{", text):
        try:
            read, end = json.JSONDecoder().raw_decode(text, found.start())
        except ValueError:
            continue
        if read == value:
            return found.start(), end
    return None


def _between(chat: Any, one: _Written, end: int, parameters: ParameterForm | None) -> str | None:
    """What stands between the arguments of a call, which end at `end`, and the name of the next."""
    given = {KEYS[0]: VALUES[0]} if parameters else json.loads(PROBE["arguments"])
    try:
        first, found, second = _written(chat, [given, given]).behind.partition(OTHER)
    except ValueError:
        return None
    if not found or second != one.behind or not first.startswith(one.behind[:end]):
        return None
    if parameters is None:
        return first[end:]
    return first[len(one.behind) :] if first.startswith(one.behind) else None


def _parameters(chat: Any) -> ParameterForm | None:
    (key, other), (value, second) = KEYS, VALUES
    first, rest = _written(chat, [{key: value}]).behind.split(key)
    named, last = rest.split(value)
    plain, plain_last = _written(chat, [{key: int(NUMBER)}]).behind.split(key)[1].split(NUMBER)
    quotes = named[len(plain) :], last[: len(last) - len(plain_last)]
    if not named.startswith(plain) or not last.endswith(plain_last):
        return None
    # The later name first: does the template put them into order?
    two = _written(chat, [{other: second, key: value}]).behind
    ordered = two.index(key) < two.index(other)
    before, after = (value, other) if ordered else (second, key)
    following = two[two.index(before) + len(before + quotes[1]) : two.index(after)]
    end = ""
    if not quotes[0]:
        found = re.match(r"\s*<[^<>]+>", following)
        if not found or not plain_last.startswith(found[0]):
            return None
        end = found[0]
    listed = _written(chat, [{key: [value]}]).behind.split(key)[1][len(plain) :]
    return ParameterForm(
        first, plain, following[len(end) :], plain_last[len(end) :], _written(chat, [{}]).behind, quotes, end, ordered,
        listed.startswith(json.dumps([value])),
    )  # fmt: skip


def _thought(chat: Any, opening: str) -> tuple[str, str] | None:
    """What stands around reasoning before a call, where the prompt does not open it and whoever reads the answer can tell it."""
    try:
        written, prompt = _written(chat, [json.loads(PROBE["arguments"])], THOUGHT), _prompt(chat)
    except ValueError:  # the template refuses it
        return None
    opened, _, rest = written.text[len(prompt) :].partition(THOUGHT)
    if not written.text.startswith(prompt) or not rest:
        return None
    if chat.tokenizer.get_added_vocab().keys() >= set(CHANNELS):
        return opened, rest[: rest.index(opening)]
    closed = TAG.search(rest)
    return (opened, closed[0]) if TAG.search(opened) and closed else None


class CallGrammar:
    """The grammar of an answer that calls at least one of `tools` (schemas as requests have them). `special`: ids of the control tokens,
    which no text spells. UnheldCall where arguments cannot be held to their schema in this notation."""

    def __init__(self, form: CallForm, tools: Sequence[dict[str, Any]], special: dict[str, int]):
        self.form, self.special = form, special
        self.split = re.compile("|".join(re.escape(mark) for mark in sorted(special, key=len, reverse=True)) or r"(?!)")
        self.rules: list[str] = []
        self._numbers = count()
        self.calls = [self._call(tool["function"]) for tool in tools]

    def lark(self, several: bool = True, after_reasoning: bool = False) -> str:
        """`several`: more than one call may be made. `after_reasoning`: reasoning stands before the answer, and is over."""
        form = self.form
        again = f" ({self._text(form.between)} call)*" if several and form.between is not None else ""
        thought = ""
        if after_reasoning:
            thought = f"{BLANKS}?"
        elif form.thought:
            thought = f"({self._text(form.thought[0])} {self._until(form.thought[1])} {BLANKS}?)?"
        start = f"start: {thought} {self._text(form.open)} call{again} {self._text(form.close)}"
        return "\n".join(["%llguidance {}", start, f"call: {' | '.join(self.calls)}", *self.rules, ""])

    def _call(self, function: dict[str, Any]) -> str:
        name, form = str(function["name"]), self.form
        schema = function.get("parameters") or {"properties": {}, "additionalProperties": False}
        if not isinstance(schema, dict) or schema.get("type", "object") != "object":
            raise UnheldCall(f"the parameters of {name[:100]} are no object")
        schema = {**schema, "type": "object"}
        quoted = form.open.endswith('"')
        if not quoted and not PLAIN.fullmatch(name):
            raise UnheldCall(f"the model's template cannot write the name {name[:100]!r}")
        written = self._text(json.dumps(name, ensure_ascii=False)[1:-1] if quoted else name)
        if form.parameters is None:
            return f"{written} {self._text(form.named)} {self._json(schema)}"
        return f"{written} {self._arguments(name, schema, form.parameters)}"

    def _arguments(self, tool: str, schema: dict[str, Any], form: ParameterForm) -> str:
        """A rule for the parameters in their order, each of which stands there or, where it may, does not."""
        known = dict(schema.get("properties") or {})
        known |= {name: {} for name in schema.get("required") or () if name not in known}
        names = sorted(known) if form.ordered else list(known)
        shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
        begun, rest = self._rule(self._text(form.none)), self._rule(self._text(form.last))
        for name in reversed(names):
            if not PLAIN.fullmatch(name) or known[name] is False:
                raise UnheldCall(f"the model's template cannot write the parameter {name[:100]!r} of {tool}")
            try:
                value = self._value({} if known[name] is True else known[name], form, shared)
            except UnheldCall as fault:
                raise UnheldCall(f"the parameter {name} of {tool} cannot be held to its schema in the notation of the model's template: {fault}") from None  # fmt: skip
            this = f"{self._text(name + form.named)} {self._rule(value)} {rest}"
            missing = name not in (schema.get("required") or ())
            begun, rest = (
                self._rule(f"{self._text(before)} {this}" + (f" | {other}" if missing else ""))
                for before, other in ((form.first, begun), (form.next, rest))
            )
        return begun

    def _value(self, schema: dict[str, Any], form: ParameterForm, shared: dict[str, Any]) -> str:
        """A value and what ends it."""
        kinds, (opening, closing) = _types(schema), form.quotes
        words = [schema["const"]] if "const" in schema else schema.get("enum")
        if words is not None and set(kinds) <= {"string"} and all(isinstance(word, str) for word in words):
            if any((form.end.strip() or closing) in word or word != word.strip() for word in words):
                raise UnheldCall("its words hold marks or blanks at their ends")
            return self._text(opening) + f" ({' | '.join(map(self._text, words))}) " + self._text(closing + form.end)
        if _is_free(schema) and (not kinds or "string" in kinds):
            if opening:
                if kinds != ["string"]:
                    raise UnheldCall("it may be of several types")
                return f"{self._text(opening)} {self._until(closing)}"
            return self._until(form.end.strip())
        if not kinds or "string" in kinds:
            more = sorted(set(schema) - NOTES) or ["type"]
            raise UnheldCall(f"a string with {', '.join(more)}")
        if form.json or not {"array", "object"} & set(kinds):
            return f"{self._json({**schema, **shared})} {self._text(form.end)}"
        if kinds != ["array"] or set(schema) - NOTES - {"items"} or not isinstance(schema.get("items"), dict):
            raise UnheldCall("an object, or a list with more said of it than its items")
        item = self._rule(self._value(schema["items"], form, shared))
        return f'"[" ({item} ("," {item})*)? "]"'

    def _rule(self, what: str) -> str:
        name = f"r{next(self._numbers)}"
        self.rules.append(f"{name}: {what}")
        return name

    def _json(self, schema: dict[str, Any]) -> str:
        return self._rule("%json " + json.dumps({**schema, "x-guidance": {"whitespace_pattern": JSON_BLANKS}}))

    def _until(self, mark: str) -> str:
        """Any text up to and with the first `mark`."""
        if self.split.match(mark):
            return f"{self._rule(TEXT)} {self._text(mark)}"
        name = self._rule(f"{TEXT} {json.dumps(mark)}")
        self.rules[-1] = self.rules[-1].replace(":", "[lazy]:", 1)
        return name

    def _text(self, text: str) -> str:
        """A text as it is, but for the id of a call, which is any."""
        parts, at = [], 0
        for found in [*self.split.finditer(text), None]:
            words = text[at : found.start() if found else len(text)].split(PROBE["id"])
            parts.append(" /[a-zA-Z0-9]{9}/ ".join(json.dumps(word) for word in words))
            if found:
                parts.append(f"<[{self.special[found[0]]}]>")
                at = found.end()
        return " ".join(part for part in parts if part != '""') or '""'


def _types(schema: dict[str, Any]) -> list[str]:
    """The types a value may have, as transformers reads a value that stands in a tag."""
    declared = schema.get("type")
    kinds = [declared] if isinstance(declared, str) else [kind for kind in declared or () if isinstance(kind, str)]
    kinds += [kind for way in ("anyOf", "oneOf") for one in schema.get(way) or () for kind in _types(one)]
    return kinds + (["null"] if schema.get("nullable") and "null" not in kinds else [])


def _is_free(schema: dict[str, Any]) -> bool:
    """Is nothing said of a string under this schema?"""
    ways = [one for way in ("anyOf", "oneOf") for one in schema.get(way) or ()]
    return not set(schema) - NOTES - {"anyOf", "oneOf"} and all(isinstance(one, dict) and _is_free(one) for one in ways)
