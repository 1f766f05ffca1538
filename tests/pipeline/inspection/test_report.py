"""The report's charts and sections on small stores; the whole page is proven by tests/test_chain.py."""

import json
import re

import pytest

from pipeline.cli import cli
from pipeline.inspection.charts import Bars, Curves, Fold, Histogram, PageHeading, Part, Table, number, size
from pipeline.inspection.masks import mask
from pipeline.inspection.page import environment
from pipeline.inspection.report import render
from pipeline.inspection.sections import Samples
from pipeline.inspection.trace import trace
from pipeline.storage.ledger import Ledger
from pipeline.storage.shards import Clock
from pipeline.storage.store import Store
from stages.train import report


def test_numbers_and_sizes_read_well():
    assert [number(n) for n in (1234567, 0.01234, 12345.6, 3.0)] == ["1,234,567", "0.01234", "12,346", "3"]
    assert [size(n) for n in (12, 1_500, 2_600_000)] == ["12 B", "1.5 KB", "2.6 MB"]


def drawn(*parts: Part) -> str:
    return environment().get_template("parts.jinja").module.draw(parts)


EVIL = "\"><b onload='x'>"


@pytest.mark.parametrize("part", [
    PageHeading(EVIL), Bars([(EVIL, 3)], unit=EVIL), Histogram([0, 1, 2], {EVIL: [1, 2], "b": [0, 1]}, x=EVIL), Table([EVIL], [[EVIL]], [EVIL]),
    Curves({EVIL: [(1, 2), (2, 3)], "b": [(1, 1)]}, x=EVIL, y=EVIL), Fold(EVIL, [PageHeading(EVIL)]),
], ids=lambda part: part.kind)  # fmt: skip
def test_parts_escape_what_they_are_given(part):
    shown = drawn(part)
    assert "<b" not in shown and "&#34;&gt;&lt;b" in shown
    assert "style=" not in shown, "a policy that forbids inline style takes nothing from it"


def test_long_lists_of_bars_keep_their_sum():
    shown = drawn(Bars([(str(i), 1) for i in range(50)], most=10))
    assert shown.count('class="bar"') == 10 and "+ 41" in shown and ">41<" in shown


def test_long_curves_are_thinned_and_keep_their_ends():
    (line,) = Curves({"loss": [(step, 9 - step / 1e5) for step in range(100_000)]}, "step", "loss").lines
    assert len(line.points) == 400 and (line.points[0], line.points[-1]) == ((56, 12), (628, 180))
    assert "<svg" not in drawn(Curves({"empty": []}, "step", "loss"))


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
    page = render(str(finished), "en")
    assert "word_count.low" in page and "dropped text here" in page, "dropped text is shown from upstream"
    assert page.count("<script") == 1 and "&lt;script&gt;alert(1)" in page
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
    page = drawn(*report.section([store], Samples(mask)))
    assert "loss (held out)" in page and page.count("<polyline") == 2 and label in page


def test_every_id_that_is_shown_can_be_traced(finished):
    shown = re.findall(r'class="id">([0-9a-f]+)<', render(str(finished)))
    assert {len(row_id) for row_id in shown} == {32}
    traced = [trace(str(finished), row_id) for row_id in shown]
    assert ["dropped: word_count.low" in each for each in traced] == [True, False], "one that went, one that is kept"


def funnel_of(root) -> dict[str, dict[str, str]]:
    """Step -> column -> what the funnel of the report's page says, tags cut out."""
    page = render(str(root), "en")
    page = page[page.index("<h2>Funnel</h2>") :]
    lines = re.findall(r"<tr>(.*?)</tr>", page[: page.index("</table>")], re.S)
    cells = [
        [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S)]
        for line in lines
    ]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[1:]}


def test_the_seconds_of_a_barrier_stage_are_those_of_its_passes_too(tmp_path, make_store, monkeypatch):
    """Each receipt counts 2.5 seconds of wall time and 1.5 of the CPU here: dedup's are those of its passes and of its shards."""
    monkeypatch.setattr(Clock, "lap", lambda self: {"seconds": 2.5, "cpu_seconds": 1.5})
    texts = [f"Grain number {n} is carried over the bridge to the mill by the river." for n in range(6)]
    make_store(tmp_path / "run/raw", texts * 2, shards=2)
    assert (
        cli.main(["dedup", str(tmp_path / "run/raw"), str(tmp_path / "run/unique"), "-q"], standalone_mode=False) == 0
    )
    own = list((tmp_path / "run/unique/receipts").glob("*.json"))
    passes = list((tmp_path / "run/unique/passes").glob("*/receipts/*.json"))
    assert own and len(passes) > len(own)
    said = funnel_of(tmp_path / "run")["unique"]
    made = len(own) + len(passes)
    assert (said["wall seconds"], said["CPU seconds"]) == (f"{2.5 * made:.1f}", f"{1.5 * made:.1f}")


def test_rows_held_out_are_no_drops(tmp_path, make_store):
    """Those of a split's other side and of an evaluation set stand in a column of their own, and among no reasons of drops."""
    raw = make_store(tmp_path / "run/raw", [f"Grain number {n} for the mill." for n in range(40)])
    assert cli.main(["split", raw.path, str(tmp_path / "run/half"), "--share", "0.5", "-q"], standalone_mode=False) == 0
    kept = Store(tmp_path / "run/half").require()["rows"]
    said = funnel_of(tmp_path / "run")["half"]
    assert 0 < kept < 40 and (said["in"], said["out"], said["dropped"], said["held out"]) == (
        "40",
        str(kept),
        "0",
        str(40 - kept),
    )
    assert "split.other_side" not in render(str(tmp_path / "run"))
    ids = raw.table()["id"].to_pylist()
    model = Store(tmp_path / "run/model")
    (folder := tmp_path / "m").mkdir()
    (folder / "config.json").write_text("{}")
    reasons = ["train.held_out"] * 7 + ["chat.over_context"] * 3 + [None] * 30
    model.put_artefact(folder, Ledger.rows(ids, out=[None] * 40, reason=reasons), key="k")
    model.commit_manifest({"stage": "train", "shape": "artefact:model", "key": "k", "lineage": {}, "schema": []}, [])
    said = funnel_of(tmp_path / "run")["model"]
    assert (said["in"], said["out"], said["dropped"], said["held out"]) == ("40", "artefact", "3", "7")
