"""What tests of filters use: one text or some through one filter, by its word."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest


@pytest.fixture(scope="session")
def judge(make_documents):
    """`judge("word_count", ["text", ...], lang="ko", min=3)` -> the Work of a quality stage with that one filter."""
    from stages.quality import Quality

    def run(
        name: str, texts: list[str | None], lang: str | None = None, blocks: list | None = None, **options: Any
    ) -> Any:
        extra = {"blocks": blocks} if blocks else {}
        table = make_documents(texts, lang=[lang] * len(texts), **extra)
        stage = Quality.build({"filters": [{name: options}]}, "quality")
        return stage.work(table.combine_chunks().to_batches()[0])

    return run


@pytest.fixture(scope="session")
def reasons(judge):
    """`reasons("word_count", ["text", ...], ...)` -> the reason per text (None: kept)."""

    def run(name: str, texts: list[str | None], lang: str | None = None, **options: Any) -> list[str | None]:
        return judge(name, texts, lang, **options).ledger["reason"].to_pylist()

    return run


@pytest.fixture(scope="session")
def edited(judge):
    """`edited("citations", "text", ...)` -> the text as it is kept."""

    def run(name: str, text: str, lang: str | None = None, **options: Any) -> str:
        kept = judge(name, [text], lang, **options).kept
        assert len(kept) == 1, "the document was dropped"
        return kept["text"][0].as_py()

    return run


@pytest.fixture(scope="session")
def batch_of(make_documents):
    """`batch_of(texts, **columns)` -> a record batch of shape DOCUMENT."""

    def make(texts: list[str | None], **columns: list) -> pa.RecordBatch:
        table = make_documents(texts, **columns).combine_chunks()
        return table.to_batches()[0] if texts else pa.RecordBatch.from_pylist([], schema=table.schema)

    return make
