"""One HTML page to one document: charset, tree, the page's own items, main text, and where the first stand in the last."""

from __future__ import annotations

from stages.ingest import charset
from stages.ingest.flat.build import TooComplex
from stages.ingest.html import main_text, structure, tags
from stages.ingest.html.tree import Tree, parse
from stages.ingest.metadata import attach, card, items, licence, schema_org, signals
from stages.ingest.metadata.facts import Fact, Group, number
from stages.ingest.row import Document, Raw, clean, dropped, meta_list

WIDER = 2.0
"""How much longer the other reading may be: more, and it brings the site's furniture with the questions."""
MOST_NODES = 2_000_000
"""Elements of one page; the largest real page met holds 200,000."""
ASKED = frozenset(("question", "answer", "accepted_answer", "step"))
"""Kinds for which a page without main text is kept."""


def read(
    raw: Raw,
    extract: main_text.Extract = "main",
    comments: bool = True,
    headed: bool = True,
    extractor: str | None = None,
) -> Document:
    """The document of a page given as bytes, or the reason why there is none."""
    if not raw.body.strip():
        return dropped("ingest.empty")
    decoded = charset.decode(raw.body, raw.charset)
    metrics = {
        "charset.fallbacks": float(decoded.fallbacks),
        "charset.replaced": float(decoded.replaced),
        "page.bytes": float(len(raw.body)),
    }
    if decoded.text.count("<") > MOST_NODES and (count := tags.openings(decoded.text)) > MOST_NODES:
        return dropped("ingest.too_complex", f"{count} tags, over {MOST_NODES}", metrics)
    tree = parse(decoded.text)
    if tree is None:
        return dropped("ingest.no_main_text", "no element in it", metrics)
    metrics["page.nodes"] = float(tree.nodes)
    if tree.nodes > MOST_NODES:
        return dropped("ingest.too_complex", f"{tree.nodes} elements, over {MOST_NODES}", metrics)
    found = items.read_items(tree.root)
    facts = number(_groups(schema_org.groups(found), structure.groups(tree.body)))
    try:
        main = main_text.extract(tree, extract, comments, found, headed, decoded.text, extractor)
    except TooComplex as fault:
        return dropped("ingest.too_complex", str(fault), metrics)
    if not main.rendered.text and not any(fact.kind in ASKED for fact in facts):
        return dropped("ingest.no_main_text", None, metrics)
    main, blocks = _with_questions(tree, main, facts)
    beside = [block for block in blocks if block["group"] is not None]
    metrics |= {
        "markup.facts": float(len(beside)),
        "markup.attached": float(sum(block["start"] is not None for block in beside)),
    }
    stated = schema_org.card(found)
    values = _values(raw, tree, stated)
    values |= {"text": main.rendered.text, "blocks": blocks}
    values["meta"] = meta_list(
        {
            **raw.facts.get("meta", {}),
            "charset": decoded.encoding,
            "charset_from": decoded.learnt,
            "extractor": main.by,
            "published": card.published(tree.root, stated.get("published")),
            "fetched_url": raw.url if raw.url and raw.url != values["url"] else None,
        }
    )
    note = "charset: " + decoded.learnt if decoded.fallbacks else None
    if decoded.replaced:
        note = f"ingest.bad_utf8: {decoded.replaced} characters unreadable as {decoded.encoding}"
    if tree.bounded:
        note = "; ".join(
            filter(
                None,
                (
                    note,
                    "tags nested deeper than 200, over-long or one of thousands in a menu were taken out, or one left open was closed",
                ),
            )
        )
    return Document(values, None, note, metrics)


def _with_questions(tree: Tree, main: main_text.Main, facts: list[Fact]) -> tuple[main_text.Main, list[dict]]:
    """The main text with its blocks; another reading of the page where the first kept answers and lost their questions.

    trafilatura leaves out headings between short paragraphs, which on an FAQ page are the questions.
    """
    blocks = attach.blocks(main.rendered, facts)
    asked, answered = _standing(blocks, ("question",)), _standing(blocks, ("answer", "accepted_answer"))
    if main.by != "trafilatura" or answered < 0.5 or asked >= 0.5 or tree.weight > main_text.MAX_WEIGHT:
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


def _values(raw: Raw, tree: Tree, stated: dict[str, str]) -> dict:
    title = card.title(tree.root, stated.get("title")) or raw.facts.get("title")
    header = next((value for name, value in raw.headers if name.lower() == "content-language"), None)
    stated_licence = licence.of_page(tree.root, stated)
    return {
        "title": clean(title) if title else None,
        "url": card.address(tree.root, raw.url),
        "lang": card.language(tree.root, header) or raw.facts.get("lang"),
        "date": raw.date,
        "licence": clean(stated_licence) if stated_licence else raw.facts.get("licence"),
        "signals": signals.read(tree.root, raw.headers),
    }


def _groups(stated: list[Group], shaped: list[Group]) -> list[Group]:
    """The page's own items first; a post of the layout that an item already gives is not given twice."""
    known = {_key(fact) for group in stated for fact in group.facts}
    tails = tuple(key[-200:] for key in known if len(key) >= 200)
    kept = []
    for group in shaped:
        if group.facts[0].kind == "post":
            key = _key(group.facts[0])
            if key in known or (len(key) >= 200 and key.endswith(tails)):
                continue
        kept.append(group)
    return [*stated, *kept]


def _key(fact: Fact) -> str:
    return "".join(c for c in fact.text.casefold() if c.isalnum())
