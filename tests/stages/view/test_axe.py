"""axe-core over every kind of page, in Chromium: English and Korean, dark and light, wide and narrow; nothing serious may be found.

axe-core (MPL-2.0) is no part of this project. Fetch it once and name its file:

    npm pack axe-core@4.14.1 && tar xzf axe-core-4.14.1.tgz
    AXE_CORE=$PWD/package/axe.min.js python -m pytest tests/stages/view/test_axe.py
"""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
from pipeline.inspection.report import render
from pipeline.inspection.sections import with_rows
from pipeline.storage.store import Store
from tests.stages.view.browser import Browser
from tests.stages.view.test_browser import served

pytestmark = pytest.mark.slow
SERIOUS = ("serious", "critical")
LOOKS = [("en", "light", 1280), ("ko", "dark", 1280), ("en", "dark", 390), ("ko", "light", 390)]
"""Language, colours and width: each of the first two with both of the others."""
RUN = """axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations.map(each => ({
    impact: each.impact, rule: each.id, help: each.help, nodes: each.nodes.slice(0, 3).map(node => node.html.slice(0, 200) + " | " + node.failureSummary)})))"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    path = os.environ.get("AXE_CORE")
    if not path or not Path(path).is_file():
        pytest.skip("axe-core is not on this machine: name its axe.min.js in AXE_CORE (see the top of this file)")
    return Path(path).read_text("utf-8")


@pytest.fixture
def browser(tmp_path):
    tab = Browser(tmp_path / "chromium")
    yield tab
    tab.close()


def first_id(root: Path, name: str) -> str:
    return Store(root / name).table(["id"])["id"][0].as_py()


def paths_of(root: Path) -> list[str]:
    """One page of every kind: of every store its own and its rows, of every shape a row, of every kind of list one with entries."""
    stores = {path.parent.name: Store(path.parent) for path in sorted(root.glob("*/manifest.json"))}
    found = [
        "/",
        "/labels",
        "/compare",
        "/compare/quality",
        "/life",
        "/s/nothing",
        f"/life?what={first_id(root, 'quality')}",
    ]
    for name, store in stores.items():
        found.append(f"/s/{name}")
        found += [f"/s/{name}/reason/{word}" for word in list(store.require()["reasons"])[:2]]
    for shape in ("DOCUMENT", "CHAT", "PAIR", "TOKENS"):
        (last, *_) = reversed(with_rows([*stores.values()], shape))
        found += [
            f"/s/{last.name}/rows?side=both&seed=1",
            f"/s/{last.name}/row/{first_id(root, last.name)}?model=tokenizer",
        ]
    group = next(row for row in Store(root / "dedup").ledgers()["duplicate_of"].to_pylist() if row)
    found += [
        "/s/quality/rows?grep=e",
        "/s/quality/rows?grep=nobody+wrote+this",
        "/s/dedup/groups",
        f"/s/dedup/group/{group}",
    ]
    return [*found, "/s/pii/edits", "/s/quality/metric/gopher_quality.words"]


def found_by_axe(tab: Browser, axe: str, where: str) -> list[str]:
    """What axe finds of a page that is open."""
    tab.js(axe + ";0")
    return [
        f"{where}: {each['impact']} {each['rule']}: {each['help']}\n  {each['nodes']}"
        for each in tab.js(RUN)
        if each["impact"] in SERIOUS
    ]


def dressed(tab: Browser, colours: str, width: int) -> None:
    tab.size(width)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])


def test_axe_finds_nothing_serious_on_any_page(browser, axe, repo, quickstart, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(quickstart, root)
    process, link = served(repo, root, "--against", str(quickstart))
    try:
        home, found = link.partition("/?")[0], []
        browser.go(link)
        browser.call("Page.setBypassCSP", enabled=True)  # axe is no script of these pages
        browser.go(f"{home}/s/quality/rows")
        for key in ("j", "1", "j", "2"):
            browser.press(key)
        browser.until("document.querySelectorAll('.kept-label, .drop-label').length === 2")
        for language, colours, width in LOOKS:
            dressed(browser, colours, width)
            for path in paths_of(root):
                browser.go(f"{home}{path}{'&' if '?' in path else '?'}language={language}")
                if "/metric/" in path:
                    browser.until("!!document.getElementById('after')")
                found += found_by_axe(browser, axe, f"{language} {colours} {width} {path}")
                wide = browser.js("document.documentElement.scrollWidth - innerWidth")
                found += [f"{language} {colours} {width} {path}: {wide} pixels too wide"] if wide > 1 else []
        assert not found, "\n".join(found)
    finally:
        process.terminate()
        process.wait()


def test_axe_finds_nothing_serious_in_the_report(browser, axe, quickstart, tmp_path):
    browser.call("Page.setBypassCSP", enabled=True)
    found = []
    for language, colours, width in LOOKS:
        (tmp_path / f"{language}.html").write_text(render(str(quickstart), language), "utf-8")
        dressed(browser, colours, width)
        browser.go(f"file://{tmp_path}/{language}.html")
        browser.js("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        found += found_by_axe(browser, axe, f"{language} {colours} {width} report")
    assert not found, "\n".join(found)
