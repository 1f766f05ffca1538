"""The loopback server of a site folder: hosts by name, special paths, and an end together with its starter."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from pipeline.errors import SourceError
from stages.ingest.site import SiteServer, hosts_of


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for host, path, body in [
        ("a.example", "index.html", "front"), ("a.example", "soy/tofu.html", "tofu"), ("a.example", "files/x.csv", "1,2"), ("a.example", "한글.html", "글"),
        ("a.example", "plain.html", "plain"), ("a.example", "gone.html", "was here"), ("b.example", "index.html", "other"),
    ]:  # fmt: skip
        file = folder / "pages" / host / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(body, "utf-8")
    (folder / "secret.html").write_text("not a page")
    (folder / "site.yaml").write_text(
        "a.example:\n  redirects: {/old: {status: 301, to: /soy/tofu}}\n  types: {/plain: text/html}\n"
        "  unavailable: {/: 2}\n  status: {/gone: 410}\n  headers: {/soy/tofu: {X-Robots-Tag: noai}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def server(site, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "requests.jsonl"
    with SiteServer(site, log=log) as running:
        running.log_file = log
        yield running


def ask(server, path, host="a.example", method="GET"):
    connection = http.client.HTTPConnection(server.address)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_files_by_host_and_path(server):
    assert ask(server, "/soy/tofu")[2] == "tofu"
    assert ask(server, "/soy/tofu?x=1")[2] == "tofu"
    assert ask(server, "/%ED%95%9C%EA%B8%80")[2] == "글"
    assert ask(server, "/", "b.example")[2] == "other"
    assert ask(server, "/", "B.example:8080")[2] == "other"
    assert ask(server, "/files/x.csv")[1]["Content-Type"] == "text/csv; charset=utf-8"


def test_special_paths(server):
    assert ask(server, "/old")[:2] == (301, {"Content-Length": "0", "Location": "/soy/tofu"})
    assert ask(server, "/plain")[1]["Content-Type"] == "text/html"
    assert ask(server, "/gone")[::2] == (410, "was here")
    assert ask(server, "/soy/tofu")[1]["X-Robots-Tag"] == "noai"
    assert [ask(server, "/")[0] for _ in range(3)] == [503, 503, 200]


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/nothing", "a.example"),
        ("/", "c.example"),
        ("/", ""),
        ("/secret", ".."),
        ("/../../secret.html", "a.example"),
        ("/%2e%2e/%2e%2e/secret.html", "a.example"),
    ],
)
def test_nothing_else_is_answered(server, path, host):
    assert ask(server, path, host)[0] == 404


def test_every_request_is_logged(server):
    ask(server, "/logged?x=1", "b.example")
    rows = [json.loads(line) for line in server.log_file.read_text().splitlines()]
    row = next(row for row in rows if row["path"] == "/logged?x=1")
    assert (row["host"], row["status"]) == ("b.example", 404) and abs(row["time"] - time.time()) < 3600


def test_a_folder_without_pages_is_refused(tmp_path):
    with pytest.raises(SourceError, match="pages/<host>"):
        SiteServer(tmp_path)


def test_hosts(site):
    assert hosts_of(site) == ["a.example", "b.example"]


def answers(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


STARTER = """
import sys, time
from stages.ingest.site import SiteServer
with SiteServer(sys.argv[1]) as server:
    print(server.address, flush=True)
    time.sleep(3600)
"""


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_starter(site, repo, way):
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(site)], stdout=subprocess.PIPE, text=True, cwd=repo)
    address = starter.stdout.readline().strip()
    assert answers(address)
    starter.send_signal(way)
    starter.wait()
    starter.stdout.close()
    while answers(address):
        time.sleep(0.01)


def test_it_ends_when_its_stdin_ends(site, repo):
    """The way that works without Linux's parent-death signal."""
    child = subprocess.Popen(
        [sys.executable, "-m", "stages.ingest.site", str(site)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repo
    )
    address = json.loads(child.stdout.readline())["address"]
    assert answers(address)
    child.stdin.close()
    assert child.wait() == 113
    child.stdout.close()


def test_it_stops_at_the_end_of_with(site):
    with SiteServer(site) as server:
        assert answers(server.address)
    assert not answers(server.address)
