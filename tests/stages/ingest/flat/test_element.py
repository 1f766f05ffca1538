"""The readers of items, structure, card, licence and signals give the same over a flat tree as over lxml's."""

from __future__ import annotations

import pytest

from stages.ingest import charset
from stages.ingest.flat.build import build
from stages.ingest.flat.element import Element
from stages.ingest.flat.find import having
from stages.ingest.flat.names import names_of
from stages.ingest.flat.tree import elements
from stages.ingest.html.render import render
from stages.ingest.html.walk import walk
from tests.bench.ingest.korean.pages import made
from tests.bench.ingest.two_trees import both, differing

HEAD = (
    '<html lang="ko-KR"><head><title>Grinding well - Mill</title><meta property="og:title" content="Grinding well"><link rel="canonical" href="/c">'
    '<meta name="robots" content="noindex, max-snippet:3"><meta name="article:published_time" content="2024-05-01"><link rel="license" '
    'href="https://creativecommons.org/licenses/by/4.0/"><script type="application/ld+json">{"@type": "FAQPage", "headline": "Grinding", '
    '"mainEntity": [{"@type": "Question", "name": "How &amp; why?", "acceptedAnswer": {"@type": "Answer", "text": "<p>So.</p><p>And so.</p>"}}]}</script></head>'
)
PARTS = {
    "nothing": "<p>text</p>",
    "microdata": '<div itemscope itemtype="https://schema.org/FAQPage"><div itemscope itemprop="mainEntity" itemtype="https://schema.org/Question"><h3 itemprop="name">Why?</h3>'
    '<div itemscope itemprop="acceptedAnswer" itemtype="https://schema.org/Answer"><div itemprop="text"><p>One<b>two</b></p><ul><li>a<li>b</ul><script>x</script></div></div></div></div>',
    "itemref": '<div itemscope itemtype="https://schema.org/Question" itemref="n a"></div><p id="n" itemprop="name">Late?</p><div id="a"><span itemprop="acceptedAnswer" itemscope '
    'itemtype="https://schema.org/Answer"><span itemprop="text">Yes</span></span></div>',
    "rdfa": '<div vocab="https://schema.org/" typeof="Question"><button><span property="name">Folded?</span></button><div property="acceptedAnswer" typeof="Answer"><div property="text">Unfolded.</div></div></div>',
    "definitions": "<dl><dt>a</dt><dt>b</dt><dd>one</dd><dd>two</dd><div><dt>c</dt><dd><p>three</p><p>four</p></dd></div></dl>",
    "details": "<details><summary>More <b>here</b></summary><p>inside</p><pre>x\n y</pre></details>",
    "posts": '<div class="post-body">first <a href=x>post</a></div><nav><div class="post-body">no</div></nav><div id="post_message_12">second<br>line</div>',
    "a licence by a link": '<h1>Grinding well</h1><a href="https://creativecommons.org/publicdomain/zero/1.0/">CC0</a>',
}


@pytest.mark.parametrize("part", PARTS)
def test_readers_give_the_same_over_both_trees(part):
    for head in ("", HEAD):
        flat, walked = both(f"{head}<body>{PARTS[part]}</body>")
        assert flat == walked
        assert bool(head) == (flat["language"] == "ko")
        assert part == "nothing" or flat["items"] or flat["structure"] or flat["licence"]


def test_readers_give_the_same_over_made_up_korean_pages():
    seen = set()
    for page in made(each=1):
        flat, walked = both(charset.decode(page.html, None).text)
        assert flat == walked, page.name
        seen |= {field for field in flat if flat[field]}
    assert seen >= {"structure", "title", "language"}


def test_a_walk_meets_each_element_twice_and_skips_what_it_is_told():
    tree = build("<div><p>a<b>c</b></p>d<ul><li>e</ul></div>").tree
    every = elements(tree)
    events = [(event, element.tag) for event, element in Element(tree, 3).walk(every)]
    assert events == [
        ("start", "div"),
        ("start", "p"),
        ("start", "b"),
        ("end", "b"),
        ("end", "p"),
        ("start", "ul"),
        ("start", "li"),
        ("end", "li"),
        ("end", "ul"),
        ("end", "div"),
    ]
    some = [at.node for name in ("li", "p", "html") for at in Element(tree).iter(name)]
    assert [(event, element.tag) for event, element in Element(tree, 3).walk(some)] == [
        ("start", "p"),
        ("end", "p"),
        ("start", "li"),
        ("end", "li"),
    ]
    found, events = [], walk(Element(tree, 3), lambda _: every)
    for event, element in events:
        found.append((event, element.tag))
        if event == "start" and element.tag == "p":
            events.skip_subtree()
    assert ("start", "b") not in found and found[1:3] == [("start", "p"), ("end", "p")] and found[-1] == ("end", "div")


def test_elements_are_found_by_words_and_parts_of_their_attributes():
    """As the loop over all elements finds them; a range, letters of another case, and a name repeated on an element."""
    source = (
        '<div class="Post-Body x" id=msg_1><p class="post-bodyy">a</p><a rel="nofollow LICENSE" href=1>b</a></div>'
        '<span class="x\tpost-body"></span><a class="xpost-body" rel=licence>c</a><i class=y class="post-body">d</i>'
    )
    root = Element(build(source).tree)
    every = list(root.iter())
    words = names_of(("post-body", "cooked"))
    slow = [at.node for at in every if {"post-body", "cooked"} & set((at.get("class") or "").lower().split())]
    assert having(root.tree, "class", words).tolist() == slow and len(slow) == 2
    assert [at.get("rel") for at in root.having("rel", "licen")] == ["nofollow LICENSE", "licence"]
    assert root.attributes("a") == [{"rel": "nofollow LICENSE", "href": "1"}, {"class": "xpost-body", "rel": "licence"}]
    assert [div.attributes("a") for div in root.iter("div")] == [[{"rel": "nofollow LICENSE", "href": "1"}]]
    assert root.attributes("em") == [] and root.attributes("html") == [{}]
    assert [at.node for at in root.having("class")] == [at.node for at in every if at.get("class") is not None]
    assert [at.tag for at in next(root.iter("div")).having("class")] == ["div", "p"]


def test_an_element_is_rendered_by_itself_though_one_around_it_is_hidden():
    root = Element(build("<button>a<span>b</span><svg>c</svg></button>").tree)
    button, span = next(root.iter("button")), next(root.iter("span"))
    assert render(root).text == "" and render(span).text == "b" and render(button).text == "ab"
    assert render(button, omit=span).text == "a" and button.texts("svg") == ["a", "b"]


@pytest.mark.slow
def test_readers_give_the_same_over_real_pages(unpacked):
    """libxml2 and lexbor mend broken markup differently: a few pages may differ, in what stands in broken parts."""
    pages = sorted(unpacked("B-wcxb-dev-sample").rglob("*.html")) + sorted(unpacked("B-aeb-61").rglob("*.html"))
    found = [
        (path.name, field) for path in pages for field, _, _ in differing(path.read_bytes().decode("utf-8", "replace"))
    ]
    assert len(found) <= 0.03 * len(pages), found
