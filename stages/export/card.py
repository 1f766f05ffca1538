"""The card of an exported data set: README.md with the front matter that the Hugging Face Hub reads, out of manifests, receipts
and ledgers alone. Nothing in it depends on when or where it was written."""

from __future__ import annotations

from typing import Any

import yaml

from pipeline.engine import catalog
from pipeline.inspection.sections import receipts_of
from pipeline.storage.ledger import dropped, held_out
from pipeline.storage.store import Store

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
         (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip
"""The hub's size categories, by rows."""
HUB_LICENCES = frozenset(
    "apache-2.0 mit cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-4.0 gpl-3.0 lgpl-3.0 agpl-3.0 bsd-2-clause bsd-3-clause mpl-2.0 odbl odc-by pddl unlicense".split()
)
"""Identifiers of the hub that a licence can be given as; every other is `other`, and none is `unknown`."""
TASKS = {
    "DOCUMENT": "text-generation",
    "CHAT": "text-generation",
    "PAIR": "reinforcement-learning",
    "TOKENS": "text-generation",
}
NOT_DONE = {
    "quality": "No quality filter was run.",
    "dedup": "No deduplication was run: rows may be repeated.",
    "pii": "Personal data was not looked for: names, numbers and addresses stand as they were.",
    "decontaminate": "No evaluation set was looked for: scores on public benchmarks may be inflated.",
}
"""What is said where no step of a stage stands behind the rows."""
NOTHING = frozenset(("", "none", "und", "unknown"))
"""What a column of languages or licences says where nothing is known."""
MOST_ROWS = 30
"""Rows of a table of languages or licences; the rest is one row."""
MOST_REASONS = 12


def card(source: Store, page: dict[str, Any], load: str) -> bytes:
    """The README of an export whose receipt is `page`; `load` is the line that opens it."""
    steps = upstream(source)
    manifest = source.require()
    langs, licences = (_stated(manifest["counts"].get(name, {})) for name in ("lang", "licence"))
    rows = manifest["rows"]
    sections = [
        _head(source, page, load),
        _shares("Languages", "language", langs, rows),
        _shares("Licences", "licence", licences, rows),
        _funnel(steps),
        *_of_stages(steps),
        _limits(steps, rows, langs, licences, page),
    ]
    front = yaml.safe_dump(_front(source, page, langs, licences), allow_unicode=True, sort_keys=False)
    body = "\n\n".join(part for part in sections if part)
    return f"---\n{front}---\n\n{body}\n".encode()


def _stated(counts: dict[str, int]) -> dict[str, int]:
    """Counts without what says that nothing is known."""
    return {word: n for word, n in counts.items() if word.casefold() not in NOTHING}


def upstream(source: Store) -> list[Store]:
    """The stores that the rows came through, the first first, `source` last: as far as they lie beside it and are what they were."""
    found: dict[str, Store] = {}

    def visit(store: Store) -> None:
        folder = store.path.rstrip("/").rpartition("/")[0] or "."
        for entries in store.require().get("lineage", {}).values():
            for entry in entries:
                above = Store(f"{folder}/{entry.get('store')}")
                there = above.manifest() if entry.get("store") and above.path not in found else None
                if there and not (there["shape"] or "").startswith("artefact:"):
                    if above.content_hash == entry.get("content_hash"):
                        visit(above)
        found[store.path] = store

    visit(source)
    return list(found.values())


def _front(source: Store, page: dict[str, Any], langs: dict[str, int], licences: dict[str, int]) -> dict[str, Any]:
    """The front matter."""
    known = {word.lower() for word in licences}
    licence = next(iter(known)) if len(known) == 1 and sum(licences.values()) == source.require()["rows"] else ""
    front: dict[str, Any] = {"pretty_name": source.name}
    if langs:
        front["language"] = sorted(langs)
    front["license"] = licence if licence in HUB_LICENCES else "other" if licences else "unknown"
    front["size_categories"] = [next((word for limit, word in SIZES if page["rows"] < limit), "n>1T")]
    front["task_categories"] = [TASKS[source.shape or "DOCUMENT"]]
    front["tags"] = ["maetdol", *(["preference"] if source.shape == "PAIR" else [])]
    files = [name for part in page["parts"] for name in part["files"] if not name.endswith(".left-out.jsonl")]
    patterns = {f"{name.rpartition('/')[0]}/*.{name.rpartition('.')[2]}" if "/" in name else name for name in files}
    if page["to"] not in ("megatron", "mds", "litdata", "nanotron", "datasets") and files:
        split = "test" if page["part"] == "heldout" else "train"
        front["configs"] = [
            {"config_name": "default", "data_files": [{"split": split, "path": path} for path in sorted(patterns)]}
        ]
    return front


def _head(source: Store, page: dict[str, Any], load: str) -> str:
    size = sum(proof["bytes"] for part in page["parts"] for proof in part["files"].values())
    files = sum(len(part["files"]) for part in page["parts"])
    what = {
        "DOCUMENT": "documents",
        "CHAT": "conversations",
        "PAIR": "preference pairs",
        "TOKENS": "sequences of token ids",
    }
    return "\n\n".join(
        [
            f"# {source.name}",
            f"{page['rows']:,} {what[source.shape or 'DOCUMENT']} in {files:,} files, {size:,} bytes ({page['to']}). "
            "`export.json` lists every file with its SHA-256.",
            f"```python\n{load}\n```",
        ]
    )


def _table(names: list[str], rows: list[list[Any]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|").replace("\n", " ")


def _shares(title: str, name: str, counts: dict[str, int], rows: int) -> str:
    """A table of counts of the whole store, with those that say nothing."""
    if not counts or not rows:
        return ""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    counted = ordered[:MOST_ROWS]
    counted += (
        [(f"{len(ordered) - MOST_ROWS} others", sum(n for _, n in ordered[MOST_ROWS:]))] if ordered[MOST_ROWS:] else []
    )
    counted += [("not stated", rest)] if (rest := rows - sum(counts.values())) > 0 else []
    return f"## {title}\n\n" + _table(
        [name, "rows", "share"], [[w or "not stated", n, f"{n / rows:.2%}"] for w, n in counted]
    )


def _funnel(steps: list[Store]) -> str:
    """What went into each step and came out of it, why rows were dropped, and the limits that were set."""
    rows, texts = [], []
    for store in steps:
        manifest = store.require()
        into = sum(receipt.rows_in for receipt in receipts_of(store))
        rows.append([store.name, manifest["stage"], into, manifest["rows"], dropped(manifest["reasons"])])
        reasons = [(word, n) for word, n in manifest["reasons"].items() if not held_out({word: n})][:MOST_REASONS]
        limits = manifest.get("identity", {}).get("options", {}).get("keyed") or manifest.get("options") or {}
        words = [f"Dropped: {', '.join(f'`{word}` {n:,}' for word, n in reasons)}."] if reasons else []
        page = yaml.safe_dump(_bare(limits), allow_unicode=True, sort_keys=True, width=110).strip()
        words += [f"```yaml\n{page}\n```"] if limits else []
        texts += [f"### {store.name}\n\n" + "\n\n".join(words)] if words else []
    table = _table(["step", "stage", "rows in", "rows out", "dropped"], rows)
    return "\n\n".join(["## How it was made", table, *texts])


def _bare(value: Any) -> Any:
    """Options without what was not set, and without how they are hashed."""
    if isinstance(value, dict):
        if set(value) == {"class", "version", "keyed"}:
            return {value["class"]: _bare(value["keyed"])}
        return {name: _bare(own) for name, own in value.items() if own not in (None, [], {}, "")}
    return [_bare(own) for own in value] if isinstance(value, list) else value


def _of_stages(steps: list[Store]) -> list[str]:
    """What the stages themselves say: `card(stores)` in their `report.py`."""
    made: dict[str, list[Store]] = {}
    for store in steps:
        made.setdefault(catalog.current_stage(store.require()["stage"]), []).append(store)
    found = []
    for stage, own in made.items():
        module = catalog.hook(stage, "report")
        lines = module.card(own) if module is not None and hasattr(module, "card") else []
        found += [f"## {module.TITLE}\n\n" + "\n".join(f"- {line}" for line in lines)] if lines else []
    return found


def _limits(
    steps: list[Store], rows: int, langs: dict[str, int], licences: dict[str, int], page: dict[str, Any]
) -> str:
    """What is known to be missing."""
    stages = {catalog.current_stage(store.require()["stage"]) for store in steps}
    lines = [line for stage, line in NOT_DONE.items() if stage not in stages]
    if steps[0].require().get("lineage"):
        lines.insert(
            0, "The steps before the first one named here were not beside the store: what they did is not said here."
        )
    if rows and not page["shape"] == "TOKENS":
        for counts, what in ((licences, "licence"), (langs, "language")):
            if (bare := rows - sum(counts.values())) > 0:
                lines.append(f"{bare:,} of {rows:,} rows ({bare / rows:.1%}) state no {what}.")
    if page["left_out"]:
        counts = ", ".join(f"`{reason}` {count:,}" for reason, count in page["left_out"].items())
        lines.append(f"Rows of the store that are not in these files: {counts}. Shares above are of the whole store.")
    lines.append("Languages, licences and personal data were found by programs, which err in both directions.")
    return "## Known limits\n\n" + "\n".join(f"- {line}" for line in lines)
