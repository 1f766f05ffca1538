"""What a page says of itself in schema.org's words, whichever of three ways it says it: JSON-LD, microdata or RDFa.

All three become one thing, an `Item`: types and properties without their namespaces, values as strings, elements or
further items. What an item means is read elsewhere (`schema_org.py`). Pages are hostile by default: sizes and depths are
bounded, JSON is repaired only in ways that cannot change a value, and nothing is fetched.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from stages.ingest.html.walk import having, walk

MAX_JSON = 4 << 20
"""Characters of one JSON-LD script that are read (the largest FAQ pages met hold 200 KB)."""
NESTED = 8
"""Properties inside properties of one item that are taken: each is rendered with all it holds."""
REFERRED = 32
"""References to one item or element of a page that are followed: each is rendered with all it holds."""
MAX_ITEMS = 50_000
"""Items of one page that are walked."""

_SCHEMA = re.compile(r"^(?:https?://(?:www\.)?schema\.org/|schema:)", re.I)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_WRAPPERS = re.compile(
    r"^\s*(?:<!--|//\s*<!\[CDATA\[|/\*\s*<!\[CDATA\[\s*\*/|<!\[CDATA\[)|(?:-->|//\s*\]\]>|/\*\s*\]\]>\s*\*/|\]\]>)\s*;?\s*$"
)


@dataclass(eq=False)
class StructuredItem:
    """One thing: its types (`Question`), its properties (name to values), its identifier if it gives one."""

    types: tuple[str, ...] = ()
    properties: dict[str, list[Any]] = field(default_factory=dict)
    identity: str | None = None
    syntax: str = "json-ld"

    def get(self, *names: str) -> list[Any]:
        """The values of the first property of `names` that has any."""
        return next((self.properties[name] for name in names if self.properties.get(name)), [])

    def add(self, name: str, value: Any) -> None:
        self.properties.setdefault(name, []).append(value)


@lru_cache(1 << 12)
def short(word: str) -> str:
    """A type or property without its namespace.

    >>> short("https://schema.org/Question"), short("schema:name"), short("name")
    ('Question', 'name', 'name')
    """
    return _SCHEMA.sub("", word.strip())


def read_items(root: Any) -> list[StructuredItem]:
    """Every item of a page in document order within each syntax, references resolved."""
    return [*json_items(root), *microdata_items(root), *rdfa_items(root)]


# -- JSON-LD -----------------------------------------------------------------------------------------------------------


def json_items(root: Any) -> list[StructuredItem]:
    """The items of all JSON-LD scripts; one identifier means one item across them."""
    found: list[StructuredItem] = []
    by_id: dict[str, StructuredItem] = {}
    pending: list[tuple[StructuredItem, str, int, str]] = []
    for script in having(root, "type", "ld+json"):
        if script.tag != "script":
            continue
        value = loads("".join(script.itertext()))
        if value is not None:
            _build(value, found, by_id, pending)
    uses: Counter = Counter()
    for holder, name, reference, identity in pending:
        uses[identity] += 1
        if identity in by_id and by_id[identity] is not holder and uses[identity] <= REFERRED:
            holder.properties[name][reference] = by_id[identity]
    return found


def loads(text: str) -> Any:
    """The JSON of a script, repaired where pages commonly break it (comments around it, trailing commas); None if it is none."""
    text = text[: MAX_JSON + 1]
    if len(text) > MAX_JSON:
        return None
    text = _WRAPPERS.sub("", text.strip()).strip().rstrip(";")
    for attempt in (text, _TRAILING_COMMA.sub("", text)):
        try:
            return json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
    return None


def _build(
    value: Any,
    found: list[StructuredItem],
    by_id: dict[str, StructuredItem],
    pending: list[tuple[StructuredItem, str, int, str]],
) -> None:
    """Turn a JSON value into items without recursion; children follow their parents in `found`."""
    stack: list[tuple[Any, StructuredItem | None, str]] = [(value, None, "")]
    while stack and len(found) < MAX_ITEMS:
        value, holder, name = stack.pop()
        if isinstance(value, list):
            stack += [(each, holder, name) for each in reversed(value)]
        elif isinstance(value, dict):
            _object(value, holder, name, stack, found, by_id, pending)
        elif holder is not None and value is not None:
            holder.add(name, value if isinstance(value, str) else json.dumps(value))


def _object(
    value: dict,
    holder: StructuredItem | None,
    name: str,
    stack: list,
    found: list[StructuredItem],
    by_id: dict,
    pending: list,
) -> None:
    if "@value" in value:
        stack.append((value["@value"], holder, name))
        return
    identity = value.get("@id") if isinstance(value.get("@id"), str) else None
    fields = {short(key): each for key, each in value.items() if key not in ("@id", "@context", "@type", "@graph")}
    if holder is not None and identity and not fields and "@type" not in value:
        holder.add(name, identity)
        pending.append((holder, name, len(holder.properties[name]) - 1, identity))
        return
    types = value.get("@type") or value.get("type") or ()
    types = [types] if isinstance(types, str) else types if isinstance(types, list) else []
    item = StructuredItem(tuple(short(t) for t in types if isinstance(t, str)), {}, identity)
    if fields or item.types:
        found.append(item)
        if identity and identity not in by_id:
            by_id[identity] = item
        if holder is not None:
            holder.add(name, item)
    if "@graph" in value:
        stack.append((value["@graph"], None, ""))
    stack += [(each, item, key) for key, each in reversed(list(fields.items()))]


# -- microdata and RDFa ------------------------------------------------------------------------------------------------


def microdata_items(root: Any) -> list[StructuredItem]:
    """Items of `itemscope`, with `itemref` followed once."""
    return _marked(root, _Microdata())


def rdfa_items(root: Any) -> list[StructuredItem]:
    """Items of `typeof` and `property` (RDFa Lite)."""
    return _marked(root, _Rdfa())


class _Microdata:
    syntax = "microdata"
    attributes = ("itemscope", "itemprop")
    """The one that makes an item, and the one that makes a property."""

    @staticmethod
    def scope(element: Any) -> tuple[str, ...] | None:
        if element.get("itemscope") is None:
            return None
        return tuple(short(t) for t in (element.get("itemtype") or "").split())

    @staticmethod
    def names(element: Any) -> list[str]:
        return [short(name) for name in (element.get("itemprop") or "").split()]

    @staticmethod
    def identity(element: Any) -> str | None:
        return element.get("itemid")


class _Rdfa:
    syntax = "rdfa"
    attributes = ("typeof", "property")

    @staticmethod
    def scope(element: Any) -> tuple[str, ...] | None:
        kinds = element.get("typeof")
        return None if kinds is None else tuple(short(t) for t in kinds.split())

    @staticmethod
    def names(element: Any) -> list[str]:
        # Open Graph also says `property`, in head; only names in schema.org's own or no namespace are taken.
        return [short(name) for name in (element.get("property") or "").split() if ":" not in short(name)]

    @staticmethod
    def identity(element: Any) -> str | None:
        return element.get("resource") or element.get("about")


def _marked(root: Any, words: Any) -> list[StructuredItem]:
    """One walk: the item an element's property belongs to is the nearest scope above it."""
    if next(iter(having(root, words.attributes[0])), None) is None:
        return []
    found: list[StructuredItem] = []
    open_items: list[tuple[Any, StructuredItem]] = []
    open_values: list[Any] = []
    referred: list[tuple[StructuredItem, list[str]]] = []
    for event, element in walk(root, lambda root: (at.node for each in words.attributes for at in root.having(each))):
        if not isinstance(element.tag, str):
            continue
        if event == "end":
            if open_items and open_items[-1][0] == element:
                open_items.pop()
            if open_values and open_values[-1] == element:
                open_values.pop()
            continue
        types = words.scope(element)
        names = words.names(element)
        holder = open_items[-1][1] if open_items else None
        if types is not None:
            item = StructuredItem(types, {}, words.identity(element), words.syntax)
            if len(found) < MAX_ITEMS:
                found.append(item)
            if holder is not None:
                for name in names:
                    holder.add(name, item)
            open_items.append((element, item))
            if words.syntax == "microdata" and element.get("itemref"):
                referred.append((item, element.get("itemref").split()))
        elif holder is not None and names and len(open_values) < NESTED:
            open_values.append(element)
            value = _value(element)
            for name in names:
                holder.add(name, value)
    _refer(root, referred, words)
    return found


def _refer(root: Any, referred: list[tuple[StructuredItem, list[str]]], words: Any) -> None:
    if not referred:
        return
    by_id_attribute = {name: element for element in having(root, "id") if (name := element.get("id"))}
    uses: Counter = Counter()
    for item, names in referred:
        for reference in names[:100]:
            uses[reference] += 1
            if reference in by_id_attribute and uses[reference] <= REFERRED:
                for element in _properties(by_id_attribute[reference], words):
                    for name in words.names(element):
                        item.add(name, _value(element))


def _properties(element: Any, words: Any) -> Iterator[Any]:
    """Elements with properties in `element`, not below another scope."""
    stack = [element]
    while stack:
        here = stack.pop()
        if not isinstance(here.tag, str):
            continue
        if words.names(here):
            yield here
        if words.scope(here) is None:
            stack += reversed(list(here))


def _value(element: Any) -> Any:
    """A property's value: the attribute that carries it, or the element itself, whose text is rendered later."""
    for attribute in ("content", "datetime"):
        if element.get(attribute) is not None:
            return element.get(attribute)
    if element.tag in ("a", "link", "area"):
        # A link is its target; but a question's or answer's text inside a link is its text.
        return element if (element.tag == "a" and "".join(element.itertext()).strip()) else element.get("href") or ""
    if element.tag in ("img", "audio", "video", "source", "iframe", "embed", "track"):
        return element.get("src") or ""
    return element
