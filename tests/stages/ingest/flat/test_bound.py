"""The source before it is parsed: what makes lexbor or its tree grow faster than the source is taken out, and words never are.

No time is measured: counted are bytes, nodes, depths, attributes, options and names of what the parser is given and gives back.
"""

from __future__ import annotations

import random
import re
from itertools import islice

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.ingest.flat import bound as bounds
from stages.ingest.flat import build as builder
from stages.ingest.flat.bound import bound
from stages.ingest.flat.build import TooComplex, build
from stages.ingest.flat.names import TAG
from stages.ingest.flat.render import render
from stages.ingest.flat.tree import Flat, elements, words
from stages.ingest.html import tags
from tests.stages.ingest.flat.test_build import PIECES, lexbor
from tests.stages.ingest.mutation_fuzz.hunt import mutate


def many(count: int, piece: str) -> str:
    """`piece` over and over, a number for each `@`."""
    return "".join(piece.replace("@", str(at)) for at in range(count))


SHAPES = {
    "siblings": lambda n: many(n, "<div>w</div>"),
    "inside each other": lambda n: "<div>" * n + "w" + "</div>" * n,
    "never closed": lambda n: many(n, "<div><span>w"),
    "lists in lists": lambda n: many(n, "<ul><li>w"),
    "tables in tables": lambda n: many(n, "<table><tr><td>w"),
    "forms": lambda n: many(n, "<form><div>w"),
    "formatting in each paragraph": lambda n: many(n, "<p><b class=c@>w</p>"),
    "three of them": lambda n: many(n, "<p><b><i><a href=@>w</p>"),
    "formatting before paragraphs": lambda n: many(200, "<p><font color=@ face=" + "x" * 200 + "></p>") + many(n, "<p>w"),
    "formatting alone": lambda n: many(n, "<font id=c@>w"),
    "links around blocks": lambda n: many(n, "<a href=x><div>w"),
    "formatting in cells": lambda n: "<table>" + many(n, "<tr><td><b id=@>w"),
    "one attribute after another": lambda n: "<p " + many(n, "a@=1 ") + ">" + "w" * n,
    "attributes of the body": lambda n: many(n, "<body a@=1>w"),
    "options": lambda n: "<select>" + many(n, "<option>w</option>") + "</select>",
    "names of elements": lambda n: many(n, "<x@>w</x@>"),
    "names of attributes": lambda n: many(n, "<p a@=1>w"),
    "names on end tags": lambda n: many(n, "<p>w</p a@>"),
    "framesets": lambda n: many(n, "<frameset>") + many(n, "<p>w"),
    "framesets as words": lambda n: many(n, "<frameset><iframe>w"),
    "drawings": lambda n: many(n, "<svg><g><text>w"),
    "stray quotes": lambda n: many(n, "<p class=\"a\"\">w"),
    "headings": lambda n: many(n, "<h2>w</h2>"),
    "less than": lambda n: many(n, "< w"),
}  # fmt: skip


class Counted(dict[str, int]):
    """What was counted of one source."""


def counted(source: str) -> Counted:
    from resiliparse.parse.html import HTMLTree

    given_to = bound(source.encode()).source
    written = str(HTMLTree.parse(given_to.decode())).encode()
    tree = builder.from_serialised(written).tree
    tokens = islice(tags.TOKEN.finditer(given_to.decode()), 5_000)
    own = [[name for name, _ in tags.attributes(token["attributes"])] for token in tokens if token["name"]]
    return Counted(
        source=len(given_to),
        written=len(written),
        nodes=len(tree.tag),
        depth=deepest(written),
        attributes=max(map(len, own), default=0),
        options=max((len(section.split("<option")) for section in given_to.decode().split("<select")), default=0),
    )


def deepest(written: bytes) -> int:
    """Elements inside each other in what a parser wrote."""
    most, builder.MAX_DEPTH = builder.MAX_DEPTH, 30_000
    try:
        return int(builder.from_serialised(written).tree.depth.max())
    finally:
        builder.MAX_DEPTH = most


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_source_whatever_its_shape(shape):
    one, two = counted(SHAPES[shape](2_000)), counted(SHAPES[shape](4_000))
    for what in ("source", "written", "nodes"):
        assert two[what] <= 2.2 * one[what] + 100, (what, one, two)
    assert two["written"] <= 10 * len(SHAPES[shape](4_000)) + (1 << 17)
    assert two["depth"] <= 3 * bounds.MAX_DEPTH and two["attributes"] <= bounds.MAX_ATTRIBUTES
    assert two["options"] <= bounds.MAX_OPTIONS + 1


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"framesets as words"}))
def test_no_word_is_lost(shape):
    """The letters of the words, in the tree as in the source."""
    source = SHAPES[shape](1_500)
    assert words(build(source).tree, 0).count("w") == source.count("w")


