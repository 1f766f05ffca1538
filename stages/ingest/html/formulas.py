"""Formulas of a page as TeX, each once: MathML, and what KaTeX, MathJax and MediaWiki put around it for the eye.

A formula stands in a page as MathML, as TeX beside it (annotation, alttext, `script type="math/tex"`, the alternative of a
picture) and once more as a layout of glyphs. The TeX is kept, between `\\\\(` and `\\\\)`, or `\\\\[` and `\\\\]` where it is displayed; MathML
without any is written as TeX as far as its common elements go. TeX that stands in the text itself is left as it is.
"""

from __future__ import annotations

import re
from typing import Any

HINT = re.compile(r"<math|<mjx-|math/tex|katex|mathjax|mwe-math|class=[\"']?tex\b", re.I)
"""A page without one of these has no formula to be settled."""
DEEPEST = 64
"""Elements of MathML inside each other that are written as TeX; what is deeper is its characters."""
LAYOUT = frozenset(
    "katex-html MathJax MathJax_Preview MathJax_Display MathJax_CHTML MathJax_SVG MathJax_SVG_Display mjx-chtml MJXc-display".split()
)
"""Classes of what is there for the eye, beside the formula's source."""
PICTURES = frozenset("mwe-math-fallback-image-inline mwe-math-fallback-image-display tex latex".split())
"""Classes of pictures of a formula, whose alternative text is its TeX."""
FRAMES = re.compile(r"^\s*(?:\\\[(.*)\\\]|\\\((.*)\\\)|\$\$(.*)\$\$|\$(.*)\$|\{\\displaystyle(.*)\})\s*$", re.S)
BEYOND = {"×": r"\times ", "÷": r"\div ", "−": "-", "⋅": r"\cdot ", "·": r"\cdot ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∞": r"\infty ",
           "∑": r"\sum ", "∫": r"\int ", "∏": r"\prod ", "√": r"\sqrt ", "→": r"\to ", "∂": r"\partial ", "\u2061": "", "\u2062": "", "\u2063": ""}  # fmt: skip


def settle(root: Any) -> None:
    """Put a `span` with the formula's TeX where each formula stands below `root`; what shows it a second time goes."""
    sources = {element.get("id") for element in root.iter("script") if _is_tex(element)}
    for element in list(root.iter()):
        if not isinstance(element.tag, str) or not _attached(element, root):
            continue
        if element.tag == "math":
            _put(element, tex(element), _is_display(element))
        elif _is_tex(element):
            _put(element, (element.text or "").strip(), "mode=display" in element.get("type"))
        elif element.tag == "mjx-container" or not LAYOUT.isdisjoint((element.get("class") or "").split()):
            _laid_out(element, sources)
        elif element.tag == "img" and not PICTURES.isdisjoint((element.get("class") or "").split()):
            _picture(element)


def _attached(element: Any, root: Any) -> bool:
    """Is it still in the page? What was taken out has lost its parent, and what was in it goes unseen below `math` alone."""
    return element.getparent() is not None and next(element.iterancestors("math"), None) is None


def _is_tex(element: Any) -> bool:
    return element.tag == "script" and (element.get("type") or "").strip().lower().startswith("math/tex")


def _is_display(math: Any) -> bool:
    around = " ".join(above.get("class") or "" for _, above in zip(range(3), math.iterancestors()))
    return math.get("display") == "block" or "katex-display" in around or "MathJax_Display" in around


def tex(math: Any) -> str:
    """TeX of a `math` element: its annotation, its alttext, or its elements written as TeX."""
    for note in math.iter("annotation"):
        if "tex" in (note.get("encoding") or "").lower() and (words := "".join(note.itertext()).strip()):
            return words
    return (math.get("alttext") or "").strip() or _written(math, 0).strip()


def _written(element: Any, depth: int) -> str:
    if not isinstance(element.tag, str) or element.tag in ("annotation", "annotation-xml"):
        return ""
    if depth > DEEPEST:
        return "".join(element.itertext())
    inner = [_written(child, depth + 1) for child in element]
    own = " ".join((element.text or "").split())
    shape = SHAPES.get(element.tag)
    if shape is not None and len(inner) == (3 if "{2}" in shape else 2):
        return shape.format(*inner)
    if element.tag == "msqrt":
        return r"\sqrt{{{}}}".format("".join(inner))
    if element.tag == "mtr":
        return " & ".join(inner) + r" \\ "
    return "".join(BEYOND.get(c, c) for c in own) + "".join(inner)


SHAPES = {"msup": "{0}^{{{1}}}", "msub": "{0}_{{{1}}}", "msubsup": "{0}_{{{1}}}^{{{2}}}", "mfrac": r"\frac{{{0}}}{{{1}}}", "mroot": r"\sqrt[{1}]{{{0}}}",
           "mover": r"\overset{{{1}}}{{{0}}}", "munder": "{0}_{{{1}}}", "munderover": "{0}_{{{1}}}^{{{2}}}"}  # fmt: skip
"""TeX of elements with a fixed number of children."""


def _laid_out(element: Any, sources: set[str | None]) -> None:
    """A layout goes where its source stands beside or in it; where there is none it stays, for it is all there is."""
    math = next(element.iter("math"), None)
    if element.get("id") and f"{element.get('id').removesuffix('-Frame')}" in sources:
        _put(element, "", False)
    elif math is not None:
        _put(element, tex(math), _is_display(math) or element.get("display") == "true")
    elif element.get("data-tex") or element.get("aria-label") and element.tag == "mjx-container":
        _put(element, element.get("data-tex") or element.get("aria-label"), element.get("display") == "true")
    elif _has_source_beside(element):
        _put(element, "", False)


def _has_source_beside(element: Any) -> bool:
    """Is one of the next or last three elements, or what follows the parent, the formula itself?"""
    near = [
        other for preceding in (True, False) for _, other in zip(range(3), element.itersiblings(preceding=preceding))
    ]
    return any(
        _says(other)
        for other in (*near, element.getparent().getnext())
        if other is not None and isinstance(other.tag, str)
    )


def _says(element: Any) -> bool:
    if _is_tex(element) or element.tag == "math" or element.get(MADE) is not None:
        return True
    return any(
        inner.tag == "math" or inner.get(MADE) is not None
        for _, inner in zip(range(9), element.iterdescendants("math", "span"))
    )


MADE = "data-formula"
"""Attribute of the spans put in here."""


def _picture(image: Any) -> None:
    if not _has_source_beside(image) and (words := (image.get("alt") or "").strip()):
        _put(image, words, "display" in (image.get("class") or ""))


def _put(element: Any, words: str, display: bool) -> None:
    """`element` becomes a span of the formula, or nothing where `words` is empty; what follows it stays."""
    tail = element.tail
    element.clear()
    element.tail = tail
    element.tag = "span"
    if words:
        inside = FRAMES.match(words)
        words = next((part for part in inside.groups() if part is not None), words).strip() if inside else words
        element.set(MADE, "")
        for _, above in zip(range(2), element.iterancestors()):
            above.attrib.pop("style", None)  # the source is hidden where its picture is shown
        element.text = rf"\[{words}\]" if display else rf"\({words}\)"
