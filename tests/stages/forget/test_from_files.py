"""Input that lies outside the root: the file stays where it is, its id stays in the ledger, and no run lets it in again."""

import json

import pytest

from pipeline.deletion import forgotten
from pipeline.engine.fused import rows_of
from pipeline.engine.recipe import parse
from pipeline.engine.run import plan, run
from pipeline.errors import DamagedStore
from pipeline.storage import verify
from pipeline.storage.files import filesystem
from pipeline.storage.store import Store
from stages.forget.commands import Forget

NAMES = ["맷돌", "절구", "방아", "두부", "조청", "누룩"]


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    lines = [
        {
            "url": f"http://{'shop' if n < 2 else 'other'}.example/{n}",
            "text": f"{name}에 대한 글입니다. "
            + f"{name}은 곡식과 콩을 다루는 데 쓰였고 집집마다 하나씩 있었습니다. " * (n + 2),
        }
        for n, name in enumerate(NAMES)
    ]
    (folder / "pages.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")

    def make(fuse=False, **quality):
        steps = [
            {"ingest": {"from": str(folder)}},
            {"quality": {"filters": [{"word_count": {"min": 3, **quality}}], "exempt": []}},
            {"pii": {"mask": ["email"]}},
        ]
        return parse(
            {"name": "files", "root": str(tmp_path / "root"), "steps": steps, "run": {"pool": "inline", "fuse": fuse}}
        )

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
    assert told == sorted(
        map(repr, recipe.store("ingest").ledgers().select(["id", "out", "reason", "note"]).to_pylist())
    )


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
    recipe = parse({"name": "f", "root": str(tmp_path / "root"), "run": {"pool": "inline", "drop_raw": True}, "steps": [
        {"ingest": {"from": str(tmp_path / "raw")}}, {"pii": {"mask": ["email"]}}]})  # fmt: skip
    run(recipe)
    assert not Store(f"{recipe.root}/ingest").fs.exists("shards/00000.arrow")
    Forget(root=recipe.root, domain=("shop.example",)).run()
    assert urls(recipe.store("pii")) == OTHERS
    assert [row["reason"] for row in recipe.store("ingest").ledgers().to_pylist()].count("ingest.forgotten") == 2


MAIL = [
    "http://shop.example/kim.younghee@mail.example/1",
    "http://shop.example/~lee/?to=lee.cheolsu@mail.example",
    "http://other.example/plain",
]


@pytest.fixture
def dropped(tmp_path):
    """Pages whose addresses hold mail addresses, masked by pii; the text before it is deleted."""
    (tmp_path / "raw").mkdir()
    lines = [
        {"url": url, "text": f"{name}에 대한 글입니다. " + f"{name}은 집집마다 하나씩 있었습니다. " * 5}
        for url, name in zip(MAIL, NAMES)
    ]
    (tmp_path / "raw/pages.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8"
    )
    steps = [
        {"ingest": {"from": str(tmp_path / "raw")}},
        {"quality": {"filters": [{"word_count": {"min": 3}}], "exempt": []}},
        {"pii": {"mask": ["email"]}},
    ]
    recipe = parse(
        {"name": "d", "root": str(tmp_path / "root"), "run": {"pool": "inline", "drop_raw": True}, "steps": steps}
    )
    run(recipe)
    return recipe


@pytest.mark.parametrize(
    "named, left",
    [({"url": (MAIL[0],)}, [1, 2]), ({"url": ("https://SHOP.example/kim.younghee%40mail.example/1/",)}, [1, 2]), ({"url": ("http://shop.example/%7elee/?to=lee.cheolsu@mail.example#x",)}, [0, 2]),
     ({"domain": ("shop.example",)}, [2]), ({"url": ("http://shop.example/kim.younghee@mail.example/2",)}, [0, 1, 2])],
)  # fmt: skip
def test_an_address_that_pii_masked_is_found_after_its_text_was_deleted(named, left, dropped):
    before = {row["id"]: row["url"] for row in dropped.store("pii").table().to_pylist()}
    everything = b"".join(path.read_bytes() for path in (filesystem(dropped.root).root).rglob("*") if path.is_file())
    assert b"younghee" not in everything and b"cheolsu" not in everything and not verify.verify(dropped.root).faults
    assert (filesystem(dropped.root).root / forgotten.KEY).stat().st_mode & 0o777 == 0o600
    ids = [
        row["id"]
        for row in dropped.store("ingest").sub(forgotten.HASHED).table().rename_columns(["id", "marks"]).to_pylist()
    ]
    assert Forget(root=dropped.root, **named).run() == 0
    kept = set(dropped.store("pii").table()["id"].to_pylist())
    assert kept == {ids[n] for n in left} and not verify.verify(dropped.root).faults and len(before) == 3
    assert set(dropped.store("ingest").sub(forgotten.HASHED).read(0)["doc_id"].to_pylist()) == kept
    assert {status.state for status in plan(dropped)} == {"done"}
    run(dropped, start="ingest")
    assert (
        set(dropped.store("pii").table()["id"].to_pylist()) == kept
        and dropped.store("ingest").require()["dropped_text"]
    )


def test_hashes_whose_key_is_lost_or_another_are_an_error_and_never_nothing_found(dropped):
    root = filesystem(dropped.root)
    real = root.read(forgotten.KEY)
    for key, word in ((None, "is missing"), (b"short", "is not a key"), (b"\0" * 32, "another key")):
        root.delete(forgotten.KEY) if key is None else root.write(forgotten.KEY, key)
        with pytest.raises(DamagedStore, match=word):
            Forget(root=dropped.root, url=(MAIL[0],)).run()
    root.write(forgotten.KEY, real)
    kept = f"ingest/{forgotten.HASHED}/shards/00000.arrow"
    root.write(kept, root.read(kept)[:-40] + bytes(40))
    with pytest.raises(DamagedStore, match="its bytes are not"):
        Forget(root=dropped.root, url=(MAIL[0],)).run()
    (fault,) = verify.verify(dropped.root).faults
    assert not fault.repairable and fault.hint.endswith("--from ingest")


def test_text_is_deleted_where_a_run_was_killed_before_it(dropped):
    shards = filesystem(dropped.root).root / "quality/shards"
    shards.mkdir()
    (shards / "00000.arrow").write_bytes(b"text")
    assert not any(outcome.did for outcome in run(dropped)) and not shards.exists()
