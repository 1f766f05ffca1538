"""What documents, addresses and other pages may try against the pages: personal data that a mask would miss, work without an end,
and what others own taken for labels."""

import json
import re
import shutil
from urllib.parse import quote

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
import pyarrow as pa

from pipeline.errors import SourceError
from pipeline.inspection.page import COMPARED, difference
from pipeline.schema import CHAT
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.view import labels
from stages.view.corpus import CUT, EDGE, ShownRoot, hidden
from stages.view.render import marked
from tests.stages.view.test_pages import HERE, client

PHONE, MAIL, DIGITS = "010-9123-4567", "gildong.hong@mail-of-hong.kr", "010-8765-4321"


@pytest.fixture(scope="module")
def private_root(tmp_path_factory, make_documents):
    """raw -> kept (one row of two dropped; the kept one has an edit whose replacement is personal data) and chats."""
    root = tmp_path_factory.mktemp("private") / "root"
    texts = [f"전화\n{PHONE} 또는 {MAIL} 으로 {i}" for i in range(2)]
    blocks = [[{"kind": "paragraph", "text": f"\n{PHONE}\t{MAIL}", "start": 0, "end": 4}]] * 2
    meta = [[{"key": "contact", "value": f"\n{PHONE}"}]] * 2
    said = [f"{MAIL}"] * 2
    table = make_documents(
        texts, title=said, url=[f"https://example.com/?mail={MAIL}"] * 2, blocks=blocks, meta=meta, licence=said
    )
    ids = table["id"].to_pylist()
    raw, kept, chats = (Store(root / name) for name in ("raw", "kept", "chats"))
    schema = [{"name": field.name, "type": str(field.type)} for field in table.schema]
    raw.put(0, table, Ledger.rows(ids, note=said), key="k", stage="ingest", input_ids=table["id"])
    raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "schema": schema}, [0])
    edits = [[(0, 2, f"☎ {DIGITS} ", "unicode text")], None]
    ledger = Ledger.rows(
        ids, reason=[None, "word_count.low"], note=said, edits=edits, metrics={"word_count.words": [9, 1]}
    )
    kept.put(0, table.slice(0, 1), ledger, key="k", stage="quality", input_ids=table["id"])
    kept.commit_manifest({"stage": "quality", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "raw"}]}, "schema": schema,
                          "options": {"filters": [{"word_count": {"min": 5}}]}}, [0])  # fmt: skip
    turns = [
        {"role": "user", "content": f"call\n{PHONE}"},
        {"role": "assistant", "content": f"mail {MAIL}", "reasoning": DIGITS},
    ]
    chat = pa.Table.from_pylist([{"id": "c" * 32, "messages": turns}], CHAT)
    chats.put(0, chat, Ledger.rows(chat["id"]), key="k", stage="sft", input_ids=chat["id"])
    chats.commit_manifest({"stage": "sft", "shape": "CHAT", "key": "k"}, [0])
    return root


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_report_shows_none_either(private_root, language):
    """Texts, titles, hosts, licences and columns of options among it."""
    from pipeline.inspection.report import render

    page = render(str(private_root), language)
    assert f'lang="{language}"' in page and "word_count.words 1 &lt; 5" in page
    assert page.count("&lt;EMAIL&gt;") > 2, "of texts and of the licence"
    assert not [value for value in (PHONE, MAIL, DIGITS, *(quote(value) for value in (PHONE, MAIL))) if value in page]


def test_no_page_shows_personal_data(private_root):
    """Every page with a text of the root in it, errors and exports too; and what each would have shown."""
    hidden_from, shown_to = client(private_root), client(private_root, reveal=True)
    rows = Store(private_root / "raw").table(["id"])["id"].to_pylist()
    paths = ["/", "/s/raw", "/s/kept", "/s/raw/rows", "/s/raw/rows?grep=010", "/s/kept/rows?side=both", "/s/kept/reason/word_count.low",
             "/s/kept/edits", f"/life?what={rows[0]}", f"/life?what={rows[1]}", f"/s/raw/row/{rows[0]}", f"/s/chats/row/{'c' * 32}",
             "/s/raw/export", "/s/kept/export?side=dropped", "/s/chats/export", "/s/chats/rows",
             "/s/raw/rows?where=CAST(text AS INT) > 1", "/s/raw/rows?where=CAST(licence AS DATE) IS NULL"]  # fmt: skip
    data = (PHONE, MAIL, DIGITS)
    told = {path: shown_to.get(path).text for path in paths}
    assert {value for value in data for text in told.values() if value in text} == set(data)
    leaks = [
        (path, value)
        for path in paths
        for value in data
        if value in (text := hidden_from.get(path).text) or value in text
    ]
    assert leaks == []


