"""Lines, paragraphs and substrings: what is cut is what brute force finds repeated, and one copy of it stays."""

from __future__ import annotations

import random
import re

import pytest

from pipeline.errors import OptionError
from pipeline.schema import content_id
from stages.dedup.spans import level as spans

MENU = "Home products prices about us contact careers press terms privacy cookies"


def passages(seed: int, count: int = 30) -> list[str]:
    """Texts of sentences of their own, some with passages that others have too, in two languages."""
    draw = random.Random(seed)
    shared = [
        " ".join(f"{draw.choice(['passage', '문장을'])}{draw.randrange(10**6)}" for _ in range(draw.randrange(20, 60)))
        for _ in range(8)
    ]
    texts = []
    for _ in range(count):
        parts = [" ".join(f"own{draw.randrange(10**7)}" for _ in range(draw.randrange(5, 40))) + "." for _ in range(4)]
        for passage in draw.sample(shared, draw.randrange(0, 3)):
            parts.insert(draw.randrange(len(parts)), passage)
        texts.append("\n".join(parts))
    return texts


def ngrams(text: str, width: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[at : at + width]) for at in range(len(words) - width + 1)]


@pytest.mark.parametrize("seed", [1, 2])
def test_substrings_left_are_those_of_the_corpus_each_once(dedup, make_store, tmp_path, monkeypatch, seed):
    monkeypatch.setattr(spans, "most_spans", lambda memory: 900)
    texts = passages(seed)
    source = make_store(tmp_path / "in", texts, shards=3)
    out = dedup(tmp_path / "out", source, spans="substring", span_tokens=12, levels=["exact"])
    assert len(out.sub("passes/repeats").shards()) > 2
    before = [gram for text in texts for gram in ngrams(text, 12)]
    repeated = {gram for gram in set(before) if before.count(gram) > 1}
    assert len(repeated) > 50
    left = out.table()["text"].to_pylist()
    after = [gram for text in left for gram in ngrams(text, 12)]
    assert [gram for gram in repeated if after.count(gram) != 1] == [], "one copy of each stays, and one only"
    own = set(re.findall(r"own\d+", " ".join(texts)))
    assert own == set(re.findall(r"own\d+", " ".join(left))), "what stands once is not touched"
    dropped = sum(map(len, texts)) - sum(map(len, left))
    assert dropped > 1000


def test_edits_are_in_the_ledger_and_give_the_text(dedup, make_store, tmp_path):
    texts = passages(3)
    source = make_store(tmp_path / "in", texts)
    out = dedup(tmp_path / "out", source, spans="substring", span_tokens=12, levels=["exact"])
    after = {row["id"]: row for row in out.table().to_pylist()}
    changed = 0
    for text, row in zip(texts, out.ledger(0).to_pylist()):
        edited = text
        for edit in reversed(row["edits"] or []):
            assert edit["by"] == "dedup.substring" and edit["replacement"] == ""
            edited = edited[: edit["start"]] + edited[edit["end"] :]
        assert after[row["id"]]["text"] == edited and after[row["id"]]["content_id"] == content_id(edited)
        changed += edited != text
    assert changed > 5


@pytest.mark.parametrize(("level", "between"), [("line", "\n"), ("paragraph", "\n\n")])
def test_repeated_lines_and_paragraphs_stay_once_in_the_preferred_document(dedup, make_store, tmp_path, level, between):
    own = [" ".join(f"own{n}x{m}" for m in range(12)) for n in range(4)]
    texts = [
        MENU + between + own[0] + between + own[0],
        own[1] + between + "짧은 줄" + between + MENU + "!",
        own[2] + between + "짧은 줄",
        MENU,
    ]
    source = make_store(tmp_path / "in", texts, date=["2024-02-01", "2024-01-01", None, "2024-03-01"])
    out = dedup(tmp_path / "out", source, spans=level, keep="oldest", levels=["exact"])
    found = dict(zip(out.table()["id"].to_pylist(), out.table()["text"].to_pylist()))
    ids = source.table()["id"].to_pylist()
    assert [found.get(key) for key in ids] == [own[0] + between, texts[1], texts[2], None]
    last = out.ledger(0).to_pylist()[3]
    assert (last["reason"], last["out"], last["edits"]) == ("dedup.nothing_left", None, None)


def test_removed_documents_have_no_say_and_blocks_move_along(dedup, make_store, tmp_path):
    own = " ".join(f"own{m}" for m in range(30))
    texts = [
        f"{MENU}\n{own}",
        f"{MENU}\n{own} tail",
        f"{MENU}\nAnother page has this line of quite enough words to count as one",
    ]
    blocks = [
        None,
        None,
        [
            {
                "kind": "heading",
                "text": "Another page",
                "start": len(MENU) + 1,
                "end": len(MENU) + 13,
                "level": 1,
                "group": None,
            }
        ],
    ]
    source = make_store(tmp_path / "in", texts, blocks=blocks)
    out = dedup(tmp_path / "out", source, spans="line")
    rows = {row["text"][:7]: row for row in out.table().to_pylist()}
    assert set(rows) == {"Home pr", "Another"}
    (block,) = rows["Another"]["blocks"]
    assert rows["Another"]["text"][block["start"] : block["end"]] == "Another page" == block["text"]


def test_a_window_that_repeats_within_itself_keeps_its_first_run(dedup, make_store, tmp_path):
    source = make_store(tmp_path / "in", ["again " * 100 + "end", "nothing of the kind"])
    out = dedup(tmp_path / "out", source, spans="substring", span_tokens=10)
    assert out.table()["text"].to_pylist()[0] == "again " * 10 + "end"


def test_spans_fit_documents_and_words_only(dedup, make_store, tmp_path):
    source = make_store(tmp_path / "in", ["a text"])
    with pytest.raises(OptionError, match="words or eojeol"):
        dedup(tmp_path / "out", source, spans="line", shingle="char")
