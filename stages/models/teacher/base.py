"""One small interface to whatever answers: an endpoint, a local model, or a recording.

A `Teacher` turns requests into replies, in whatever order they are finished. A reply is an answer, or a reason why there is
none; a bad one never raises. Every finished call is written to a journal (`stages.models.teacher.journal`) and fsynced before its
result is handed on, under a key of model, rendered prompt and parameters: what is journaled is never asked again, by this
run, a rerun after a kill, or a later recipe with the same journal.

Reasons (closed): `teacher.unreachable`, `teacher.rate_limited` (not finished: asked again by the next run),
`teacher.bad_answer`, `teacher.truncated`, `teacher.refused`, `teacher.not_recorded`, `teacher.budget`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from pipeline.errors import OptionError
from pipeline.options import CONTENT, SECRET, UNKEYED, Options, digest, known_hash
from stages.models.teacher.reply import spoken

UNREACHABLE = "teacher.unreachable"
RATE_LIMITED = "teacher.rate_limited"
BAD_ANSWER = "teacher.bad_answer"
TRUNCATED = "teacher.truncated"
REFUSED = "teacher.refused"
NOT_RECORDED = "teacher.not_recorded"
BUDGET = "teacher.budget"
UNFINISHED = frozenset({UNREACHABLE, RATE_LIMITED, BUDGET})
"""Reasons under which no call was finished: not a result, so asked again by the next run."""

OWN_FIELDS = frozenset({"model", "messages", "stream", "n"})
"""Fields of a request's body that `extra_body` may not set: an answer is read whole, one a request."""

Message = tuple[str, str]
"""(role, content); role is system, user or assistant."""


class Sampling(Options):
    """Parameters of one answer; validated here, sent as they are, stored with every row."""

    temperature: float = Field(default=0.5, ge=0.0, le=2.0)
    "0 is greedy; 0.5 is Bonito's and Curator DiverseQA's."
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    "Nucleus; 0.95 is Bonito's."
    frequency_penalty: float = Field(default=0.0, ge=-2.0, le=2.0)
    "OpenAI's range."
    presence_penalty: float = Field(default=0.0, ge=-2.0, le=2.0)
    "OpenAI's range."
    max_tokens: int = Field(default=598, ge=1, le=131_072)
    "Longest answer, tokens; 598 is Curator DiverseQA's. An answer that reaches it is truncated and never passes as whole."
    seed: int | None = Field(default=0, ge=0, lt=2**31)
    "Sent with every request; null leaves it to the server."
    stop: tuple[str, ...] = Field(default=(), max_length=4)
    "Up to four strings that end an answer (OpenAI's limit)."

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word for word in stop):
            raise ValueError("a stop string must not be empty")
        return stop

    def sent(self) -> dict[str, Any]:
        """What goes into the request body and into the journal's key; nothing that is off."""
        body: dict[str, Any] = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        for name in ("frequency_penalty", "presence_penalty"):
            if getattr(self, name):
                body[name] = getattr(self, name)
        if self.seed is not None:
            body["seed"] = self.seed
        if self.stop:
            body["stop"] = list(self.stop)
        return body


class Budget(Options):
    """Where to stop, cleanly: requests beyond it get `teacher.budget` and are asked when it is raised. Counts the distinct
    calls of this step, journaled ones included, so that a rerun stops at the same request."""

    calls: int | None = Field(None, ge=0)
    "Most distinct calls."
    tokens: int | None = Field(None, ge=0)
    "Most tokens, prompts and answers together, as the teacher counts them (else estimated)."
    price: float | None = Field(None, ge=0.0)
    "Most money, in the currency of `price_in` and `price_out`."


