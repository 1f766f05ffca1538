"""robots.txt: what an answer means, who asks, and how often."""

from __future__ import annotations

import asyncio

import pytest

from stages.ingest.crawl.robots import HOPS, Answer, Robots, Rules, Unreachable, product_token

PAGE = "http://a.example/private/x"
CLOSED = b"User-agent: *\nDisallow: /private/\n"


def rules(*answers, obey=True):
    """The rules after these answers, and the addresses that were asked."""
    given, asked = list(answers), []

    async def ask(url):
        asked.append(url)
        answer = given.pop(0)
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    async def run():
        robots = Robots(ask, "maetdol", obey)
        first, second = await asyncio.gather(robots.rules("http://a.example"), robots.rules("http://a.example"))
        assert first is second or not obey
        return first

    return asyncio.run(run()), asked


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (Answer(200, CLOSED), "crawl.robots"),
        (Answer(200, b""), None),
        (Answer(200, b"\xff\xfe not text \x00"), None),
        (Answer(404), None),
        (Answer(401), None),
        (Answer(410), None),
        (Answer(429), "crawl.robots_unreachable"),
        (Answer(500), "crawl.robots_unreachable"),
        (Answer(503), "crawl.robots_unreachable"),
        (Unreachable("crawl.dns"), "crawl.dns"),
        (Unreachable("crawl.private_address"), "crawl.private_address"),
    ],
)
def test_what_an_answer_means(answer, refusal):
    found, asked = rules(answer)
    assert found.refusal(PAGE) == refusal
    assert asked == ["http://a.example/robots.txt"], "asked once, by however many"


def test_redirects_are_followed_and_count_for_the_first_host():
    found, asked = rules(Answer(301, to="/r"), Answer(302, to="http://b.example/robots.txt"), Answer(200, CLOSED))
    assert asked == ["http://a.example/robots.txt", "http://a.example/r", "http://b.example/robots.txt"]
    assert found.refusal(PAGE) == "crawl.robots"


def test_too_many_redirects_close_nothing():
    found, asked = rules(*[Answer(302, to=f"/{n}") for n in range(HOPS + 3)])
    assert found.refusal(PAGE) is None and len(asked) == HOPS + 1


def test_not_obeying_asks_nothing():
    found, asked = rules(obey=False)
    assert found.refusal(PAGE) is None and asked == []


def test_after_a_day_the_file_is_asked_again():
    asked, hours = [], [0.0]

    async def ask(url):
        asked.append(url)
        return Answer(200, CLOSED if len(asked) > 1 else b"")

    async def run():
        robots = Robots(ask, "maetdol", clock=lambda: hours[0] * 3600)
        refusals = []
        for hours[0] in (0.0, 23.9, 24.1, 25.0):
            refusals.append((await robots.rules("http://a.example")).refusal(PAGE))
        return refusals

    assert asyncio.run(run()) == [None, None, "crawl.robots", "crawl.robots"]
    assert len(asked) == 2


def test_a_long_file_is_read_as_far_as_the_cap():
    found, _ = rules(Answer(200, CLOSED + b"# " + b"x" * (1 << 20)))
    assert found.refusal(PAGE) == "crawl.robots"


def test_the_group_with_this_name_wins_and_the_longest_rule_decides():
    text = "User-agent: *\nDisallow: /\n\nUser-agent: Maetdol\nDisallow: /a\nAllow: /a/open\nDisallow: /*.txt$\n"
    own = Rules(text, "maetdol")
    assert own.refusal("http://a.example/b") is None
    assert own.refusal("http://a.example/a/x") == "crawl.robots"
    assert own.refusal("http://a.example/a/open/x") is None
    assert own.refusal("http://a.example/x.txt") == "crawl.robots"
    assert Rules(text, "other").refusal("http://a.example/b") == "crawl.robots"


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("User-agent: *\nCrawl-delay: 0.2", 0.2),
        ("User-agent: *\nRequest-rate: 1/5", 5.0),
        ("User-agent: *\nCrawl-delay: soon", 0.0),
        (None, 0.0),
    ],
)
def test_pauses(text, pause):
    assert Rules(text, "maetdol").pause() == pytest.approx(pause)


@pytest.mark.parametrize(
    ("agent", "token"), [("maetdol/0.1", "maetdol"), ("My Bot/1 (+http://a.example)", "My"), ("/odd", "maetdol")]
)
def test_product_token(agent, token):
    assert product_token(agent) == token
