"""Questions of docs/view.md, each answered by its way: links followed by their words and forms sent, at most three of them."""

import re
from urllib.parse import urljoin

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
pytest.importorskip("jinja2", reason="the extra `view` is not installed")
import lxml.html

from pipeline.inspection import query
from pipeline.inspection.what_if import what_if
from pipeline.storage.store import Store
from tests.stages.view.test_pages import client

CLICKS = 3
ANSWERED: set[str] = set()
"""Questions that a test here answers."""


def answers(question: str):
    """Marks the test that answers a question of docs/view.md."""
    ANSWERED.add(question)
    return lambda test: test


class Visitor:
    """Somebody on the funnel's page who clicks."""

    def __init__(self, root, **given):
        self.at, self.clicks = client(root, **given), 0
        self._open("/")

    def _open(self, path: str) -> None:
        answer = self.at.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        self.path, self.page = str(answer.url), lxml.html.fromstring(answer.text)

    @property
    def text(self) -> str:
        return " ".join(self.page.text_content().split())

    def click(self, words: str, within: str = "//main") -> "Visitor":
        """Follow the first link in `within` (XPath) whose words begin so."""
        links = self.page.xpath(f"{within}//a[starts-with(normalize-space(), $words)]", words=words)
        assert links, (words, self.text[:400])
        return self._go(links[0].get("href"))

    def send(self, **fields: str) -> "Visitor":
        """Fill in the form that has these fields, and send it; its other fields as they are."""
        form = next(form for form in self.page.forms if set(fields) <= set(form.fields.keys()))
        given = {name: value for name, value in form.fields.items() if value} | fields
        action = form.get("action") or form.get("data-from") or self.path
        return self._go(str(self.at.build_request("GET", urljoin(self.path, action), params=given).url))

    def _go(self, path: str) -> "Visitor":
        self.clicks += 1
        assert self.clicks <= CLICKS
        self._open(urljoin(self.path, path))
        return self

    def ids(self) -> list[str]:
        return self.page.xpath("//main//@data-id")


@pytest.fixture
def quality(site_root):
    return Store(site_root / "quality")


def ledger_of(store, most=10_000):
    return query.take(query.ledger(store), most)


def counted(store, name="reason"):
    found: dict[str, int] = {}
    for row in ledger_of(store):
        if row[name]:
            found[row[name]] = found.get(row[name], 0) + 1
    return found


@answers("Which rule costs us most?")
def test_which_rule_costs_most(site_root, quality):
    here = Visitor(site_root)
    (first,) = here.page.xpath("//li[contains(@class, 'step')][.//b[text()='quality']]//ul[@class='reasons']/li[1]")
    word, rows = first.text_content().split()
    told = counted(quality)
    assert told[word] == int(rows.replace(",", "")) == max(told.values()) and here.clicks == 0


@answers("Why did this page vanish?")
def test_why_a_page_vanished(site_root, quality):
    lost = next(row for row in query.dropped(quality, str(site_root), "word_count.low", 20))
    here = Visitor(site_root, reveal=True).send(what=lost["row"]["url"])
    number = lost["measured"][0]
    assert "word_count.low" in here.text and f"{number.value:.6g}" in here.text and f"{number.limit:.6g}" in here.text
    assert lost["row"]["text"].split()[0] in here.text


@answers("What does this rule drop?")
def test_what_a_rule_drops(site_root, quality):
    here = Visitor(site_root).click("word_count.low")
    told = {row["id"] for row in query.dropped(quality, str(site_root), "word_count.low", 1000)}
    assert here.ids() and set(here.ids()) <= told and len(here.ids()) == min(20, len(told))


@answers("Is its limit too strict?")
def test_what_stands_just_beyond_a_limit(site_root, quality):
    here = Visitor(site_root).click("word_count.low")
    near = [
        float(n)
        for n in re.findall(r"word_count\.words \d+ < \d+ word_count\.\S+, ([\d.]+) % from the limit", here.text)
    ]
    assert len(near) > 3 and near == sorted(near)
    assert here.page.xpath("//select[@name='order']/option[@selected]/@value") == ["nearest"]