class TeacherOptions(Options):
    """Which teacher, and how it is asked."""

    renamed: ClassVar[dict[str, str]] = {"keeper": "broker"}

    kind: Literal["endpoint", "local", "vllm", "recorded"]
    "endpoint: any OpenAI-compatible server; local: a Hugging Face model folder; vllm: such a folder in vLLM on Ray, where installed; recorded: replays a journal or hand-written answers."
    url: Annotated[str | None, UNKEYED] = None
    "Endpoint: base URL such as http://127.0.0.1:8000/v1."
    model: str | None = None
    "Endpoint: the model's name as the server knows it. Recorded journal: the model that was asked, if it holds several."
    folder: Annotated[str | list[str] | None, CONTENT] = None
    "Local: folder of a model with its tokenizer, as a train step or save_pretrained leaves it; a list adds adapters to it."
    draft: Annotated[str | None, UNKEYED] = None
    "Local: folder of a smaller model with the same tokenizer that drafts greedy answers (speculative decoding); checked to change nothing."
    recorded: Annotated[str | None, CONTENT] = None
    "Recorded: a journal (.jsonl) or hand-written answers (.yaml: items of url, task, instruction, answer, lang, written_by)."
    key_env: Annotated[str | None, SECRET] = None
    "Name of the environment variable, or path of the file, that holds the API key. Never the key itself."
    sampling: Sampling = Sampling()
    "Sampling parameters of every answer."
    extra_body: dict[str, Any] = Field(default_factory=dict)
    "Endpoint: further fields of every request's body, as the server takes them, such as {chat_template_kwargs: {enable_thinking: false}}; null leaves a field out, so {max_tokens: null, max_completion_tokens: 598} renames the limit."
    gpus: Annotated[int, UNKEYED] = Field(1, ge=1, le=64)
    "vLLM: accelerators of one engine (tensor parallel)."
    max_in_flight: Annotated[int, UNKEYED] = Field(32, ge=1, le=4096)
    "Endpoint: requests under way at once. Local: batch size."
    retries: Annotated[int, UNKEYED] = Field(5, ge=0, le=20)
    "Further tries of a request that was rate-limited or not answered."
    backoff: Annotated[float, UNKEYED] = Field(1.0, gt=0.0)
    "Seconds before the first further try; doubled each time, drawn at random below that (full jitter), at most 60."
    timeout: Annotated[float, UNKEYED] = Field(600.0, gt=0.0)
    "Seconds to wait for one answer."
    broker: Annotated[bool, UNKEYED] = True
    "Endpoint: calls are made by a process of their own that outlives a killed run, so that a call under way is finished, journaled and found by the rerun."
    journal: Annotated[str | None, UNKEYED] = None
    "Path of the journal of calls; default: beside the store, as `<store>-teacher.jsonl`. Give one path to share answers between recipes."
    budget: Budget = Budget()
    "Where to stop asking."
    price_in: Annotated[float, UNKEYED] = Field(0.0, ge=0.0)
    "Price of a million prompt tokens."
    price_out: Annotated[float, UNKEYED] = Field(0.0, ge=0.0)
    "Price of a million answer tokens."
    licence: str | None = None
    "Licence or terms under which the teacher's answers stand; written into every row it makes."

    @field_validator("key_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]{1,63}|[./~][^\n]*", name):
            raise ValueError(
                "give the NAME of an environment variable (capitals) or the path of a file, never the key itself"
            )
        return name

    @field_validator("url")
    @classmethod
    def _an_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        found = re.fullmatch(r"(https?)://([^/@\s]+)(/[^\s?#]*)?", url)
        if not found:
            raise ValueError("must be http(s)://host[:port][/path], without user, password or query")
        return url.rstrip("/") if (found[3] or "/") != "/" else f"{found[1]}://{found[2]}/v1"

    @field_validator("extra_body")
    @classmethod
    def _not_ours(cls, body: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(body.keys() & OWN_FIELDS):
            raise ValueError(f"must not hold {', '.join(taken)}: set by the teacher itself")
        try:
            json.dumps(body, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("must be plain JSON values") from None
        return body

    @model_validator(mode="after")
    def _complete(self) -> TeacherOptions:
        needed = {"endpoint": ("url", "model"), "local": ("folder",), "vllm": ("folder",), "recorded": ("recorded",)}[
            self.kind
        ]
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"a teacher of kind {self.kind} needs {' and '.join(missing)}")
        if self.kind == "vllm" and len(self.folders()) > 1:
            raise ValueError(
                "a teacher of kind vllm takes no adapters: merge them into the model first, or use kind local"
            )
        if self.extra_body and self.kind in ("local", "vllm"):
            raise ValueError(f"a teacher of kind {self.kind} sends no request: extra_body is for kind endpoint")
        return self

    def name(self) -> str:
        """The model's identity in keys and rows: its name, or the kind and the content hash of its folder."""
        if self.kind in ("local", "vllm"):
            return f"{self.kind}:" + digest([known_hash(Path(folder)) for folder in self.folders()])
        return self.model or "recorded"

    def folders(self) -> list[str]:
        """The model's folder, then its adapters'."""
        return [self.folder] if isinstance(self.folder, str) else list(self.folder or [])


@dataclass(frozen=True)
class Request:
    """One question to a teacher. `id` is the caller's own; `task` and `url` find hand-written answers; `doc_id` is the
    document it comes from (for takedown)."""

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    task: str = ""
    url: str = ""
    doc_id: str = ""

    def key(self, model: str, extra_body: dict[str, Any] | None = None) -> str:
        """32 hex: model, rendered prompt, parameters and `extra_body`, nothing else."""
        given = {"model": model, "messages": [list(m) for m in self.messages], "sampling": self.sampling.sent()}
        return digest(given | {"extra_body": extra_body} if extra_body else given)


@dataclass(frozen=True)
class Reply:
    """An answer (`text`), or the reason there is none. `note` says what was wrong without quoting anything."""

    id: str
    key: str
    text: str | None = None
    reason: str | None = None
    note: str = ""
    finish_reason: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float = 0.0
    model: str = ""
    journaled: bool = False
    """Came from the journal: no call was made for it now."""
    written_by: str = ""
    """`hand` for a hand-written answer, else empty."""

    @property
    def final(self) -> bool:
        """Whether a call was finished, well or ill."""
        return self.reason not in UNFINISHED


class Teacher(Protocol):
    """Whatever answers. `name` is the model's identity."""

    name: str

    def answer(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """One reply per request, in the order they are finished. Never raises for one request's sake; WorkError when no
        request can succeed (a refused key, an unknown model)."""


def estimate_tokens(request: Request) -> int:
    """Tokens of a prompt before any tokenizer was asked: Hangul and Han at 1.5 characters a token, the rest at 4."""
    text = "".join(content for _, content in request.messages)
    dense = sum(ch > "⺀" for ch in text)
    return int(dense / 1.5 + (len(text) - dense) / 4) + 4 * len(request.messages)


def echo_checked(reply: Reply, request: Request) -> Reply:
    """What every backend's reply passes before it is journaled: text that is whole Unicode (a lone surrogate is U+FFFD), without the
    reasoning in front of it; a teacher that says nothing else, or gives the prompt back, has answered nothing."""
    if reply.text is None:
        return reply
    text = spoken(whole_unicode(reply.text))
    squeezed = " ".join(text.split())
    prompts = {" ".join(content.split()) for role, content in request.messages if role != "assistant"}
    if not squeezed:
        return replace(
            reply,
            text=None,
            reason=BAD_ANSWER,
            note="the answer is empty" if not reply.text.strip() else "the answer is reasoning alone",
        )
    if squeezed in prompts:
        return replace(reply, text=None, reason=BAD_ANSWER, note="the answer is the prompt")
    return replace(reply, text=text)


def whole_unicode(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates as U+FFFD, so that it can be written as UTF-8 and read back."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def secret(name: str | None) -> str | None:
    """The API key behind `key_env`. OptionError when it is named and not there; its value never enters a message."""
    if name is None:
        return None
    if name[0] in "./~":
        path = Path(name).expanduser()
        if not path.is_file():
            raise OptionError(
                f"key_env names the file {name}, which is not there", "write the key into that file, or name another"
            )
        return path.read_text(encoding="utf-8").strip()
    value = os.environ.get(name, "").strip()
    if not value:
        raise OptionError(f"the environment variable {name} (key_env) is not set", f"export {name}=... before the run")
    return value


def batches(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    """Lists of up to `size` items, in order."""
    held: list[Any] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
