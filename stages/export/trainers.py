"""Rows of CHAT and PAIR as other trainers read them: one pure function per format and shape.

Field rules as their makers publish them: OpenAI's fine-tuning files, TRL's dataset formats, LLaMA-Factory's data/README.md,
axolotl's dataset-formats and rlhf pages. A row a format has no form for raises `NoForm` with the reason; nothing is bent to fit.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Row = dict[str, Any]
Messages = list[Row]


class NoForm(ValueError):
    """This row cannot be said in that format; the message is the reason (`export.turns`, `export.many_turns`, `export.tools`,
    `export.arguments`, `export.text_and_call`, `export.reasoning`, `export.names`, `export.not_trained`, `export.blank`)."""


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
    system, rest = led(messages)
    if not rest or [message["role"] for message in rest] != [("user", "assistant")[n % 2] for n in range(len(rest))]:
        raise NoForm("export.turns")
    contents = [message["content"] or "" for message in rest]
    return system, [
        (contents[n], contents[n + 1] if n + 1 < len(contents) else None) for n in range(0, len(contents), 2)
    ]


def led(messages: Messages) -> tuple[str, Messages]:
    """The system message at the head, or none, and the rest."""
    if messages and messages[0]["role"] == "system":
        return messages[0]["content"] or "", messages[1:]
    return "", messages


def learned(messages: Messages) -> None:
    """NoForm where a row says of an answer that it is not to be learned, for formats that have no word for it."""
    if any(turn["role"] == "assistant" and turn.get("train") is False for turn in messages):
        raise NoForm("export.not_trained")


# -- OpenAI's messages, which TRL and axolotl read too -----------------------------------------------------------------------


def openai(messages: Messages | None, objects: bool = False) -> Messages:
    """Messages with reasoning_content, tool_calls, name, tool_call_id and weight where the turn has them; arguments of tools as
    JSON text, or as `objects`."""
    return [_message(turn, objects) for turn in messages or []]


def _message(turn: Row, objects: bool) -> Row:
    made = {"role": turn["role"], "content": turn["content"] or ""}
    if turn.get("reasoning") is not None:
        made["reasoning_content"] = turn["reasoning"]
    if turn.get("tool_calls"):
        made["tool_calls"] = [_call(call, objects) for call in turn["tool_calls"]]
    made |= {name: turn[name] for name in ("name", "tool_call_id") if turn.get(name) is not None}
    if turn.get("train") is not None and turn["role"] == "assistant":
        made["weight"] = int(turn["train"])
    return made


def _call(call: Row, objects: bool) -> Row:
    own = {"id": call["id"]} if call["id"] is not None else {}
    arguments = call["arguments"]
    return {
        **own,
        "type": "function",
        "function": {"name": call["name"], "arguments": opened(arguments) if objects else arguments},
    }


def opened(text: str | None) -> Any:
    """What a JSON text says; a text that is none as it is: models write such arguments, too. None is what JSON has no form for
    (NaN, numbers out of range) and what no file of UTF-8 holds (half a surrogate pair), though Python reads both."""
    try:
        value = json.loads(text or "{}")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        return value
    except (ValueError, RecursionError):
        return text


def schemas(row: Row) -> Row:
    """The column of tools as a list, where the row has one."""
    return {"tools": opened(row["tools"])} if row.get("tools") else {}


def openai_chat(row: Row) -> Iterator[Row]:
    yield {"messages": openai(row["messages"]), **schemas(row)}


def openai_pair(row: Row) -> Iterator[Row]:
    sides = {
        name: openai(row[side]) for name, side in (("preferred_output", "chosen"), ("non_preferred_output", "rejected"))
    }
    yield {"input": {"messages": openai(row["prompt"]), **schemas(row)}, **sides}


# -- TRL ---------------------------------------------------------------------------------------------------------------------


def _trl(messages: Messages | None) -> Messages:
    """Templates write arguments as JSON, so that they must be no text before. TRL knows no weights: it learns from every answer."""
    return [{name: value for name, value in turn.items() if name != "weight"} for turn in openai(messages, True)]


def _listed(row: Row) -> Row:
    """Tools as JSON text, which TRL reads itself: columns of records would give each schema the keys of all."""
    return {"tools": row["tools"]} if row.get("tools") else {}


def trl_chat(row: Row) -> Iterator[Row]:
    learned(row["messages"])
    yield {"messages": _trl(row["messages"]), **_listed(row)}


def trl_completion(row: Row) -> Iterator[Row]:
    messages = row["messages"]
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise NoForm("export.turns")
    learned(messages[-1:])
    yield {"prompt": _trl(messages[:-1]), "completion": _trl(messages[-1:]), **_listed(row)}


def trl_pair(row: Row) -> Iterator[Row]:
    learned([*row["chosen"], *row["rejected"]])
    yield {**{side: _trl(row[side]) for side in ("prompt", "chosen", "rejected")}, **_listed(row)}


def trl_kto(row: Row) -> Iterator[Row]:
    for pair in trl_pair(row):
        yield {"prompt": pair["prompt"], "completion": pair["chosen"], "label": True, **_listed(row)}
        yield {"prompt": pair["prompt"], "completion": pair["rejected"], "label": False, **_listed(row)}


def trl_reward(row: Row) -> Iterator[Row]:
    for pair in trl_pair(row):
        yield {**{side: pair["prompt"] + pair[side] for side in ("chosen", "rejected")}, **_listed(row)}


def trl_load(shape: str, path: str) -> str:
    return f'datasets.load_dataset("json", data_files={json.dumps(path, ensure_ascii=False)}, split="train")'


# -- LLaMA-Factory -----------------------------------------------------------------------------------------------------------


def plain(messages: Messages | None, thinks: bool = False) -> Messages:
    """Role and content alone. NoForm for what they cannot hold; reasoning goes before the answer as LLaMA-Factory has it,
    where the format `thinks`."""
    return [_plain(turn, thinks) for turn in messages or []]


def _plain(turn: Row, thinks: bool) -> Row:
    if turn["role"] == "tool" or turn.get("tool_calls"):
        raise NoForm("export.tools")
    if turn.get("name"):
        raise NoForm("export.names")
    if turn.get("reasoning") and not thinks:
        raise NoForm("export.reasoning")
    return {"role": turn["role"], "content": _thought(turn) + (turn["content"] or "")}


def _thought(turn: Row) -> str:
    return f"<think>\n{turn['reasoning']}\n</think>\n\n" if turn.get("reasoning") else ""


def _one(messages: Messages) -> Row:
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise NoForm("export.turns")
    learned(messages)
    return messages[0]


def _without_tools(row: Row) -> None:
    if row.get("tools"):
        raise NoForm("export.tools")


def alpaca_chat(row: Row) -> Iterator[Row]:
    _without_tools(row)
    learned(row["messages"])
    system, exchanges = turns(plain(row["messages"], thinks=True))
    if exchanges[-1][1] is None:
        raise NoForm("export.turns")
    yield {
        "instruction": exchanges[-1][0],
        "input": "",
        "output": exchanges[-1][1],
        "system": system,
        "history": [list(turn) for turn in exchanges[:-1]],
    }


def alpaca_pair(row: Row) -> Iterator[Row]:
    _without_tools(row)
    system, exchanges = turns(plain(row["prompt"], thinks=True))
    if exchanges[-1][1] is not None:
        raise NoForm("export.turns")
    sides = {side: _plain(_one(row[side]), True)["content"] for side in ("chosen", "rejected")}
    yield {
        "instruction": exchanges[-1][0],
        "input": "",
        **sides,
        "system": system,
        "history": [list(turn) for turn in exchanges[:-1]],
    }


def _shared(turn: Row) -> Row:
    """A turn as ShareGPT has it: what calls tools is a turn of its own kind, and so is what they give back."""
    if turn["role"] == "tool":
        return {"from": "observation", "value": turn["content"] or ""}
    if turn.get("tool_calls"):
        if (turn["content"] or "").strip():
            raise NoForm("export.text_and_call")
        made = [{"name": call["name"], "arguments": opened(call["arguments"])} for call in turn["tool_calls"]]
        return {
            "from": "function_call",
            "value": _thought(turn) + json.dumps(made if len(made) > 1 else made[0], ensure_ascii=False),
        }
    if turn["role"] not in SPEAKER:
        raise NoForm("export.turns")
    return {"from": SPEAKER[turn["role"]], "value": _plain(turn, True)["content"]}


SPEAKER = {"user": "human", "assistant": "gpt"}
ASKING = ("human", "observation")
"""Speakers at the first, third, ... position; gpt and function_call stand between them."""


def _conversation(messages: Messages) -> tuple[str, list[Row]]:
    """(system, turns). NoForm where asking and answering do not alternate."""
    system, rest = led(messages)
    exchanges = [_shared(turn) for turn in rest]
    if not exchanges or any((turn["from"] in ASKING) != (n % 2 == 0) for n, turn in enumerate(exchanges)):
        raise NoForm("export.turns")
    return system, exchanges


def sharegpt_chat(row: Row) -> Iterator[Row]:
    learned(row["messages"])
    system, exchanges = _conversation(row["messages"])
    if len(exchanges) % 2:
        raise NoForm("export.turns")
    yield {"conversations": exchanges, "system": system, "tools": row.get("tools") or ""}


def sharegpt_pair(row: Row) -> Iterator[Row]:
    system, exchanges = _conversation(row["prompt"])
    if len(exchanges) % 2 == 0:
        raise NoForm("export.turns")
    yield {
        "conversations": exchanges,
        **{side: _shared(_one(row[side])) for side in ("chosen", "rejected")},
        "system": system,
        "tools": row.get("tools") or "",
    }


def dataset_info(formatting: str) -> Callable[[str, str], tuple[str, str]]:
    """LLaMA-Factory's description of the data beside it."""

    def describe(shape: str, path: str) -> tuple[str, str]:
        name = path.rpartition("/")[2].removesuffix(".jsonl")
        if formatting == "alpaca":
            columns = {"prompt": "instruction", "query": "input", "system": "system", "history": "history"}
        else:
            columns = {"messages": "conversations", "system": "system", "tools": "tools"}
        ranked = (
            {"chosen": "chosen", "rejected": "rejected"}
            if shape == "PAIR"
            else {"response": "output"}
            if formatting == "alpaca"
            else {}
        )
        entry = {
            "file_name": f"{name}.jsonl",
            "formatting": formatting,
            "ranking": shape == "PAIR",
            "columns": {**columns, **ranked},
        }
        return "dataset_info.json", json.dumps({name: entry}, indent=2) + "\n"

    return describe