@pytest.mark.parametrize("kind", ["x@>w</x@", "i a@>w</i"])
def test_names_in_no_table_are_bounded(kind):
    source = bound(many(3 * bounds.MAX_NAMES, f"<{kind}>w").encode()).source.decode()
    assert len(set(re.findall(r"<x\d+| a\d+", source))) == bounds.MAX_NAMES


def test_formatting_that_is_written_again_too_often_is_ended():
    """200 open elements of 5,000 bytes each would be written into each of 20,000 paragraphs."""
    source = many(50, "<p><b class=" + "x" * 5_000 + "@></p>") + many(20_000, "<p>w</p>") + "<p><b>end</b>"
    found = counted(source)
    assert found["written"] < 8 * len(source)
    assert bound(source.encode()).source.endswith(b"<p>w</p><p>end")


def repeated(dice: random.Random) -> str:
    """A prefix and a unit of one to six tags, some with attributes of their own, repeated 1,500 times."""

    def piece() -> str:
        kind, name = dice.random(), dice.choice(UNITS)
        if kind < 0.55:
            return f"<{name}{dice.choice(('', '', ' c=@', ' class=y'))}>"
        return f"</{name}>" if kind < 0.85 else dice.choice(("x", " ", "<!-- -->", "&amp;"))

    fore = "".join(piece() for _ in range(dice.randint(0, 3)))
    return fore + many(1_500, "".join(piece() for _ in range(dice.randint(1, 6))))


UNITS = (
    "p div b i a font nobr table tr td th tbody caption li ul ol dl dt dd select option optgroup button form span h1 h2 svg math mi "
    "title desc foreignObject template object applet marquee ruby rt body html head frameset textarea style script pre address section "
    "br img input x-y xz hr col colgroup annotation-xml em code iframe noscript"
).split()


def hold(seed: int) -> None:
    source = repeated(random.Random(seed))
    found = counted(source)
    assert found["depth"] <= 3 * bounds.MAX_DEPTH, source[:200]
    assert found["written"] <= 10 * len(source) + (1 << 18), source[:200]


@pytest.mark.parametrize("seed", (0, 15))
def test_units_repeated_are_bounded(seed):
    for each in range(seed, seed + 15):
        hold(each)


@pytest.mark.slow
def test_three_thousand_units_repeated_are_bounded():
    for seed in range(1_000, 4_000):
        hold(seed)


def read(source: str) -> list[tuple]:
    """What lexbor reads; of a frameset without blanks: a style or script is no element there, and blanks of its content, which is left out, are text."""
    return [node for node in lexbor(source) if "<frameset" not in source or node[1] is not None or node[2].strip()]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([piece for piece in PIECES if "svg" not in piece and "math" not in piece and "CDATA" not in piece and "<!--<" not in piece]), max_size=24).map("".join))  # fmt: skip
@example("<frameset><style>p > a {}</style>")
@example("<frameset><nosuch id=a>")
def test_an_ordinary_source_is_read_as_it_is_and_its_tags_are_those_of_the_tokenizer(source):
    found = bound(source.encode())
    assert read(found.source.decode()) == read(source) and not found.changes
    assert found.tags == tags.openings(source)


@settings(max_examples=100, deadline=None)
@given(st.text("<>/!-='\"& ap[divscriptemplate\n", max_size=80))
def test_any_text_is_read_as_it_is(source):
    assert lexbor(bound(source.encode()).source.decode()) == lexbor(source)


@pytest.mark.parametrize(
    "source, passes",
    [
        ("<p class=a>b</p><hr id='c'>", "<p class=a>b</p><hr id='c'>"),
        ("<p onclick='a>b' class=c data-x>d</p>", "<p  class=c >d</p>"),
        ("<p foo =\"1\"class='c'/bar=2>d</p foo>", "<p class='c'/>d</p >"),
        ("<a foo=1 href=x>y</a>", "<a  href=x>y</a>"),
        ("<b foo=1>y</b>", "<b foo=1>y</b>"),
        ("<style media=x>p {}</style>", "<style media=x></style>"),
        ("<script>a < b</script foo>", "<script></script >"),
        ("<script><!--<script>a</script>b--></script>c", "<script></script>c"),
        ("<script>a", "<script>"),
        ("<script type=text/json foo>{}</script>", "<script type=text/json ></script>"),
        ("<script type='application/LD+json'>{}</script>", "<script type='application/LD+json'>{}</script>"),
        ("<script type=application/ld&#43;json>{}</script>", "<script type=application/ld&#43;json>{}</script>"),
        ("<script type='math/tex; mode=display'>a</script>", "<script type='math/tex; mode=display'>a</script>"),
        ("<svg><style>a</style><path d=M0 /></svg>", "<svg><style>a</style><path  /></svg>"),
        ("<textarea><p foo=1></textarea><!-- <p foo=1> -->", "<textarea><p foo=1></textarea><!-- <p foo=1> -->"),
    ],
)
def test_what_no_reader_reads_is_left_out(source, passes):
    found = bound(source.encode())
    assert found.source.decode() == passes and not found.changes


