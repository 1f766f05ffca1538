"""What the report says of mined instructions."""

from __future__ import annotations

from html import escape

from pipeline.inspection.charts import bars, number, table
from pipeline.inspection.sections import Samples, with_rows
from pipeline.storage.store import Store

TITLE = "Instructions"


def section(stores: list[Store], samples: Samples) -> str:
    """Mined rows per rule and language, an example of each rule."""
    parts = []
    for store in with_rows(stores, "CHAT"):
        rows = store.table(["rule", "lang", "messages"])
        rules = rows["rule"].to_pylist()
        langs = rows["lang"].to_pylist()
        counts: dict[str, int] = {}
        for rule, lang in zip(rules, langs):
            counts[f"{rule} · {lang or 'none'}"] = counts.get(f"{rule} · {lang or 'none'}", 0) + 1
        parts.append(
            f"<h3>{escape(store.name)}: {number(len(rules))} rows</h3>{bars(sorted(counts.items(), key=lambda i: -i[1]), most=40)}"
        )
        body = []
        for rule in sorted({r for r in rules if r}):
            messages = rows["messages"][rules.index(rule)].as_py()
            user = next((m["content"] for m in messages if m["role"] == "user"), "")
            answer = next((m["content"] for m in messages if m["role"] == "assistant"), "")
            body.append([f"<code>{escape(rule)}</code>", *samples.show([user, answer])])
        parts.append(
            f"<details><summary>an example of each rule</summary>{table(['rule', 'instruction', 'answer'], body)}</details>"
        )
    return "".join(parts)