def factory_load(shape: str, path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"llamafactory-cli train --stage {'dpo' if shape == 'PAIR' else 'sft'} --dataset_dir {shlex.quote(folder or '.')} --dataset {shlex.quote(name.removesuffix('.jsonl'))} ..."


# -- axolotl -----------------------------------------------------------------------------------------------------------------


def axolotl_chat(row: Row) -> Iterator[Row]:
    """Arguments as text, which axolotl opens itself and stops at where it is no JSON."""
    messages = openai(row["messages"])
    for message, turn in zip(messages, row["messages"] or []):
        message.pop("weight", None)
        if turn.get("train") is not None:
            message["train"] = turn["train"]
        if any(not _is_json(call["arguments"]) for call in turn.get("tool_calls") or ()):
            raise NoForm("export.arguments")
    yield {"messages": messages, **_listed(row)}


def _is_json(text: str | None) -> bool:
    try:
        json.loads(text or "")
        return True
    except (ValueError, RecursionError):
        return False


def _findable(answer: Row) -> Row:
    """An answer as axolotl's `chat_template.default` takes it out of a rendered conversation: it looks for the words and cuts the
    blanks behind them. Of one that is empty or begins with a blank it would take another part where the template trims."""
    made = _plain(answer, False)
    made["content"] = made["content"].rstrip()
    if not made["content"] or made["content"][0].isspace():
        raise NoForm("export.blank")
    return made


def axolotl_pair(row: Row) -> Iterator[Row]:
    _without_tools(row)
    yield {
        "messages": plain(row["prompt"]),
        **{side: _findable(_one(row[side])) for side in ("chosen", "rejected")},
    }


def chatml_pair(row: Row) -> Iterator[Row]:
    _without_tools(row)
    system, exchanges = turns(plain(row["prompt"]))
    if len(exchanges) > 1:
        raise NoForm("export.many_turns")
    if exchanges[0][1] is not None:
        raise NoForm("export.turns")
    yield {
        "system": system,
        "prompt": exchanges[0][0],
        **{side: _plain(_one(row[side]), False)["content"] for side in ("chosen", "rejected")},
    }


def axolotl_yaml(kind: str) -> Callable[[str, str], tuple[str, str]]:
    """The part of an axolotl configuration that names the data."""

    def describe(shape: str, path: str) -> tuple[str, str]:
        head = ["rl: dpo"] if shape == "PAIR" else []
        fields = (
            ["    field_messages: messages", "    field_chosen: chosen", "    field_rejected: rejected"]
            if shape == "PAIR" and kind == "chat_template.default"
            else ["    field_messages: messages", "    field_tools: tools", "    message_field_training: train"]
            if shape == "CHAT"
            else []
        )
        used = kind if shape == "PAIR" else "chat_template"
        lines = [
            *head,
            "datasets:",
            f"  - path: {json.dumps(path, ensure_ascii=False)}",
            "    ds_type: json",
            "    split: train",
            f"    type: {used}",
            *fields,
        ]
        return "axolotl.yaml", "\n".join(lines) + "\n"

    return describe


def axolotl_load(shape: str, path: str) -> str:
    return f"axolotl train config.yaml  # with the lines of {path.rpartition('/')[0] or '.'}/axolotl.yaml"


FORMATS: dict[str, Format] = {
    "openai": Format(openai_chat, openai_pair, None, trl_load),
    "trl": Format(trl_chat, trl_pair, None, trl_load),
    "trl-completion": Format(trl_completion, None, None, trl_load),
    "trl-kto": Format(None, trl_kto, None, trl_load),
    "trl-reward": Format(None, trl_reward, None, trl_load),
    "llamafactory-alpaca": Format(alpaca_chat, alpaca_pair, dataset_info("alpaca"), factory_load),
    "llamafactory-sharegpt": Format(sharegpt_chat, sharegpt_pair, dataset_info("sharegpt"), factory_load),
    "axolotl": Format(axolotl_chat, axolotl_pair, axolotl_yaml("chat_template.default"), axolotl_load),
    "axolotl-chatml": Format(None, chatml_pair, axolotl_yaml("chatml.prompt_pairs"), axolotl_load),
}
