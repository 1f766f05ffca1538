"""The shipped model: what it reads of made-up and real pages, its file, and that its card is there."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter

import numpy as np
import pytest

from pipeline.errors import SourceError
from stages.ingest.extractor.blocks import blocks_of
from stages.ingest.extractor.model import NAME, SHIPPED, chosen, load, packed, scored
from stages.ingest.flat.build import build
from stages.ingest.flat.render import render


def text_of(html: str, comments: bool = True) -> str:
    tree = build(html).tree
    return render(tree, chosen(tree, load(), comments)).text


MENU = "".join(f"<li><a href=/{name}>{name}</a></li>" for name in "Home News Sport Weather Shop Contact".split())
FOOTER = "<footer><p>Copyright 2026 Example Ltd. All rights reserved.</p><a href=/privacy>Privacy policy</a></footer>"


@pytest.mark.parametrize(
    "paragraph",
    [
        "The mill at the river grinds another sack of barley before the evening bell rings, and the miller writes it down, number {}.",
        "강가의 물레방아는 저녁 종이 울리기 전에 보리를 한 자루 더 빻고, 방앗간 주인은 그것을 {}번이라고 장부에 적어 둔다.",
    ],
)
def test_an_article_without_its_furniture(paragraph):
    body = [paragraph.format(number) for number in range(14)]
    article = "".join(f"<p>{line}</p>" for line in body)
    found = text_of(
        f"<title>The mill - Example</title><header><nav><ul>{MENU}</ul></nav></header><main><article><h1>The mill</h1>{article}"
        f"</article></main><aside><h3>Related</h3><ul>{MENU}</ul></aside>{FOOTER}"
    )
    assert found.split("\n\n") == ["The mill", *body]


@pytest.mark.parametrize(
    "html", ["", "<p> </p>", f"<nav><ul>{MENU}</ul></nav>{FOOTER}", "<script>let x = 'words'</script>"]
)
def test_a_page_without_main_text_stays_empty(html):
    assert text_of(html) == ""


def test_a_page_without_a_link_is_all_text():
    assert text_of("<title>x</title><div>5 May</div><p>Short.</p><li>1</li>") == "5 May\n\nShort.\n\n- 1"
    assert (
        text_of("<nav>Menu</nav><p>Short.</p>") == "Short." and text_of("<nav><p>All of it.</p></nav>") == "All of it."
    )


@pytest.mark.parametrize("box", ["class=comment-list", "id=comments", "class='post-comments wide'", "id=disqus_thread"])
def test_comments_are_left_out_on_request(box):
    line = "The mill at the river grinds another sack of barley before the evening bell rings, {} {}."
    article = "".join(f"<p>{line.format('article', n)}</p>" for n in range(6))
    posts = "".join(f"<li><b>user{n}</b><p>{line.format('comment', n)}</p></li>" for n in range(4))
    html = f"<body class='single comments-open'><article><h1>The mill</h1>{article}</article><section {box}><ol>{posts}</ol></section>"
    assert text_of(html, comments=False).count("article") == 6 and "comment" not in text_of(html, comments=False)
    assert text_of(html).count("article") == 6
    alone = f"<title>Mill</title><h1>Mill</h1><div {box}><ol>{posts * 3}</ol></div>"
    assert text_of(alone, comments=False).count("comment") == text_of(alone).count("comment")


def test_posts_in_noscript_are_read():
    posts = "".join(
        f"<div itemprop=comment><span class=creator>user{n}</span><div class=post itemprop=text><p>I have had the same trouble with "
        f"the wheel of my mill, and it went away when I cleaned the sluice gate, time number {n}.</p></div></div>"
        for n in range(6)
    )
    found = text_of(
        f"<title>Wheel stuck - Forum</title><noscript data-path=/t/1><h1>Wheel stuck</h1>{posts}</noscript><div id=app></div>"
    )
    assert found.count("cleaned the sluice gate") == 6


def test_a_file_of_other_features_or_none_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no extractor's model"):
        load(str(tmp_path / NAME))
    (tmp_path / "other").mkdir()
    with np.load(SHIPPED / NAME) as arrays:
        np.savez(tmp_path / "other" / NAME, **(dict(arrays) | {"format": np.array([0, 1, 2], np.int32)}))
    with pytest.raises(SourceError, match="other features"):
        load(str(tmp_path / "other" / NAME))


def test_the_file_is_what_it_is_read_as():
    assert packed(load()) == (SHIPPED / NAME).read_bytes()
    card = json.loads((SHIPPED / "card.json").read_text("utf-8"))
    assert card["licence"].startswith("CC-BY-4.0") and "Foley" in card["attribution"]
    assert card["out_of_fold"]["all"]["f1"] >= 0.875


def word_f1(found: str, gold: str) -> float:
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (found, gold))
    return 2 * sum((a & b).values()) / max(1, sum(a.values()) + sum(b.values()))


def test_articles_it_has_not_learnt_from(unpacked):
    from stages.ingest import charset

    folder = unpacked("B-aeb-61")
    gold = json.loads(next(folder.rglob("ground-truth.json")).read_text("utf-8"))
    scores: dict[bool, list[float]] = {True: [], False: []}
    for name, row in gold.items():
        html = next(folder.rglob(f"{name}.html*")).read_bytes()
        source = charset.decode(html, None).text
        for comments, some in scores.items():
            some.append(word_f1(text_of(source, comments), row["articleBody"]))
    assert len(scores[True]) == 61
    # One of them has readers' comments, three times as long as the article.
    assert statistics.mean(scores[False]) >= 0.965 and statistics.mean(scores[True]) >= 0.95


def test_what_memory_held_before_says_nothing(monkeypatch):
    blocks = blocks_of(build(f"<ul>{MENU}</ul><p>The mill grinds barley.</p><p>It is loud.</p>{FOOTER}").tree)
    said = []
    for left in (0, 1 << 20):
        monkeypatch.setattr(np, "empty", lambda shape, dtype=float, left=left: np.full(shape, left, dtype))
        said.append(scored(blocks, load()).tolist())
    assert said[0] == said[1]
