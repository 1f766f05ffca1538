"""One self-contained HTML page about a run, out of its ledgers, receipts and artefacts: no script, no network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from pipeline.deletion.forgotten import Reading
from pipeline.engine import catalog
from pipeline.errors import WorkError
from pipeline.inspection import sections
from pipeline.inspection.inspect import stores_of
from pipeline.inspection.masks import mask
from pipeline.inspection.sections import Samples
from pipeline.storage.files import filesystem
from pipeline.storage.store import Store

STYLE = """
:root{--bg:#fbfaf7;--ink:#24221e;--soft:#6d685f;--line:#e3ded3;--card:#fff;--c1:#3b6ea5;--c2:#c8793a;--c3:#5b8c5a;--c4:#a24b5f;--c5:#7a64a8;--c6:#8a8578}
@media(prefers-color-scheme:dark){:root{--bg:#1b1a18;--ink:#ece8df;--soft:#a49e92;--line:#38352f;--card:#242220;--c1:#7aa7d9;--c2:#e0a066;--c3:#8fc08d;--c4:#d98a9c;--c5:#ad9ad6;--c6:#a49e92}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,"Noto Sans KR","Apple SD Gothic Neo","Malgun Gothic",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 22px 80px}h1{font-size:26px;margin:0 0 2px}h2{font-size:19px;margin:44px 0 10px;padding-bottom:6px;border-bottom:1px solid var(--line)}
h3{font-size:15px;margin:20px 0 6px}p{margin:6px 0}.soft,.id{color:var(--soft)}.id,code{font:12.5px ui-monospace,Menlo,Consolas,monospace}
nav{margin:14px 0 0;display:flex;gap:6px 14px;flex-wrap:wrap}nav a{color:var(--c1);text-decoration:none}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line);border-radius:6px;font-size:13.5px;margin:6px 0}
th,td{padding:6px 10px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}th{font-weight:600;color:var(--soft);white-space:nowrap}tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td{overflow-wrap:anywhere}td:not(.n){min-width:126px}
.bars{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:8px 12px;margin:6px 0}.bar{display:grid;grid-template-columns:minmax(120px,280px) 1fr 110px;gap:10px;align-items:center;font-size:13.5px;line-height:1.75}
.label{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.value{text-align:right;font-variant-numeric:tabular-nums}.track{display:block;height:9px;background:var(--line);border-radius:5px;overflow:hidden}
.track.small{display:inline-block;width:48px;height:7px;vertical-align:middle;margin-left:6px}.fill{display:block;height:100%;background:var(--c1)}.fill.drop{background:var(--c2)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(430px,100%),1fr));gap:6px 22px}svg{width:100%;max-width:700px;background:var(--card);border:1px solid var(--line);border-radius:6px}svg text{font-size:11px;fill:var(--soft)}
.axis,.grid{stroke:var(--line)}figure{margin:8px 0}figcaption{font-size:13px;color:var(--soft);margin-bottom:4px}.legend{display:flex;gap:14px;flex-wrap:wrap;font-size:12.5px;color:var(--soft);margin:4px 0}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px}details{margin:8px 0}summary{cursor:pointer;color:var(--c1);font-size:13.5px}
@media(max-width:760px){main{padding:16px 12px 60px}.bar{grid-template-columns:1fr 70px;gap:0 10px}.label{grid-column:1/-1;white-space:normal;overflow-wrap:anywhere}}
"""


def report(root: str, target: str | None = None) -> str:
    """`write_report` beside takedowns: WorkError, and no page that shows what is forgotten, where one went by meanwhile."""
    reading = Reading(root)
    page = render(root)
    reading.check()
    where = _written(root, target, page)
    try:
        reading.check()
    except WorkError:
        folder, _, name = where.rpartition("/")
        filesystem(folder or ".").delete(name)
        raise
    return where


def write_report(root: str, target: str | None = None) -> str:
    """Write the report of the run at `root` to `target` (default: ROOT/report.html, and the pages of its stages beside it);
    returns where it lies.

    SourceError where `root` holds no finished stores.
    """
    return _written(root, target, render(root))


def _written(root: str, target: str | None, page: str) -> str:
    where = target or f"{root.rstrip('/')}/report.html"
    if target is None:
        stores = stores_of(root)
        for module, _ in _by_stage(stores):
            for name, text in module.pages(stores) if hasattr(module, "pages") else ():
                filesystem(root).write(name, text.encode("utf-8", "replace"))
    folder, _, name = where.rpartition("/")
    filesystem(folder or ".").write(name, page.encode("utf-8", "replace"))
    return where


def render(root: str) -> str:
    """The page as HTML."""
    stores = stores_of(root)
    samples = Samples(mask)
    parts = [
        ("Funnel", sections.funnel(stores)),
        ("Why rows were dropped", sections.reasons(stores, samples)),
        ("The corpus", sections.corpus(stores)),
        *((module.TITLE, module.section(own, samples)) for module, own in _by_stage(stores)),
    ]
    parts = [(title, body) for title, body in parts if body]
    name = stores[-1].require().get("recipe", root.rstrip("/").rpartition("/")[2])
    last = max((r.finished for store in stores for r in sections.receipts_of(store)), default="")
    nav = "".join(f'<a href="#s{i}">{escape(title)}</a>' for i, (title, _) in enumerate(parts))
    body = "".join(
        f'<section id="s{i}"><h2>{escape(title)}</h2>{html}</section>' for i, (title, html) in enumerate(parts)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(name)} · Maetdol</title><style>{STYLE}</style></head><body><main><h1>{escape(name)}</h1>"
        f'<p class="soft">Maetdol report · {len(stores)} stores · last shard {escape(last)}</p><nav>{nav}</nav>{body}</main></body></html>'
    )


def _by_stage(stores: list[Store]) -> Iterator[tuple[Any, list[Store]]]:
    """The report hooks of the stages that made the stores, in the order of the run, each with its stores."""
    made: dict[str, list[Store]] = {}
    for store in stores:
        made.setdefault(catalog.current_stage(store.require()["stage"]), []).append(store)
    for stage, own in made.items():
        module = catalog.hook(stage, "report")
        if module is not None and hasattr(module, "section"):
            yield module, own
