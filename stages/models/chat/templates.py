"""Chat templates: one rendering for training and for inference, and which of its tokens are trained.

A conversation reaches a model only through a template, so the template is part of the model: `stages.models.chat.template_lock` holds it
to that. The template comes from the tokenizer folder (its `chat_template`); a tokenizer without one gets `DEFAULT`, which
speaks neither Korean nor English: three role marks, and the tokenizer's own end-of-sequence token after every turn, so that
generation stops where it was trained to.

Which tokens are trained is decided on characters, never by searching for token ids: where the template carries
`{% generation %}` marks their spans are used, and any other template is measured (`stages.models.chat.turns`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from stages.models.chat.calls import CallNotation, notation_of
from stages.models.chat.turns import NoTurns, TemplateTurns, left_out

ROLES = ("system", "user", "assistant", "tool")
MARKS = ("<|system|>", "<|user|>", "<|assistant|>")
"""What `DEFAULT` writes before a turn. A tokenizer that lists them as symbols of its own spends one token on each."""

DEFAULT = (
    "{{ bos_token if bos_token is defined and bos_token else '' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% elif message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + eos_token }}"
    "{% else %}{{ '<|user|>\n' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""The template of a tokenizer that brings none."""

DATE = datetime(2024, 7, 26)
"""Today, for every template that asks: what Llama 3.2's template says where it cannot know."""
THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*(.*)", re.DOTALL)
"""An answer with its reasoning in front."""
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class ChatFault(ValueError):
    """A conversation that cannot be rendered; `reason` is its ledger word."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Encoded(NamedTuple):
    """A rendered conversation: token ids (int32, length n) and which of them are answers to be trained (bool, length n)."""

    ids: np.ndarray
    trained: np.ndarray
    unseen: int = 0
    """Answers whose reasoning, or whose words beside a tool call, the template leaves out."""


class Chat:
    """A tokenizer with its template. UsageError when the tokenizer cannot end a turn or give character offsets.

    Messages are rows of MESSAGES (`pipeline.schema`): role, content, and where they have them reasoning, tool_calls, name,
    tool_call_id, train. An empty system turn is none.
    """

    def __init__(self, tokenizer: Any, template: str | None = None):
        if tokenizer.eos_token_id is None:
            raise UsageError(
                "the tokenizer has no end-of-sequence token, so a turn could never end",
                "add an eos_token to its tokenizer_config.json",
            )
        if not tokenizer.is_fast:
            raise UsageError(
                "the tokenizer gives no character offsets (it is a slow one)", "save it with a tokenizer.json beside it"
            )
        self.tokenizer = tokenizer
        self.template = dated(one_of(template or tokenizer.chat_template or DEFAULT))
        self.marked = bool(GENERATION.search(self.template))
        self._control = control_tokens(tokenizer, self.template)

    @cached_property
    def turns(self) -> TemplateTurns:
        """Where assistant turns begin and end under this template."""
        return TemplateTurns(self.render, self._control)

    @cached_property
    def parts(self) -> bool:
        """Does the template read a message's content only as a list of parts, as those of models that see images do?"""
        probe = [{"role": "user", "content": "\ue0f3"}]
        try:
            return (
                "\ue0f3" not in self._written(probe, None, False, False)[0]
                and "\ue0f3" in self._written(probe, None, False, True)[0]
            )
        except ChatFault:
            return True

    @cached_property
    def notation(self) -> CallNotation | None:
        """How the model writes calls of tools; None where the template writes none, or in a notation that is not known."""
        return notation_of(self)

    def stops(self) -> list[int]:
        """Token ids that end an answer under this template: the tokenizer's end token, and what the template writes there."""
        words = self.tokenizer.get_added_vocab()
        ends = [words[mark] for mark in self.turns.stops() if mark in words]
        return sorted({self.tokenizer.eos_token_id, *ends})

    def render(self, messages: Sequence[dict[str, Any]], prompt: bool = False, tools: Any = None) -> str:
        """The text of a conversation; `prompt` opens the next assistant turn."""
        return self._render(messages, prompt, tools)[0]

    def prompt(self, messages: Sequence[dict[str, Any]], tools: Any = None) -> np.ndarray:
        """Token ids (int32) of a conversation with the next assistant turn opened. ChatFault as in `encode`."""
        messages = self._whole(messages)
        self.check(messages)
        text = self.render(messages, True, tools)
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)

    def encode(self, messages: Sequence[dict[str, Any]], turns: int | None = None, tools: Any = None) -> Encoded:
        """Ids and trained mask: the answers of the last `turns` assistant turns (None: all) with the token that ends each; a turn
        whose `train` is false is context. `tools`: schemas the template shows, as a list or JSON text.

        ChatFault: `chat.empty`, `chat.role`, `chat.no_answer`, `chat.control_token`, `chat.template`, `chat.system` (the template takes
        no system turn), `chat.tools` (it shows no tool calls), `chat.not_trained` (the row says none of its answers is to be learnt).
        """
        messages = self._whole(messages)
        self.check(messages)
        answers = [message for message in messages if message["role"] == "assistant"]
        if not answers:
            raise ChatFault("chat.no_answer")
        wanted = [message.get("train") is not False for message in answers]
        wanted = wanted if turns is None else [False] * (len(wanted) - turns) + wanted[-turns:]
        if not any(wanted):
            raise ChatFault("chat.not_trained")
        text, spans = self._render(messages, False, tools)
        try:
            text, spans = self._spans(
                messages,
                text,
                spans,
                wanted,
                self.turns.under(lambda some, prompt=False: self.render(some, prompt, tools)),
            )
        except NoTurns:
            raise ChatFault("chat.template") from None
        trained_text = "".join(text[start:end] for start, end in spans)
        wanted_calls = [
            call for message, want in zip(answers, wanted) if want for call in message.get("tool_calls") or ()
        ]
        if any((call["name"] or "") not in trained_text for call in wanted_calls):
            raise ChatFault("chat.tools")
        unseen = sum(
            (message.get("reasoning") or "").strip() not in text or left_out(message, text) for message in answers
        )
        out = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        starts = np.asarray([start for start, _ in out["offset_mapping"]], dtype=np.int64)
        trained = np.zeros(len(starts), dtype=bool)
        for start, end in spans:
            # By a token's first character: every byte-fallback token of one character falls on the same side.
            trained |= (starts >= start) & (starts < end)
        return Encoded(np.asarray(out["input_ids"], dtype=np.int32), trained, unseen)

    def _whole(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages without empty system turns; reasoning that stands in an answer's own text, between marks that are control tokens
        here, as reasoning: many rows have it so, and templates take it for that too."""
        messages = without_empty_system(messages)
        if not self._control.fullmatch("<think>"):
            return messages
        return [thought_apart(message) if message["role"] == "assistant" else message for message in messages]

    def check(self, messages: Sequence[dict[str, Any]]) -> None:
        """ChatFault for a conversation no template may see: text that spells a control token would forge a turn."""
        if not messages:
            raise ChatFault("chat.empty")
        for message in messages:
            calls = message.get("tool_calls") or ()
            if message["role"] not in ROLES or (message["role"] == "tool" and "tool" not in self.template):
                raise ChatFault("chat.role")
            if (
                not (message["content"] or "").strip()
                and not (calls and message["role"] == "assistant")
                and message["role"] != "tool"
            ):
                raise ChatFault("chat.empty")
            if calls and "tool_calls" not in self.template:
                raise ChatFault("chat.tools")
            words = [
                message[name] or "" for name in ("content", "reasoning", "name", "tool_call_id") if name in message
            ]
            words += [call[name] or "" for call in calls for name in ("name", "arguments")]
            if any(self._control.search(word) for word in words):
                raise ChatFault("chat.control_token")

    def _spans(
        self, messages: Any, text: str, spans: Any, wanted: list[bool], turns: TemplateTurns
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text and the spans of the turns that are wanted."""
        if not self.marked:
            text, spans = turns.spans(messages, text)
            return text, [span for span, want in zip(spans, wanted, strict=True) if want]
        spans = [(start, start + len(turns.trimmed(text[start:end]))) for start, end in spans]
        owners = [(n, start) for n, (start, _) in enumerate(spans)]
        alike = len(spans) == len(wanted)
        if self.headed or not (alike or all(wanted)):
            try:
                owners = turns.owners(messages, text, spans)
            except NoTurns:
                if not alike:
                    raise
        return text, [(start, end) for (n, start), (_, end) in zip(owners, spans) if all(wanted) or wanted[n]]

    @cached_property
    def headed(self) -> bool:
        """Do the template's marks stand around the header of a turn too?"""
        talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        try:
            text, spans = self._render(talk, False, None)
            return any(start != span[0] for (_, start), span in zip(self.turns.owners(talk, text, spans), spans))
        except ValueError:
            return False

    def _render(
        self, messages: Sequence[dict[str, Any]], prompt: bool, tools: Any
    ) -> tuple[str, list[tuple[int, int]]]:
        try:
            return self._written(messages, tools, prompt, self.parts)
        except ChatFault:
            if messages and messages[0]["role"] == "system" and len(messages) > 1:
                self._written(messages[1:], tools, prompt, self.parts)
                raise ChatFault("chat.system") from None
            raise

    def _written(
        self, messages: Sequence[dict[str, Any]], tools: Any, prompt: bool, parts: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        given = schemas(tools)
        for objects in (True, False):
            conversation = [as_template_message(message, parts, objects) for message in messages]
            try:
                texts, spans = render_jinja_template(
                    conversations=[conversation], tools=given, chat_template=self.template, return_assistant_tokens_mask=self.marked,
                    add_generation_prompt=prompt, **self.tokenizer.special_tokens_map,
                )  # fmt: skip
                return texts[0], [tuple(span) for span in spans[0]] if self.marked else []
            except (TypeError, AttributeError):  # a template that writes arguments as they come wants them as text
                if not any(message.get("tool_calls") for message in messages):
                    break
            except (TemplateError, ValueError, LookupError, ArithmeticError, RecursionError):
                break
        raise ChatFault("chat.template")


def without_empty_system(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without empty system turns."""
    return [message for message in messages if message["role"] != "system" or (message["content"] or "").strip()]


def thought_apart(message: dict[str, Any]) -> dict[str, Any]:
    """An answer whose text begins with `<think>...</think>`, and that has no reasoning beside it, with that text as its reasoning.

    >>> thought_apart({"role": "assistant", "content": "<think>\\nhm\\n</think>\\n\\nyes"})
    {'role': 'assistant', 'content': 'yes', 'reasoning': 'hm'}
    """
    found = THOUGHT.fullmatch(message["content"] or "")
    if not found or (message.get("reasoning") or "").strip():
        return message
    return {**message, "content": found[2], "reasoning": found[1].strip() or None}


def as_template_message(message: dict[str, Any], parts: bool, objects: bool) -> dict[str, Any]:
    """A message by the names templates expect: `reasoning_content`, `tool_calls` of functions (arguments as `objects`, or as text)."""
    content = message["content"] or ""
    made: dict[str, Any] = {
        "role": message["role"],
        "content": [{"type": "text", "text": content}] if parts else content,
    }
    made |= {name: message[name] for name in ("name", "tool_call_id") if message.get(name)}
    if message.get("reasoning"):
        made["reasoning_content"] = message["reasoning"]
    if message.get("tool_calls"):
        made["tool_calls"] = [_call(call, objects) for call in message["tool_calls"]]
    return made


def _call(call: dict[str, Any], objects: bool) -> dict[str, Any]:
    arguments: Any = call["arguments"] or "{}"
    if objects:
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ChatFault("chat.tools") from None
    return {
        "id": call["id"] or "",
        "type": "function",
        "function": {"name": call["name"] or "", "arguments": arguments},
    }


def schemas(tools: Any) -> list[dict[str, Any]] | None:
    """Tool schemas as a list. ChatFault where the JSON text is none."""
    try:
        found = json.loads(tools) if isinstance(tools, str) else tools
    except (ValueError, RecursionError):
        raise ChatFault("chat.tools") from None
    if found and not (isinstance(found, list) and all(isinstance(tool, dict) for tool in found)):
        raise ChatFault("chat.tools")
    return found or None


def one_of(template: Any) -> str:
    """The template used for chats where a tokenizer names several."""
    return template if isinstance(template, str) else template.get("default") or next(iter(template.values()))


def dated(template: str) -> str:
    """A template that asks for today's date is given `DATE` for ever, by a macro in front of it, so that it renders alike on every
    day and wherever the checkpoint is used. Others are returned as they are.

    >>> dated("{{ 1 }}"), dated(dated("{{ strftime_now('%Y') }}")) == dated("{{ strftime_now('%Y') }}")
    ('{{ 1 }}', True)
    """
    if "strftime_now" not in template or "macro strftime_now" in template:
        return template
    forms = dict.fromkeys(form for _, form in re.findall(r"""(['"])([^'"{}\n]*%[^'"{}\n]*)\1""", template))
    written = json.dumps({form: DATE.strftime(form) for form in forms})
    return "{%- macro strftime_now(form) -%}{{- " + written + "[form] -}}{%- endmacro -%}{{ '' }}" + template


def control_tokens(tokenizer: Any, template: str) -> re.Pattern:
    """What text of the corpus must not spell: special and added tokens, and the role marks the template writes."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.content.isspace()]
    words = {*added, *tokenizer.all_special_tokens, *(mark for mark in MARKS if mark in template)}
    return re.compile(
        "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)) if word) or r"(?!)"
    )


def load_tokenizer(folder: Any, template: str | None = None) -> Any:
    """The Hugging Face tokenizer in `folder`, its template set (`template`, its own, or `DEFAULT`). UsageError when it is none.

    Never runs code from the folder. An exported tokenizer of size 0 or 1 is what transformers silently makes of a
    SentencePiece model without its configuration, so it is refused here.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as fault:
        raise UsageError(
            f"{folder} holds no tokenizer: {str(fault).splitlines()[0]}",
            "give a store made by `maetdol tokenizer` or a Hugging Face tokenizer folder",
        ) from None
    if len(tokenizer) < 8:
        raise UsageError(
            f"the tokenizer in {folder} is empty",
            "export it again: tokenizer.json or tokenizer.model with tokenizer_config.json",
        )
    tokenizer.chat_template = dated(one_of(template or tokenizer.chat_template or DEFAULT))
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "card.json",
)
"""What a tokenizer folder is made of; its template stands in `chat_template.jinja`."""


NO_CLASS = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes that say nothing of a tokenizer but that it is in `tokenizer.json`."""


def copy_tokenizer(folder: Any, tokenizer: Any, out: Any) -> None:
    """The tokenizer files of `folder` into `out` byte by byte, with the template `tokenizer` was given.

    Copied, not saved again: what transformers writes for a tokenizer it has read is not always what it read. Where the configuration
    names no class of its own, transformers chose one by the model beside it (Qwen2), which may stand no longer beside the copy: it is named.
    """
    import shutil
    from pathlib import Path

    for name in FILES:
        if (Path(folder) / name).is_file():
            shutil.copyfile(Path(folder) / name, Path(out) / name)
    file, chosen = Path(out) / "tokenizer_config.json", type(tokenizer).__name__
    if file.is_file() and chosen not in NO_CLASS:
        config = json.loads(file.read_text(encoding="utf-8"))
        if config.get("tokenizer_class") in (None, *NO_CLASS):
            written = json.dumps(config | {"tokenizer_class": chosen}, ensure_ascii=False, indent=2)
            file.write_text(written + "\n", encoding="utf-8")
    (Path(out) / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")


def write_stops(chat: Chat, out: Any) -> None:
    """Into `generation_config.json` of the model folder `out`: what the template ends an answer with, where that is more than the end
    token, so that whoever loads the folder stops there."""
    from pathlib import Path

    from transformers import GenerationConfig

    stops = chat.stops()
    if len(stops) > 1:
        config = (
            GenerationConfig.from_pretrained(str(out))
            if (Path(out) / "generation_config.json").is_file()
            else GenerationConfig()
        )
        config.eos_token_id = stops
        config.save_pretrained(str(out))
