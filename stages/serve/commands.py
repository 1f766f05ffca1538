"""Verbs of models in use: talk to one in the terminal, serve one to other programs."""

from __future__ import annotations

import sys
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.engine import stop
from pipeline.errors import UsageError
from pipeline.options import Options
from stages.models.inference.device import patient


class Answers(Options):
    """What answers and how."""

    model: str
    "The model: a store, a Hugging Face folder, or hf://org/name@revision."
    adapters: tuple[str, ...] = ()
    "Adapters on it: stores or PEFT folders. An adapter alone, in place of the model, brings the base it names."
    max_new_tokens: int = Field(1024, ge=1)
    "Longest answer, in tokens."
    temperature: float | None = Field(None, ge=0)
    "0 takes the likeliest token. Default: what the model's generation_config.json says, else 0.7."
    top_p: float | None = Field(None, gt=0, le=1)
    "Draw from the likeliest tokens up to this chance together. Default: what the model's generation_config.json says, else 1."
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    "What is computed in; auto: bf16 on CUDA, fp32 on CPU."
    threads: int = Field(2, ge=1)
    "CPU threads."

    @property
    def refs(self) -> tuple[str, ...]:
        return (self.model, *self.adapters)


class ChatCommand(Answers):
    """Talk to a model in the terminal: answers come token by token, turns are kept, /help shows the commands.

    maetdol chat runs/quickstart/pretrain runs/quickstart/sft-model --system "Answer briefly."

    Not at a terminal, all of the standard input is one question (--lines: a question or command per line), and the answers alone go to
    the standard output.
    """

    verb: ClassVar[str] = "chat"
    arguments: ClassVar[tuple[str, ...]] = ("model", "adapters")

    system: str = ""
    "System turn; /system changes it."
    ask: str | None = None
    "Ask this and end."
    lines: bool = False
    "Not at a terminal: every line of the input is a question or a command."
    reasoning: bool | None = None
    "Show what a model thinks before it answers. Default: at a terminal alone."
    language: Literal["auto", "ko", "en"] = "auto"
    "Of prompts and notes; auto: that of the locale."
    seed: int | None = Field(None, ge=0, lt=2**63)
    "Of what is drawn. Default: another one each time."

    def run(self) -> int:
        patient()
        from stages.serve.answering import drawn_as, loaded
        from stages.serve.dialogue import Dialogue
        from stages.serve.terminal import Terminal, questions, typed
        from stages.serve.words import words_of

        generator = loaded(self.refs, dtype=self.dtype, threads=self.threads, batch=1)
        generator.remember()
        sampling = drawn_as(generator, self.temperature, self.top_p, self.seed)
        dialogue = Dialogue(generator, sampling._replace(max_new_tokens=self.max_new_tokens), self.system)
        at_terminal = sys.stdin.isatty() and self.ask is None
        reasoning = at_terminal if self.reasoning is None else self.reasoning
        terminal = Terminal(dialogue, words_of(self.language), sys.stdout, sys.stderr, reasoning)
        if at_terminal:
            terminal.converse(typed, self.model)
            return 0
        for question in [self.ask] if self.ask is not None else questions(sys.stdin, self.lines):
            if not self.lines or self.ask is not None:
                terminal.answer(question.strip())
            elif not terminal.obey(question):
                break
        return 0


class Serve(Answers):
    """Serve a model under OpenAI's API (/v1/chat/completions, /v1/completions, /v1/models; streaming too), on this machine alone unless told.

    maetdol serve runs/quickstart/pretrain runs/quickstart/sft-model --port 8000

    Requests that wait are answered together, `batch` at a time. `engine: vllm` hands over to vLLM where it is installed: for many users
    at once, on a card.
    """

    verb: ClassVar[str] = "serve"
    arguments: ClassVar[tuple[str, ...]] = ("model", "adapters")

    host: str = "127.0.0.1"
    "Address to listen at; one that other machines reach needs `key_env`."
    port: int = Field(8000, ge=0, le=65535)
    "Port; 0: a free one, which is said."
    name: str | None = None
    "What clients call the model. Default: the name of its folder."
    key_env: str | None = None
    "Environment variable, or path of a file, that holds the key clients must send as a bearer token."
    batch: int = Field(8, ge=1)
    "Answers made at a time."
    waiting: int = Field(256, ge=1)
    "Requests that may wait; more are told to come back later (429)."
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    "What computes; auto: vLLM where it is installed and a CUDA card is there."

    def run(self) -> int:
        patient()
        from stages.models.teacher.base import secret
        from stages.serve import vllm

        key = secret(self.key_env)
        if not key and self.host not in LOOPBACK:
            raise UsageError(
                f"{self.host} can be reached by other machines, and no key is asked for",
                "give key_env, the name of an environment variable that holds a key, or leave out host",
            )
        name = self.name or self.refs[-1].rstrip("/").rpartition("/")[2]
        if self.engine == "vllm" or (self.engine == "auto" and vllm.usable()):
            vllm.hand_over(self, name, key)
        return self._serve(name, key)

    def _serve(self, name: str, key: str | None) -> int:
        from stages.serve.answering import drawn_as, loaded
        from stages.serve.terminal import INTERRUPTED

        try:
            from stages.serve.app import listening, serve
        except ImportError as fault:
            raise UsageError(
                f"serving needs {fault.name}, which is not installed", "pip install 'maetdol[serve]'"
            ) from None
        socket = listening(self.host, self.port)
        generator = loaded(self.refs, dtype=self.dtype, threads=self.threads, batch=self.batch)
        sampling = drawn_as(generator, self.temperature, self.top_p, 0)._replace(max_new_tokens=self.max_new_tokens)
        host, port = socket.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1  (model {name})", flush=True)
        try:
            serve(generator, sampling, name, key, socket, self.waiting, self.host in LOOPBACK)
        except KeyboardInterrupt:
            return stop.exit_code() if stop.exit_code() != INTERRUPTED else 0
        return 0


LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that this machine alone reaches."""
