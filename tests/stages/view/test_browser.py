"""The pages in Chromium: what a person does there, and that hostile texts run nothing and ask for nothing."""

import os
import re
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
from pipeline.inspection.what_if import what_if
from pipeline.storage.store import Store
from tests.stages.view.browser import Browser

pytestmark = pytest.mark.slow  # a browser takes minutes on two cores


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    tab = Browser(tmp_path_factory.mktemp("chromium"))
    yield tab
    tab.close()


def served(repo, root, *flags, cwd=None):
    """The command itself, as a user starts it; and the link it prints."""
    words = ["view", str(root), "--port", "0", "--who", "reader", *flags]
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    process = subprocess.Popen(command, cwd=cwd or repo, stdout=subprocess.PIPE, text=True, env=environment)
    return process, process.stdout.readline().strip()


def test_a_person_finds_drags_labels_and_reads(browser, repo, site_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(site_root, root)
    process, link = served(repo, root)
    try:
        home = link.partition("/?")[0]
        browser.size(1280)
        assert "word_count.low" in browser.go(link) and "token" not in browser.js("location.href")
        # funnel -> reason -> the texts, nearest to the limit first
        browser.js("[...document.querySelectorAll('a')].find(a => a.textContent === 'word_count.low').click()")
        browser.until(
            "document.readyState === 'complete' && document.title.startsWith('word_count.low')"
        )  # keys need the script
        assert browser.js("document.querySelectorAll('.card').length") > 3
        assert re.search(r"word_count\.words \d+ < (60|150)", browser.js("document.body.innerText"))
        # labels by keyboard
        for key in ("j", "1", "t", "j", "2", "j", "t"):
            browser.press(key)
        browser.until("[...document.querySelectorAll('.given')].filter(e => e.textContent).length === 3")
        browser.until("document.querySelector('.given').textContent === 'keep, long, odd'")
        assert "drop" in browser.go(f"{home}/labels") and "long, odd" in browser.js("document.body.innerText")
        # the limit is dragged, and what would change follows
        browser.go(f"{home}/s/quality/metric/word_count.words?option=word_count.min")
        browser.until("!!document.getElementById('after')")
        box = browser.js(
            "(() => { const b = document.querySelector('#chart svg').getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
        )
        before, value = (
            browser.js(code)
            for code in (
                "document.querySelector('#chart .limit').getAttribute('x1')",
                "document.getElementById('value').value",
            )
        )
        browser.drag((box[0] + box[2] * 0.1, box[1] + box[3] / 2), (box[0] + box[2] * 0.4, box[1] + box[3] / 2))
        moved = browser.until(
            f"document.getElementById('value').value !== '{value}' && document.getElementById('value').value"
        )
        told = what_if(Store(root / "quality"), [f"word_count.min={moved}"])
        browser.until(f"document.getElementById('after').textContent === '{told['after']}'")
        assert browser.js("document.querySelector('#chart .limit').getAttribute('x1')") != before and told["dropped"]
        # search, theme, narrow screen
        browser.go(f"{home}/s/pages/rows?grep=%EB%A7%B7%EB%8F%8C")
        assert browser.js("document.querySelectorAll('mark').length") > 3
        browser.js("document.getElementById('theme').click()")
        assert browser.js("document.documentElement.dataset.theme") in ("dark", "light")
        browser.size(380)
        browser.go(home)
        assert browser.js("document.documentElement.scrollWidth <= innerWidth + 1")
        assert not browser.faults and len(browser.dialogs) == 2 and len(browser.requests) > 9
        assert not [url for url in browser.requests if not url.startswith(home) and not url.startswith("about:")]
    finally:
        process.terminate()
        process.wait()


def test_hostile_texts_run_nothing_and_ask_for_nothing(browser, repo, hostile_root):
    process, link = served(repo, hostile_root)
    browser.requests.clear(), browser.dialogs.clear(), browser.faults.clear()
    try:
        home = link.partition("/?")[0]
        browser.size(1280)
        browser.go(link)
        kept = "/s/kept%20%3Ci%3E'%22"
        for path in ("/", kept, f"{kept}/reason/word_count.low", f"{kept}/metric/word_count.words", f"{kept}/rows?side=both",
                     f"{kept}/groups", f"{kept}/edits", "/s/raw/rows", "/s/chats/row/" + "c" * 32, "/s/raw/rows?grep=%3Cscript",
                     "/life?what=%3Cscript%3Ealert(9)%3C/script%3E", "/s/%3Cscript%3Ealert(8)%3C%2Fscript%3E"):  # fmt: skip
            browser.go(home + path)
            assert (
                browser.js(
                    "document.querySelectorAll('main script, main img, main iframe, main style, meta[http-equiv]').length"
                )
                == 0
            ), path
        assert browser.dialogs == []
        assert [url for url in browser.requests if not url.startswith(home)] == []
    finally:
        process.terminate()
        process.wait()