@pytest.mark.parametrize(
    "source, hides",
    [("<p>a<!-- b", True), ("<p>a<!-- b -->", False), ("<p>a<!-->", False), ("<script>a", True), ("<script>a</script>", False), ("<p class='a>b", True),
     ("<title>x<p>y", True), ("<svg><title>x<p>y", False), ("<svg><![CDATA[<p>", False), ("<p title=a'>b", False)],
)  # fmt: skip
def test_a_token_that_reaches_to_the_end_unclosed_is_told(source, hides):
    assert bound(source.encode()).hides is hides


def test_what_an_unclosed_token_hides_is_read():
    paragraphs = many(5, "<p>word @</p>")
    for source in (f"<!-- a{paragraphs}", f"<script>a(){paragraphs}", f"<div class='a>b</div>{paragraphs}"):
        made = build(source)
        assert made.changes and "word 4" in render(made.tree).text


def test_a_source_of_too_many_tags_is_refused(monkeypatch):
    monkeypatch.setattr(builder, "MAX_TAGS", 100)
    build("<p>" * 100)
    with pytest.raises(TooComplex, match="101 tags, over 100"):
        build("<p>" * 101)


def test_options_beyond_the_limit_keep_their_words_and_the_page_behind_them():
    tree = build("<select>" + many(2_000, "<option>o@") + "</select><p>behind</p>").tree
    assert len(elements(tree, "option")) == bounds.MAX_OPTIONS
    assert "o1999" in words(tree, elements(tree, "select")[0]) and render(tree).text == "behind"


# -- mutants of pages --------------------------------------------------------------------------------------------------


def mutants(seed: int, count: int, pages: list[bytes]) -> None:
    dice = random.Random(seed)
    for _ in range(count):
        source, _ = mutate(dice.choice(pages), dice)
        text = source.decode("utf-8", "replace")
        made = build(text)
        whole(made.tree)
        assert len(made.tree.data) <= 10 * len(text.encode()) + (1 << 18)
        for markdown in (False, True):
            found = render(made.tree, markdown=markdown)
            assert all(0 <= span.start < span.end <= len(found.text) for span in found.spans)


def whole(tree: Flat) -> None:
    """What `test_build.sound` holds, for all nodes at once."""
    at = np.arange(1, len(tree.tag))
    above = tree.parent[1:]
    assert tree.parent[0] == -1 and tree.end[0] == len(tree.tag)
    assert (
        (above >= 0).all()
        and (above < at).all()
        and (at < tree.end[1:]).all()
        and (tree.end[1:] <= tree.end[above]).all()
    )
    assert (
        (tree.depth[1:] == tree.depth[above] + 1).all()
        and (tree.tag[above] != TAG["br"]).all()
        and (tree.tag[above] != 0).all()
    )


def page(dice: random.Random) -> bytes:
    """A page of ordinary parts."""
    parts = [
        "<nav><ul><li><a href='/a'>home</a></li></ul></nav>", "<table class='t'><tr><th>A</th><td>1 &amp; 2</td></tr></table>",
        "<pre><code>if a &lt; b:\n    pass</code></pre>", "<script>var a = '<p>';</script>", "<form><select><option>1<option selected>2</select></form>",
        "<!-- note -->", "<p>한국어 문장입니다.</p>", "<blockquote><p>quoted</p></blockquote>", "<dl><dt>term<dd>meaning</dl>",
        "<svg><title>t</title><path d='M0'/></svg>", "<math><mi>x</mi></math>", "<h2 id='b'>Head</h2>", "<p><b>bold <i>both</b> one</i></p>",
        "<div class='c'><img src='a.png' alt='x'><br>line</div>", "<ol start=3><li>three</li><li>four</li></ol>",
    ]  # fmt: skip
    body = "".join(dice.choice(parts) for _ in range(dice.randint(3, 25)))
    return f"<!doctype html><html lang=ko><head><meta charset=utf-8><title>t</title></head><body>{body}</body></html>".encode()


def test_three_hundred_mutants_give_sound_trees_and_text():
    dice = random.Random(7)
    mutants(11, 300, [page(dice) for _ in range(30)])


@pytest.mark.slow
def test_twenty_thousand_mutants_of_pages(unpacked):
    folder = unpacked("B-wcxb-dev-sample")
    real = sorted((path.read_bytes() for path in folder.rglob("*.html")), key=len)[:120]
    dice = random.Random(17)
    mutants(19, 20_000, real + [page(dice) for _ in range(120)])
