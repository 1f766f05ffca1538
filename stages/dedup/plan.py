"""A plan on file: what a run would remove, for a person to read, and for `--apply` to commit, that and nothing else.

    maetdol dedup A B --plan FILE     write it; B is not touched
    maetdol dedup A B --apply FILE    commit it; refused where A is no longer what it was

The file is JSON. It holds the options and the content of the inputs it was made from, a fingerprint of every decision, what
each source and host would lose, a histogram, and the largest clusters with the beginnings of their texts (it is therefore
as private as the input). What the passes found out lies beside it, in FILE.passes, so that committing does not begin anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.deletion.forgotten import Reading
from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs
from pipeline.errors import SourceError, UsageError
from pipeline.options import digest
from pipeline.storage.files import disk_error
from stages.dedup import levels, statistics
from stages.dedup.columns import column
from stages.dedup.fields import columns, text_of

if TYPE_CHECKING:
    from stages.dedup.run import Run

FORMAT = 2
SAMPLE = 160
"""Characters of a sample."""
SAMPLES = 3
"""Removed documents shown of a cluster."""
NAMED = 1000
"""Sources, and hosts, named in a plan."""


def write(run: Run, inputs: Inputs, pool: Pool, target: Path) -> dict[str, Any]:
    """Find out what would go, and write it to `target`; returns what was written."""
    reading = Reading(*(store.path for stores in inputs.stores.values() for store in stores))
    levels.decide(run, pool)
    store = run.store("statistics")
    seen = statistics.counted(store)
    lost = {kind: statistics.losses(seen, kind) for kind in ("source", "host")}
    rows, removed = (sum(count[at] for count in lost["source"].values()) for at in (0, 1))
    rules = {name: row["rows"] for name, row in seen.get("reason", {}).items()}
    edited = (
        {name: [row["edited"], row["bytes"]] for name, row in seen["source"].items() if row["bytes"]} if seen else {}
    )
    edited = dict(sorted(edited.items(), key=lambda item: (-item[1][1], item[0])))
    heads = sorted(
        ((row["rows"], int(name)) for name, row in seen.get("cluster", {}).items()), key=lambda one: (-one[0], one[1])
    )
    limit = statistics.WARN if run.stage.caps is None else run.stage.caps
    losing = {kind: largest_losses(counts) for kind, counts in lost.items()}
    page = {
        "format": FORMAT,
        "key": run.key,
        "decisions": decisions(run),
        "options": run.stage.model_dump(mode="json", exclude={"apply"}, exclude_unset=True),
        "inputs": inputs.content(),
        "rows": rows,
        "removed": removed,
        "over_caps": {name: list(count) for name, count in statistics.over(lost["source"], limit).items()},
        "rules": rules,
        "sources": losing["source"],
        "hosts": losing["host"],
        "similarity": statistics.similarities(seen),
        "spans": edited,
        "largest": clusters(run, heads[: statistics.LARGEST]),
    }
    reading.check()
    partial = target.with_name(target.name + ".part")
    try:
        partial.write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        partial.replace(target)
    except OSError as fault:
        raise disk_error(fault, target) from None
    return page


def largest_losses(counts: dict[str, tuple[int, int]]) -> dict[str, list[int]]:
    """name -> [rows, rows that would go] of those that lose any, the largest loss first; beyond NAMED the rest as one line."""
    losing = sorted(
        ((name, *count) for name, count in counts.items() if count[1]), key=lambda entry: (-entry[2], entry[0])
    )
    named = {name: [rows, removed] for name, rows, removed in losing[:NAMED]}
    if rest := losing[NAMED:]:
        named[f"and {len(rest):,} more"] = [sum(entry[1] for entry in rest), sum(entry[2] for entry in rest)]
    return named


def as_text(page: dict[str, Any], target: Path) -> str:
    """The plan in a few lines."""
    lines = [f"{page['removed']:,} of {page['rows']:,} rows would go"]
    lines += [f"  by {rule:<37} {count:>9,}" for rule, count in page["rules"].items()]
    for kind in ("sources", "hosts"):
        lines += [
            f"  {kind[:-1]} {name:<33} {removed:>9,} of {rows:>9,}"
            for name, (rows, removed) in list(page[kind].items())[:10]
        ]
    lines += [
        f"  source {name:<33} {size:>9,} bytes cut in {rows:,} rows"
        for name, (rows, size) in list(page["spans"].items())[:10]
    ]
    lines += [
        f"  cluster of {entry['documents']:,} around {entry['representative']['id']}" for entry in page["largest"][:5]
    ]
    if page["over_caps"]:
        lines.append(
            f"stopped: {len(page['over_caps'])} sources lose too much: " + ", ".join(list(page["over_caps"])[:5])
        )
    return "\n".join([*lines, f"plan      {target}"])


def decisions(run: Run) -> str:
    """Fingerprint of every verdict: the content of the passes that decide."""
    names = [*run.levels, *(["repeats"] if run.stage.spans else [])]
    return digest({name: run.store(name).hashes() for name in names})


def clusters(run: Run, largest: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Size, and representative and some removed documents with the beginnings of their texts, of each of the largest clusters."""
    found = []
    for members, representative in largest:
        docs = np.array([representative, *followers(run, representative)], np.int64)
        rows = run.corpus.gather(docs, ["id", *columns(run.minhash.fields, run.minhash.shape)])
        texts = text_of(rows, run.minhash.fields, run.minhash.shape).to_pylist()
        samples = [{"id": name, "text": (text or "")[:SAMPLE]} for name, text in zip(rows["id"].to_pylist(), texts)]
        found.append({"documents": members, "representative": samples[0], "removed": samples[1:]})
    return found


def followers(run: Run, representative: int) -> list[int]:
    """Some documents that go because of `representative`."""
    found: list[int] = []
    for name in sorted(run.levels, key=["near", "exact", "url", "semantic"].index):
        store = run.store(name)
        for number in store.shards():
            rows = store.read(number)
            docs = column(rows, "doc")
            found += docs[(column(rows, "duplicate_of") == representative) & (docs != representative)][
                :SAMPLES
            ].tolist()
            if len(found) >= SAMPLES:
                return found[:SAMPLES]
    return found


def read(path: Path) -> dict[str, Any]:
    """A plan file; SourceError where it is none."""
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
        if page["format"] == FORMAT and {"key", "decisions", "options", "inputs", "over_caps"} <= page.keys():
            return page
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise SourceError(f"dedup: {path} is no plan", "make one with `maetdol dedup SOURCE SINK --plan FILE`")


def check(page: dict[str, Any], key: str, inputs: Inputs, path: Path) -> None:
    """UsageError where the plan is not of these options and inputs, or was stopped by its caps."""
    if page["inputs"] != inputs.content():
        raise UsageError(f"dedup: the input has changed since {path} was made", "make a new plan and look at it")
    if page["key"] != key:
        given = json.dumps(page["options"])
        raise UsageError(
            f"dedup: {path} was made with other options: {given}", "give the same ones, or none with --apply"
        )
    if page["over_caps"]:
        fault = f"dedup: {path} was stopped: {len(page['over_caps'])} sources lose too much"
        raise UsageError(fault, "raise `caps` or change the threshold in a new plan")


def check_decisions(page: dict[str, Any], run: Run, path: Path) -> None:
    """UsageError where the passes decided otherwise than the plan says."""
    if page["decisions"] != decisions(run):
        raise UsageError(f"dedup: {path} decides otherwise than this run would", "make a new plan and look at it")


def passes_of(path: Path) -> Path:
    """Where a plan's passes lie."""
    return path.with_name(path.name + ".passes")
