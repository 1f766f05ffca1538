"""What the report says of mined instructions."""

from __future__ import annotations

from collections import Counter

from pipeline.inspection.charts import Bars, Cell, Fold, PageHeading, Part, Table, number, parts_of
from pipeline.inspection.sections import Samples, some_shards, with_rows
from pipeline.storage.store import Store

TITLE = "Instructions"
KOREAN = {
    "an example of each rule": "규칙마다 예 하나", "answer": "답", "instruction": "지시문", "Instructions": "지시문", "rule": "규칙", "{}: {} rows": "{}: 행 {}개",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Mined rows per rule and language, an example of each rule."""
    t, parts = samples.t, list[Part]()
    for store in with_rows(stores, "CHAT"):
        counts, firsts = Counter[str](), {}
        read, note = some_shards(store, samples)
        for shard in read:
            for batch in store.batches(shard):
                rules, langs = (batch.column(name).to_pylist() for name in ("rule", "lang"))
                counts.update(f"{rule} · {lang or 'none'}" for rule, lang in zip(rules, langs))
                for rule in {*rules} - {*firsts, None}:
                    firsts[rule] = batch.column("messages")[rules.index(rule)].as_py()
        parts += parts_of(
            PageHeading(t("{}: {} rows", store.name, number(store.require()["rows"]))),
            note,
            Bars(counts.most_common(), most=40),
        )
        body = []
        for rule, messages in sorted(firsts.items()):
            turns = [next((m["content"] for m in messages if m["role"] == role), "") for role in ("user", "assistant")]
            body.append([Cell(rule, style="code"), *samples.show(turns)])
        parts.append(Fold(t("an example of each rule"), [Table([t("rule"), t("instruction"), t("answer")], body)]))
    return parts
