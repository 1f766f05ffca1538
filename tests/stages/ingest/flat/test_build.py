"""The flat tree against lexbor's own, node by node: composed and drawn sources, and every real page at hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.flat import build as builder
from stages.ingest.flat.bound import bound
from stages.ingest.flat.build import as_parsed, build
from stages.ingest.flat.names import ATTRIBUTE, ATTRIBUTES, ELEMENTS, TAG, attribute_of, tag_of
from stages.ingest.flat.tree import Flat, children, name, text_at, value, words
from stages.ingest.html import tags

POINTS = ("foreignobject", "desc", "title", "mi", "mo", "mn", "ms", "mtext", "annotation-xml")
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32)], " ")


def is_unread(node) -> bool:
    """Is it a style, or a script of neither JSON-LD nor TeX, whose content is not parsed? In SVG and MathML such names mean nothing."""
    if node.tag not in ("script", "style") or re.search("ld|math", node.getattr("type") or "", re.I):
        return False
    above = node.parent
    while above is not None and above.type == node.type and above.tag.lower() not in POINTS:
        if above.tag.lower() in ("svg", "math"):
            return False
        above = above.parent
    return True


def lexbor(source: str) -> list[tuple]:
    """(depth, name or None for text, attributes or text) of each node but what a template holds and what nothing reads, walked one by one."""
    from resiliparse.parse.html import HTMLTree, NodeType

    found, depth = [], 0
    tree = HTMLTree.parse(source)
    node = tree.document.first_child
    while node is not None:
        if node.type == NodeType.TEXT:
            found.append((depth, None, node.value.translate(CONTROLS)))
        elif node.type == NodeType.ELEMENT:
            given = {}
            for each in node.attrs:
                if each.lower() in ATTRIBUTE:
                    given.setdefault(each.lower(), (node.getattr(each) or "").translate(CONTROLS))
            found.append((depth, node.tag.lower() if node.tag.lower() in TAG else "", given))
            if node.first_child is not None and not is_unread(node):
                node, depth = node.first_child, depth + 1
                continue
        while node is not None and node.next is None:
            node, depth = node.parent, depth - 1
        node = node.next if node is not None and depth >= 0 else None
    return found


def flat(tree: Flat) -> list[tuple]:
    found, at = [], 0
    while at < len(tree.tag):
        if tree.tag[at] == 0:
            found.append((int(tree.depth[at]), None, words(tree, at)))
        else:
            given: dict[str, str] = {}
            for i in range(tree.first[at], tree.last[at]):
                given.setdefault(ATTRIBUTES[tree.attribute[i]], text_at(tree, tree.begin[i], tree.stop[i]))
            found.append((int(tree.depth[at]), name(tree, at), given))
        at = int(tree.end[at]) if name(tree, at) == "template" else at + 1
    return found


def sound(tree: Flat) -> None:
    """What holds of every flat tree: parents before children, subtrees nested, depths one apart, ranges in the arena."""
    assert tree.parent[0] == -1 and tree.end[0] == len(tree.tag) and name(tree, 0) == "html"
    for at in range(1, len(tree.tag)):
        above = int(tree.parent[at])
        assert 0 <= above < at < tree.end[at] <= tree.end[above]
        assert tree.depth[at] == tree.depth[above] + 1 and tree.tag[above] != 0
        if tree.tag[at] == 0:
            assert tree.end[at] == at + 1 and 0 <= tree.first[at] < tree.last[at] <= len(tree.data)


PIECES = [
    "<p>", "</p>", "<div class='a b' id=x>", "</div>", "<b>", "</b>", "<a href='?a=1&amp;copy=2'>", "</a>", "<table>", "<tr>", "<td>", "</table>",
    "<ul>", "<li>", "</ul>", "<select>", "<option>", "<br>", "<img alt=\"'&quot;<>\" src=x>", "<script>if (a < b) '</scr'</script>",
    "<script type='application/LD&#43;json'>{}</script>", "<script type=math/tex>a<b</script>", "<script type=module foo>", "<b c=1 foo=2>", "<p foo='a>b' bar/>",
    "<script><!--<script>x</script>y--></script>", "<style>p > a {}</style>", "<textarea>a < b", "</textarea>", "<title>t &lt; u</title>",
    "<!-- a > b -->", "<!-->", "<!doctype html>", "<?php echo '>' ?>", "<![CDATA[x]]>", "<svg><title>s</title><style>a</style></svg>",
    "<math><mi>x</mi></math>", "<noscript><p>n</noscript>", "<template><p>t</template>", "<iframe><b></iframe>", "<xmp><b>&lt;</xmp>",
    "<h2 =x a\"='1'>", "<x-y data-id=1>", "</p <div", "&amp;lt;", "&nbsp;", "&#1;", "\x0c", "\x01", "&", "<", "a", " ", "\n", "한글", "é", "</html>", "</body>",
    "<body lang=ko>", "<html lang=en>", "<head>", "<meta charset=x>", "<form>", "<button>", "<dl><dt>", "<dd>", "<pre>\n\n", "</pre>", "<frameset>",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_the_tree_is_lexbors(source):
    made = as_parsed(source)
    assert flat(made.tree) == lexbor(tags.repaired(source) if made.changes else source)
    sound(made.tree)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60), st.text("<>/!-='\"& a\n", max_size=60))
def test_any_text_gives_a_sound_tree(one, other):
    sound(build(one + other).tree)


@settings(max_examples=100, deadline=None)
@given(st.text("<>/!-='\"& apdivscriptemplate\n", max_size=80))
def test_what_no_parser_wrote_is_cut_without_leaving_the_arena(inside):
    sound(builder.from_serialised(f"<html>{inside}".encode()).tree)


@pytest.mark.parametrize(("names", "of", "first"), [(ELEMENTS, tag_of, 2), (ATTRIBUTES, attribute_of, 0)])
def test_every_name_is_found_and_others_are_not(names, of, first):
    for i, word in enumerate(names, first):
        for spelt in (word, word.upper()):
            assert of(np.frombuffer(spelt.encode(), np.uint8), 0, len(word)) == i
        for other in (word + "z", word[:-1] + "\x7f", "z" + word):
            data = np.frombuffer(other.encode(), np.uint8)
            assert of(data, 0, len(other)) == (-1 if first == 0 else 1), other


def test_values_words_and_children():
    tree = build("<p class='x &amp; y'>a&lt;<b>b</b>c<img alt='&quot;'></p>").tree
    paragraph = tree.tag.tolist().index(TAG["p"])
    assert value(tree, paragraph, "class") == "x & y" and value(tree, paragraph, "id") is None
    assert words(tree, paragraph) == "a<bc"
    assert [name(tree, at) for at in children(tree, paragraph)] == ["", "b", "", "img"]
    assert value(tree, paragraph + 5, "alt") == '"'


def test_elements_beyond_the_depth_are_no_nodes_and_their_text_is_kept():
    many = builder.MAX_DEPTH + 40
    made = builder.from_serialised(f"<html>{'<div>' * many}deep{'</div>' * many}<p>after</p></html>".encode())
    sound(made.tree)
    assert made.flattened == many + 1 - builder.MAX_DEPTH and made.tree.depth.max() == builder.MAX_DEPTH
    assert words(made.tree, 0) == "deepafter"


def test_bytes_are_utf_8():
    assert words(build("<p>맷돌 a</p>".encode()).tree, 0) == words(build("<p>맷돌 a</p>").tree, 0) == "맷돌 a"


def test_a_lone_surrogate_is_replaced():
    assert words(build("a\ud800b").tree, 0) == "a?b"


@pytest.mark.slow
def test_every_real_page_is_lexbors(unpacked):
    for path in sorted(unpacked("B-wcxb-dev-sample").rglob("*.html")) + sorted(unpacked("B-aeb-61").rglob("*.html")):
        source = path.read_bytes().decode("utf-8", "replace")
        made = as_parsed(source)
        assert flat(made.tree) == lexbor(source if not made.changes else bound(source.encode()).source.decode()), (
            path.name
        )
