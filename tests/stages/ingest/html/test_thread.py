"""A discussion's text is its posts; with trafilatura beside them nothing else is."""

from __future__ import annotations

import json

POST = '<li class="message"><div class="user">Hanna, miller since 2001, 3,141 posts</div><div class="bbWrapper"><p>{}</p></div><div>Like Reply</div></li>'


def by(document):
    return next(entry["value"] for entry in document.values["meta"] if entry["key"] == "extractor")


def test_posts_in_order_without_cards(page, prose):
    posts = [f"Post number {i} says this. {prose(3)}" for i in range(4)]
    source = (
        "<body><nav><a href=/>Forum</a></nav><h1>Thread</h1><ul>" + "".join(POST.format(p) for p in posts) + "</ul>"
    )
    places = [page(source).values["text"].find(post) for post in posts]
    assert places == sorted(places) and places[0] >= 0 and "Forum" not in page(source).values["text"]
    document = page(source, "trafilatura")
    assert by(document) == "thread" and document.values["text"] == "\n\n".join(posts)
    standing = [b for b in document.values["blocks"] if b["kind"] == "post"]
    assert [b["text"] for b in standing] == posts and all(b["start"] is not None for b in standing)


def test_what_schema_says_is_a_thread(page, prose):
    answer = '<div itemprop="suggestedAnswer" itemscope itemtype="https://schema.org/Answer"><i>5 votes</i><div itemprop="text">{}</div></div>'
    html = f"""<body itemscope itemtype="https://schema.org/QAPage"><div itemprop="mainEntity" itemscope itemtype="https://schema.org/Question">
    <h1 itemprop="name">Why?</h1><div itemprop="text">{prose(3)}</div>{answer.format("First. " + prose(2))}{answer.format("Second. " + prose(2))}</div>"""
    assert all(words in page(html).values["text"] for words in ("sack number 2", "First.", "Second."))
    document = page(html, "trafilatura")
    assert by(document) == "thread" and "votes" not in document.values["text"] and "Second." in document.values["text"]


def test_questions_of_an_article_make_no_thread(page, prose):
    faq = '<div itemscope itemtype="https://schema.org/Question"><h3 itemprop="name">Q?</h3><p itemprop="acceptedAnswer" itemscope itemtype="https://schema.org/Answer"><span itemprop="text">{}</span></p></div>'
    html = f'<body itemscope itemtype="https://schema.org/FAQPage"><article><p>{prose(20)}</p></article>{faq.format(prose(3))}{faq.format(prose(4))}'
    assert by(page(html, "trafilatura")) != "thread"


def test_a_blog_with_comments_is_no_thread(page, prose):
    comment = '<div class="comment-body"><p>{}</p></div>'
    html = (
        f"<body><article><h1>Blog</h1><p>{prose(20)}</p></article>"
        + comment.format(prose(3))
        + comment.format(prose(2))
    )
    assert by(page(html, "trafilatura")) != "thread" and "sack number 19" in page(html, "trafilatura").values["text"]


def test_class_words_in_a_small_corner_do_not_take_over(page, prose):
    html = (
        f"<body><article>{''.join(f'<p>{prose(12)} {i}</p>' for i in range(9))}</article>"
        + '<div class="message-body">Write to us about this now.</div>' * 2
    )
    assert by(page(html, "trafilatura")) != "thread"


def test_a_post_in_json_alone_is_a_block(page, prose):
    value = [
        {"@type": "DiscussionForumPosting", "text": "Said in JSON only."},
        {"@type": "Comment", "text": "And answered."},
    ]
    document = page(f'<body><p>{prose()}</p><script type="application/ld+json">{json.dumps(value)}</script>')
    assert [b["text"] for b in document.values["blocks"] if b["kind"] == "post"] == [
        "Said in JSON only.",
        "And answered.",
    ]
