"""schema.org in its three syntaxes becomes one thing."""

from __future__ import annotations

import pytest

from stages.ingest.html.tree import parse
from stages.ingest.metadata.items import MAX_JSON, json_items, loads, microdata_items, rdfa_items, short


def json_of(*scripts: str):
    return json_items(
        parse("<body>" + "".join(f'<script type="application/ld+json">{s}</script>' for s in scripts)).root
    )


def types(items) -> list[tuple[str, ...]]:
    return [item.types for item in items]


def test_namespaces_go():
    assert [
        short(w) for w in ("http://schema.org/Question", "https://www.schema.org/Answer", "schema:name", "text")
    ] == ["Question", "Answer", "name", "text"]


def test_graph_and_references():
    found = json_of(
        '{"@context":"https://schema.org","@graph":[{"@type":["WebPage","FAQPage"],"mainEntity":[{"@id":"#q"}]},'
        '{"@id":"#q","@type":"Question","name":"Why?","acceptedAnswer":{"@id":"#a"}}]}',
        '{"@id":"#a","@type":"Answer","text":"So."}',
    )
    page = next(item for item in found if "FAQPage" in item.types)
    question = page.get("mainEntity")[0]
    assert question.get("name") == ["Why?"] and question.get("acceptedAnswer")[0].get("text") == ["So."]


@pytest.mark.parametrize(
    "script",
    [
        '<!-- {"@type":"Question"} -->',
        '//<![CDATA[\n{"@type":"Question"}\n//]]>',
        '{"@type":"Question",}',
        '[{"@type":"Question","tags":["a","b",],}];',
        '{"@type":"Question","text":"a\nb\tc"}',
    ],
)
def test_common_breakage_is_repaired(script):
    assert ("Question",) in types(json_of(script))


@pytest.mark.parametrize(
    "script",
    [
        "",
        "{",
        "not json",
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000 + "x",
        '{"@type":5,"@id":[1]}',
        "null",
        "[null,1,true]",
    ],
)
def test_hostile_json_gives_no_items_and_no_error(script):
    assert not [item for item in json_of(script) if item.types]


def test_a_script_over_the_limit_is_not_read():
    assert loads('{"a":"' + "x" * MAX_JSON + '"}') is None


def test_references_in_a_circle_end():
    found = json_of(
        '{"@id":"#a","@type":"Question","mainEntity":{"@id":"#b"}}',
        '{"@id":"#b","@type":"Question","mainEntity":{"@id":"#a"}}',
    )
    assert len(found) == 2 and found[0].get("mainEntity")[0] is found[1]


MICRODATA = """<body><div itemscope itemtype="https://schema.org/QAPage"><div itemprop="mainEntity" itemscope itemtype="http://schema.org/Question"
 itemref="late"><h1 itemprop="name">Why <b>so</b>?</h1><meta itemprop="answerCount" content="2"><time itemprop="dateCreated" datetime="2020-01-02">x</time>
<div itemprop="suggestedAnswer acceptedAnswer" itemscope itemtype="https://schema.org/Answer"><p itemprop="text">Because.</p></div></div></div>
<p id="late"><span itemprop="text">More words.</span></p></body>"""


def test_microdata():
    found = microdata_items(parse(MICRODATA).root)
    assert types(found) == [("QAPage",), ("Question",), ("Answer",)]
    page, question, answer = found
    assert page.get("mainEntity") == [question]
    assert question.get("acceptedAnswer") == question.get("suggestedAnswer") == [answer]
    assert question.get("answerCount") == ["2"] and question.get("dateCreated") == ["2020-01-02"]
    assert "".join(question.get("name")[0].itertext()) == "Why so?"
    assert "".join(question.get("text")[0].itertext()) == "More words."


def test_rdfa_lite_and_open_graph_apart():
    html = """<head><meta property="og:title" content="no"></head><body vocab="https://schema.org/"><div typeof="Question"><p property="name">Why?</p>
    <div property="acceptedAnswer" typeof="schema:Answer"><p property="schema:text">So.</p></div></div></body>"""
    found = rdfa_items(parse(html).root)
    assert types(found) == [("Question",), ("Answer",)]
    assert found[0].get("acceptedAnswer") == [found[1]] and list(found[0].properties) == ["name", "acceptedAnswer"]
