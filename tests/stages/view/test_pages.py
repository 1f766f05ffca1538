"""The pages without a browser: who is let in, what hostile texts become, where paths lead, what numbers say."""

import io
import json
import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
from starlette.testclient import TestClient

from pipeline.inspection import query
from pipeline.storage.store import Store
from stages.view.app import ViewApp
from stages.view.corpus import ShownRoot

HERE = "http://127.0.0.1:8765"


def client(root, **given) -> TestClient:
    app = ViewApp(ShownRoot(str(root), **given), "secret", "auto", 8765).app()
    found = TestClient(app, base_url=HERE)
    found.get("/?token=secret")
    return found


class Tags(HTMLParser):
    """Names of elements, and every attribute."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def every_page(root, at, most=400):
    """Every page that links lead to, from the first one on."""
    waiting, seen = ["/", "/labels", "/compare"], {}
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen[path] = at.get(path)
        if seen[path].headers["content-type"].startswith("text/html"):
            links = [value for tag, name, value in Tags(seen[path].text).attributes if tag == "a" and name == "href"]
            waiting += [link for link in links if link.startswith("/") and "language=" not in link]
    return seen


def test_nobody_is_let_in_without_the_token(site_root):
    app = ViewApp(ShownRoot(str(site_root)), "secret", "auto", 8765).app()
    stranger = TestClient(app, base_url=HERE)
    for path in ("/", "/s/quality", "/life?what=x", "/s/quality/export", "/labels"):
        assert stranger.get(path).status_code == 403
    assert stranger.get("/?token=wrong").status_code == 403 and stranger.post("/label").status_code == 403
    assert TestClient(app, base_url="http://evil.example:8765").get("/?token=secret").status_code == 400
    opened = stranger.get("//evil.example/?token=secret&seed=3", follow_redirects=False)
    assert opened.headers["location"] in ("/?seed=3", "/evil.example/?seed=3")
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=strict" in opened.headers["set-cookie"]
    assert stranger.get("/").status_code == 200


def test_what_changes_something_must_come_from_a_page_of_ours(site_root):
    at = client(site_root)
    for origin in ({}, {"origin": "http://127.0.0.1:9999"}, {"origin": "null"}):
        assert at.post("/label", data={"id": "0" * 32}, headers=origin).status_code == 403


def test_hostile_texts_are_texts(hostile_root):
    """Of every page one can reach: no element, attribute or address that the texts brought."""
    at = client(hostile_root)
    seen = every_page(hostile_root, at)
    assert len(seen) > 60 and {answer.status_code for answer in seen.values()} <= {200, 400, 404}
    assert not [path for path, answer in seen.items() if answer.status_code == 500]
    shown = 0
    for path, answer in seen.items():
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy
        if not answer.headers["content-type"].startswith("text/html"):
            assert answer.headers["x-content-type-options"] == "nosniff"
            continue
        found = Tags(answer.text)
        shown += "&lt;script&gt;alert(" in answer.text
        assert found.tags.count("script") == 1 - ("what-if" in path) and not {
            "iframe",
            "img",
            "style",
            "textarea",
        } & set(found.tags), path
        assert not [entry for entry in found.attributes if entry[1].startswith("on")], path
        links = [value for _, name, value in found.attributes if name in ("href", "src", "action")]
        assert not [link for link in links if not (link.startswith(("/", "?", "#")) and not link.startswith("//"))], (
            path
        )
    assert shown > 10


def test_no_path_leads_outside(hostile_root, site_root):
    at = client(hostile_root)
    for name in ("outside", "..%2foutside", "%2e%2e%2foutside", "%2fetc", "raw%2f..%2f..%2foutside", "nothing"):
        for rest in ("", "/rows", "/row/x", "/export", "/groups"):
            assert at.get(f"/s/{name}{rest}").status_code in (404, 403), name
    assert at.get("/static/../app.py").status_code == 404 and at.get("/static/%2e%2e%2fapp.py").status_code == 404
    corpus = ShownRoot(str(hostile_root))
    assert [store.name for store in corpus.before(corpus.store("kept <i>'\""))] == ["raw"]


def test_a_reason_shows_texts_numbers_and_limits_nearest_first(site_root):
    at = client(site_root, reveal=True)
    said = at.get("/s/quality/reason/word_count.low").text
    told = query.dropped(Store(site_root / "quality"), str(site_root), "word_count.low", 20, nearest=True)
    shown = re.findall(r'data-id="([0-9a-f]{32})"', said)
    assert shown == [row["id"] for row in told] and len(shown) > 3
    first = told[0]["measured"][0]
    assert f"{first.value:.6g} &lt; {first.limit:.6g}" in said or f"{first.value:.6g} < {first.limit:.6g}" in said


def test_what_would_change_is_shown_with_its_recipe(site_root):
    from pipeline.inspection.what_if import what_if

    at = client(site_root)
    said = at.get("/s/quality/what-if?option=word_count.min&value=20").text
    told = what_if(Store(site_root / "quality"), ["word_count.min=20"])
    assert f'<b id="after">{told["after"]}</b>' in said and "min: 20" in said
    for odd in (
        "option=nothing&value=3",
        "option=word_count.min&value=x",
        "option=word_count.min",
        "option=exempt&value=3",
    ):
        assert at.get(f"/s/quality/what-if?{odd}").status_code in (400, 404)


def test_searches_find_what_queries_find(site_root):
    at = client(site_root)
    rows = query.take(query.grep(query.rows(Store(site_root / "pages")), "맷돌"), 20)
    shown = re.findall(r'data-id="([0-9a-f]{32})"', at.get("/s/pages/rows", params={"grep": "맷돌"}).text)
    assert (
        shown == [row["id"] for row in rows]
        and "<mark>맷돌</mark>" in at.get("/s/pages/rows", params={"grep": "맷돌"}).text
    )
    one, two = (at.get("/s/pages/rows?seed=4").text for _ in range(2))
    assert one == two != at.get("/s/pages/rows?seed=5").text
    for odd in ("where=foo", "grep=(", "start=-1", "start=99999", "seed=x", "where=" + "x" * 2000):
        assert at.get(f"/s/pages/rows?{odd}").status_code == 400


def test_personal_data_is_masked_unless_revealed(site_root):
    edited = query.take(
        query.ledger(Store(site_root / "clean")).filter(__import__("polars").col("edits").list.len() > 0), 200
    )
    before = query.by_ids(Store(site_root / "unique"), [row["id"] for row in edited])
    values = {
        before[row["id"]]["text"][edit["start"] : edit["end"]]
        for row in edited
        for edit in row["edits"]
        if edit["by"].endswith(" text")
    }
    values = {value for value in values if len(value) > 8}
    assert len(values) > 5
    hidden, shown = client(site_root), client(site_root, reveal=True)
    pages_of = [f"/s/pages/row/{row['id']}" for row in edited[:4]] + ["/s/clean/edits", f"/life?what={edited[0]['id']}"]
    masked, plain = ("".join(at.get(path).text for path in pages_of) for at in (hidden, shown))
    assert [value for value in values if value in plain] and not [value for value in values if value in masked]
    out = hidden.get("/s/pages/export?rows=200").text
    assert not [value for value in values if value in out]


def test_options_of_a_step_are_masked_like_texts(hostile_root, tmp_path):
    import shutil

    root = tmp_path / "root"
    shutil.copytree(hostile_root, root)
    store = Store(root / "chats")
    store.write_manifest({**store.require(), "options": {"contact": "miller@mill.co.kr", "min": 3}})
    masked, plain = (client(root, reveal=reveal).get("/s/chats").text for reveal in (False, True))
    assert "miller@mill.co.kr" in plain and "miller@" not in masked and "min: 3" in masked


def test_exports_hold_what_was_asked(site_root):
    at = client(site_root, reveal=True)
    import pyarrow.parquet as pq

    lines = [json.loads(line) for line in at.get("/s/pages/export", params={"grep": "맷돌"}).text.splitlines()]
    assert [row["id"] for row in lines] == [
        row["id"] for row in query.take(query.grep(query.rows(Store(site_root / "pages")), "맷돌"), 1000)
    ]
    table = pq.read_table(io.BytesIO(at.get("/s/quality/export?reason=word_count.low&as=parquet").content))
    assert (
        set(table["reason"].to_pylist()) == {"word_count.low"}
        and table["measured"][0].as_py()[0]["option"] == "word_count.min"
    )


def test_labels_become_a_store_that_a_classifier_reads(site_root, tmp_path):
    import shutil

    from stages.quality.commands import TrainModel

    root = tmp_path / "root"
    shutil.copytree(site_root, root)
    at = client(root, who="reader")
    for start, word in ((0, "keep"), (20, "keep"), (40, "drop"), (60, "drop")):
        for row_id in re.findall(r'data-id="([0-9a-f]{32})"', at.get(f"/s/pages/rows?start={start}").text):
            said = at.post("/label", data={"id": row_id, "store": "pages", "label": word}, headers={"origin": HERE})
            assert said.status_code == 200 and said.json()["who"] == "reader"
    for odd in ({"label": "other"}, {"id": "../x"}, {"store": "none"}):
        given = {"id": "0" * 32, "store": "quality", "label": "keep"} | odd
        assert at.post("/label", data=given, headers={"origin": HERE}).status_code in (400, 404)
    assert at.post("/labels/store", headers={"origin": HERE}, follow_redirects=False).status_code == 303
    store = Store(root / "labels")
    counts = query.count(query.rows(store), "label")
    assert dict(counts) == {"keep": 40, "drop": 40}
    TrainModel(sink=str(tmp_path / "model"), positive=[f"{root}/labels[label=keep]"], negative=[f"{root}/labels[label=drop]"],
               held_out=0.4, min_count=1, epochs=2, buckets=1 << 12).run()  # fmt: skip
    assert (tmp_path / "model/artefact").is_dir()


def test_two_roots_are_compared(site_root, tmp_path):
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    steps = [{"quality": {"of": str(site_root / "pages"), "filters": [{"word_count": {"min": 20}}]}}]
    run(parse({"name": "o", "root": str(tmp_path / "other"), "seed": 17, "steps": steps, "run": {"pool": "inline"}}))
    at = client(site_root, against=str(tmp_path / "other"))
    said = at.get("/compare/quality").text
    here, there = (
        {row["out"] for row in query.take(query.ledger(Store(f"{root}/quality")), 1000) if row["out"]}
        for root in (site_root, tmp_path / "other")
    )
    assert (
        here != there
        and f"kept there alone: {len(there - here)}" in said
        and f"kept here alone: {len(here - there)}" in said
    )


def test_pages_are_korean_where_asked(site_root):
    at = client(site_root)
    assert "버린 행" in at.get("/", headers={"accept-language": "ko-KR"}).text and "버린 행" not in at.get("/").text
    assert '<html lang="ko">' in at.get("/?language=ko").text
