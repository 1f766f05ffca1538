"""Rows of CHAT and PAIR as other trainers read them: one pure function per format and shape.

Field rules as their makers publish them: TRL's dataset formats, LLaMA-Factory's data/README.md, axolotl's dataset-formats and
rlhf pages. A row a format has no form for raises `NoForm` with the reason; nothing is bent to fit.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple

Row = dict[str, Any]
Messages = list[dict[str, str]]


class NoForm(ValueError):
    """This row cannot be said in that format; the message is the reason (`export.turns`, `export.many_turns`)."""


class Format(NamedTuple):
    """How a format writes each shape (rows out per row in), and what stands beside the data."""

    chat: Callable[[Row], Iterator[Row]] | None
    pair: Callable[[Row], Iterator[Row]] | None
    beside: Callable[[str, str], tuple[str, str]] | None
    """(shape, path of the data) -> (file name, its text), or None."""
    load: Callable[[str, str], str]
    """(shape, path of the data) -> the line that loads it."""


def turns(messages: Messages) -> tuple[str, list[tuple[str, str | None]]]:
    """(system, [(user, assistant), ...]); the last assistant may be None. NoForm where speakers do not alternate."""
    led = bool(messages) and messages[0]["role"] == "system"
    system, rest = (messages[0]["content"], messages[1:]) if led else ("", messages)
    roles = [message["role"] for message in rest]
    if not rest or roles != [("user", "assistant")[n % 2] for n in range(len(roles))]:
        raise NoForm("export.turns")
    said = [message["content"] for message in rest]
    return system, [(said[n], said[n + 1] if n + 1 < len(said) else None) for n in range(0, len(said), 2)]


def plain(messages: Messages | None) -> Messages:
    return [{"role": m["role"], "content": m["content"]} for m in messages or []]


# -- TRL ---------------------------------------------------------------------------------------------------------------------


def trl_chat(row: Row) -> Iterator[Row]:
    yield {"messages": plain(row["messages"])}


def trl_completion(row: Row) -> Iterator[Row]:
    messages = plain(row["messages"])
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise NoForm("export.turns")
    yield {"prompt": messages[:-1], "completion": messages[-1:]}


def trl_pair(row: Row) -> Iterator[Row]:
    yield {side: plain(row[side]) for side in ("prompt", "chosen", "rejected")}


def trl_kto(row: Row) -> Iterator[Row]:
    yield {"prompt": plain(row["prompt"]), "completion": plain(row["chosen"]), "label": True}
    yield {"prompt": plain(row["prompt"]), "completion": plain(row["rejected"]), "label": False}


def trl_reward(row: Row) -> Iterator[Row]:
    yield {side: plain(row["prompt"]) + plain(row[side]) for side in ("chosen", "rejected")}


def trl_load(shape: str, path: str) -> str:
    return f'datasets.load_dataset("json", data_files="{path}", split="train")'


# -- LLaMA-Factory -----------------------------------------------------------------------------------------------------------


def _one(messages: Messages) -> str:
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise NoForm("export.turns")
    return messages[0]["content"]


def alpaca_chat(row: Row) -> Iterator[Row]:
    system, said = turns(plain(row["messages"]))
    if said[-1][1] is None:
        raise NoForm("export.turns")
    yield {"instruction": said[-1][0], "input": "", "output": said[-1][1], "system": system, "history": [list(turn) for turn in said[:-1]]}


def alpaca_pair(row: Row) -> Iterator[Row]:
    system, said = turns(plain(row["prompt"]))
    if said[-1][1] is not None:
        raise NoForm("export.turns")
    sides = {side: _one(plain(row[side])) for side in ("chosen", "rejected")}
    yield {"instruction": said[-1][0], "input": "", **sides, "system": system, "history": [list(turn) for turn in said[:-1]]}


SPEAKER = {"user": "human", "assistant": "gpt"}


def _shared(said: list[tuple[str, str | None]]) -> list[dict[str, str]]:
    flat = [(role, text) for turn in said for role, text in zip(("user", "assistant"), turn) if text is not None]
    return [{"from": SPEAKER[role], "value": text} for role, text in flat]


def sharegpt_chat(row: Row) -> Iterator[Row]:
    system, said = turns(plain(row["messages"]))
    if said[-1][1] is None:
        raise NoForm("export.turns")
    yield {"conversations": _shared(said), "system": system}


def sharegpt_pair(row: Row) -> Iterator[Row]:
    system, said = turns(plain(row["prompt"]))
    if said[-1][1] is not None:
        raise NoForm("export.turns")
    sides = {side: {"from": "gpt", "value": _one(plain(row[side]))} for side in ("chosen", "rejected")}
    yield {"conversations": _shared(said), **sides, "system": system}


def dataset_info(formatting: str) -> Callable[[str, str], tuple[str, str]]:
    """LLaMA-Factory's description of the data beside it."""

    def describe(shape: str, path: str) -> tuple[str, str]:
        import json

        name = path.rpartition("/")[2].removesuffix(".jsonl")
        if formatting == "alpaca":
            columns = {"prompt": "instruction", "query": "input", "system": "system", "history": "history"}
        else:
            columns = {"messages": "conversations", "system": "system"}
        ranked = {"chosen": "chosen", "rejected": "rejected"} if shape == "PAIR" else {"response": "output"} if formatting == "alpaca" else {}
        entry = {"file_name": f"{name}.jsonl", "formatting": formatting, "ranking": shape == "PAIR", "columns": {**columns, **ranked}}
        return "dataset_info.json", json.dumps({name: entry}, indent=2) + "\n"

    return describe


