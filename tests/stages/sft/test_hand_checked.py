"""Rows read by a person: the record itself, and how it stands to what is mined today."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

ARCHIVES = ("debian-faq-ko", "installation-guide-amd64-12-ko", "libreoffice-help-7.4-ko")


@pytest.fixture(scope="module")
def record():
    return json.loads((Path(__file__).parent / "hand_checked.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def mine_page():
    """`mine_page(body, name, document id)` -> rows of a page."""
    from stages.ingest import page as reader
    from stages.ingest.row import Raw
    from stages.sft import every_rule
    from stages.sft.mine import mine

    rules = every_rule()

    def go(body: bytes, name: str, document: str) -> list[dict]:
        read = reader.read(Raw("page", name, body=body, url=f"http://manual.example/{name}"))
        return [] if read.reason else mine(rules, read.values | {"id": document, "source": name}, 17).rows

    return go


def members(shared: Path, archive: str):
    with tarfile.open(shared / "C-starter" / f"{archive}.tar.xz") as opened:
        for member in opened:
            if member.name.endswith((".html", ".htm")):
                yield member.name.removeprefix("./"), opened.extractfile(member).read()


def test_the_record_holds_ids_and_verdicts_and_no_text(record):
    rows = record["rows"]
    assert len(rows) == len({row["row"] for row in rows}) == 200
    assert all(set(row) == {"archive", "page", "document", "row", "key", "rule", "usable"} for row in rows)
    assert sum(row["usable"] for row in rows) >= 0.9 * len(rows)


@pytest.mark.slow
def test_the_rows_of_the_record_that_are_still_mined(record, shared, mine_page):
    """Most rows of the record come back as they were read, and at least nine in ten of them are usable."""
    wanted: dict[tuple[str, str], list[dict]] = {}
    for row in record["rows"]:
        wanted.setdefault((row["archive"], row["page"]), []).append(row)
    back = []
    for archive in {name for name, _ in wanted}:
        for page, body in members(shared, archive):
            rows = wanted.get((archive, page), [])
            made = {row["id"]: row for row in mine_page(body, page, rows[0]["document"])} if rows else {}
            for row in rows:
                now = made.get(row["row"])
                if now and f"{now['question_hash']:016x}{now['answer_hash']:016x}" == row["key"]:
                    back.append(row["usable"])
    assert len(back) >= 100, "the rules or the extraction have moved on: draw and read a new sample"
    assert sum(back) >= 0.9 * len(back)


@pytest.mark.slow
def test_korean_rows_of_the_manuals(shared, mine_page):
    mined = 0
    for archive in ARCHIVES:
        for number, (page, body) in enumerate(members(shared, archive)):
            mined += sum(row["lang"] == "ko" for row in mine_page(body, page, f"{number:032x}"))
    assert mined >= 1500
