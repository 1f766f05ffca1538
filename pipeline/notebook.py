"""What notebooks show of a root: tables that sort and search, conversations, differences, curves.

    from pipeline.notebook import chat, comparisons, curves, difference, evaluations, own_pages, root_of, table

Each is a small page in a frame of its own: its style and script touch nothing of the notebook, and texts of a corpus run nothing.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from pipeline.inspection.charts import Beside, Cell, Curves, Part, Table, figure
from pipeline.inspection.inspect import made_by, stores_of
from pipeline.inspection.page import difference as marked
from pipeline.inspection.page import framed
from pipeline.storage.store import ARTEFACT, Store

ROWS = 200
"""Rows of a table."""
CUT = 300
"""Characters of a cell."""


class ShownPage:
    """A page in a frame, `height` pixels high; a reader can draw it longer."""

    def __init__(self, body: str, height: int, plain: str):
        self.body, self.height, self.plain = body, height, plain

    def __repr__(self) -> str:
        return self.plain

    def _repr_html_(self) -> str:
        # Without `allow-same-origin` what stands in it reaches nothing of the notebook.
        style = f"width:100%;height:{self.height}px;border:0;resize:vertical;overflow:auto"
        return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{escape(self.body, quote=True)}"></iframe>'


def root_of(usual: str = "../runs/quickstart") -> str:
    """The root that `MAETDOL_ROOT` names, else `usual`; polars' tables are set to show whole rows."""
    warnings.filterwarnings("ignore", message="IProgress not found")  # widgets of tqdm that a notebook need not have
    pl.Config.set_tbl_hide_dataframe_shape(True)
    pl.Config.set_fmt_str_lengths(70)
    pl.Config.set_tbl_rows(40)
    return os.environ.get("MAETDOL_ROOT", usual)


def own_pages(root: str) -> pl.Expr:
    """Which rows a published notebook may show, by their `url`: of the quickstart the project's own pages, of any other root all."""
    if all(store.name != "packages" for store in stores_of(root)):
        return pl.lit(True)
    own = ["maetdol.example", "en.maetdol.example", "jangteo.example"]
    return pl.col("url").str.extract(r"^https?://([^/]+)").is_in(own)


def table(frame: pl.DataFrame | pl.LazyFrame, rows: int = ROWS) -> ShownPage:
    """The first `rows` rows: a click on a column sorts, the field above searches."""
    found = frame.lazy().head(rows).collect()
    cells = [[_cell(value) for value in row] for row in found.iter_rows()]
    lines = sum(1 + max((len(cell.text) for cell in row), default=0) // 60 for row in cells)
    return ShownPage(
        framed([Table(found.columns, cells)], search=len(cells) > 1), min(560, 120 + 30 * lines), repr(found)
    )


def _cell(value: Any) -> Cell:
    if isinstance(value, bool) or value is None:
        return Cell("" if value is None else str(value).lower())
    if isinstance(value, (int, float)):
        return figure(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Cell(text if len(text) <= CUT else text[:CUT] + " …")


def chat(row: Mapping[str, Any]) -> ShownPage:
    """The conversation of a CHAT row, or of a PAIR row the chosen and the rejected one beside each other."""
    sides = (
        {"": row["messages"]}
        if "messages" in row
        else {name: [*(row["prompt"] or []), *(row[name] or [])] for name in ("chosen", "rejected")}
    )
    turns = [(name, [(turn["role"], _content(turn)) for turn in messages]) for name, messages in sides.items()]
    plain = "\n".join(f"{role}: {text}" for _, contents in turns for role, text in contents)
    lines = max(
        sum(3 + len(text) // (80 // len(turns)) + text.count("\n") for _, text in contents) for _, contents in turns
    )
    return ShownPage(framed([], sides=turns), min(640, 60 + 24 * lines), plain)


def _content(turn: Mapping[str, Any]) -> str:
    calls = [f"{call['name']}({call['arguments']})" for call in turn.get("tool_calls") or ()]
    return "\n".join(filter(None, [turn.get("content"), *calls]))


def difference(before: str, after: str) -> ShownPage:
    """Two texts as one: what went is struck out, what came is marked."""
    text = marked(before, after)
    return ShownPage(
        framed([], text=text), min(560, 60 + 24 * (len(text) // 100 + text.count("\n"))), str(Markup(text).striptags())
    )


def history(store: Store) -> pl.DataFrame:
    """What a training wrote of its steps: a row an entry of `history.jsonl`, `kind` train or held out; empty where there is none."""
    path = _within(store, "history.jsonl")
    lines = path.read_text("utf-8").splitlines() if path else []
    entries = [json.loads(line) for line in lines if line.strip()]
    keep = [
        {"kind": entry.get("kind", "train")}
        | {
            name: float(value)
            for name, value in entry.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        for entry in entries
        if "step" in entry
    ]
    return pl.DataFrame(keep, infer_schema_length=None)


def curves(store: Store, names: Iterable[str] = ("loss",), smooth: int = 1) -> ShownPage:
    """Columns of `history` over the steps, train beside held out; train as the mean of `smooth` neighbouring entries."""
    found = history(store)
    drawn: list[list[Part]] = []
    for name in names:
        series = {}
        for kind in found["kind"].unique(maintain_order=True) if name in found.columns else ():
            own = found.filter((pl.col("kind") == kind) & pl.col(name).is_not_null()).select("step", name)
            if smooth > 1 and kind == "train":
                own = own.with_columns(pl.col(name).rolling_mean(smooth, min_samples=1))
            series[kind] = own.rows()
        if series:
            drawn.append([Curves(series, "step", name)])
    return ShownPage(framed([Beside(drawn)]), 330 * ((len(drawn) + 1) // 2) + 30, repr(found))


def evaluations(root: str) -> pl.DataFrame:
    """Measures of every evaluation of a root: model, measure, value, and the ends of its 95% interval where it has one."""
    found = []
    for store in stores_of(root):
        path = _within(store, "report.json") if store.shape == "artefact:evaluation" else None
        report = json.loads(path.read_text("utf-8")) if path else {}
        for model in report.get("models", []):
            for measure, value in model.get("metrics", {}).items():
                if isinstance(value, (int, float)):
                    low, high = model.get("intervals", {}).get(measure) or (None, None)
                    found.append((store.name, model.get("name"), measure, float(value), low, high))
    schema = {"evaluation": pl.String, "model": pl.String, "measure": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}  # fmt: skip
    return pl.DataFrame(found, schema, orient="row")


def comparisons(root: str) -> pl.DataFrame:
    """Each model of a root's evaluations against the one before: the change of a measure on the same rows, with its 95% interval."""
    names = ("measure", "before", "after", "change", "low", "high", "better")
    found = [
        {"evaluation": store.name, **{name: each.get(name) for name in names}}
        for store in stores_of(root)
        if store.shape == "artefact:evaluation" and (path := _within(store, "report.json"))
        for each in json.loads(path.read_text("utf-8")).get("comparisons", [])
    ]
    return pl.DataFrame(found, infer_schema_length=None)


def trained(root: str) -> list[Store]:
    """Stores of a root that hold what a training made, in the order they depend on each other."""
    return [store for store in stores_of(root) if _within(store, "history.jsonl")]


def _within(store: Store, name: str) -> Path | None:
    """A file of what a store trained; None where there is none."""
    receipt = store.receipt(ARTEFACT)
    return store.artefact() / name if receipt is not None and name in receipt.files else None


__all__ = ["chat", "comparisons", "curves", "difference", "evaluations", "history", "made_by", "own_pages", "root_of", "stores_of", "table", "trained"]  # fmt: skip