@answers("What if the limit were another?")
def test_what_if_a_limit_were_another(site_root, quality):
    here = Visitor(site_root).click("word_count.low").click("word_count.words").send(value="20")
    told = what_if(quality, ["word_count.min=20"])
    assert (
        here.page.get_element_by_id("after").text == str(told["after"]) and told["after"] != quality.require()["rows"]
    )
    assert "min: 20" in here.text


@answers("What do we keep in Korean?")
def test_what_is_kept_in_korean(site_root, quality):
    here = Visitor(site_root).click("quality").click("ko")
    told = {row["id"] for row in query.take(query.where(query.rows(quality), "lang = 'ko'"), 1000)}
    assert here.ids() and set(here.ids()) <= told


@answers("Is anything left that says X?")
def test_whether_anything_is_left_that_says_something(site_root):
    here = Visitor(site_root).click("rows", "//li[.//b[text()='clean']]").send(grep="맷돌")
    told = {row["id"] for row in query.take(query.grep(query.rows(Store(site_root / "clean")), "맷돌"), 1000)}
    assert here.ids() and set(here.ids()) <= told and here.page.xpath("//mark")
    none = Visitor(site_root).click("rows", "//li[.//b[text()='clean']]").send(grep="nobody wrote this")
    assert not none.ids() and "no rows" in none.text


@answers("What is in this group of duplicates?")
def test_what_is_in_a_group_of_duplicates(site_root):
    here = Visitor(site_root).click("unique").click("duplicates").click("", "//main//article//p[@class='head']")
    told = [row for row in ledger_of(Store(site_root / "unique")) if row["duplicate_of"]]
    (kept,) = re.findall(r"/group/([0-9a-f]{32})", here.path)
    assert set(here.ids()) == {row["id"] for row in told if row["duplicate_of"] == kept} != set()
    assert here.page.xpath("//*[contains(@class, 'measured')]")


@answers("What does a model learn from this conversation?")
def test_what_a_model_learns_from_a_conversation(quickstart):
    here = (
        Visitor(quickstart)
        .click("rows", "//li[.//b[text()='sft']]")
        .click("sft", "//main//article")
        .send(model="tokenizer")
    )
    trained = here.page.xpath("//span[starts-with(@class, 'trained')]")
    row = query.by_ids(Store(quickstart / "sft"), [re.findall(r"/row/([0-9a-f]{32})", here.path)[0]])
    (answer,) = [m["content"] for r in row.values() for m in r["messages"] if m["role"] == "assistant"]
    learnt = "".join(span.text_content() for span in trained)
    assert "".join(answer.split()) in "".join(learnt.split())
    assert len(here.page.xpath("//select[@name='model']/option")) >= 1


@answers("What changed since the last run?")
def test_what_changed_since_the_last_run(site_root, tmp_path):
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    steps = [{"quality": {"of": str(site_root / "pages"), "filters": [{"word_count": {"min": 20}}]}}]
    run(parse({"name": "o", "root": str(tmp_path / "other"), "seed": 17, "steps": steps, "run": {"pool": "inline"}}))
    here = Visitor(site_root, against=str(tmp_path / "other")).click("compare", "//nav").click("quality")
    kept = [
        {row["out"] for row in ledger_of(Store(f"{root}/quality")) if row["out"]}
        for root in (site_root, tmp_path / "other")
    ]
    assert f"kept there alone: {len(kept[1] - kept[0])}" in here.text
    assert f"kept here alone: {len(kept[0] - kept[1])}" in here.text


def test_every_question_of_the_page_about_view_is_answered_here(repo):
    page = (repo / "docs/view.md").read_text("utf-8").partition("questions\n")[2]
    asked = re.findall(r"^\| ([^|]+\?) \|", page, re.MULTILINE)
    assert len(asked) >= 10 and set(asked) == ANSWERED
