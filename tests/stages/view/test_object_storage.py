"""The pages over a root on S3 (moto): they say what they say of the same root on disk, and ask for little."""

import re
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
from pipeline.kept import KeptStore
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.view.corpus import ShownRoot
from tests.s3 import served
from tests.stages.view.test_pages import client

SHARDS, ROWS = 12, 40


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("s3") / "log"


@pytest.fixture(scope="module")
def bucket(log):
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    log.touch()
    with served("mill", log) as path:
        yield path


@pytest.fixture(scope="module")
def asked(log):
    """`asked()`: requests since the last call, by folder of a store."""
    at = 0

    def counted() -> Counter:
        nonlocal at
        lines = log.read_text("utf-8").splitlines()
        new, at = lines[at:], len(lines)
        return Counter(
            (re.search(r"/(receipts|shards|ledger|index|manifest)", line) or ["", "list"])[1] for line in new
        )

    return counted


def laid(root: str, make_documents) -> str:
    """raw -> kept, SHARDS shards of ROWS rows; every fourth row dropped, one of each shard a duplicate of the one before."""
    raw, kept = Store(f"{root}/raw"), Store(f"{root}/kept")
    table = make_documents(
        [f"Grain number {n} for the mill. " * 9 for n in range(SHARDS * ROWS)],
        lang=["en", "ko"] * (SHARDS * ROWS // 2),
        url=[f"https://mill.example/{n}" for n in range(SHARDS * ROWS)],
    )
    for shard in range(SHARDS):
        rows = table.slice(shard * ROWS, ROWS)
        ids = rows["id"].to_pylist()
        why = ["word_count.low" if n % 4 == 3 else "dedup.near" if n == 5 else None for n in range(ROWS)]
        ledger = Ledger.rows(
            ids,
            reason=why,
            duplicate_of=[ids[4] if n == 5 else None for n in range(ROWS)],
            metrics={"word_count.words": list(range(ROWS))},
        )
        raw.put(shard, rows, Ledger.rows(ids), key="k", stage="ingest", input_ids=rows["id"])
        kept.put(shard, rows.filter(ledger["out"].is_valid()), ledger, key="k", stage="quality", input_ids=rows["id"])
    columns = [{"name": field.name, "type": str(field.type)} for field in table.schema]
    raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "schema": columns}, range(SHARDS))
    page = {
        "stage": "quality",
        "shape": "DOCUMENT",
        "key": "k",
        "schema": columns,
        "lineage": {"of": [{"store": "raw"}]},
    }
    kept.commit_manifest({**page, "options": {"exempt": [], "filters": [{"word_count": {"min": 50}}]}}, range(SHARDS))
    return root


@pytest.fixture(scope="module")
def roots(bucket, make_documents, tmp_path_factory):
    """The same root on S3 and on disk."""
    return laid(f"{bucket}/root", make_documents), laid(str(tmp_path_factory.mktemp("view") / "root"), make_documents)


def pages_of(root: str) -> list[str]:
    ids = Store(f"{root}/kept").ledgers()["id"].to_pylist()
    return [
        "/", "/s/kept", "/s/kept/reason/word_count.low", "/s/kept/reason/word_count.low?order=random&seed=3", "/s/kept/reason/word_count.low?grep=7&order=first",
        "/s/kept/metric/word_count.words", "/s/kept/what-if?option=word_count.min&value=20", "/s/raw/rows", "/s/raw/rows?start=100", "/s/raw/rows?seed=5",
        "/s/raw/rows?grep=number+4", "/s/kept/rows?where=lang+%3D+'ko'&seed=4", "/s/kept/rows?side=both&seed=2", f"/s/raw/row/{ids[3]}",
        f"/life?what={ids[3]}", "/s/kept/groups", f"/s/kept/group/{ids[4]}", "/s/kept/edits", "/labels",
    ]  # fmt: skip


def test_pages_are_those_of_the_same_root_on_disk(roots):
    there, here = (client(root, reveal=True) for root in roots)
    for path in pages_of(roots[1]):
        shown = [
            re.sub(r"(s3:/)?/[\w/.-]*/root\b|<a [^>]*/(groups|edits)\">\w+</a> ", "", at.get(path).text)
            for at in (there, here)
        ]  # whether there are edits is not looked up of object storage
        assert shown[0] == shown[1] and ("<h1" in shown[0] or "what-if" in path), path


def test_what_was_read_of_a_finished_store_is_not_asked_for_again(roots, asked, monkeypatch):
    """Requests are counted: manifests and receipts once, ledgers and indexes once; afterwards a page costs the batches it shows."""
    monkeypatch.setattr("stages.view.corpus.FRESH", 1e9)
    asked()
    at = client(roots[0])
    at.get("/")
    first = asked()
    assert first["manifest"] == 2 and first.total() <= 2 + 3, "two stores: their manifests, and what there is"
    at.get("/")
    assert asked().total() == 0
    at.get("/s/kept/reason/word_count.low")
    cost = asked()
    assert SHARDS <= cost["ledger"] <= SHARDS + 3 and cost["index"] <= SHARDS + 2
    for path in (
        "/s/kept/reason/word_count.low?order=random",
        "/s/kept/metric/word_count.words",
        "/s/kept/groups",
        "/s/kept",
    ):
        at.get(path)
        cost = asked()
        assert cost["ledger"] <= 3 * (path == "/s/kept") and not cost["receipts"] + cost["manifest"], (path, cost)
        assert cost["shards"] <= 4 * 2 * SHARDS, (path, cost)
    at.get("/s/raw/rows?start=400")
    assert asked()["shards"] <= 12, "one shard of many holds these rows"


