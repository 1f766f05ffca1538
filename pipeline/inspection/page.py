"""What pages are made with: templates that escape whatever they are given, and pages that are one file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

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
    style, script = (
        Markup("".join((TEMPLATES / name).read_text("utf-8") for name in names)) for names in (STYLE, SCRIPT)
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return environment().get_template("report.jinja").render(
        title=title, subtitle=subtitle, sections=sections, t=t, style=style, script=script, policy=policy
    )  # fmt: skip


STYLE, SCRIPT = ("parts.css", "report.css"), ("parts.js",)


def _hash(text: str) -> str:
    """What a policy lets in: the hash of an element's text, as browsers take it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
