"""Input that lies outside the root: the file stays where it is, its id stays in the ledger, and no run lets it in again."""

import json

import pytest

from pipeline.recipe import parse
from pipeline.run import plan, rows_of, run
from pipeline.store import Store
from stages.forget.commands import Forget

NAMES = ["맷돌", "절구", "방아", "두부", "조청", "누룩"]


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    lines = [
        {"url": f"http://{'shop' if n < 2 else 'other'}.example/{n}", "text": f"{name}에 대한 글입니다. " + f"{name}은 곡식과 콩을 다루는 데 쓰였고 집집마다 하나씩 있었습니다. " * (n + 2)}
        for n, name in enumerate(NAMES)
    ]
    (folder / "pages.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")

    def make(fuse=False, **quality):
        steps = [
            {"ingest": {"from": str(folder)}},
            {"quality": {"filters": [{"word_count": {"min": 3, **quality}}], "spare": []}},
            {"pii": {"mask": ["email"]}},
        ]
        return parse({"name": "files", "root": str(tmp_path / "root"), "steps": steps, "run": {"pool": "inline", "fuse": fuse}})

    return make


def urls(store):
    return sorted(store.table(["url"])["url"].to_pylist())


OTHERS = [f"http://other.example/{n}" for n in range(2, 6)]


def test_nothing_is_stale_and_a_step_done_anew_does_not_bring_it_back(page):
    recipe = page()
    run(recipe)
    assert Forget(root=recipe.root, domain=("shop.example",)).run() == 0
    assert {status.state for status in plan(recipe)} == {"done"} and not any(outcome.did for outcome in run(recipe))
    assert urls(recipe.store("pii")) == OTHERS
    run(recipe, start="ingest")
    ledger = recipe.store("ingest").ledgers().to_pylist()
    assert [row["reason"] for row in ledger].count("ingest.forgotten") == 2 and urls(recipe.store("ingest")) == OTHERS
    assert {(row["out"], row["note"]) for row in ledger if row["reason"]} == {(None, None)}
    assert urls(recipe.store("pii")) == OTHERS


def test_a_rewritten_ledger_is_the_one_a_fresh_reading_gives(page):
    recipe = page()
    run(recipe)
    Forget(root=recipe.root, domain=("shop.example",)).run()
    told = sorted(map(repr, recipe.store("ingest").ledgers().select(["id", "out", "reason", "note"]).to_pylist()))
    run(recipe, start="ingest")
    assert told == sorted(map(repr, recipe.store("ingest").ledgers().select(["id", "out", "reason", "note"]).to_pylist()))


def test_a_changed_option_afterwards_works_on_what_is_left(page):
    run(page())
    Forget(root=page().root, url=("http://shop.example/1",)).run()
    changed = page(min=4)
    assert [status.state for status in plan(changed)] == ["done", "stale", "follows"]
    run(changed)
    assert urls(changed.store("pii")) == sorted(["http://shop.example/0", *OTHERS])


def test_steps_that_were_fused_lose_their_ledger_rows_and_are_recomputed_without_it(page):
    recipe = page(fuse=True)
    run(recipe)
    quality = recipe.store("quality")
    assert not quality.receipt(0).written
    Forget(root=recipe.root, domain=("shop.example",)).run()
    assert quality.require()["rows"] == 4 == len(rows_of(quality, 0, recipe.root)) and len(quality.ledger(0)) == 4
    assert urls(recipe.store("pii")) == OTHERS and {status.state for status in plan(recipe)} == {"done"}


def test_a_file_by_its_name_and_a_root_without_text(page, tmp_path):
    """drop_raw has deleted the rows before pii: who goes is known from what is left, and the ledgers follow."""
    recipe = parse({**{"name": "f", "root": str(tmp_path / "root"), "run": {"pool": "inline", "drop_raw": True}}, "steps": [
        {"ingest": {"from": str(tmp_path / "raw")}}, {"pii": {"mask": ["email"]}}]})  # fmt: skip
    run(recipe)
    assert not Store(f"{recipe.root}/ingest").place.exists("shards/00000.arrow")
    Forget(root=recipe.root, domain=("shop.example",)).run()
    assert urls(recipe.store("pii")) == OTHERS
    assert [row["reason"] for row in recipe.store("ingest").ledgers().to_pylist()].count("ingest.forgotten") == 2
