"""A teacher as a stage uses it: a backend behind its journal, within its budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from stages.models.teacher.base import BUDGET, Reply, Request, Teacher, TeacherOptions, echo_checked, estimate_tokens
from stages.models.teacher.broker_client import BrokerBackend, BrokerJournal, Client
from stages.models.teacher.journal import Journal
from stages.models.teacher.recorded import open_recorded


class Backend(Protocol):
    """What makes the calls: groups of replies, each group journaled with one fsync before it is handed on."""

    def replies(self, requests: Iterable[tuple[str, Request]]) -> Iterator[list[Reply]]:
        """Groups of replies to (key, request) pairs."""


WINDOW = 65_536
"""Requests looked up in the journal at a time; bounds what waits in memory."""


class Journaled:
    """A backend behind a journal: asks only what no journal holds, counts the budget, journals before handing on."""

    def __init__(self, backend: Backend, journal: Journal | BrokerJournal, options: TeacherOptions):
        self.backend, self.journal, self.options = backend, journal, options
        self.name = options.name()
        self.calls = 0
        self.spent = Spent()
        self._counted: set[str] = set()

    def answer(self, requests: Iterable[Request]) -> Iterator[Reply]:
        waiting: dict[str, list[Request]] = {}
        for request in requests:
            key = request.key(self.name, self.options.extra_body)
            if key in waiting:
                waiting[key].append(request)
                continue
            known = self.journal.get(key)
            if key not in self._counted:
                if self._over():
                    yield Reply(request.id, key, reason=BUDGET, note="the budget is spent", model=self.name)
                    continue
                self._counted.add(key)
                self.spent.add(self.options, request, known)
            if known is not None:
                yield replace(known, id=request.id, journaled=True)
                continue
            waiting[key] = [request]
            if len(waiting) >= WINDOW:
                yield from self._ask(waiting)
                waiting = {}
        yield from self._ask(waiting)

    def _ask(self, waiting: dict[str, list[Request]]) -> Iterator[Reply]:
        first = {key: group[0] for key, group in waiting.items()}
        for group in self.backend.replies(first.items()):
            checked = [echo_checked(reply, first[reply.key]) for reply in group]
            self.journal.append([(first[reply.key], reply) for reply in checked])
            self.calls += sum(reply.final for reply in checked)
            for reply in checked:
                for request in waiting[reply.key]:
                    yield replace(reply, id=request.id)

    def close(self) -> None:
        self.journal.close()

    def _over(self) -> bool:
        budget = self.options.budget
        return (
            (budget.calls is not None and self.spent.calls >= budget.calls)
            or (budget.tokens is not None and self.spent.tokens_in + self.spent.tokens_out >= budget.tokens)
            or (budget.price is not None and self.spent.price >= budget.price)
        )


@dataclass
class Spent:
    """What a step has asked for. Tokens of calls not yet answered are estimated: prompts at three characters a token for
    Korean and four for other text (measured on common tokenizers), answers at their limit."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    price: float = 0.0

    def add(self, options: TeacherOptions, request: Request, known: Reply | None) -> None:
        self.calls += 1
        prompt = known.tokens_in if known and known.tokens_in is not None else estimate_tokens(request)
        answer = known.tokens_out if known and known.tokens_out is not None else request.sampling.max_tokens
        self.tokens_in += prompt
        self.tokens_out += answer
        self.price += (prompt * options.price_in + answer * options.price_out) / 1e6


def open_teacher(options: TeacherOptions, journal: str | Path) -> Teacher:
    """The teacher `options` describe; `journal` is where calls are journaled unless the options name a path.

    Use as `with closing(open_teacher(...)) as teacher`; one process holds a journal at a time.
    """
    if options.kind == "recorded":
        return open_recorded(options)
    path = Path(options.journal or journal)
    if options.kind == "endpoint" and options.broker:
        client = Client(options, path)
        return Journaled(BrokerBackend(client), BrokerJournal(client), options)
    if options.kind == "endpoint":
        from stages.models.teacher.endpoint import Endpoint

        backend: Backend = Endpoint(options)
    elif options.kind == "vllm":
        from stages.models.teacher.vllm import VllmTeacher

        backend = VllmTeacher(options)
    else:
        from stages.models.teacher.local import LocalTeacher

        backend = LocalTeacher(options)
    return Journaled(backend, Journal(path), options)
