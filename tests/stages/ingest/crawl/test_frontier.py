"""The crawl's memory and its recording: what a kill may do to their files, and what they remember after it."""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
from collections import Counter

import pytest

from pipeline.errors import DamagedStore
from stages.ingest.crawl.frontier import (
    FRONTIER,
    ROWS_PER_PAGE,
    Frontier,
    Visit,
    forget_addresses,
    knows_all,
    last_link,
    links_to,
)
from stages.ingest.crawl.recorder import Recorder, record_id

A, B, C = (f"http://a.example/{x}" for x in "abc")


def frontier(folder, depth=9, others=None, **more):
    return Frontier(folder, ["a.example"], others or {}, depth, **more)


def asked(one, room=100, per_host=100, host=None):
    return [visit.url for visit in one.take(room, per_host, host)]


def test_a_page_and_its_links_stand_together(tmp_path):
    first = frontier(tmp_path)
    assert first.offer([Visit(A), Visit(A)]) == 1
    assert asked(first) == [A]
    first.record(A, None, [Visit(B, 1), Visit(C, 1)], warc=0, end=100)
    first.record(B, "crawl.http_404", status=404)
    first.close()
    again = frontier(tmp_path)
    assert asked(again) == [C]
    assert again.last_end(0, 1000) == 100 and again.last_end(0, 99) == again.last_end(1, 1000) == 0
    assert list(again.skipped()) == [{"url": B, "reason": "crawl.http_404", "status": 404}]


