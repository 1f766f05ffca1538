"""Formulas stand in the text once, as TeX, whatever way a page writes them and whichever way it is read."""

from __future__ import annotations

import pytest

MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML"{more}>{inner}</math>'
TREE = "<mrow><mn>1.3</mn><mo>×</mo><msup><mn>10</mn><mrow><mo>-</mo><mn>4</mn></mrow></msup></mrow>"
NOTED = f'<semantics>{TREE}<annotation encoding="application/x-tex">1.3\\times 10^{{-4}}</annotation></semantics>'
MODES = ("main", "trafilatura", "all", "resiliparse")


def mathml(inner: str = NOTED, more: str = "") -> str:
    return MATH.format(inner=inner, more=more)


WAYS = {
    "annotation": mathml(),
    "alttext": mathml(TREE, ' alttext="1.3\\times 10^{-4}"'),
    "elements": mathml(TREE),
    "katex": f'<span class="katex"><span class="katex-mathml">{mathml()}</span><span class="katex-html" aria-hidden="true"><span>1.3</span>×10−4</span></span>',
    "mathjax 2": '<span class="MathJax_Preview">13104</span><span class="MathJax" id="MathJax-Element-1-Frame"><nobr>1.3×10−4</nobr></span>'
    '<script type="math/tex" id="MathJax-Element-1">1.3\\times 10^{-4}</script>',
    "mathjax 2, not run": '<script type="math/tex">1.3\\times 10^{-4}</script>',
    "mathjax 3": f'<mjx-container class="MathJax" jax="CHTML"><mjx-math aria-hidden="true"><mjx-mn>1.3</mjx-mn>×10−4</mjx-math><mjx-assistive-mml>{mathml()}</mjx-assistive-mml></mjx-container>',
    "mediawiki": '<span class="mwe-math-element"><span class="mwe-math-mathml-inline" style="display: none;">'
    + mathml(NOTED.replace("1.3\\", "{\\displaystyle 1.3\\").replace("-4}<", "-4}}<"))
    + '</span><img class="mwe-math-fallback-image-inline" alt="{\\displaystyle 1.3\\times 10^{-4}}" src="x.svg"></span>',
    "picture": '<img class="tex" alt="$1.3\\times 10^{-4}$" src="x.png">',
    "tex in the text": r"\(1.3\times 10^{-4}\)",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_formula_stands_once_as_tex(page, prose, way, mode):
    source = f"<article><h1>Scale</h1><p>{prose(4)}</p><p>The energy is {WAYS[way]} joule in the mean and stays there for the whole test.</p><p>{prose(8)}</p></article>"
    text = page(f"<body>{source}</body>", mode).values["text"]
    assert r"The energy is \(1.3\times 10^{-4}\) joule in the mean" in text
    assert text.count("1.3") == 1 and text.count("10^") == 1


@pytest.mark.parametrize("mode", MODES)
def test_formulas_of_table_cells_and_displayed_ones(page, prose, mode):
    shown = mathml("<mfrac><mi>a</mi><msqrt><mi>b</mi></msqrt></mfrac>", ' display="block"')
    table = f"<table><tr><th>Quantity</th><th>Value</th></tr><tr><td>Error</td><td>{mathml()}</td></tr><tr><td>Count</td><td>12</td></tr></table>"
    text = page(f"<article><p>{prose(6)}</p>{table}<p>{prose(6)}</p>{shown}<p>{prose(6)}</p></article>", mode).values[
        "text"
    ]
    assert text.count(r"\(1.3\times 10^{-4}\)") == 1 and text.count(r"\[\frac{a}{\sqrt{b}}\]") == 1


def test_a_layout_without_a_source_is_kept(page, prose):
    assert (
        "1.3×10"
        in page(
            f'<p>{prose(6)}</p><p>It is <span class="katex"><span class="katex-html">1.3×10</span></span> at most.</p>',
            "all",
        ).values["text"]
    )
