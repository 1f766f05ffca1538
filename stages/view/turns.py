"""Conversations and pairs as turns, and as the tokens a model is given: which of them are trained, where documents of a packed row end."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.view.corpus import CUT, ShownRoot

TURNS = 60
"""Turns shown of a conversation."""
TOKENS = 8_192
"""Tokens shown of a row."""


class TokenRun(NamedTuple):
    """Neighbouring tokens of one kind, as text."""

    text: str
    trained: bool = False
    control: bool = False
    number: int = 0
    """Which document of a packed row, from 0."""


def sides(corpus: ShownRoot, row: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The conversations of a row: one of CHAT, chosen and rejected of PAIR; texts as they may be shown."""
    if "messages" in row:
        return [("messages", _shown(corpus, row["messages"]))]
    if "chosen" in row and "rejected" in row:
        return [
            (name, _shown(corpus, [*(row.get("prompt") or []), *(row[name] or [])])) for name in ("chosen", "rejected")
        ]
    return []


def _shown(corpus: ShownRoot, messages: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    turns = (messages or [])[:TURNS]
    parts = [part for turn in turns for part in (turn.get("content") or "", turn.get("reasoning") or "", _calls(turn))]
    texts = iter(corpus.fit(parts, CUT * 10))
    return [
        {
            "role": turn["role"],
            "content": next(texts),
            "reasoning": next(texts),
            "calls": next(texts),
            "train": turn.get("train"),
        }
        for turn in turns
    ]


def _calls(turn: dict[str, Any]) -> str:
    return "\n".join(f"{call['name']}({call['arguments']})" for call in turn.get("tool_calls") or ())


def models(corpus: ShownRoot) -> list[str]:
    """Stores of this root whose tokenizer could read a row."""
    found = []
    for name, store in corpus.stores().items():
        if (store.shape or "").startswith("artefact:") and "tokenizer.json" in _files(store):
            found.append(name)
    return found


def _files(store: Store) -> list[str]:
    receipt = store.receipt("artefact")
    return list(receipt.files) if receipt else []


def painted(corpus: ShownRoot, store: Store, row: dict[str, Any], model: str) -> dict[str, Any] | None:
    """The tokens of a row under a model's tokenizer and template: what is trained is what `train` would train. None where the row has
    none; `fault` says why it cannot be rendered."""
    if "input_ids" in row:
        return {"models": [], "model": "", "sides": [("", decoded(corpus, store, row))], "fault": ""}
    known = models(corpus) if "messages" in row or "chosen" in row else []
    if not known:
        return None
    if model not in known:
        return {"models": known, "model": "", "sides": [], "fault": ""}
    from stages.models.chat.templates import ChatFault

    try:
        made = corpus.store(model)
        chat = _chat(str(made.artefact()), made.content_hash)
        named_turns = [("", row["messages"])] if "messages" in row else [
            (name, [*(row["prompt"] or []), *(row[name] or [])]) for name in ("chosen", "rejected")
        ]  # fmt: skip
        found = [
            (name, _pieces(chat, corpus, messages, row.get("tools"), "messages" not in row))
            for name, messages in named_turns
        ]
        return {"models": known, "model": model, "sides": found, "fault": ""}
    except (ChatFault, UsageError) as fault:
        return {"models": known, "model": model, "sides": [], "fault": str(fault)}


@lru_cache(maxsize=4)
def _chat(folder: str, content_hash: str) -> Any:
    from stages.models.chat.templates import Chat, load_tokenizer

    return Chat(load_tokenizer(folder))


def _pieces(
    chat: Any, corpus: ShownRoot, messages: list[dict[str, Any]], tools: Any, last_alone: bool
) -> list[TokenRun]:
    """Of a pair the last answer alone is trained. Messages are masked before they are rendered: tokens would be too late."""
    messages = corpus.fit_within(messages)
    encoded = chat.encode(messages, turns=1 if last_alone else None, tools=tools)
    tokenizer = chat.tokenizer
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    runs: list[tuple[tuple[bool, bool], list[int]]] = []
    for token, trained in zip(encoded.ids.tolist()[:TOKENS], encoded.trained.tolist()):
        kind = (bool(trained), token in special)
        if runs and runs[-1][0] == kind:
            runs[-1][1].append(token)
        else:
            runs.append((kind, [token]))
    return [TokenRun(tokenizer.decode(ids), *kind) for kind, ids in runs]


def decoded(corpus: ShownRoot, store: Store, row: dict[str, Any]) -> list[TokenRun]:
    """A packed row as text, a piece a document; token numbers where the tokenizer it was packed with is not in this root."""
    names = [entry["store"].rpartition("/")[2] for entry in (store.require().get("lineage") or {}).get("tokenizer", ())]
    known = [corpus.stores()[name] for name in names if name in corpus.stores()]
    made = known[0] if known else None
    read = _reader(str(made.artefact()), made.content_hash) if made else lambda ids: " ".join(map(str, ids))
    ids = row["input_ids"][:TOKENS]
    bounds = [(doc["start"], doc["end"]) for doc in row["docs"] or ()] or [(0, len(ids))]
    texts = corpus.fit([read(ids[start:end]) for start, end in bounds], CUT * 10)
    return [TokenRun(text, True, False, number) for number, text in enumerate(texts)]


@lru_cache(maxsize=4)
def _reader(folder: str, content_hash: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False)
