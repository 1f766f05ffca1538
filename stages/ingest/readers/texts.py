"""Files that are one document each: pages, plain text, Markdown, reStructuredText, and the docstrings of Python sources."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from stages.ingest import charset
from stages.ingest.html import outline
from stages.ingest.html.render import Rendered, Span
from stages.ingest.metadata import attach
from stages.ingest.metadata.facts import number
from stages.ingest.row import Document, Raw, clean, dropped, meta_list


def read(raw: Raw) -> Document:
    """The document of a text file (`raw.kind`: text, markdown, rst, python) given as bytes or as str."""
    metrics: dict[str, float] = {}
    note = None
    encoding = None
    if isinstance(raw.body, bytes):
        decoded = charset.decode(raw.body, raw.charset, html=False)
        text, encoding = decoded.text, decoded.encoding
        replaced = decoded.replaced + text.count("\0")
        metrics = {
            "charset.fallbacks": float(decoded.fallbacks),
            "charset.replaced": float(replaced),
            "page.bytes": float(len(raw.body)),
        }
        if replaced:
            text = text.replace("\0", "\ufffd")
            note = f"ingest.bad_utf8: {replaced} characters unreadable as {decoded.encoding}"
    else:
        text = raw.body
    text = clean(text)
    if not text.strip():
        return dropped("ingest.empty", note, metrics)
    name, text, spans, groups = _shaped(raw.kind, text)
    if not text.strip():
        return dropped("ingest.no_main_text", "no docstring in it", metrics)
    blocks = attach.blocks(Rendered(text, spans), number(groups))
    meta = {**raw.facts.get("meta", {}), "charset": encoding}
    values = {
        "text": text,
        "title": clean(raw.facts["title"]) if raw.facts.get("title") else name,
        "url": raw.url,
        "lang": raw.facts.get("lang"),
        "date": raw.date,
        "licence": raw.facts.get("licence"),
        "signals": [],
        "blocks": blocks,
        "meta": meta_list(meta),
    }
    return Document(values, None, note, metrics)


def _shaped(kind: str, text: str) -> tuple[str | None, str, list[Span], list]:
    """Title, text, blocks and groups by kind; plain text has no structure of its own."""
    if kind == "markdown":
        spans = outline.markdown(text)
        return outline.title(text, spans), text, spans, []
    if kind == "rst":
        spans, groups = outline.rst(text)
        return outline.title(text, spans), text, spans, groups
    if kind == "python":
        return (None, *docstrings(text), [])
    return None, text, [], []


def docstrings(source: str) -> tuple[str, list[Span]]:
    """The docstrings of a Python source, parsed and never run: the module's, then each public class's and function's.

    Each of the latter stands under its name as a heading. Sources that do not parse give no text.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", []
    pieces: list[str] = []
    spans: list[Span] = []
    at = 0
    for name, doc in _documented(tree):
        if pieces:
            pieces.append("\n\n")
            at += 2
        if name:
            spans.append(Span("heading", at, at + len(name), 1 + name.count(".") + 1))
            pieces += (name, "\n\n")
            at += len(name) + 2
        spans += [Span(s.kind, s.start + at, s.end + at, s.level) for s in outline.rst(doc)[0] if s.kind != "heading"]
        pieces.append(doc)
        at += len(doc)
    return "".join(pieces), spans


def _documented(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(dotted name, docstring) in the order of the source; the module's has no name."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        doc = inspect.cleandoc(ast.get_docstring(node, clean=False) or "").strip()  # type: ignore[arg-type]
        if doc:
            yield name, clean(doc)
        inner = [
            (f"{name}.{child.name}" if name else child.name, child)
            for child in getattr(node, "body", [])
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and not child.name.startswith("_")
        ]
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            stack += reversed(inner)
