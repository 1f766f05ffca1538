"""What a client may ask under OpenAI's chat API, read strictly: what would have no effect here is refused by name."""

from __future__ import annotations

import json
import secrets
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.models.inference.generate import SamplingParams

MAX_BODY = 8 << 20
"""Bytes of a request."""
MOST_MESSAGES = 10_000
STOPS = 16
"""Stop strings of a request."""


class RequestFault(Exception):
    """A request that cannot be answered: an HTTP status, what is wrong, and a word for it."""

    def __init__(self, status: int, message: str, code: str = "invalid_request_error"):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class TextPart(BaseModel):
    """A part of a message's content."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class CalledFunction(BaseModel):
    """What a tool call asks for."""

    name: str
    arguments: str = "{}"


class EarlierCall(BaseModel):
    """A call that an answer of before made."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class RequestMessage(BaseModel):
    """A message as clients write it."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None
    name: str | None = None
    tool_calls: list[EarlierCall] | None = None
    tool_call_id: str | None = None

    def row(self) -> dict[str, Any]:
        """The message as the templates here take it."""
        text = self.content or "" if not isinstance(self.content, list) else "".join(part.text for part in self.content)
        role = "system" if self.role == "developer" else self.role
        calls = [{"id": call.id, **call.function.model_dump()} for call in self.tool_calls or ()]
        more = {"tool_calls": calls} if calls else {}
        more |= {name: value for name in ("name", "tool_call_id") if (value := getattr(self, name))}
        return {"role": role, "content": text, "reasoning": self.reasoning_content or None, **more}


class FunctionSchema(BaseModel):
    """What a tool is called and takes; a JSON schema under `parameters`. `strict` is refused: calls are not held to their schema."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(min_length=1)
    strict: Literal[False] | None = None


class Tool(BaseModel):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionSchema


class StreamOptions(BaseModel):
    """What a stream has besides."""

    include_usage: bool = False


class NamedSchema(BaseModel):
    """A JSON schema that an answer is to be of."""

    model_config = ConfigDict(extra="forbid")
    name: str = ""
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class TextFormat(BaseModel):
    """Answers as the model makes them."""

    type: Literal["text"]


class ObjectFormat(BaseModel):
    """Answers that are a JSON object."""

    type: Literal["json_object"]


class SchemaFormat(BaseModel):
    """Answers that are JSON of a schema; `strict` or not, they are held to it."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class ChatRequest(BaseModel):
    """A chat completion asked for. `user`, `metadata`, `store` and `service_tier` are read and have no effect, as OpenAI defines them."""

    model_config = ConfigDict(extra="forbid")
    model: str = ""
    messages: list[RequestMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    n: int = Field(1, ge=1, le=64)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    tools: list[Tool] | None = Field(None, max_length=1000)
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = Field(None, discriminator="type")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None

    def sampling(self, usual: SamplingParams) -> SamplingParams:
        """How the answers are drawn; what is not asked for is as `usual`. The seed stands apart (`drawn_from`)."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stop) > STOPS or not all(stop):
            raise RequestFault(400, f"stop takes up to {STOPS} strings, none of them empty")
        limits = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "logprobs": (self.top_logprobs or 0) if self.logprobs else None,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        return usual._replace(stop=tuple(stop), seed=0, **given)

    def schemas(self) -> str | None:
        """The tools that the template shows, as JSON text."""
        if not self.tools or self.tool_choice == "none":
            return None
        return json.dumps([tool.model_dump(exclude_unset=True) for tool in self.tools], ensure_ascii=False)

    def answer_schema(self) -> dict[str, Any] | None:
        """The JSON schema answers are held to."""
        if isinstance(self.response_format, SchemaFormat):
            return self.response_format.json_schema.schema_
        return {"type": "object"} if isinstance(self.response_format, ObjectFormat) else None

    def drawn_from(self) -> int:
        """The seed; another one each time where none is given."""
        return secrets.randbits(32) if self.seed is None else self.seed


def read(body: bytes, name: str) -> ChatRequest:
    """A request for the model `name`. RequestFault where it is none."""
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # "\\ud800" is JSON, and half a character
        raise RequestFault(400, "the body holds text that is not valid Unicode") from None
    except (ValueError, RecursionError):
        raise RequestFault(400, "the body is not JSON") from None
    try:
        chat_request = ChatRequest.model_validate(found)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][:4])
        what = "is not supported here" if first["type"] == "extra_forbidden" else first["msg"]
        raise RequestFault(400, f"{where}: {what}" if where else what) from None
    if chat_request.top_logprobs is not None and not chat_request.logprobs:
        raise RequestFault(400, "top_logprobs is for requests with logprobs: true")
    if chat_request.answer_schema() is not None and chat_request.schemas():
        raise RequestFault(
            400, "response_format and tools cannot be asked for together: a call is no JSON of that form"
        )
    if chat_request.model not in ("", name):
        raise RequestFault(
            404, f"the model {chat_request.model[:200]!r} is not served here; {name!r} is", "model_not_found"
        )
    return chat_request