def test_a_cut_leaves_no_part_of_a_number(site_root):
    """What is masked grows shorter, and what stood beyond the cut moves into it."""
    corpus = ShownRoot(str(site_root))
    many = " ".join(f"somebody.of.a.long.name.{i}@a-rather-long-host-name.example.com" for i in range(15)) + " "
    for shift in range(12):
        filler = "x" * (CUT + EDGE - len(many) - 1 - shift)
        (told,) = corpus.fit([f"{many}{filler} {PHONE} {'y' * 900}"])
        assert "010" not in told and told.endswith(" …")
    text = f"{PHONE} {many[: 90 + EDGE - 8]}VALUE{many}"
    left, right = corpus.fit_around(text, text.index("VALUE"), text.index("VALUE") + 5, 90)
    assert not re.search(r"\d{3}", left) and "@" not in left + right


def test_tokens_are_those_of_masked_messages(private_root, tmp_path):
    """Painted turns are rendered from messages that were masked before."""
    from stages.view.turns import _pieces

    class Chat:
        class tokenizer:
            all_special_ids = added_tokens_decoder = ()

            @staticmethod
            def decode(ids):
                return "".join(map(chr, ids))

        def encode(self, messages, turns, tools):
            import numpy as np

            text = "".join(turn["content"] + (turn.get("reasoning") or "") for turn in messages)
            return type("Encoded", (), {"ids": np.array([ord(c) for c in text]), "trained": np.zeros(len(text), bool)})

    (row,) = Store(private_root / "chats").table().to_pylist()
    text = "".join(run.text for run in _pieces(Chat(), ShownRoot(str(private_root)), row["messages"], None, False))
    assert "call" in text and not [value for value in (PHONE, MAIL, DIGITS) if value in text]


# -- work ----------------------------------------------------------------------------------------------------------------------


def test_marks_take_the_engine_of_the_search():
    """Patterns on which Python's engine goes on for ever."""
    text = "a" * 40 + "!" + " 맷돌"
    for pattern in (r"(a|a)*b", r"(a+b?)+c", r"(\w+\s?)+$x", r"(a|aa)+$"):
        assert "<mark>" not in marked(text, pattern, False)
    assert marked(text, r"(\w+\s?)+$", False).endswith("<mark>맷돌</mark>") and "<mark>!" in marked(text, "!", True)


@pytest.mark.parametrize("word", ["! ", "a a ", "ab "])
def test_differences_of_monotonous_texts_are_told(word):
    """Work is counted in tokens compared: the library's, in words of 64 bits, whatever the tokens are."""
    old, new = (
        word * (COMPARED // len(word)),
        word * (COMPARED // len(word) // 2) + "맷돌 " + word * (COMPARED // len(word) // 3),
    )
    told = difference(old, new)
    assert "<ins>맷돌" in told and "<del>" in told


def test_what_went_stands_before_what_came():
    assert difference("for fifteen years", "for fourteen years <b>") == (
        "for <del>fifteen</del><ins>fourteen</ins> years<ins> &lt;b&gt;</ins>"
    )


def test_what_other_edits_replace_is_not_shown():
    gone = [(10 * i, 10 * i + 4) for i in range(5_000)]
    assert hidden("abcd------" * 5_000, gone, 20_000, 20_031) == "████------" * 3 + "█"
    assert hidden("0123456789", [(2, 5), (9, 20)], 3, 10) == "██5678█"


def test_a_page_of_many_edits(tmp_path, make_documents):
    count = 20_000
    text = "abcd------" * count
    table = make_documents([text])
    raw, kept = Store(tmp_path / "raw"), Store(tmp_path / "kept")
    raw.put(0, table, Ledger.rows(table["id"]), key="k", stage="ingest", input_ids=table["id"])
    raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k"}, [0])
    ledger = Ledger.rows(table["id"], edits=[[(10 * i, 10 * i + 4, "<m>", "mail text") for i in range(count)]])
    kept.put(0, table, ledger, key="k", stage="pii", input_ids=table["id"])
    kept.commit_manifest({"stage": "pii", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "raw"}]}}, [0])
    answer = client(tmp_path).get("/s/kept/edits").text
    assert answer.count("<del>████</del>") == 40 and "abcd" not in answer