@pytest.mark.parametrize("where", ["during the page", "before the commit"])
def test_a_kill_leaves_the_page_to_do_or_done_with_all_its_links(tmp_path, where):
    script = f"""
import os
from pathlib import Path
from stages.ingest.crawl.frontier import Frontier, Visit
one = Frontier(Path({str(tmp_path)!r}), ["a.example"], {{}}, 9)
one.offer([Visit({A!r})])
def found():
    for n in range(5000):
        yield Visit(f"http://a.example/{{n}}", 1)
    if {where!r} == "during the page":
        os._exit(9)
one.record({A!r}, None, found(), warc=0, end=100, durable=False)
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    again = frontier(tmp_path)
    assert asked(again) == [A] and again.left() == 1


def test_damage_is_an_error_that_says_what_to_do(tmp_path):
    one = frontier(tmp_path)
    one.offer(Visit(f"http://a.example/{n}") for n in range(5000))
    one.close()
    path = tmp_path / FRONTIER
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x55" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(DamagedStore, match="crawled anew"):
        frontier(tmp_path).left()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedStore, match="crawled anew"):
        frontier(tmp_path)


def test_too_deep_is_remembered_until_a_nearer_way_is_found(tmp_path):
    one = frontier(tmp_path, depth=1)
    one.offer([Visit(A)])
    one.record(A, None, [Visit(B, 2)], warc=0, end=1)
    assert list(one.skipped()) == [{"url": B, "reason": "crawl.depth"}]
    one.offer([Visit(B, 1)])
    assert asked(one) == [B]
    assert list(one.skipped()) == []


def test_links_elsewhere_are_counted_and_links_of_other_groups_are_noted_for_them(tmp_path):
    one = frontier(tmp_path, others={"b.example": "b"})
    one.offer([Visit(A)])
    one.record(
        A,
        None,
        [Visit("http://b.example/x", 1), Visit("http://c.example/", 1), Visit("http://www.a.example/y", 1)],
        warc=0,
        end=1,
    )
    assert one.summary()["outside"] == 1
    assert asked(one) == ["http://www.a.example/y"]
    read = last_link(tmp_path)
    assert list(links_to(tmp_path, ["b.example"])) == [(Visit("http://b.example/x", 1), read)]
    assert list(links_to(tmp_path, ["b.example"], read)) == [] == list(links_to(tmp_path, ["c.example"]))
    assert knows_all(tmp_path, [A]) and not knows_all(tmp_path, [A, "http://a.example/unknown"])


def test_a_registered_name_is_followed_as_a_whole_where_asked_for(tmp_path):
    one = Frontier(tmp_path, ["shop.a.co.kr"], {"www.b.co.kr": "b"}, 9, scope="domain")
    one.offer([Visit("http://shop.a.co.kr/")])
    one.record(
        "http://shop.a.co.kr/",
        None,
        [Visit(f"http://{host}/", 1) for host in ("news.a.co.kr", "x.b.co.kr", "c.co.kr")],
        warc=0,
        end=1,
    )
    assert asked(one) == ["http://news.a.co.kr/"]
    assert [visit.url for visit, _ in links_to(tmp_path, ["www.b.co.kr"], scope="domain")] == ["http://x.b.co.kr/"]
    assert one.summary()["outside"] == 1


def test_hosts_take_turns_and_one_host_never_holds_more_than_its_share(tmp_path):
    hosts = [f"h{n}.example" for n in range(20)]
    one = Frontier(tmp_path, hosts, {}, 9)
    one.offer(Visit(f"http://{host}/{n}") for host in hosts for n in range(50))
    first = one.take(30, 2)
    per_host = Counter(visit.url.split("/")[2] for visit in first)
    assert len(first) == 30 and max(per_host.values()) == 2 and len(per_host) >= 15
    order = []
    while one.on_their_way:
        url = next(iter(one.on_their_way))
        order.append(url)
        one.record(url, "crawl.http_404", status=404)
        one.take(30 - len(one.on_their_way), 2, url.split("/")[2])
    assert len(order) == 1000 == len(set(order)), "every address is asked once"


def test_a_spent_host_is_finished_at_once_and_its_later_links_too(tmp_path):
    one = frontier(tmp_path, max_pages=2)
    one.offer([Visit(f"http://a.example/{n}") for n in range(15)])
    away = asked(one, 3)
    assert [one.claim(url) for url in away] == [True, True, False]
    statements = []
    one._db.set_trace_callback(statements.append)
    one.record(away[0], None, warc=0, end=1, status=200)
    assert asked(one) == []
    assert len(statements) < 15, "one statement finishes all that is left"
    one.record(away[1], "crawl.http_404", [Visit(B, 1)], status=404)
    one.record(away[2], "crawl.page_limit")
    assert one.left() == 0 and one.summary()["skipped"] == {"crawl.http_404": 1, "crawl.page_limit": 14}
    one.offer(Visit(f"http://a.example/more-{n}") for n in range(100))
    assert one.left() == 0
    assert sum(one.summary()["skipped"].values()) == ROWS_PER_PAGE * 2 - 1, "the rest is counted, not remembered"
    assert one.summary()["beyond"] == 116 - ROWS_PER_PAGE * 2


def test_pages_claimed_before_a_kill_count_after_it(tmp_path):
    one = frontier(tmp_path, max_pages=3)
    one.offer([Visit(url) for url in (A, B, C, A + "a", B + "b")])
    for url in asked(one, 2):
        one.claim(url)
    one.record(A, "crawl.timeout")
    one._db.close()  # killed: B is on its way
    again = frontier(tmp_path, max_pages=3)
    assert [again.claim(url) for url in asked(again)] == [True, True, False, False]


@pytest.mark.parametrize("links", [10, 20_000])
def test_a_page_costs_one_commit_however_many_links_it_has(tmp_path, links):
    one = frontier(tmp_path)
    one.offer([Visit(A)])
    statements = []
    one._db.set_trace_callback(statements.append)
    one.record(A, None, (Visit(f"http://a.example/{n}", 1) for n in range(links)), warc=0, end=1)
    assert statements.count("COMMIT") == 1
    before = len(statements)
    asked(one, 16, 4, "a.example")
    assert len(statements) - before < 12, "what is asked next costs the same for any number of links"


def test_what_is_forgotten_is_in_no_byte_of_the_file(tmp_path):
    one = frontier(tmp_path, others={"b.example": "b"})
    one.offer([Visit(A), Visit(B), Visit(C, 0, (A, B))])
    one.record(B, "crawl.redirect", [Visit("http://b.example/secret", 1)], status=302, to=A)
    one.close()
    path = tmp_path / FRONTIER
    assert forget_addresses(path, lambda url: url in (A, "http://b.example/secret")) is True
    assert forget_addresses(path, lambda url: url == A) is False
    assert A.encode() not in path.read_bytes() and b"secret" not in path.read_bytes()
    again = frontier(tmp_path)
    assert again.take(9, 9) == [Visit(C, 0, (B,))]
    assert list(again.skipped()) == [{"url": B, "reason": "crawl.redirect", "status": 302}]


@pytest.mark.slow
def test_ten_million_addresses_stay_on_the_disk(tmp_path):
    """Peak memory of a process that knows ten million addresses: the program's own, read from /proc."""
    script = f"""
from pathlib import Path
from stages.ingest.crawl.frontier import Frontier, Visit
one = Frontier(Path({str(tmp_path)!r}), [f"h{{n}}.example" for n in range(1000)], {{}}, 9, max_pages=10**7)
for block in range(1000):
    one.offer(Visit(f"http://h{{n}}.example/a/rather/ordinary/path/{{block}}.html") for n in range(1000))
    for more in range(9):
        one.offer(Visit(f"http://h{{n}}.example/a/rather/ordinary/path/{{block}}-{{more}}.html") for n in range(1000))
assert one.left() == 10_000_000 and len(one.take(256, 4)) == 256
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    figures = f"{int(done.stdout)} KiB of memory at the peak, {on_disk >> 20} MiB on disk"
    print(figures, resource.getrusage(resource.RUSAGE_CHILDREN))  # for RESULTS.md
    assert int(done.stdout) < 400_000 and on_disk < 3 << 30, figures


def write(recorder, url, payload=b"<p>meal</p>"):
    return recorder.add(
        url, 200, [("Content-Type", "text/html"), ("Transfer-Encoding", "chunked")], payload, "127.0.0.1"
    )


def test_a_tail_without_a_journal_line_is_cut_off(tmp_path):
    recorder = Recorder(tmp_path, "maetdol")
    number, end = write(recorder, A)
    write(recorder, B)
    recorder.close()
    with open(tmp_path / "00000.warc.gz", "ab") as file:
        file.write(b"\x1f\x8b half a member")
    again = Recorder(tmp_path, "maetdol")
    assert again.cut_back(lambda found, size: end if found == number else 0) == {0: end}
    assert write(again, C)[0] == 0
    again.close()
    text = gzip.decompress((tmp_path / "00000.warc.gz").read_bytes())
    assert [url in text for url in (A.encode(), B.encode(), C.encode())] == [True, False, True]


def test_a_recording_that_lost_records_sends_their_pages_back(tmp_path):
    recorder, memory = Recorder(tmp_path, "maetdol"), frontier(tmp_path)
    memory.offer([Visit(A), Visit(B)])
    for url in (A, B):
        number, end = write(recorder, url)
        memory.record(url, None, warc=number, end=end)
    recorder.close()
    memory.close()
    path = tmp_path / "00000.warc.gz"
    path.write_bytes(path.read_bytes()[:-5])
    again, recorder = frontier(tmp_path), Recorder(tmp_path, "maetdol")
    again.forget(recorder.cut_back(again.last_end))
    write(recorder, C)
    again.close()
    assert asked(frontier(tmp_path)) == [B], "growth of the file does not bring the lost record back"


def test_files_rotate_by_size_and_go_on_in_the_last(tmp_path):
    recorder = Recorder(tmp_path, "maetdol", rotate=1)
    ends = {}
    for url in (A, B, C):
        number, end = write(recorder, url)
        ends.setdefault(number, []).append(end)
    recorder.close()
    assert sorted(ends) == [0, 1, 2]
    again = Recorder(tmp_path, "maetdol")
    again.cut_back(lambda found, size: max(ends[found]))
    assert write(again, A + "2")[0] == 2


def test_record_ids_are_of_address_and_payload_alone(tmp_path):
    ids = {record_id(url, payload) for url in (A, B) for payload in (b"x", b"y")}
    assert len(ids) == 4
    assert record_id(A, b"x") == record_id(A, b"x")
    assert all(one.startswith("<urn:uuid:") and one[24] == "8" for one in ids)


def test_headers_of_the_transfer_are_kept_aside(tmp_path):
    from warcio.archiveiterator import ArchiveIterator

    recorder = Recorder(tmp_path, "maetdol")
    write(recorder, A, b"1234")
    recorder.close()
    with open(tmp_path / "00000.warc.gz", "rb") as file:
        info, record = [
            (r.rec_type, dict(r.http_headers.headers) if r.http_headers else None) for r in ArchiveIterator(file)
        ]
    assert info[0] == "warcinfo"
    assert record == (
        "response",
        {"Content-Type": "text/html", "X-Crawler-Transfer-Encoding": "chunked", "Content-Length": "4"},
    )
