"""A page to a document: everything in one row, spans right, nothing kept that is no page."""

from __future__ import annotations

import json

import pytest


def block_words(document, kind):
    return [block["text"] for block in document.values["blocks"] if block["kind"] == kind]


def meta(document):
    return {entry["key"]: entry["value"] for entry in document.values["meta"]}


FAQ = {
    "@context": "https://schema.org", "@type": "FAQPage",
    "mainEntity": [
        {"@type": "Question", "name": "맷돌은 무엇인가요?", "acceptedAnswer": {"@type": "Answer", "text": "<p>곡식을 가는 <b>돌</b>입니다.</p>"}},
        {"@type": "Question", "name": "Hidden?", "acceptedAnswer": {"@type": "Answer", "text": "Not in the text."}},
    ],
}  # fmt: skip


def test_a_whole_page(page, prose):
    html = f"""<html lang="ko-KR"><head><title>맷돌 이야기 | 마을</title><link rel="canonical" href="/stone"><meta name="robots" content="noai">
    <meta property="article:published_time" content="2024-05-06"><script type="application/ld+json">{json.dumps(FAQ)}</script></head><body>
    <nav><a href="/">Home</a> <a href="/x">Cookie settings</a></nav><article><h1>맷돌 이야기</h1><p>{prose(8)}</p><h2>맷돌은 무엇인가요?</h2>
    <p>곡식을 가는 돌입니다.</p><ul><li>{prose(2)}</li><li>two</li></ul><pre>x = 1\ny = 2</pre>
    <dl><dt>quern</dt><dd>a hand mill</dd></dl></article>
    <footer><a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY</a></footer></body></html>"""
    document = page(
        html, url="http://www.x.example/stone?id=1", date="2026-01-02T03:04:05Z", headers=(("x-robots-tag", "noindex"),)
    )
    values = document.values
    assert values["title"] == "맷돌 이야기" and values["lang"] == "ko" and values["url"] == "http://www.x.example/stone"
    assert (
        values["date"] == "2026-01-02T03:04:05Z"
        and values["licence"] == "CC-BY-4.0"
        and values["signals"] == ["noai", "noindex"]
    )
    assert "Cookie settings" not in values["text"] and "곡식을 가는 돌입니다." in values["text"]
    assert meta(document) | {
        "charset": "utf-8",
        "published": "2024-05-06",
        "fetched_url": "http://www.x.example/stone?id=1",
    } == meta(document)
    assert block_words(document, "question") == ["맷돌은 무엇인가요?", "Hidden?"]
    groups = {b["text"]: b["group"] for b in values["blocks"] if b["group"] is not None}
    assert (
        groups["맷돌은 무엇인가요?"]
        == groups["곡식을 가는 돌입니다."]
        != groups["Hidden?"]
        == groups["Not in the text."]
    )
    for block in values["blocks"]:
        if block["start"] is not None:
            assert values["text"][block["start"] : block["end"]] == block["text"]
    standing = {block["text"] for block in values["blocks"] if block["start"] is not None}
    assert {
        "맷돌은 무엇인가요?",
        "곡식을 가는 돌입니다.",
        "quern",
        "a hand mill",
    } <= standing and "Not in the text." not in standing
    assert (
        block_words(document, "code") == ["x = 1\ny = 2"] and len(block_words(document, "list")) == 2
    )  # one of definitions


def test_a_page_without_main_text_is_kept_for_its_questions(page):
    script = f'<script type="application/ld+json">{json.dumps(FAQ)}</script>'
    document = page(f"<html><body>{script}</body></html>")
    assert document.reason is None and document.values["text"] == "" and len(document.values["blocks"]) == 4
    assert page("<html><body><div></div></body></html>").reason == "ingest.no_main_text"


def test_empty_bytes(page):
    assert page(b"").reason == page(b"  \n").reason == "ingest.empty"


def test_cp949_without_meta_reads_right(page, prose):
    korean = "아침마다 방앗간에서는 맷돌이 돌고 곡식이 곱게 갈린다. 펲시콜라 똠방각하도 그대로 읽힌다. " * 6
    document = page(f"<html><body><h1>방앗간</h1><p>{korean}</p></body></html>".encode("cp949"))
    assert (
        "펲시콜라 똠방각하도" in document.values["text"]
        and meta(document)["charset"] == "cp949"
        and meta(document)["charset_from"] == "detector"
    )
    assert document.metrics["charset.fallbacks"] == document.metrics["charset.replaced"] == 0