# -- labels --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(site_root, tmp_path):
    shutil.copytree(site_root, tmp_path / "root")
    return tmp_path / "root"


def labelled(at, row_id, **given):
    answer = at.post("/label", data={"id": row_id, **given}, headers={"origin": HERE})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_step_of_that_name_is_not_written_over(root):
    (root / "clean").rename(root / "labels")
    before = {path: path.read_bytes() for path in (root / "labels").rglob("*") if path.is_file()}
    at = client(root)
    (row_id,) = Store(root / "pages").table(["id"])["id"].to_pylist()[:1]
    labelled(at, row_id, store="pages", label="keep")
    assert at.post("/labels/store", headers={"origin": HERE}).status_code == 400
    assert {path: path.read_bytes() for path in before} == before


def test_tags_leave_a_label_and_a_label_leaves_tags(root):
    at = client(root)
    (row_id,) = Store(root / "pages").table(["id"])["id"].to_pylist()[:1]
    labelled(at, row_id, store="pages", label="keep")
    assert labelled(at, row_id, store="pages", tags="odd, long")["label"] == "keep"
    assert labelled(at, row_id, store="pages", label="drop")["tags"] == ["long", "odd"]
    assert "drop, long, odd" in at.get(f"/s/pages/row/{row_id}").text and "drop-label" in at.get("/s/pages/rows").text
    gone = labelled(at, row_id, store="pages", label="", tags="")
    assert gone["label"] is None and "drop-label" not in at.get("/s/pages/rows").text


def test_of_two_at_once_the_second_adds_to_the_first(root):
    from concurrent.futures import ThreadPoolExecutor

    corpus = ShownRoot(str(root), who="reader")
    ids = Store(root / "pages").table(["id"])["id"].to_pylist()[:20]
    with ThreadPoolExecutor(8) as pool:
        for row_id in ids:
            pool.submit(labels.add, corpus, row_id, "pages", "keep")
            pool.submit(labels.add, corpus, row_id, "pages", tags="odd")
    assert {(entry["label"], *entry["tags"]) for entry in labels.read(corpus)} == {("keep", "odd")}


def test_a_labelled_row_is_the_one_that_was_seen(root):
    """A text labelled after `pii` goes into the store of labels without personal data; a dropped one as it stood before the step."""
    corpus = ShownRoot(str(root), who="reader")
    pages, clean = (Store(root / name).table(["id", "text"]).to_pylist() for name in ("pages", "clean"))
    told = {row["id"]: row["text"] for row in pages}
    masked = next(row for row in clean if row["text"] != told[row["id"]])
    dropped = next(row for row in Store(root / "quality").ledgers().to_pylist() if row["reason"])
    labels.add(corpus, masked["id"], "clean", "keep")
    labels.add(corpus, dropped["id"], "quality", "drop")
    store = labels.write_store(corpus)
    rows = {row["id"]: row["text"] for row in store.table(["id", "text"]).to_pylist()}
    assert rows == {masked["id"]: masked["text"], dropped["id"]: told[dropped["id"]]}
    assert [entry["store"] for entry in store.require()["lineage"]["of"]] == ["clean", "pages"]


def test_a_label_is_read_once_and_a_broken_one_is_named(root, monkeypatch):
    from pipeline.storage.files import Local

    corpus, read = ShownRoot(str(root), who="reader"), []
    ids = Store(root / "pages").table(["id"])["id"].to_pylist()[:5]
    for row_id in ids:
        labels.add(corpus, row_id, "pages", "keep")
    honest = Local.read
    monkeypatch.setattr(Local, "read", lambda self, name: read.append(name) or honest(self, name))
    assert len(labels.read(corpus)) == 5
    read.clear()
    assert [entry["id"] for entry in labels.read(corpus)] == ids[::-1] and read == []
    (root / "labels/journal/9.json").write_text('{"id": ')
    with pytest.raises(SourceError, match="9.json is no label"):
        labels.read(corpus)


