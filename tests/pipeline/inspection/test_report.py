"""The report's charts and sections on small stores; the whole page is proven by tests/test_chain.py."""

import json

import pytest

from pipeline.inspection.charts import bars, histogram, lines, number, size
from pipeline.inspection.masks import mask
from pipeline.inspection.report import render
from pipeline.inspection.sections import Samples
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.train import report


def test_numbers_and_sizes_read_well():
    assert [number(n) for n in (1234567, 0.01234, 12345.6, 3.0)] == ["1,234,567", "0.01234", "12,346", "3"]
    assert [size(n) for n in (12, 1_500, 2_600_000)] == ["12 B", "1.5 KB", "2.6 MB"]


def test_charts_escape_what_they_are_given():
    assert "<b>" not in bars([("<b>", 3)]) and "&lt;b&gt;" in bars([("<b>", 3)])
    assert "<i>" not in histogram([0, 1, 2], {"<i>": [1, 2]}, x="<i>")
    assert lines({"empty": []}, x="step", y="loss") == ""


def test_long_lists_of_bars_keep_their_sum():
    shown = bars([(str(i), 1) for i in range(50)], most=10)
    assert shown.count('class="bar"') == 10 and "41 more" in shown and ">41<" in shown


def test_samples_are_masked_and_cut():
    shown = Samples(mask).show(["연락처는 hong@maetdol.example로, 010-1234-5678입니다.", "가" * 900])
    assert "hong@" not in shown[0] and "1234-5678" not in shown[0] and "연락처" in shown[0]
    assert len(shown[1]) < 400


@pytest.fixture
def finished(tmp_path, make_store):
    """A store that lost rows, and the one before it, with a script in a text."""
    texts = ["<script>alert(1)</script> kept text here", "dropped text here"]
    first = make_store(tmp_path / "run" / "first", texts, lang=["en", "ko"])
    table = first.read(0)
    ids = table["id"].to_pylist()
    second = Store(tmp_path / "run" / "second")
    second.put(
        0,
        table.slice(0, 1),
        Ledger.rows(ids, reason=[None, "word_count.low"]),
        key="k",
        stage="quality",
        input_ids=table["id"],
    )
    lineage = {"of": [{"store": "first", "content_hash": first.content_hash}]}
    second.commit_manifest(
        {"stage": "quality", "shape": "DOCUMENT", "key": "k", "lineage": lineage, "schema": [], "recipe": "t"}, [0]
    )
    return tmp_path / "run"


def test_the_page_tells_the_funnel_and_runs_no_script(finished):
    page = render(str(finished))
    assert "word_count.low" in page and "dropped text here" in page, "dropped text is shown from upstream"
    assert "<script" not in page
    assert "<h2>Funnel</h2>" in page and "<h2>Training</h2>" not in page, "what a run has not is not shown"


@pytest.mark.parametrize("shape, label", [
    ("artefact:model", "loss (nats per token)"), ("artefact:adapter", "loss (nats per token)"), ("artefact:encoder", "loss (nats per token)"), ("artefact:reward", "loss (per pair)"),
])  # fmt: skip
def test_curves_are_split_by_kind(shape, label, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    rows = [{"kind": "train", "step": s, "loss": 3 - s / 10} for s in (1, 2, 3)] + [
        {"kind": "held_out", "step": 3, "loss": 2.8}
    ]
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = Store(tmp_path / "model")
    store.put_artefact(folder, Ledger.rows([]), key="k")
    store.commit_manifest({"stage": "train", "shape": shape, "key": "k", "lineage": {}, "schema": []}, [])
    page = report.section([store], Samples(mask))
    assert "loss (held out)" in page and page.count("<polyline") == 2 and label in page
