"""What notebooks show: frames whose texts are texts, histories and measures as they were written."""

import html
import json
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import notebook
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import Store

EVIL = "</iframe></textarea><script>alert(1)</script>\" onload='alert(2)' \u202e<!--"


def inside(page: notebook.ShownPage) -> str:
    """The document of the frame, and a check that nothing stands outside of it."""
    shown = page._repr_html_()
    found = re.fullmatch(
        r'<iframe sandbox="allow-scripts" style="[^"<>]*" srcdoc="([^"]*)"></iframe>', shown, re.DOTALL
    )
    assert found, shown[:200]
    return html.unescape(found[1])


@pytest.mark.parametrize(
    "page",
    [
        lambda: notebook.table(pl.DataFrame({EVIL: [EVIL, "b"], "n": [1, None], "deep": [[{"a": EVIL}], []]})),
        lambda: notebook.chat({"messages": [{"role": EVIL, "content": EVIL, "tool_calls": [{"name": EVIL, "arguments": EVIL}]}]}),
        lambda: notebook.chat({"prompt": [{"role": "user", "content": EVIL}], "chosen": [{"role": "assistant", "content": EVIL}], "rejected": []}),
        lambda: notebook.difference(EVIL, EVIL * 2),
    ],
)  # fmt: skip
def test_hostile_texts_are_texts(page):
    document = inside(page())
    assert document.count("<script>") == 1 and "&lt;script&gt;alert(1)" in document and "<iframe" not in document
    assert re.search(
        r"default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'", html.unescape(document)
    )
    assert not re.search(r"<[^>]* on\w+=", document) and " style=" not in document


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=5)
)
def test_a_table_holds_every_row_and_its_numbers(rows):
    document = inside(notebook.table(pl.DataFrame(rows, ["word", "value"], orient="row")))
    assert document.count("<tr>") == len(rows) + 1
    values = re.findall(r'data-value="([^"]*)"', document)
    assert [float(value) for value in values] == [value for _, value in rows]


def test_a_long_table_is_cut_and_searched():
    frame = pl.LazyFrame({"number": range(1000)})
    document = inside(notebook.table(frame, rows=7))
    assert document.count("<tr>") == 8 and 'id="search"' in document and "hidden" in document
    assert 'id="search"' not in inside(notebook.table(frame, rows=1))


def test_a_difference_marks_what_went_and_what_came():
    document = inside(notebook.difference("맷돌은 곡식을 간다", "맷돌은 콩을 간다"))
    assert "<del>곡식을</del>" in document.replace("</del><del>", "") and "<ins>콩을</ins>" in document


@pytest.fixture
def trained_store(tmp_path):
    """A store with the history of a training."""
    store, folder = Store(tmp_path / "root/model"), tmp_path / "made"
    folder.mkdir()
    lines = [{"step": n, "loss": 4.0 - n / 10, "note": "x", "done": True} for n in range(1, 11)]
    lines += [{"kind": "heldout", "step": 10, "loss": 0.5}, {"kind": "end"}]
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    store.put_artefact(folder, COLUMNS.empty_table(), key="test", stage="train")
    return store


def test_a_history_is_read_as_it_was_written(trained_store):
    found = notebook.history(trained_store)
    assert len(found) == 11 and set(found.columns) == {"kind", "step", "loss"}
    assert found.filter(pl.col("kind") == "heldout")["loss"].to_list() == [0.5]
    document = inside(notebook.curves(trained_store, ["loss", "nothing"], smooth=5))
    assert document.count("<polyline") == 2 and document.count("<figure>") == 1


def test_smoothing_is_the_mean_of_the_entries_before(trained_store):
    shown = [inside(notebook.curves(trained_store, smooth=n)) for n in (1, 5)]
    first, last = (
        [float(y) for y in re.findall(r",([\d.]+) ", re.search(r'<polyline[^>]*points="([^"]*)"', page)[1])]
        for page in shown
    )
    assert len(first) == len(last) == 10 and first[0] == last[0] and first[-1] != last[-1]


def test_a_store_without_training_has_no_history(tmp_path):
    assert notebook.history(Store(tmp_path)).is_empty()


def test_of_other_roots_than_the_quickstart_every_row_is_shown(site_root):
    frame = pl.DataFrame({"url": ["https://elsewhere.example/a", "https://maetdol.example/b"]})
    assert len(frame.filter(notebook.own_pages(str(site_root)))) == 2
    assert notebook.trained(str(site_root)) == [] and notebook.evaluations(str(site_root)).is_empty()
    assert notebook.comparisons(str(site_root)).is_empty()
