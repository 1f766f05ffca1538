"""Documents that are all just below the threshold: what is compared has a limit, and what was left out is said."""

from __future__ import annotations

import pytest

from stages.dedup.near import resolve


@pytest.mark.parametrize("large", [False, True])
def test_what_was_not_compared_is_in_the_receipts_the_ledger_and_one_line(
    dedup, make_store, decisions, tmp_path, monkeypatch, caplog, large
):
    if large:
        monkeypatch.setattr(resolve, "LARGE_DOCS", 100)
    frame = [f"f{n}" for n in range(88)]
    texts = [" ".join([*frame, *(f"o{doc}x{n}" for n in range(12))]) for doc in range(700)]
    texts.append(texts[650] + " end")
    done = dedup(tmp_path / "out", make_store(tmp_path / "in", texts))
    gone = [decision for decision in decisions(done).values() if decision[0]]
    assert len(gone) == 1 and gone[0][0] == "dedup.near" and gone[0][2] > 0.95
    notes = done.receipt(0).notes
    limited = [row["note"] for row in done.ledgers().to_pylist() if row["note"]]
    assert len(limited) == notes["not_all_compared"] > 100 and "not compared with all its candidates" in limited[0]
    assert sum(bin.get("left_out", 0) for bin in notes["candidates"].values()) > 1_000
    assert any(f"{len(limited):,} documents were not compared with all" in line for line in caplog.messages)


def test_of_few_candidates_none_is_left_out(dedup, make_store, tmp_path):
    frame = [f"f{n}" for n in range(88)]
    done = dedup(
        tmp_path / "out",
        make_store(tmp_path / "in", [" ".join([*frame, *(f"o{doc}x{n}" for n in range(12))]) for doc in range(250)]),
    )
    notes = done.receipt(0).notes
    assert "not_all_compared" not in notes and all(
        set(bin) == {"compared", "confirmed"} for bin in notes["candidates"].values()
    )
    assert not any(row["note"] for row in done.ledgers().to_pylist())
