"""What pages are made with: templates that escape whatever they are given, and pages that are one file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from pipeline.inspection.charts import Part, number, size
from pipeline.inspection.words import PageWords

TEMPLATES = Path(__file__).parent / "templates"
"""Templates, style and script that all pages share."""


def environment(*folders: Path) -> jinja2.Environment:
    """Templates of these folders, and those that all pages share. Everything is escaped but what is made of escaped parts (Markup)."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]), autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"number": number, "size": size}
    return found


def whole_page(title: str, subtitle: str, sections: Sequence[tuple[str, Sequence[Part]]], t: PageWords) -> str:
    """One self-contained page of (title, parts): nothing is fetched, and its policy lets its own style and script alone be used,
    by their hashes."""
    given = {"title": title, "subtitle": subtitle, "sections": sections, "t": t}
    return (
        environment().get_template("report.jinja").render(given | _within(("parts.css", "report.css"), ("parts.js",)))
    )


def framed(
    parts: Sequence[Part],
    sides: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (),
    text: Markup | None = None,
    search: bool = False,
) -> str:
    """A small self-contained page for a frame: parts, conversations (name, turns of role and text) beside each other, a marked text;
    with `search` a field that hides rows of its table."""
    given = {"parts": parts, "sides": sides, "text": text, "search": search}
    own = _within(("parts.css", "frame.css"), ("parts.js", "frame.js"))
    return environment().get_template("frame.jinja").render(given | own)


def _within(styles: Sequence[str], scripts: Sequence[str]) -> dict[str, str]:
    """Style and script of a page that is one file, and the policy that lets in these alone."""
    style, script = (Markup("".join((TEMPLATES / name).read_text("utf-8") for name in names)) for names in (styles, scripts))  # fmt: skip
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return {"style": style, "script": script, "policy": policy}


def _hash(text: str) -> str:
    """What a policy lets in: the hash of an element's text, as browsers take it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


COMPARED = 20_000
"""Characters of each of two texts that are compared word by word."""


def difference(old: str, new: str, near: int = 160) -> Markup:
    """Two texts as one, with what went and what came marked; long stretches that are equal are left out. Work and memory are bits for
    each pair of tokens at most, whatever the texts are."""
    from rapidfuzz.distance import LCSseq

    left, right = (re.findall(r"\w+|\s+|[^\w\s]", text[:COMPARED]) for text in (old, new))
    parts, gone, come = list[Markup](), "", ""
    for code in [*LCSseq.opcodes(left, right), None]:
        if (
            code is not None and code.tag != "equal"
        ):  # what went stands before what came, in whichever order they are told
            gone += "".join(left[code.src_start : code.src_end])
            come += "".join(right[code.dest_start : code.dest_end])
            continue
        parts += [Markup("<del>{}</del>").format(gone)] if gone else []
        parts += [Markup("<ins>{}</ins>").format(come)] if come else []
        gone = come = ""
        if code is not None:
            same = "".join(left[code.src_start : code.src_end])
            parts.append(escape(f"{same[:near]} … {same[-near:]}" if len(same) > 2 * near + 40 else same))
    return Markup("").join(parts)