# -- one question -----------------------------------------------------------------------------------------------------------------


def shown(answer):
    assert answer.status_code == 200, answer.text
    return re.findall(r'data-id="([0-9a-f]{32})"', answer.text)


def test_a_search_among_dropped_rows_goes_through_all_of_them(tmp_path, make_documents):
    """What it finds is paged through, wherever in the ledger it stands."""
    texts = [f"row {i} {'맷돌' if i % 10 == 9 else ''}" for i in range(500)]
    table = make_documents(texts)
    ids = table["id"].to_pylist()
    raw, kept = Store(tmp_path / "raw"), Store(tmp_path / "kept")
    raw.put(0, table, Ledger.rows(ids), key="k", stage="ingest", input_ids=table["id"])
    raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k"}, [0])
    kept.put(
        0,
        table.slice(0, 0),
        Ledger.rows(ids, reason=["word_count.low"] * 500),
        key="k",
        stage="quality",
        input_ids=table["id"],
    )
    kept.commit_manifest(
        {"stage": "quality", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "raw"}]}}, [0]
    )
    at, wanted = client(tmp_path), ids[9::10]
    for path in ("/s/kept/rows?side=dropped&grep=맷돌", "/s/kept/reason/word_count.low?order=first&grep=맷돌"):
        assert [row_id for start in (0, 20, 40) for row_id in shown(at.get(f"{path}&start={start}"))] == wanted
    out = at.get("/s/kept/export?reason=word_count.low&grep=맷돌").text.splitlines()
    assert [json.loads(line)["id"] for line in out] == wanted


@pytest.mark.parametrize(
    "path",
    ["/s/pages/rows?grep=맷돌&literal=1&where=lang = 'ko'", "/s/pages/rows?seed=4&where=lang = 'ko'", "/s/pages/rows?start=40",
     "/s/quality/rows?side=dropped&seed=3", "/s/quality/reason/word_count.low", "/s/quality/reason/word_count.low?order=random&seed=9",
     "/s/quality/reason/word_count.low?order=first&grep=the&start=2&where=\"word_count.words\" > 3"],
)  # fmt: skip
def test_page_python_and_export_are_of_one_question(site_root, path):
    import html

    at = client(site_root, reveal=True)
    answer = at.get(path)
    ids = shown(answer)
    code = html.unescape(re.findall(r'<pre class="code">(.*?)</pre>', answer.text, re.S)[-1])
    *head, question = code.strip().splitlines()
    scope = {}
    exec("\n".join(head), scope)
    assert ids and [row["id"] for row in eval(question, scope)] == ids, code
    out = html.unescape(re.findall(r'<a href="([^"]*export[^"]*)">JSONL', answer.text)[0])
    told = [json.loads(line)["id"] for line in at.get(out).text.splitlines()]
    start = int((re.findall(r"start=(\d+)", path) or [0])[0])
    assert told[start : start + 20] == ids


def test_an_export_without_rows_is_a_file_without_rows(site_root):
    import io

    import pyarrow.parquet as pq

    at = client(site_root)
    for given in ("grep=zzzz-nowhere", "side=dropped&grep=zzzz-nowhere"):
        assert at.get(f"/s/quality/export?{given}").text == ""
        table = pq.read_table(io.BytesIO(at.get(f"/s/quality/export?{given}&as=parquet").content))
        assert table.num_rows == 0 and {"id", "text"} <= set(table.column_names)
    assert at.get("/s/quality/export?where=CAST(text AS INT) > 1").status_code == 400


def test_the_page_answers_at_every_address_it_listens_at(site_root):
    from starlette.testclient import TestClient

    from stages.view.app import ViewApp
    from stages.view.commands import LOOPBACK

    app = ViewApp(ShownRoot(str(site_root)), "secret", "auto", 8765).app()
    for host in LOOPBACK:
        at = TestClient(app, base_url=f"http://{f'[{host}]' if ':' in host else host}:8765")
        assert at.get("/?token=secret").status_code == 200
