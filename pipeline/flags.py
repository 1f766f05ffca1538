"""Options to command-line flags: declared once, in the options object; help, units and defaults come from there."""

from __future__ import annotations

import re
import types
import typing
from typing import Any, Literal

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.errors import OptionError
from pipeline.options import Options, group_of


def flag_name(word: str) -> str:
    return word.rstrip("_").replace("_", "-")


def options_of(cls: type[Options], leave_out: tuple[str, ...] = ()) -> list[click.Option]:
    """One click option per field of `cls`, in the order they are declared; after a group those in it (`--lora.r`)."""
    fields = {word: field for word, (name, field) in fields_of(cls).items() if name.partition(".")[0] not in leave_out}
    found = [_option(word, _target(fields_of(cls)[word][0]), field) for word, field in fields.items()]
    others = {**cls.renamed, **cls.also}
    return found + [
        _option(old, _target(old), fields[new], hidden=True)
        for old, new in others.items()
        if new in fields and old not in fields
    ]


def fields_of(cls: type[Options]) -> dict[str, tuple[str, FieldInfo]]:
    """Fields by the word they have in a recipe, with their name; those of a group after it, as `group.field`."""
    found: dict[str, tuple[str, FieldInfo]] = {}
    for name, field in cls.model_fields.items():
        word = field.alias or name
        found[word] = name, field
        if group := group_of(field):
            found |= {
                f"{word}.{inner}": (f"{name}.{inner_name}", inside)
                for inner, (inner_name, inside) in fields_of(group).items()
            }
    return found


def flat(given: dict[str, Any]) -> dict[str, Any]:
    """Options without groups: those in one under their full names.

    >>> flat({"lora": {"r": 8}, "seed": 1})
    {'lora.r': 8, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        found |= (
            {f"{name}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
        )
    return found


def _target(name: str) -> str:
    """What click calls the value of a field."""
    return f"opt_{name.replace('.', '__')}"


def _option(word: str, target: str, field: FieldInfo, hidden: bool = False) -> click.Option:
    """The flag of a field called `word`."""
    flag = flag_name(word)
    kind = _bare(field.annotation)
    text = " ".join((field.description or "").split())
    if kind is bool:
        default = field.default if field.default is not PydanticUndefined else False
        return click.Option(
            [f"--{flag}/--no-{flag}", target],
            default=None,
            hidden=hidden,
            help=f"{text}  [default: {'on' if default else 'off'}]",
        )
    shown_default = default_text(field)
    help_text = f"{text}  [default: {shown_default}]" if shown_default else text
    return click.Option(
        [f"--{flag}", target],
        default=None,
        hidden=hidden,
        metavar=_metavar(kind),
        help=help_text,
        multiple=_is_list(kind),
    )


def _bare(annotation: Any) -> Any:
    """The annotation without Annotated and without `| None`."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _is_list(kind: Any) -> bool:
    origins = {
        typing.get_origin(a) or a
        for a in (typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else [kind])
    }
    return bool(origins & {list, tuple, set, frozenset})


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "|".join(str(a) for a in typing.get_args(kind))
    if kind in (int, float, str):
        return {int: "N", float: "X", str: "TEXT"}[kind]
    return "VALUE" if not _is_list(kind) else "VALUE (repeat or a,b)"


def default_text(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True) if field.default_factory else field.default
    if default is PydanticUndefined or default is None:
        return ""
    if isinstance(default, Options):
        return ""
    if isinstance(default, (list, tuple)):
        return ",".join(str(item) for item in default) or "none"
    return str(default)


def values(cls: type[Options], given: dict[str, Any]) -> dict[str, Any]:
    """Option values out of click's parameters: words for text, YAML for everything else."""
    import yaml

    chosen: dict[str, Any] = {}
    fields = fields_of(cls)
    named = [(_target(name), word, field) for word, (name, field) in fields.items()]
    for target, word, field in named + [
        (_target(old), old, fields[new][1])
        for old, new in {**cls.renamed, **cls.also}.items()
        if new in fields and old not in fields
    ]:
        value = given.get(target)
        if value is None or value == ():
            continue
        kind = _bare(field.annotation)
        try:
            if isinstance(value, tuple):
                chosen[word] = [item for part in value for item in _items(part, _of_words(kind))]
            elif isinstance(value, bool) or kind is str or typing.get_origin(kind) is Literal:
                chosen[word] = value
            else:
                chosen[word] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):  # a date of no calendar is a ValueError
            raise OptionError(
                f"--{flag_name(word)} {value!r} is not readable", "quote it, or write it as YAML: '{key: value}'"
            ) from None
    return chosen


def _of_words(kind: Any) -> bool:
    """Is this a list of text, in which YAML would take `no`, `007` and `2026-01-01` for something else?"""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return all(_of_words(each) for each in typing.get_args(kind) if _is_list(each))
    items = [_bare(each) for each in typing.get_args(kind) if each is not Ellipsis]
    literals = (typing.get_args(each) if typing.get_origin(each) is Literal else [each] for each in items)
    return bool(items) and all(one is str or isinstance(one, str) for some in literals for one in some)


BEHIND_ADDRESS = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+.-]*://)")
"""Of addresses, which may hold commas: a comma with another address behind it."""


def _items(given: str, words: bool) -> list[Any]:
    """`a,b` -> two items, as text where they are `words`; `[..]`, `{..}` and what stands between quotation marks are YAML."""
    import yaml

    if given[:1] in "[{":
        parsed = yaml.safe_load(given)
        return parsed if isinstance(parsed, list) else [parsed]
    parts = (part.strip() for part in (BEHIND_ADDRESS.split(given) if "://" in given else _parted(given)))
    return [part if not part or (words and part[0] not in "\"'") else yaml.safe_load(part) for part in parts]


def _parted(given: str) -> list[str]:
    """`given` cut at the commas that stand in no brackets: `step.by=[lang, source]` is one item."""
    parts, depth = [""], 0
    for character in given:
        depth = max(0, depth + (character in "[{") - (character in "]}"))
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts
