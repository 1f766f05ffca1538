"""One HTML page to one document: charset, tree, the page's own items, main text, and where the first stand in the last."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stages.ingest import charset
from stages.ingest.flat.build import TooComplex, build
from stages.ingest.flat.element import Element
from stages.ingest.html import main_text, structure, tags
from stages.ingest.html.tree import Tree, parse
from stages.ingest.metadata import attach, card, items, licence, schema_org, signals
from stages.ingest.metadata.facts import Fact, Group, number
from stages.ingest.metadata.letters import key_of
from stages.ingest.row import Document, Raw, clean, dropped, meta_list

FLAT = frozenset(("main", "learned", "all"))
"""Readings (`extract`) of the flat tree; the others are of lxml's."""
WIDER = 2.0
"""How much longer the other reading may be: more, and it brings the site's furniture with the questions."""
MOST_NODES = 2_000_000
"""Elements of one page; the largest real page met holds 200,000."""
BOUNDED = "tags nested too deep, over-long or one of thousands in a menu were taken out, or one left open was closed"
ASKED = frozenset(("question", "answer", "accepted_answer", "step"))
"""Kinds for which a page without main text is kept."""


def read(
    raw: Raw,
    extract: main_text.Extract = "main",
    comments: bool = True,
    headed: bool = True,
    extractor: str | None = None,
    markdown: bool = False,
) -> Document:
    """The document of a page given as bytes, or the reason why there is none. `markdown` is for the readings of FLAT alone."""
    if not raw.body.strip():
        return dropped("ingest.empty")
    decoded = charset.decode(raw.body, raw.charset)
    metrics = {
        "charset.fallbacks": float(decoded.fallbacks),
        "charset.replaced": float(decoded.replaced),
        "page.bytes": float(len(raw.body)),
    }
    try:
        page = _parsed(decoded, extract in FLAT)
    except TooComplex as fault:
        return dropped("ingest.too_complex", str(fault), metrics)
    if page is None:
        return dropped("ingest.no_main_text", "no element in it", metrics)
    metrics["page.nodes"] = float(page.nodes)
    if page.nodes > MOST_NODES:
        return dropped("ingest.too_complex", f"{page.nodes} elements, over {MOST_NODES}", metrics)
    found = items.read_items(page.root)
    facts = number(_groups(schema_org.groups(found), structure.groups(page.body)))
    if page.tree is None:
        main = main_text.of_elements(page.root.tree, extract, comments, markdown, extractor)
        if not main.rendered.text:
            main = main_text.Main(schema_org.article_body(found), "stated")
    else:
        main = main_text.extract(page.tree, extract, comments, found, headed)
    if not main.rendered.text and not any(fact.kind in ASKED for fact in facts):
        return dropped("ingest.no_main_text", None, metrics)
    main, blocks = _with_questions(page.tree, main, facts)
    beside = [block for block in blocks if block["group"] is not None]
    metrics |= {
        "markup.facts": float(len(beside)),
        "markup.attached": float(sum(block["start"] is not None for block in beside)),
    }
    stated = schema_org.card(found)
    head = card.Head(page.root)
    values = _values(raw, head, stated)
    values |= {"text": main.rendered.text, "blocks": blocks}
    values["meta"] = meta_list(
        {
            **raw.facts.get("meta", {}),
            "charset": decoded.encoding,
            "charset_from": decoded.learnt,
            "extractor": main.by,
            "published": card.published(head, stated.get("published")),
            "fetched_url": raw.url if raw.url and raw.url != values["url"] else None,
        }
    )
    note = "charset: " + decoded.learnt if decoded.fallbacks else None
    if decoded.replaced:
        note = f"ingest.bad_utf8: {decoded.replaced} characters unreadable as {decoded.encoding}"
    if page.bounded:
        note = "; ".join(filter(None, (note, BOUNDED)))
    return Document(values, None, note, metrics)


class ParsedPage(NamedTuple):
    """A page parsed once: into the flat tree, which all of it is then read from, or into lxml's (`tree`)."""

    root: Any
    body: Any
    nodes: int
    """Elements."""
    bounded: bool
    """Had tags to be taken out, or put in?"""
    tree: Tree | None = None


def _parsed(decoded: charset.Decoded, flat: bool) -> ParsedPage | None:
    """The page of a decoded source; None where there is no element in it. TooComplex where it has too many."""
    if flat:
        built = build(decoded.utf8 or decoded.text)
        root = Element(built.tree)
        nodes = int(np.count_nonzero(built.tree.tag))
        return ParsedPage(root, root.find("body") or root, nodes, built.changes + built.flattened > 0)
    source = decoded.text
    if source.count("<") > MOST_NODES and (count := tags.openings(source)) > MOST_NODES:
        raise TooComplex(f"{count} tags, over {MOST_NODES}")
    tree = parse(source)
    return None if tree is None else ParsedPage(tree.root, tree.body, tree.nodes, tree.bounded, tree)


def _with_questions(tree: Tree | None, main: main_text.Main, facts: list[Fact]) -> tuple[main_text.Main, list[dict]]:
    """The main text with its blocks; another reading of the page where the first kept answers and lost their questions.

    trafilatura leaves out headings between short paragraphs, which on an FAQ page are the questions.
    """
    blocks = attach.blocks(main.rendered, facts)
    asked, answered = _standing(blocks, ("question",)), _standing(blocks, ("answer", "accepted_answer"))
    if tree is None or main.by != "trafilatura" or answered < 0.5 or asked >= 0.5 or tree.weight > main_text.MAX_WEIGHT:
        return main, blocks
    other = main_text.Main(main_text.resiliparse(tree), "resiliparse")
    found = attach.blocks(other.rendered, facts)
    if len(other.rendered.text) > WIDER * len(main.rendered.text) or _standing(found, ("question",)) <= asked:
        return main, blocks
    return other, found


def _standing(blocks: list[dict], kinds: tuple[str, ...]) -> float:
    """Share of the blocks of these kinds that stand in the text; 0 where there are none."""
    places = [block["start"] is not None for block in blocks if block["kind"] in kinds]
    return sum(places) / len(places) if places else 0.0


def _values(raw: Raw, head: card.Head, stated: dict[str, str]) -> dict:
    title = card.title(head, stated.get("title")) or raw.facts.get("title")
    sent = next((value for name, value in raw.headers if name.lower() == "content-language"), None)
    stated_licence = licence.of_page(head, stated)
    return {
        "title": clean(title) if title else None,
        "url": card.address(head, raw.url),
        "lang": card.language(head, sent) or raw.facts.get("lang"),
        "date": raw.date,
        "licence": clean(stated_licence) if stated_licence else raw.facts.get("licence"),
        "signals": signals.read(head, raw.headers),
    }


def _groups(stated: list[Group], shaped: list[Group]) -> list[Group]:
    """The page's own items first; a post of the layout that an item already gives is not given twice."""
    if not any(group.facts[0].kind == "post" for group in shaped):
        return [*stated, *shaped]
    known = {key_of(fact.text) for group in stated for fact in group.facts}
    tails = tuple(key[-200:] for key in known if len(key) >= 200)
    kept = []
    for group in shaped:
        if group.facts[0].kind == "post":
            key = key_of(group.facts[0].text)
            if key in known or (len(key) >= 200 and key.endswith(tails)):
                continue
        kept.append(group)
    return [*stated, *kept]
