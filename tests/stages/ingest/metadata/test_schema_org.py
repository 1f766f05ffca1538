"""What items mean: every answer of every question, steps, posts, the page's own card."""

from __future__ import annotations

import json

from stages.ingest.html.tree import parse
from stages.ingest.metadata.items import read_items
from stages.ingest.metadata.schema_org import card, groups, text_of


def made(value=None, html: str = "") -> list[list[tuple[str, str]]]:
    script = (
        f'<script type="application/ld+json">{json.dumps(value).replace("</", chr(60) + chr(92) + "/")}</script>'
        if value is not None
        else ""
    )
    found = groups(read_items(parse(f"<body>{html}{script}<p>x</p>").root))
    return [[(fact.kind, fact.text) for fact in group.facts] for group in found]


def question(name, *answers, **more):
    return {
        "@type": "Question",
        "name": name,
        "acceptedAnswer": [{"@type": "Answer", "text": a} for a in answers],
        **more,
    }


def test_all_answers_are_kept_and_same_questions_stay_two():
    value = {
        "@type": "FAQPage",
        "mainEntity": [question("맷돌이 뭔가요?", "돌이다.", "연장이다."), question("맷돌이 뭔가요?", "다른 답.")],
    }
    assert made(value) == [
        [("question", "맷돌이 뭔가요?"), ("accepted_answer", "돌이다."), ("accepted_answer", "연장이다.")],
        [("question", "맷돌이 뭔가요?"), ("accepted_answer", "다른 답.")],
    ]


def test_accepted_and_suggested_answers_are_told_apart_and_repeats_taken_once():
    value = question(
        "Why?", "Best.", suggestedAnswer=[{"text": "Other."}, {"text": "best"}, {"text": ""}], text="In detail."
    )
    assert made(value) == [[("question", "Why?\n\nIn detail."), ("accepted_answer", "Best."), ("answer", "Other.")]]


def test_html_in_answers_is_rendered_and_scripts_go():
    value = question(
        "A &amp; B?",
        "<p>One</p><script>evil()</script><ul><li>a<li>b</ul>&lt;tag&gt;",
        "&lt;p&gt;escaped&lt;/p&gt; twice",
        "5 < 6 and 7 > 3",
    )
    facts = made(value)[0]
    assert facts == [
        ("question", "A & B?"), ("accepted_answer", "One\n\n- a\n- b\n\n<tag>"), ("accepted_answer", "escaped\n\ntwice"), ("accepted_answer", "5 < 6 and 7 > 3"),
    ]  # fmt: skip


def test_one_question_in_two_syntaxes_is_one():
    html = """<div itemscope itemtype="https://schema.org/Question"><h3 itemprop="name">Why?</h3><div itemprop="acceptedAnswer" itemscope
    itemtype="https://schema.org/Answer"><div itemprop="text">Because <b>it</b> is.<script>x</script></div></div></div>"""
    assert made(question("Why?", "Because it is."), html) == [
        [("question", "Why?"), ("accepted_answer", "Because it is.")]
    ]


def test_a_question_without_answer_and_an_answer_without_question_are_nothing():
    assert (
        made(
            [
                {"@type": "Question", "name": "Alone?"},
                {"@type": "Answer", "text": "alone"},
                question("", "x"),
                question("x", None),
            ]
        )
        == []
    )


def test_steps_of_sections_directions_and_plain_strings():
    value = {
        "@type": "HowTo", "name": "Grind barley",
        "step": [
            {"@type": "HowToSection", "name": "First", "itemListElement": [{"@type": "HowToStep", "text": "Wash it."}, {"@type": "HowToStep", "name": "Dry it."}]},
            "Turn the stone.",
            {"@type": "HowToStep", "name": "Sieve", "itemListElement": [{"@type": "HowToDirection", "text": "twice"}]},
        ],
    }  # fmt: skip
    found = made(value)[0]
    assert found == [
        ("heading", "Grind barley"),
        ("step", "Wash it."),
        ("step", "Dry it."),
        ("step", "Turn the stone."),
        ("step", "Sieve"),
    ]


def test_posts_and_their_headline():
    value = [
        {
            "@type": "DiscussionForumPosting",
            "headline": "On querns",
            "text": "First post.",
            "comment": [{"@type": "Comment", "text": "Second."}],
        }
    ]
    assert made(value) == [[("heading", "On querns"), ("post", "First post.")], [("post", "Second.")]]


def test_card_is_of_the_page_not_of_a_picture():
    value = [
        {"@type": "ImageObject", "license": "https://creativecommons.org/licenses/by/4.0/"},
        {
            "@type": "Article",
            "headline": "H",
            "datePublished": "2024-05-06",
            "license": {"@type": "CreativeWork", "url": "https://x.example/l"},
        },
    ]
    root = parse(f'<script type="application/ld+json">{json.dumps(value)}</script><p>x').root
    assert card(read_items(root)) == {"title": "H", "published": "2024-05-06", "licence": "https://x.example/l"}


def test_text_of_odd_values():
    assert text_of("a\r\n\r\n\r\n\r\nb  c") == "a\n\nb c"


def test_reviews_carry_their_rating_in_percent_and_those_without_one_are_left_out():
    reviews = [
        {"@type": "Review", "reviewBody": "좋은 맷돌입니다.", "reviewRating": {"@type": "Rating", "ratingValue": "4"}},
        {
            "@type": "Review",
            "reviewBody": "It broke.",
            "reviewRating": {"@type": "Rating", "ratingValue": 1, "bestRating": 10},
        },
        {"@type": "Review", "reviewBody": "No stars."},
        {
            "@type": "Review",
            "reviewBody": "Eleven of ten.",
            "reviewRating": {"@type": "Rating", "ratingValue": 11, "bestRating": 10},
        },
        {"@type": "Review", "reviewBody": "Words.", "reviewRating": {"@type": "Rating", "ratingValue": "many"}},
    ]
    found = groups(
        read_items(parse(f'<body><script type="application/ld+json">{json.dumps(reviews)}</script><p>x</p>').root)
    )
    assert [(fact.text, fact.level) for group in found for fact in group.facts if fact.kind == "review"] == [
        ("좋은 맷돌입니다.", 80),
        ("It broke.", 10),
    ]
