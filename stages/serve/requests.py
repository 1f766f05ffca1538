"""What a client may ask under OpenAI's API, read strictly: what would have no effect here is refused by name."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from stages.models.inference.generate import SamplingParams

MAX_BODY = 8 << 20
"""Bytes of a request."""
MOST_MESSAGES = 10_000
STOPS = 16
"""Stop strings of a request."""
MOST_NEW = 16
"""Tokens of a continuation where a request does not say: OpenAI's number."""
MOST_ANSWERS = 4096
"""Continuations of a request."""


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
    """What a tool is called and takes; a JSON schema under `parameters`."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(min_length=1)
    strict: bool | None = None


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


class DemandedCall(NamedTuple):
    """A call that an answer has to make."""

    name: str | None = None
    """Of the one tool that is to be called; None: any."""
    several: bool = False
    """More than one call may be made."""


def _tool_choice(value: Any) -> Any:
    """`auto`, `none`, `required` or the name of a function, in OpenAI's form for it."""
    function = value.get("function") if isinstance(value, dict) and value.get("type") == "function" else None
    if isinstance(function, dict) and isinstance(name := function.get("name"), str):
        return DemandedCall(name)
    if value is None or value in ("auto", "none", "required"):
        return value
    raise ValueError('it is auto, none, required or {"type": "function", "function": {"name": ...}} here')


class DrawingRequest(BaseModel):
    """What all requests say of how answers are drawn. `user` is read and has no effect, as OpenAI defines it."""

    model_config = ConfigDict(extra="forbid")
    model: str = ""
    n: int = Field(1, ge=1, le=64)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    user: Any = None

    def check(self) -> None:
        """RequestFault for options that contradict each other."""

    def drawn_as(self, usual: SamplingParams, max_new_tokens: int | None, logprobs: int | None) -> SamplingParams:
        """How the answers are drawn; what is not asked for is as `usual`. The seed stands apart (`drawn_from`)."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stop) > STOPS or not all(stop):
            raise RequestFault(400, f"stop takes up to {STOPS} strings, none of them empty")
        limits = {
            "max_new_tokens": max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "logprobs": logprobs,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        return usual._replace(stop=tuple(stop), seed=0, **given)

    def drawn_from(self) -> int:
        """The seed; another one each time where none is given."""
        return secrets.randbits(32) if self.seed is None else self.seed


R = TypeVar("R", bound=DrawingRequest)


class ChatRequest(DrawingRequest):
    """A chat completion asked for. `metadata`, `store` and `service_tier` are read and have no effect, as OpenAI defines them."""

    messages: list[RequestMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    tools: list[Tool] | None = Field(None, max_length=1000)
    tool_choice: Annotated[Any, PlainValidator(_tool_choice)] = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = Field(None, discriminator="type")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    metadata: Any = None
    store: Any = None
    service_tier: Any = None

    def check(self) -> None:
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestFault(400, "top_logprobs is for requests with logprobs: true")
        if self.answer_schema() is not None and self.schemas():
            raise RequestFault(400, "response_format and tools cannot be asked for together: a call is no JSON of that form")  # fmt: skip
        names = [tool.function.name for tool in self.tools or ()]
        demanded = self.demanded()
        if demanded and not names:
            raise RequestFault(400, "tool_choice is for requests with tools")
        if demanded and demanded.name not in (None, *names):
            raise RequestFault(400, f"tool_choice: there is no tool {demanded.name!r} among tools")
        if demanded:
            return
        for number, tool in enumerate(self.tools or ()):
            if tool.function.strict:
                raise RequestFault(400, f"tools.{number}.function.strict: only calls that tool_choice demands (required, or a function) are held to their schema")  # fmt: skip
        if self.parallel_tool_calls is False:
            raise RequestFault(400, "parallel_tool_calls: one call alone can be had with tool_choice required or a function")  # fmt: skip

    def sampling(self, usual: SamplingParams) -> SamplingParams:
        """How the answers are drawn; what is not asked for is as `usual`."""
        scored = (self.top_logprobs or 0) if self.logprobs else None
        return self.drawn_as(usual, self.max_completion_tokens or self.max_tokens, scored)

    def demanded(self) -> DemandedCall | None:
        """The call that the answer has to make."""
        if self.tool_choice == "required":
            return DemandedCall(None, self.parallel_tool_calls is not False)
        return self.tool_choice if isinstance(self.tool_choice, DemandedCall) else None

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


class CompletionRequest(DrawingRequest):
    """Continuations of texts, or of token ids, asked for, without a template. `add_special_tokens` is vLLM's."""

    prompt: Any
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=20)
    max_tokens: int | None = Field(MOST_NEW, ge=0)
    add_special_tokens: bool = True

    def check(self) -> None:
        prompts = self.prompts()
        if len(prompts) * self.n > MOST_ANSWERS:
            raise RequestFault(400, f"prompt: {len(prompts):,} prompts with n of {self.n} are more than {MOST_ANSWERS:,} answers")  # fmt: skip
        if self.max_tokens == 0 and not self.echo:
            raise RequestFault(400, "max_tokens: 0 is for requests with echo: true")

    def prompts(self) -> list[str | list[int]]:
        """What is to be gone on with."""
        given = self.prompt if isinstance(self.prompt, list) else [self.prompt]
        if given and all(type(one) is int for one in given):
            given = [given]
        ids = all(isinstance(one, list) and all(type(number) is int for number in one) for one in given)
        if not given or not (ids or all(isinstance(one, str) for one in given)):
            raise RequestFault(400, "prompt: a text, token ids, or a list of either")
        return given

    def sampling(self, usual: SamplingParams) -> SamplingParams:
        """How the answers are drawn; what is not asked for is as `usual`."""
        return self.drawn_as(usual, MOST_NEW if self.max_tokens is None else self.max_tokens, self.logprobs)


def read(body: bytes, name: str, kind: type[R]) -> R:
    """A request of a kind for the model `name`. RequestFault where it is none."""
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # "\\ud800" is JSON, and half a character
        raise RequestFault(400, "the body holds text that is not valid Unicode") from None
    except (ValueError, RecursionError):
        raise RequestFault(400, "the body is not JSON") from None
    try:
        parsed = kind.model_validate(found)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][:4])
        what = (
            "is not supported here"
            if first["type"] == "extra_forbidden"
            else first["msg"].removeprefix("Value error, ")
        )
        raise RequestFault(400, f"{where}: {what}" if where else what) from None
    parsed.check()
    if parsed.model not in ("", name):
        raise RequestFault(404, f"the model {parsed.model[:200]!r} is not served here; {name!r} is", "model_not_found")
    return parsed
