"""The extractor learnt from made-up pages: it tells article from furniture on a site it has not seen, and its bytes are the same twice."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from pipeline.errors import SourceError, UsageError, WorkError
from stages.ingest.commands import TrainExtractor
from stages.ingest.extractor.model import NAME, SHIPPED, chosen, load
from stages.ingest.extractor.training.pages import example_of, read_pages, site_of, word_f1
from stages.ingest.flat.build import build
from stages.ingest.flat.render import render
from tests.bench.ingest.korean.pages import rows

WORDS = "mill river barley sack wheel stone bell evening grain flour bread oven miller weir sluice gate".split()


def sentence(rng) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(9, 16))).capitalize() + "."


def made_up(number: int) -> dict:
    """A page of one of thirty sites: menu, article of three to eight paragraphs, cards, footer; the class names are the site's."""
    rng = np.random.default_rng(number)
    site = number % 30
    body = [sentence(rng) + " " + sentence(rng) for _ in range(rng.integers(3, 9))]
    wrap, text = rng.choice(["post-body", "entry-content", "article-text"]), "".join(f"<p>{p}</p>" for p in body)
    menu = "".join(f"<li><a href=/{w}>{w.title()}</a></li>" for w in rng.choice(WORDS, 12))
    cards = "".join(f"<div class=card><a href=/x>{sentence(rng)}</a></div>" for _ in range(6))
    html = (
        f"<html{' lang=en-GB' * (site % 2)}><title>{WORDS[site % 16]}</title><div class='site{site} nav-menu'><ul>{menu}</ul></div><div class='{wrap}'>"
        f"<h1>{WORDS[site % 16].title()} news</h1>{text}</div><div class='related sidebar'>{cards}</div>"
        f"<div class=footer-links><a href=/p>Privacy</a> <a href=/t>Terms</a></div>"
    )
    gold = "\n".join([f"{WORDS[site % 16].title()} news", *body])
    return {"html": html, "text": gold, "url": f"https://www.site{site}.example/{number}", "kind": "article"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "pages.jsonl"
    path.write_text("".join(json.dumps(made_up(number)) + "\n" for number in range(90)), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(pages, tmp_path_factory):
    pytest.importorskip("lightgbm", reason="LightGBM (the extra `extractor`) is not installed")
    pytest.importorskip("rapidfuzz", reason="RapidFuzz (the extra `extractor`) is not installed")
    out = tmp_path_factory.mktemp("model")
    TrainExtractor.build({"pages": [str(pages)], "out": str(out), "trees": 8}, "extractor train").run()
    return out


def test_it_reads_a_page_of_a_site_it_has_not_seen(trained):
    row = made_up(1_000_017)
    tree = build(row["html"].replace("site17", "other")).tree
    text = render(tree, chosen(tree, load(str(trained / NAME)))).text
    assert all(paragraph in text for paragraph in row["text"].split("\n"))
    assert "Privacy" not in text and len(text) < 1.05 * len(row["text"])


def test_the_card_states_the_figures_out_of_fold(trained):
    card = json.loads((trained / "card.json").read_text("utf-8"))
    assert card["pages"] == 90 and card["sites"] == 30 and card["versions"]["lightgbm"]
    assert card["out_of_fold"]["article"] == card["out_of_fold"]["all"]
    assert card["out_of_fold"]["all"]["pages"] == 90 and card["out_of_fold"]["all"]["f1"] > 0.95
    assert card["out_of_fold"]["all"]["with_comments"] == card["out_of_fold"]["all"]["f1"]  # the pages have none
    assert {language: found["pages"] for language, found in card["out_of_fold_by_language"].items()} == {
        "en": 45,
        "unknown": 45,
    }
    assert "| en | 45 |" in (trained / "card.md").read_text("utf-8")


def test_the_same_pages_give_the_same_bytes(trained, pages, tmp_path):
    TrainExtractor.build({"pages": [str(pages)], "out": str(tmp_path), "trees": 8}, "extractor train").run()
    for name in (NAME, "card.json", "card.md"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.slow
def test_the_shipped_model_is_what_the_documented_command_makes(unpacked, tmp_path):
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM (the extra `extractor`) is not installed")
    pytest.importorskip("rapidfuzz", reason="RapidFuzz (the extra `extractor`) is not installed")
    card = json.loads((SHIPPED / "card.json").read_text("utf-8"))
    if lightgbm.__version__ != card["versions"]["lightgbm"]:
        pytest.skip(f"another LightGBM than the model's ({card['versions']['lightgbm']})")
    (folder,) = {path.parent.parent for path in unpacked("B-wcxb-dev").rglob("ground-truth/*.json")}
    korean = tmp_path / "korean.jsonl"
    korean.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()), "utf-8")
    order = {"pages": [str(folder), str(korean)], "out": str(tmp_path)} | {
        name: card[name] for name in ("licence", "attribution")
    }
    TrainExtractor.build(order, "extractor train").run()
    for name in (NAME, "card.json", "card.md"):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes(), name


def test_pages_of_one_site_are_refused(pages, tmp_path):
    pytest.importorskip("lightgbm", reason="LightGBM (the extra `extractor`) is not installed")
    pytest.importorskip("rapidfuzz", reason="RapidFuzz (the extra `extractor`) is not installed")
    one = tmp_path / "one.jsonl"
    one.write_text(pages.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    with pytest.raises(WorkError, match="too few sites"):
        TrainExtractor.build({"pages": [str(one)], "out": str(tmp_path)}, "extractor train").run()


def test_without_lightgbm_the_extra_is_named(pages, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(UsageError) as caught:
        TrainExtractor.build({"pages": [str(pages)], "out": str(tmp_path)}, "extractor train").run()
    assert "maetdol[extractor]" in caught.value.hint


@pytest.mark.parametrize("line", ["{", "[]", '{"text": "x"}', '{"html": 5, "text": "x"}'])
def test_a_line_that_is_no_page_is_named(line, tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"html": "<p>a", "text": "a"}\n' + line + "\n", "utf-8")
    with pytest.raises(SourceError, match="row 2"):
        list(read_pages(str(path)))


def test_a_packed_file_cut_short_is_named(tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(made_up(1)).encode())[:-20])
    with pytest.raises(SourceError, match=r"cut\.jsonl\.gz"):
        list(read_pages(str(path)))


@pytest.mark.parametrize("note", ["{", "[]", '{"url": "u"}', '{"ground_truth": {"main_content": "no page beside it"}}'])
def test_a_note_that_is_no_gold_is_named(note, tmp_path):
    (tmp_path / "ground-truth").mkdir()
    (tmp_path / "ground-truth" / "1.json").write_text(note)
    with pytest.raises(SourceError, match=r"1\.json is no page"):
        list(read_pages(str(tmp_path)))


def test_the_site_of_an_address_that_is_none_is_its_page(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps({"html": "<p>a", "text": "a", "url": "http://[bad/"}) + "\n")
    assert [site_of(page) for page in read_pages(str(path))] == ["odd:0"]


def test_wcxb_s_layout(tmp_path):
    (tmp_path / "html").mkdir()
    (tmp_path / "ground-truth").mkdir()
    for name, gold in (("1", "words of it"), ("2", None)):
        (tmp_path / "html" / f"{name}.html").write_text("<nav>menu</nav><p>words of it</p>")
        note = {"url": "https://a.example/", "ground_truth": {} if gold is None else {"main_content": gold}}
        (tmp_path / "ground-truth" / f"{name}.json").write_text(json.dumps(note))
    (page,) = read_pages(str(tmp_path))  # the second has no gold
    pytest.importorskip("rapidfuzz", reason="RapidFuzz (the extra `extractor`) is not installed")
    example = example_of(page)
    assert example is not None
    assert example.labels.matched.tolist() == [0.0, 3.0]
    assert word_f1(example, np.array([False, True])) == 1.0
    assert word_f1(example, np.array([True, True])) == pytest.approx(6 / 7)
    assert word_f1(example, np.array([False, False])) == 0.0
