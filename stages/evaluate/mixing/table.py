"""A search as it is shown: what the law says, what the proxies measured, and the weights to write into the recipe."""

from __future__ import annotations

import json
from typing import Any

from pipeline.storage.files import filesystem
from stages.evaluate.ablation_page import compared_line

FORMAT = 1


def write(folder: str, report: dict[str, Any]) -> str:
    """`mix-search.json` and `mix-search.md` into `folder`; returns the table."""
    into, text = filesystem(folder), page(report)
    numbers = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    into.write("mix-search.json", (numbers + "\n").encode())
    into.write("mix-search.md", (text + "\n").encode())
    return text


def page(report: dict[str, Any]) -> str:
    """The groups and their shares, the law and how well it predicts, the comparison, and the weights as YAML."""
    by = report["by"] if isinstance(report["by"], str) else ", ".join(report["by"])
    lines = [
        f"# {report['recipe']}: {report['mixtures']} mixtures of {len(report['groups'])} groups by {by}",
        "",
        f"A proxy of {report['parameters']:,} parameters on {report['tokens']:,} tokens of each, measured on {report['documents']} documents that none saw.",
        f"Looked for: the least bits per byte of {_target(report['target'])}.",
        "",
        f"| group | MB | natural | at most | alike | found | epochs of {report['budget'] / 1e6:,.1f} MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in report["groups"]:
        shares = " | ".join(f"{one[name]:.4f}" for name in ("natural", "cap", "alike", "found"))
        lines.append(f"| {_cell(one['name'])} | {one['bytes'] / 1e6:.2f} | {shares} | {one['epochs']:.2f} |")
    if report["few"]:
        few = ", ".join(f"{name} ({count})" for name, count in report["few"].items())
        lines += ["", f"Not in the target, with too few documents to be measured on: {few}."]
    lines += ["", *_law(report["law"]), "", *_compared(report), "", "```yaml", *report["yaml"], "```"]
    return "\n".join(lines)


def _target(target: dict[str, float]) -> str:
    return " + ".join(f"{weight:.2f} {name}" for name, weight in target.items())


def _law(law: dict[str, Any]) -> list[str]:
    """How well the regression predicts mixtures it was not fitted to."""
    change, low, high = law["change"]
    lines = [
        f"Regression: {law['form']}. Each mixture left out in turn: rank correlation {_number(law['rank_left_out'])}, off by {law['off_left_out']:.4f} "
        f"(the mixtures' own spread is {law['spread']:.4f}).",
        f"It says of the found mixture, beside the natural one: {change:+.4f} [{low:+.4f}, {high:+.4f}] (bootstrap over mixtures).",
    ]
    if law["checked"]:
        rank, off = _number(law["rank_checked"]), law["off_checked"]
        lines += [f"{len(law['checked'])} more mixtures it never saw: rank correlation {rank}, off by {off:.4f}.", ""]
        lines += ["| shares | predicted | measured |", "| --- | ---: | ---: |"]
        for one in law["checked"]:
            shares = ", ".join(f"{_cell(name)} {share:.3f}" for name, share in one["shares"].items())
            lines.append(f"| {shares} | {one['predicted']:.4f} | {one['measured']:.4f} |")
    return lines


def _cell(name: str) -> str:
    """A group's name in a table, where the bar between its columns would end the cell."""
    return name.replace("|", "\\|")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _compared(report: dict[str, Any]) -> list[str]:
    """The found mixture beside the natural one and all alike, proxies of several seeds each."""
    lines = [
        f"{report['seeds']} proxies of each. In brackets 95% intervals over documents (bootstrap) and seeds (Student's t), both drawn alike for all."
    ]
    for first, measures in report["measures"].items():
        for name, mixtures in measures.items():
            rows = next(iter(mixtures.values()))["rows"]
            lines += ["", f"**{name}** (lower is better; {rows} documents)", ""]
            lines += [f"| mixture | mean | by seed | change from {first} | |", "| --- | --- | --- | --- | --- |"]
            lines += [compared_line(mixture, one, mixture == first) for mixture, one in mixtures.items()]
    found = [measures["bits per byte (target)"]["found"] for measures in report["measures"].values()]
    if not all(one["better"] for one in found):
        beside = [first for first, one in zip(report["measures"], found) if not one["better"]]
        lines += ["", f"**The found mixture is not shown to be better than {' and '.join(beside)}.**"]
    return lines
