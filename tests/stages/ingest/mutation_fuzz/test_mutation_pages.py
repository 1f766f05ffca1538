"""Mutants of HTML pages: no crash, a row for each page, in every reading."""

from __future__ import annotations

import random

import pytest

from tests.stages.ingest.mutation_fuzz.hunt import Format, Record, Sample, hunt, none

WORDS = "맷돌 barley 물레방아 evening sack 곡식 river stone 가루 wheel miller 새벽".split()
PARTS = (
    "<p>{}</p>", "<h2>{}</h2>", "<ul><li>{}</li><li>{}</li></ul>", "<ol><li>{}<ul><li>{}</ul></ol>", "<dl><dt>{}</dt><dd>{}</dd></dl>", "<pre><code>a = 1\n  {}</code></pre>",
    "<table><tr><th>{}</th><th colspan=2>{}</th></tr><tr><td>{}<td rowspan='3'>{}</table>", "<div class=post_message>{}</div><div class=post_message>{}</div>", "<!-- {} --><br>{}",
    "<details><summary>{}</summary>{}</details>", "<blockquote cite='x'>{}</blockquote>", "<p>It is <math alttext='a^{{2}}'><msup><mi>a</mi><mn>2</mn></msup></math> {}</p>", "<a href=\"/a?b=1&amp;c=2\" rel=license>{}</a>",
    "<div itemscope itemtype='https://schema.org/Question'><h3 itemprop=name>{}</h3><div itemscope itemprop=acceptedAnswer itemtype='https://schema.org/Answer'><p itemprop=text>{}</p></div></div>",
    '<script type="application/ld+json">{{"@context": "https://schema.org", "@type": "FAQPage", "mainEntity": [{{"@type": "Question", "name": "{}", "acceptedAnswer": {{"@type": "Answer", "text": "<p>{}</p>"}}}}]}}</script>',
    "<nav><ul><li><a href=/>{}</a></li></ul></nav>", "<p>&lt;&#45;&#xAC00;&nbsp;{}&#8217;", "<form><textarea>{}</textarea></form>", "<style>p {{ color: red }}</style><p>{}",
)  # fmt: skip


def some(dice: random.Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(3, 40)))


def a_page(dice: random.Random) -> Sample:
    """A page of parts that real pages have, in one of three charsets."""
    parts = "\n".join(
        part.format(*(some(dice) for _ in range(4))) for part in dice.choices(PARTS, k=dice.randrange(2, 9))
    )
    charset = dice.choice(("utf-8", "euc-kr", "utf-16"))
    source = f"<!DOCTYPE html><html lang=ko><head><meta charset={charset}><title>{some(dice)}</title></head><body><article>{parts}</article></body></html>"
    data = source.encode("cp949" if charset == "euc-kr" else charset, "xmlcharrefreplace")
    return Sample(data, [Record(0, len(data), None)])


FORMATS = {
    mode: Format("html", a_page, none, {"extract": mode}) for mode in ("main", "trafilatura", "all", "resiliparse")
}


@pytest.mark.parametrize("mode", FORMATS)
def test_mutants(mode, tmp_path):
    seen = hunt(FORMATS[mode], tmp_path, 300 if mode == "main" else 100)
    assert seen["kept"] > 0.8 * seen["mutants"]


@pytest.mark.slow
def test_many_mutants(tmp_path):
    assert hunt(FORMATS["main"], tmp_path, 20_000, seed=1)["mutants"] == 20_000


@pytest.mark.slow
def test_mutants_of_real_pages(unpacked, tmp_path):
    files = sorted(unpacked("B-wcxb-dev-sample").rglob("*.html"), key=lambda path: path.stat().st_size)[:60]

    def real(dice: random.Random) -> Sample:
        data = dice.choice(files).read_bytes()
        return Sample(data, [Record(0, len(data), None)])

    assert hunt(Format("html", real, none), tmp_path, 500)["mutants"] == 500
