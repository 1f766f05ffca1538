"""Bounded trees: nothing is lost on broken pages, and no shape of page makes the work grow faster than its size."""

from __future__ import annotations

import pytest
from lxml import etree

from stages.ingest.html.tree import MAX_DEPTH, bound, parse


def text(source: str) -> str:
    return " ".join("".join(parse(source).root.itertext()).split())


def depth(root) -> int:
    here = most = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        here += 1 if event == "start" else -1
        most = max(most, here)
    return most


@pytest.mark.parametrize(
    "source",
    [
        "<html><body><p>a</p></body></html>tail <p>b</p>",
        "<html><body><p>a</p></body>tail <p>b</p></html>",
        "<html><body><p>a </p></body></html><html><head><title></title></head><body>tail <p>b</p></body></html>",
        "<p>a</p> tail <p>b</p>",
    ],
)
def test_what_follows_the_end_is_taken_in_again_in_order(source):
    tree = parse(source)
    assert text(source).split() == ["a", "tail", "b"] or text(source).replace(" ", "") == "atailb"
    assert [child.tag for child in tree.root] == ["head", "body"]


def test_a_second_head_joins_the_first():
    tree = parse("<html><body>a</body></html><html><head><title>late</title></head><body>b</body></html>")
    assert tree.head.findtext("title") == "late" and "".join(tree.body.itertext()) == "ab"


@pytest.mark.parametrize("source", ["", "  ", "<!-- only a comment -->", "\x00"])
def test_nothing_gives_no_tree(source):
    assert parse(source) is None or not "".join(parse(source).root.itertext()).strip()


@pytest.mark.parametrize("tag", ["div", "span", "b", "font", "blockquote", "ul><li", "table><tr><td", "custom-element"])
def test_endless_nesting_keeps_every_word_and_is_flattened(tag):
    words = 5000
    source = "".join(f"<{tag}>w{i} " for i in range(words)) + "end"
    tree = parse(source)
    assert len("".join(tree.root.itertext()).split()) == words + 1
    assert tree.bounded and depth(tree.root) <= 4 * MAX_DEPTH


def test_a_tag_of_endless_attributes_loses_them_and_nothing_else():
    source = "<p " + " ".join(f'a{i}="x>y"' for i in range(20_000)) + ">hello</p><p class=k>b</p>"
    tree = parse(source)
    assert "".join(tree.root.itertext()) == "hellob" and tree.root.find(".//p[@class]") is not None
    assert len(tree.root.find(".//p").attrib) == 0


def test_a_long_attribute_is_kept():
    source = f'<img data-x="{"word " * 20_000}" alt="y"><p>a</p>'
    kept, changed = bound(source)
    assert not changed and kept == source


def test_words_that_look_like_tags_in_scripts_and_comments_are_not_counted():
    source = "<script>" + "<div>" * 1000 + "</script><!--" + "<div>" * 1000 + "--><p>a</p>" + "<i></i>" * 100
    assert bound(source) == (source, False)


def test_closing_tags_of_dropped_tags_go_too():
    source = "<div>" * 300 + "a" + "</div>" * 300 + "<p>b</p>"
    kept, _ = bound(source)
    assert kept.count("<div>") == kept.count("</div>") == MAX_DEPTH


def test_control_characters_become_blanks():
    assert text("<p>a\x01b\x0bc\ufffe</p>") == "a b c"


def test_measures():
    tree = parse("<html><head></head><body><p>a</p></body></html>")
    assert tree.nodes == 4 and tree.weight == 1 + 2 + 2 + 3
