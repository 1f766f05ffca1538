"""Pages that are too much of a good thing, or worse."""

from __future__ import annotations

import json

import pytest

MANY = 10_000


@pytest.fixture(scope="module")
def mine_html():
    """`mine_html(html)` -> what every rule makes of a page."""
    from stages.ingest.html import page as reader
    from stages.ingest.row import Raw
    from stages.sft import every_rule
    from stages.sft.mine import mine

    rules = every_rule()

    def go(html: str):
        read = reader.read(Raw("page", "x", body=html.encode(), url="http://many.example/"))
        return mine(rules, read.values | {"id": "0" * 32, "source": "x"}, 17)

    return go


def answer(n: int) -> str:
    return f"The answer number {n} is long enough to stand here."


@pytest.mark.slow
def test_ten_thousand_declared_questions_with_scripts_in_their_answers(mine_html):
    """Each is kept once, though it stands in the markup and in a heading; nothing of the scripts is."""
    asked = [
        {
            "@type": "Question",
            "name": f"Question number {n}?",
            "acceptedAnswer": {"@type": "Answer", "text": f"{answer(n)}<script>evil()</script>"},
        }
        for n in range(MANY)
    ]
    script = json.dumps({"@type": "FAQPage", "mainEntity": asked}).replace("</", "<\\/")
    body = "".join(f"<h2>Question number {n}?</h2><p>{answer(n)}</p>" for n in range(MANY))
    found = mine_html(f'<html><body><script type="application/ld+json">{script}</script>{body}</body></html>')
    assert len(found.rows) == MANY and {row["rule"] for row in found.rows} == {"faq"}
    assert found.drops.count("heading.duplicate") == MANY
    assert not any("evil" in message["content"] for row in found.rows for message in row["messages"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule,one",
    [
        ("qa_text", "<p>Q: Question number {n}?</p><p>A: {answer}</p>"),
        ("heading", "<h2>Question number {n}?</h2><p>{answer}</p>"),
    ],
)
def test_ten_thousand_questions_in_the_text(mine_html, rule, one):
    found = mine_html(f"<html><body>{''.join(one.format(n=n, answer=answer(n)) for n in range(MANY))}</body></html>")
    assert len(found.rows) == MANY and {row["rule"] for row in found.rows} == {rule}


def test_a_question_with_two_answers_that_contradict_each_other_keeps_both_with_their_rank(mine_html):
    asked = {
        "@type": "Question",
        "name": "Is the mill open on Mondays?",
        "acceptedAnswer": {"text": "No, it is closed on Mondays."},
        "suggestedAnswer": [{"text": "Yes, it is open on Mondays."}, {"text": "No, it is closed on Mondays!"}],
    }
    found = mine_html(
        f'<html><body><p>x</p><script type="application/ld+json">{json.dumps({"@type": "QAPage", "mainEntity": asked})}</script></body></html>'
    )
    told = [
        (row["messages"][1]["content"], {entry["key"]: entry["value"] for entry in row["meta"]}) for row in found.rows
    ]
    assert [(text, facts["answer_rank"], facts["accepted"]) for text, facts in told] == [
        ("No, it is closed on Mondays.", "1", "true"),
        ("Yes, it is open on Mondays.", "2", "false"),
    ]
    assert found.rows[0]["confidence"] > found.rows[1]["confidence"]
