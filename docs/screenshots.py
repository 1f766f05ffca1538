"""The pictures of docs/view.md and the READMEs, taken anew: `maetdol view` over a root of the quickstart whose texts are the site's alone.

    maetdol run configs/quickstart.yaml --set root=runs/pictures --set quality.of=site \\
        --set 'quality.filters=[{language: {keep: [ko, en], min: 0.5}}, {gopher_quality: {max_hashes: null, min_words: 120}}, korean]'
    python docs/screenshots.py runs/pictures          # needs Chromium; writes docs/pictures/*.webp

Labels and another run to compare with are made in a copy, so that the root stays as it is.
"""

import base64
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.inspection import query
from pipeline.inspection.limits import limits_of
from pipeline.storage.store import Store
from tests.stages.view.browser import Browser
from tests.stages.view.test_browser import served

REPO = Path(__file__).parent.parent
OUT = REPO / "docs/pictures"
WIDTH, MOST = 1080, 760
"""Pixels of a picture: its width, and its height at most."""


def picture(tab: Browser, name: str, top: str = "main") -> None:
    """The page from the element `top` on, as OUT/name.webp."""
    y = 0 if top == "main" else tab.js(f"document.querySelector({top!r}).getBoundingClientRect().top + scrollY - 12")
    height = min(MOST, tab.js("document.documentElement.scrollHeight") - y)
    clip = {"x": 0, "y": y, "width": WIDTH, "height": height, "scale": 1}
    shot = tab.call("Page.captureScreenshot", format="webp", quality=82, clip=clip, captureBeyondViewport=True)
    (OUT / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


def compared(root: Path, folder: Path) -> None:
    """A root whose `quality` step is of other limits."""
    filters = [
        {"language": {"keep": ["ko", "en"], "min": 0.5}},
        {"gopher_quality": {"max_hashes": None, "min_words": 90}},
        "korean",
    ]
    steps = [{"quality": {"of": str(root / "site"), "filters": filters}}]
    run(parse({"name": "other", "root": str(folder / "other"), "seed": 17, "steps": steps, "run": {"pool": "inline"}}))


def paths_of(root: Path) -> dict[str, str]:
    """Which pages are shown, by the names of their pictures."""
    quality, unique, pairs, chats = (Store(root / name) for name in ("quality", "dedup", "dpo", "sft-rows"))
    reasons = quality.require()["reasons"]
    limit = next(limit for word in reasons for limit in limits_of(quality) if limit.reason == word)
    lost = query.dropped(quality, str(root), count=1)[0]["id"]
    group = query.count(query.ledger(unique).drop_nulls("duplicate_of"), "duplicate_of", 1)[0][0]
    pair = next(row["id"] for row in query.take(query.rows(pairs), 200) if row["lang"] == "ko")
    chat = next(row["id"] for row in query.take(query.rows(chats), 200) if row["lang"] == "en")
    return {
        "funnel": "/?language=en", "funnel-ko": "/?language=ko", "reason": f"/s/quality/reason/{limit.reason}",
        "metric": f"/s/quality/metric/{limit.metric}?option={limit.option}", "rows": f"/s/pii/rows?grep={quote('장터')}&literal=1&language=ko",
        "life": f"/life?what={lost}&language=en", "group": f"/s/dedup/group/{group}", "edits": "/s/pii/edits?language=ko",
        "chat": f"/s/sft-rows/row/{chat}?model=tokenizer&language=en", "pair": f"/s/dpo/row/{pair}?language=ko",
        "training": "/s/sft-model?language=en", "compare": "/compare/quality?language=ko", "labels": "/labels?language=en",
    }  # fmt: skip


def labelled(tab: Browser, home: str) -> None:
    """Some labels, by keyboard as a person gives them."""
    tab.go(f"{home}/s/quality/rows?seed=3&language=en")
    for key in ("j", "1", "j", "2", "j", "1", "j", "2"):
        tab.press(key)
    tab.until("document.querySelectorAll('.kept-label, .drop-label').length === 4")


def main(source: str) -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = Path(shutil.copytree(source, folder / "runs/quickstart"))
        compared(root, folder / "runs")
        process, link = served(REPO, "runs/quickstart", "--against", "runs/other", cwd=folder)
        tab, home = Browser(folder / "chromium"), link.partition("/?")[0]
        try:
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
            tab.size(WIDTH)
            tab.go(link)
            labelled(tab, home)
            for picture_name, path in paths_of(root).items():
                tab.go(home + path)
                if picture_name == "metric":
                    tab.js("field.value = 200, field.dispatchEvent(new Event('input'))")
                    tab.until("document.getElementById('change').textContent.includes('= 200')")
                picture(tab, picture_name, "h2" if picture_name == "group" else "main")
        finally:
            tab.close()
            process.terminate()
            process.wait()
    print(f"{sum(path.stat().st_size for path in OUT.iterdir()) / 1e3:,.0f} KB in {len(list(OUT.iterdir()))} pictures")


if __name__ == "__main__":
    main(sys.argv[1])
