"""A new user's way through every kind of page of a whole run, in Chromium: by clicks and keys alone, from the funnel on."""

import json
import shutil

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
from pipeline.inspection import query
from pipeline.storage.store import Store
from tests.stages.view.browser import Browser
from tests.stages.view.test_browser import served

pytestmark = pytest.mark.slow


class Walker:
    """Somebody at a browser."""

    def __init__(self, tab: Browser, link: str):
        self.tab, self.home = tab, link.partition("/?")[0]
        self.tab.size(1280)
        self.text = self.tab.go(link)

    def click(self, words: str, within: str = "body", whole: bool = False) -> str:
        """Follow the first link or button in `within` whose words begin so (`whole`: are these), and wait for the page it leads to."""
        self.tab.loaded.clear()
        found = self.tab.js(
            f"(() => {{ const at = [...document.querySelectorAll({within!r})].flatMap(e => [...e.querySelectorAll('a, button')]).find(e => "
            f"{json.dumps(whole)} ? e.textContent.trim() === {words!r} : e.textContent.trim().startsWith({words!r})); at?.click(); return !!at; }})()"
        )
        assert found, (words, self.tab.js("document.body.innerText")[:600])
        assert self.tab.loaded.wait(240)
        self.text = self.tab.js("document.body.innerText")
        return self.text

    def step(self, name: str) -> str:
        """Home, and into a step."""
        self.click(self.tab.js("document.querySelector('.brand').textContent"), "header")
        return self.click(name, "main .what", whole=True)

    def send(self, **fields: str) -> str:
        """Fill in the page's form and send it."""
        self.tab.loaded.clear()
        self.tab.js(
            f"(() => {{ const form = document.querySelector('main form'); for (const [name, value] of Object.entries({json.dumps(fields)})) "
            "form.elements[name].value = value; form.requestSubmit(); })()"
        )
        assert self.tab.loaded.wait(240)
        self.text = self.tab.js("document.body.innerText")
        return self.text


def test_a_new_user_reaches_everything(repo, quickstart, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(quickstart, root)
    process, link = served(repo, root, "--against", str(quickstart))
    tab = Browser(tmp_path / "chromium")
    try:
        here = Walker(tab, link)
        for name in ("site", "quality", "dedup", "pii", "sft", "dpo", "dpo-model", "evaluate"):
            assert name in here.text
        # a document's life, from a dropped text
        here.step("quality")
        here.click("dropped", "main .doors")
        here.click("", "main .card .foot")
        assert "life of a document" in here.text and "dropped" in here.text and "kept" in here.text
        # duplicates, and how they differ
        here.step("dedup")
        here.click("duplicates")
        here.click("", "main .card .head")
        assert "members" in here.text and tab.js("document.querySelectorAll('main ins, main del').length") > 0
        # personal data that was replaced: never shown
        here.step("pii")
        here.click("edits")
        here.click("email")
        assert "<EMAIL>" in here.text and "@" not in here.text
        # a conversation and what is trained of it; a pair; a packed row
        here.step("sft-rows")
        here.click("search", "main .doors")
        here.click("sft-rows", "main .card")
        here.send(model="tokenizer")
        assert tab.js("document.querySelectorAll('.painted .trained').length") > 0
        here.step("dpo")
        here.click("sample")
        here.click("dpo", "main .card")
        assert "chosen" in here.text and "rejected" in here.text
        here.step("pack")
        here.click("search", "main .doors")
        assert tab.js("document.querySelector('.card .text').textContent.length") > 20, "tokens as text"
        here.click("pack", "main .card")
        assert tab.js("document.querySelectorAll('.painted span').length") > 0
        # training and evaluation
        assert "loss" in here.step("sft-model") and tab.js("document.querySelectorAll('main polyline').length") > 0
        assert tab.js("document.querySelectorAll('.doors a').length") <= 1, "nothing that leads to an empty page"
        assert "pretrain" in here.step("evaluate")
        # a search, its permanent address, and its export
        here.step("pii")
        here.click("search", "main .doors")
        here.send(grep="맷돌")
        shown = tab.js("[...document.querySelectorAll('.card')].map(card => card.dataset.id)")
        assert shown and "grep=" in tab.js("location.href")
        lines = tab.js(
            "fetch([...document.querySelectorAll('main a')].find(a => a.textContent === 'JSONL').href).then(answer => answer.text())"
        )
        rows = query.take(query.grep(query.rows(Store(root / "pii")), "맷돌"), 1000)
        assert [json.loads(line)["id"] for line in lines.splitlines()] == [row["id"] for row in rows] and shown[
            0
        ] == rows[0]["id"]
        # labels, by keyboard, become a store
        for key in ("j", "1", "j", "2"):
            tab.press(key)
        tab.until("document.querySelectorAll('.kept-label, .drop-label').length === 2")
        here.click("labels", "header nav")
        assert "calibrate" in here.text
        here.click("write the labels as a store")
        assert query.count(query.rows(Store(root / "labels")), "label") == [("drop", 1), ("keep", 1)]
        # two runs
        here.click("compare", "header nav")
        assert "quality" in here.click("quality", "main") and "kept here alone: 0" in here.text
        assert not tab.faults and not [url for url in tab.requests if not url.startswith((here.home, "about:"))]
    finally:
        tab.close()
        process.terminate()
        process.wait()
