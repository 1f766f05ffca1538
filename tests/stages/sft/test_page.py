"""What a page knows of itself."""

import pytest

from stages.sft.page import Page, TextSpan, language


@pytest.mark.parametrize(
    "text,lang",
    [("맷돌은 stone mill이다", "ko"), ("A stone mill", "en"), ("石臼は道具です", None), ("123 !?", None), ("", None)],
)
def test_language_by_letters(text, lang):
    assert language(text) == lang


def test_the_rows_own_language_wins(page_row):
    assert Page(page_row("Ein Satz auf Deutsch", lang="de"), 1).lang is None
    assert Page(page_row("맷돌", lang="ko-KR"), 1).lang == "ko"
    assert Page(page_row("A mill"), 1).lang == "en"


def test_sections_nest(page_row):
    text = "A\none\nB\ntwo\nC\nthree\nD\nfour"
    page = Page(
        page_row(
            text,
            [
                ("heading", "A", None, 1),
                ("heading", "B", None, 2),
                ("heading", "C", None, 3),
                ("heading", "D", None, 2),
            ],
        ),
        1,
    )
    assert [(s.heading, page.cut(s.own), page.cut(s.body)) for s in page.sections] == [
        ("A", "one", "one\nB\ntwo\nC\nthree\nD\nfour"), ("B", "two", "two\nC\nthree"), ("C", "three", "three"), ("D", "four", "four"),
    ]  # fmt: skip


def test_a_block_whose_span_lies_elsewhere_loses_its_position(page_row):
    row = page_row("Some text here", [("question", "text", 0)])
    row["blocks"][0] |= {"text": "other", "start": 5, "end": 9}
    assert Page(row, 1).blocks[0].span is None
    row["blocks"][0] |= {"text": "text", "start": 5, "end": 900}
    assert Page(row, 1).blocks[0].span is None


def test_attach_ignores_white_space_and_prefers_what_follows(page_row):
    page = Page(page_row("One two.\nOne  two.\n\nThree"), 1)
    assert page.attach("One two.") == TextSpan(0, 8)
    assert page.cut(page.attach("One two.", 3)) == "One  two."
    assert page.attach("four") is None and page.attach(" ") is None


def test_dice_depend_on_seed_row_and_purpose_alone(page_row):
    a, b = Page(page_row("x", id="a" * 32), 7), Page(page_row("y", id="a" * 32), 7)
    assert a.dice("p").random() == b.dice("p").random()
    assert (
        len(
            {
                a.dice("p").random(),
                a.dice("q").random(),
                Page(page_row("x", id="a" * 32), 8).dice("p").random(),
                Page(page_row("x", id="b" * 32), 7).dice("p").random(),
            }
        )
        == 4
    )


@pytest.mark.parametrize(
    "url,host", [("https://Example.COM:8080/a", "example.com"), (None, "dump"), ("http://[broken", "dump")]
)
def test_host(page_row, url, host):
    assert Page(page_row("x", url=url) | {"source": "dump/file.jsonl"}, 1).host == host


def test_paragraphs_without_blocks(page_row):
    page = Page(page_row("# Head\n\nFirst para\nwith a line.\n\n```\n\ncode\n\n```\n\nLast."), 1)
    assert [page.cut(s) for s in page.paragraphs] == ["First para\nwith a line.", "Last."]