def test_an_address_is_looked_for_no_further_than_where_it_stands(roots, asked, monkeypatch):
    """Each look is at twice as many rows; a page ends at so many, says so, and the next goes on from there."""
    monkeypatch.setattr("pipeline.inspection.trace.FIRST_ROWS", ROWS)
    monkeypatch.setattr("pipeline.inspection.trace.SEARCHED_ROWS", 7 * ROWS)
    there, here = client(roots[0]), client(roots[1])
    there.get("/life?what=" + Store(f"{roots[1]}/kept").ledgers()["id"][0].as_py())  # ledgers and indexes are fetched
    raw = Store(f"{roots[1]}/raw")
    cost: dict[int, Counter] = {}
    for shard in (0, 4, 11):
        url, steps, path = raw.read(shard)["url"][7].as_py(), [], f"/life?what={raw.read(shard)['url'][7].as_py()}"
        asked()
        while path:
            text = there.get(path).text
            steps += re.findall(r"shards (\d+) to (\d+) of 12", text)
            found = '<ol class="life">' in text
            links = re.findall(r'<a href="(/life[^"]*)">go on searching', text)
            path = links[0].replace("&amp;", "&") if links and not found else ""
        assert found, url
        part = re.compile(r'<ol class="life">.*</ol>', re.S)
        assert part.search(text)[0] == part.search(here.get(f"/life?what={url}").text)[0]
        cost[shard] = asked()
        assert not cost[shard]["ledger"] + cost[shard]["index"] + cost[shard]["receipts"], cost
        steps_taken = {0: [("1", "1")], 4: [("1", "7")], 11: [("1", "7"), ("8", "12")]}
        assert steps == steps_taken[shard], (shard, steps)
    looks = {0: 1, 4: 7, 11: 12}
    for shard, looked in looks.items():  # columns of each, ids where it is found, the row of two stores
        assert cost[shard]["shards"] <= PER_FILE * (looked + 1) + 2 * 2, (shard, cost)
    nowhere = there.get("/life?what=https://nowhere.example/&from=7")
    assert nowhere.status_code == 400 or "shards 8 to 12 of 12" in nowhere.text


PER_FILE = 6
"""Questions to a shard of one batch for some of its columns: its end in two parts and both twice, what is in the batch, the columns."""


def test_a_scan_asks_for_the_end_of_a_file_once(roots, asked):
    """Columns are alike by the manifest, so that no file is opened to be asked for them."""
    from pipeline.inspection import query

    raw = KeptStore(f"{roots[0]}/raw")
    raw.files()
    asked()
    assert query.count(query.where(query.rows(raw), "lang = 'ko'")) == SHARDS * ROWS // 2
    assert asked()["shards"] <= SHARDS + 1, "a file as small as these comes with its end"


def test_a_store_made_again_is_read_again_and_what_was_kept_of_it_goes(bucket, make_documents, monkeypatch):
    monkeypatch.setattr("stages.view.corpus.FRESH", 0.0)
    root = laid(f"{bucket}/again", make_documents)
    corpus = ShownRoot(root)
    kept = corpus.store("kept")
    kept.ledger_files()
    folder = kept.folder
    assert isinstance(kept, KeptStore) and len(list(folder.iterdir())) == SHARDS and corpus.store("kept") is kept
    store = Store(f"{root}/kept")
    store.write_manifest({**store.require(), "key": "another"})
    assert corpus.store("kept") is not kept and not folder.exists()
    here = corpus._folder
    del corpus
    assert not here.exists(), "nothing is left behind"


def test_a_search_reads_so_much_a_page_and_says_where_to_go_on(roots, asked, monkeypatch):
    """Every row is found once, whichever pages show it."""
    size = Store(f"{roots[0]}/raw").require()["shards"][0]["bytes"]
    monkeypatch.setattr("pipeline.inspection.query.FETCHED", 3 * size + 99)
    at, found, path = client(roots[0]), [], "/s/raw/rows?grep=number+1%5Cd%2B+"
    while path:
        asked()
        text = at.get(path).text
        assert asked()["shards"] <= 3 * 6
        found += re.findall(r'data-id="([0-9a-f]{32})"', text)
        links = re.findall(r'<a (?:rel="next" )?href="([^"]*)">(?:next →|go on searching)', text)
        path = links[0].replace("&amp;", "&") and "/s/raw/rows" + links[0].replace("&amp;", "&") if links else ""
    rows = Store(f"{roots[1]}/raw").table().to_pylist()
    assert found == [row["id"] for row in rows if re.search(r"number 1\d+ ", row["text"])] and len(found) > 100
    drawn = at.get("/s/raw/rows?grep=Grain&seed=3").text
    assert re.search("drawn from [23] of 12 shards", drawn) and drawn == at.get("/s/raw/rows?grep=Grain&seed=3").text


def test_a_damaged_ledger_is_named(bucket, make_documents):
    root = laid(f"{bucket}/damaged", make_documents)
    fs = filesystem(root)
    data = bytearray(fs.read("kept/ledger/00003.arrow"))
    data[len(data) // 2] ^= 1
    fs.write("kept/ledger/00003.arrow", bytes(data))
    answer = client(root).get("/s/kept/reason/word_count.low")
    assert answer.status_code == 400 and "00003.arrow is damaged" in answer.text