def test_bad_bytes_are_counted_and_noted(page, prose):
    document = page(b'<meta charset="utf-8"><body><p>' + prose(12).encode() + b"\xff\xfe bad</p>")
    assert document.metrics["charset.replaced"] >= 1 and document.note.startswith("ingest.bad_utf8")


def test_hidden_markup_is_no_text(page, prose):
    document = page(
        f"<body><article><p>{prose()}</p><script>var secret</script><style>.a{{}}</style><p>end of it all.</p></article>"
    )
    assert "secret" not in document.values["text"] and document.values["text"].endswith("end of it all.")


@pytest.mark.parametrize(
    "body", ["{one}\n\n{two}", "<p>{one}</p><p>{two}</p>", "&lt;p&gt;{one}&lt;/p&gt;&lt;p&gt;{two}&lt;/p&gt;"]
)
def test_an_article_that_is_only_stated_is_the_text_of_a_page_that_shows_none(page, prose, body):
    stated = {"@type": "NewsArticle", "articleBody": body.format(one=prose(3), two=prose(5)), "description": prose(9)}
    script = f'<script type="application/ld+json">{json.dumps(stated)}</script>'
    document = page(f"<head>{script}</head><body><div id=app></div>")
    assert document.values["text"] == f"{prose(3)}\n\n{prose(5)}" and meta(document)["extractor"] == "stated"
    assert block_words(document, "paragraph") == [prose(3), prose(5)]
    shown = page(f"<head>{script}</head><body><article><p>{prose(8)}</p></article>")
    assert shown.values["text"] == prose(8) and meta(shown)["extractor"] == "learned"


def test_a_title_is_its_words_without_the_styles_and_scripts_in_it(page, prose):
    html = f"<body><h1><style>.a{{b:c}}</style>Mill<script>d()</script> stones</h1><p>{prose(8)}</p>"
    assert page(html).values["title"] == "Mill stones"


def test_extract_all_keeps_navigation(page, prose):
    html = f"<body><nav>Menu words</nav><article><p>{prose()}</p></article></body>"
    assert "Menu words" in page(html, "all").values["text"] and "Menu words" not in page(html).values["text"]
    assert meta(page(html, "all"))["extractor"] == "all"


def test_post_given_by_an_item_is_not_given_again_by_the_layout(page, prose):
    post = '<div itemscope itemtype="https://schema.org/Comment"><div itemprop="text" class="comment-body"><p>{}</p></div></div>'
    document = page("<body>" + post.format(prose(4) + " one") + post.format(prose(5) + " two"))
    assert sorted(words[-3:] for words in block_words(document, "post")) == ["one", "two"]


@pytest.mark.parametrize("extract", ["main", "all"])
def test_a_page_is_parsed_once(page, prose, monkeypatch, extract):
    """Everything of it is read from the flat tree: no second tree, nothing written out and parsed again."""
    from lxml import etree

    from stages.ingest.html import page as pages

    html = (
        f'<html lang=ko><head><title>Mill</title><meta name=robots content=noai><script type="application/ld+json">{json.dumps(FAQ)}</script></head>'
        f'<body><h1>Mill</h1><p>{prose(8)}</p><dl><dt>quern</dt><dd>a mill</dd></dl><div itemscope itemtype="https://schema.org/Comment">'
        '<p itemprop=text>fine</p></div><a rel=license href="https://creativecommons.org/licenses/by/4.0/">CC</a></body></html>'
    )
    built = []
    made = pages.build
    monkeypatch.setattr(pages, "build", lambda source: built.append(source) or made(source))
    for name in ("fromstring", "HTML", "tostring", "iterwalk"):
        monkeypatch.setattr(etree, name, None)
    document = page(html, extract)
    assert (
        built in ([html], [html.encode()])
        and document.values["signals"] == ["noai"]
        and document.values["licence"] == "CC-BY-4.0"
    )
    assert {block["kind"] for block in document.values["blocks"]} >= {"question", "term", "post"}
