"""The recorded teacher: replays what was answered before, or what a person wrote.

Two kinds of recording. A journal (`.jsonl`) answers by key: the same model, prompt and parameters give the same text, so a
run can be repeated anywhere without a server. Hand-written answers (`.yaml`) answer by the document's URL and the task, are
marked `written_by: hand`, and are given in the structured form that teacher tasks parse. What is not recorded is a reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import OptionError
from pipeline.urls import canonical
from stages.models.teacher import journal
from stages.models.teacher.base import NOT_RECORDED, Reply, Request, TeacherOptions, echo_checked

FIELDS = {"url", "task", "instruction", "answer", "lang", "written_by"}


class RecordedJournal:
    """Replays a journal by key."""

    def __init__(self, path: Path, name: str | None, extra_body: dict[str, Any] | None = None):
        self.extra_body = extra_body
        self._replies: dict[str, Reply] = {}
        models: dict[str, int] = {}
        for entry in journal.read(path):
            if entry.get("final", True):
                reply = journal.reply_of(entry)
                models[reply.model] = models.get(reply.model, 0) + 1
                self._replies[reply.key] = reply
        if name is None and len(models) > 1:
            raise OptionError(
                f"{path} holds answers of several models: {', '.join(sorted(models))}", "name one with `model`"
            )
        if name is not None and models and name not in models:
            raise OptionError(f"{path} holds no answer of {name!r}", f"it holds: {', '.join(sorted(models))}")
        self.name = name or next(iter(models), "recorded")

    def answer(self, requests: Iterable[Request]) -> Iterator[Reply]:
        for request in requests:
            key = request.key(self.name, self.extra_body)
            known = self._replies.get(key)
            if known is None:
                yield Reply(
                    request.id,
                    key,
                    reason=NOT_RECORDED,
                    note="no call with this prompt and parameters",
                    model=self.name,
                )
            else:
                yield replace(known, id=request.id, journaled=True)

    def close(self) -> None:
        """Nothing is held open."""


class RecordedByHand:
    """Answers written by a person for named pages."""

    def __init__(self, path: Path):
        self.name = "hand"
        self._items: dict[tuple[str, str], list[dict[str, str]]] = {}
        for item in hand_items(path):
            self._items.setdefault((canonical(item["url"]), item["task"]), []).append(item)

    def has(self, url: str, task: str) -> bool:
        """Whether an answer was written for this page and task."""
        return (canonical(url), task) in self._items

    def answer(self, requests: Iterable[Request]) -> Iterator[Reply]:
        for request in requests:
            key = request.key(self.name)
            items = self._items.get((canonical(request.url), request.task))
            if not items:
                yield Reply(
                    request.id,
                    key,
                    reason=NOT_RECORDED,
                    note="no answer was written for this page and task",
                    model=self.name,
                )
                continue
            text = json.dumps(
                [{"instruction": i["instruction"], "answer": i["answer"]} for i in items], ensure_ascii=False
            )
            reply = Reply(
                request.id,
                key,
                text,
                finish_reason="stop",
                model=self.name,
                journaled=True,
                written_by=items[0]["written_by"],
            )
            yield echo_checked(reply, request)

    def close(self) -> None:
        """Nothing is held open."""


def hand_items(path: Path) -> list[dict[str, str]]:
    """The items of a file of hand-written answers; OptionError names the item that is not whole."""
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as fault:
        raise OptionError(
            f"{path} cannot be read: {type(fault).__name__}", "give a YAML list of items, or a journal ending in .jsonl"
        ) from None
    items: Any = given.get("answers", given.get("items")) if isinstance(given, dict) else given
    if not isinstance(items, list):
        raise OptionError(
            f"{path} holds no list of answers", "give a YAML list of {url, task, instruction, answer, lang, written_by}"
        )
    whole = []
    for number, item in enumerate(items, 1):
        missing = FIELDS - set(item) if isinstance(item, dict) else FIELDS
        strange = set(item) - FIELDS if isinstance(item, dict) else set()
        if missing or strange:
            fault = (
                f"lacks {', '.join(sorted(missing))}"
                if missing
                else f"has unknown fields {', '.join(sorted(map(str, strange)))}"
            )
            raise OptionError(f"{path}: item {number} {fault}", f"an item is {{{', '.join(sorted(FIELDS))}}}")
        if not all(isinstance(item[name], str) and item[name].strip() for name in FIELDS):
            raise OptionError(
                f"{path}: item {number} has an empty or non-text field", "quote texts; every field is needed"
            )
        whole.append({name: item[name].strip() for name in FIELDS})
    return whole


def open_recorded(options: TeacherOptions) -> RecordedJournal | RecordedByHand:
    path = Path(options.recorded)
    if path.suffix in (".yaml", ".yml"):
        return RecordedByHand(path)
    if path.suffix == ".jsonl":
        return RecordedJournal(path, options.model, options.extra_body)
    raise OptionError(f"{path} is neither a journal (.jsonl) nor hand-written answers (.yaml)", "rename or convert it")