def factory_load(shape: str, path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"llamafactory-cli train --stage {'dpo' if shape == 'PAIR' else 'sft'} --dataset_dir {folder or '.'} --dataset {name.removesuffix('.jsonl')} ..."


# -- axolotl -----------------------------------------------------------------------------------------------------------------


def axolotl_pair(row: Row) -> Iterator[Row]:
    sides = {side: {"role": "assistant", "content": _one(plain(row[side]))} for side in ("chosen", "rejected")}
    yield {"messages": plain(row["prompt"]), **sides}


def chatml_pair(row: Row) -> Iterator[Row]:
    system, said = turns(plain(row["prompt"]))
    if len(said) > 1:
        raise NoForm("export.many_turns")
    yield {"system": system, "prompt": said[0][0], **{side: _one(plain(row[side])) for side in ("chosen", "rejected")}}


def axolotl_yaml(kind: str) -> Callable[[str, str], tuple[str, str]]:
    """The part of an axolotl configuration that names the data."""

    def describe(shape: str, path: str) -> tuple[str, str]:
        head = ["rl: dpo"] if shape == "PAIR" else []
        fields = (
            ["    field_messages: messages", "    field_chosen: chosen", "    field_rejected: rejected"]
            if shape == "PAIR" and kind == "chat_template.default"
            else ["    field_messages: messages"]
            if shape == "CHAT"
            else []
        )
        used = kind if shape == "PAIR" else "chat_template"
        lines = [*head, "datasets:", f"  - path: {path}", "    ds_type: json", "    split: train", f"    type: {used}", *fields]
        return "axolotl.yaml", "\n".join(lines) + "\n"

    return describe


def axolotl_load(shape: str, path: str) -> str:
    return f"axolotl train config.yaml  # with the lines of {path.rpartition('/')[0] or '.'}/axolotl.yaml"


FORMATS: dict[str, Format] = {
    "trl": Format(trl_chat, trl_pair, None, trl_load),
    "trl-completion": Format(trl_completion, None, None, trl_load),
    "trl-kto": Format(None, trl_kto, None, trl_load),
    "trl-reward": Format(None, trl_reward, None, trl_load),
    "llamafactory-alpaca": Format(alpaca_chat, alpaca_pair, dataset_info("alpaca"), factory_load),
    "llamafactory-sharegpt": Format(sharegpt_chat, sharegpt_pair, dataset_info("sharegpt"), factory_load),
    "axolotl": Format(trl_chat, axolotl_pair, axolotl_yaml("chat_template.default"), axolotl_load),
    "axolotl-chatml": Format(None, chatml_pair, axolotl_yaml("chatml.prompt_pairs"), axolotl_load),
}
