"""Formulas of a flat tree stand in its text once, as TeX, whatever way a page writes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.flat.build import build
from stages.ingest.flat.render import render
from stages.ingest.flat.tree import elements, value
from stages.ingest.html.render import render as walked
from stages.ingest.html.tree import parse
from tests.stages.ingest.flat.test_build import sound
from tests.stages.ingest.html.test_formulas import NOTED, TREE, WAYS, mathml


def text(source: str) -> str:
    tree = build(source).tree
    sound(tree)
    return render(tree).text


@pytest.mark.parametrize("way", WAYS)
def test_a_formula_stands_once_as_tex(way):
    found = text(f"<p>The energy is {WAYS[way]} joule in the mean.</p><p>behind</p>")
    assert found == "The energy is \\(1.3\\times 10^{-4}\\) joule in the mean.\n\nbehind"


def test_displayed_ones_and_cells():
    shown = mathml("<mfrac><mi>a</mi><msqrt><mi>b</mi></msqrt></mfrac>", ' display="block"')
    table = f"<table><tr><th>Quantity<th>Value<tr><td>Error<td>{mathml()}<tr><td>Count<td>12</table>"
    assert (
        text(table + shown)
        == "Quantity | Value\nError | \\(1.3\\times 10^{-4}\\)\nCount | 12\n\n\\[\\frac{a}{\\sqrt{b}}\\]"
    )


def test_a_layout_without_a_source_is_kept():
    assert (
        text('<p>It is <span class="katex"><span class="katex-html">1.3×10</span></span> at most.</p>')
        == "It is 1.3×10 at most."
    )


def test_the_style_that_hides_a_source_is_gone():
    tree = build(f"<p><span style='display: none'>{mathml()}</span><b style='x'>y</b></p>").tree
    assert [value(tree, at, "style") for at in elements(tree, "span", "b")] == ["", "x"]


PARTS = st.sampled_from(
    [*WAYS.values(), mathml(TREE), mathml(NOTED, ' display="block"'), mathml("<mi>x"), "<p>", "</p>", "<span class='MathJax'>1</span>", "word ",
     "<div class='katex-display'>", "</div>", "<script type='math/tex; mode=display'>a</script>", "<img class=tex alt='$b$'>", "<math>", "<table><td>"]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(PARTS, max_size=8).map("".join))
def test_any_mixture_gives_a_sound_tree(source):
    text(source)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([f"<p>{way} and </p>" for way in WAYS.values()]), max_size=6).map("".join))
def test_the_text_is_that_of_the_other_tree(source):
    tree = parse(f"<body><div>{source}</div></body>")
    assert tree is not None and text(f"<div>{source}</div>") == walked(tree.body).text
