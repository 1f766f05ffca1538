"""The crawl's memory and its recording: what a kill may do to their files, and what they remember after it."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DamagedStore
from stages.ingest.crawl.frontier import JOURNAL, Frontier, Visit, letters
from stages.ingest.crawl.journal import Journal, lines
from stages.ingest.crawl.recorder import Recorder, record_id

A, B, C = (f"http://a.example/{x}" for x in "abc")


def frontier(folder, depth=9, others=None):
    return Frontier(folder, ["a.example"], others or {}, depth)


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(0, 200))
def test_a_journal_cut_anywhere_keeps_its_whole_lines(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    journal = Journal(path)
    for n in range(8):
        journal.append({"n": n, "text": "맷돌" * n})
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    again = Journal(path)
    again.append({"n": "after"})
    again.close()
    kept = [line["n"] for line, _ in lines(path)]
    assert kept == [*range(whole[:cut].count(b"\n")), "after"]


def test_a_long_cut_line_is_taken_off_too(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"n":1}\n{"text":"' + b"x" * 200_000)
    Journal(path).close()
    assert path.read_bytes() == b'{"n":1}\n'


def test_damage_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / JOURNAL
    path.write_bytes(b'{"n":1}\n{"n":\n{"n":3}\n')
    with pytest.raises(DamagedStore, match="crawled anew"):
        frontier(tmp_path)


def test_a_page_and_its_links_stand_together(tmp_path):
    first = frontier(tmp_path)
    assert [v.url for v in first.offer([Visit(A), Visit(A)])] == [A]
    first.settle(A, None, [Visit(B, 1), Visit(C, 1)], warc=0, end=100)
    first.settle(B, "crawl.http_404", status=404)
    first.close()
    again = frontier(tmp_path)
    assert [v.url for v in again.pending()] == [C]
    assert again.ends() == {0: [100]}
    assert again.skipped() == [{"url": B, "reason": "crawl.http_404", "status": 404}]


def test_a_line_that_was_cut_leaves_the_page_to_do(tmp_path):
    first = frontier(tmp_path)
    first.offer([Visit(A)])
    first.settle(A, None, [Visit(B, 1)], warc=0, end=100)
    first.close()
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-1])
    assert [v.url for v in frontier(tmp_path).pending()] == [A]


def test_too_deep_is_remembered_until_a_nearer_way_is_found(tmp_path):
    one = frontier(tmp_path, depth=1)
    one.offer([Visit(A)])
    one.settle(A, None, [Visit(B, 2)], warc=0, end=1)
    assert one.skipped() == [{"url": B, "reason": "crawl.depth"}]
    assert [v.url for v in one.offer([Visit(B, 1)])] == [B]
    assert one.skipped() == []


def test_links_elsewhere_are_counted_and_links_of_other_groups_become_letters(tmp_path):
    one = frontier(tmp_path, others={"b.example": "b"})
    one.offer([Visit(A)])
    one.settle(A, None, [Visit("http://b.example/x", 1), Visit("http://c.example/", 1), Visit("http://www.a.example/y", 1)], warc=0, end=1)
    assert one.outside == 1
    assert [v.url for v in one.pending()] == ["http://www.a.example/y"]
    found, read = letters(tmp_path / JOURNAL, ["b.example"])
    assert found == [Visit("http://b.example/x", 1)]
    assert letters(tmp_path / JOURNAL, ["b.example"], read) == ([], read)


def write(recorder, url, payload=b"<p>meal</p>"):
    return recorder.add(url, 200, [("Content-Type", "text/html"), ("Transfer-Encoding", "chunked")], payload, "127.0.0.1")


def test_a_tail_without_a_journal_line_is_cut_off(tmp_path):
    recorder = Recorder(tmp_path, "maetdol")
    number, end = write(recorder, A)
    write(recorder, B)
    recorder.close()
    with open(tmp_path / "00000.warc.gz", "ab") as file:
        file.write(b"\x1f\x8b half a member")
    again = Recorder(tmp_path, "maetdol")
    assert again.mend({number: [end]}) == {0: end}
    assert write(again, C)[0] == 0
    again.close()
    text = gzip.decompress((tmp_path / "00000.warc.gz").read_bytes())
    assert [url in text for url in (A.encode(), B.encode(), C.encode())] == [True, False, True]


def test_a_recording_that_lost_records_sends_their_pages_back(tmp_path):
    recorder, memory = Recorder(tmp_path, "maetdol"), frontier(tmp_path)
    memory.offer([Visit(A), Visit(B)])
    for url in (A, B):
        number, end = write(recorder, url)
        memory.settle(url, None, warc=number, end=end)
    recorder.close()
    memory.close()
    path = tmp_path / "00000.warc.gz"
    path.write_bytes(path.read_bytes()[:-5])
    again, mended = frontier(tmp_path), Recorder(tmp_path, "maetdol")
    again.forget(mended.mend(again.ends()))
    assert [v.url for v in again.pending()] == [B]
    write(mended, C)
    assert [v.url for v in frontier(tmp_path).pending()] == [B], "growth of the file does not bring the lost record back"


def test_files_rotate_by_size_and_go_on_in_the_last(tmp_path):
    recorder = Recorder(tmp_path, "maetdol", rotate=1)
    ends = {}
    for url in (A, B, C):
        number, end = write(recorder, url)
        ends.setdefault(number, []).append(end)
    recorder.close()
    assert sorted(ends) == [0, 1, 2]
    again = Recorder(tmp_path, "maetdol")
    again.mend(ends)
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
        info, record = [(r.rec_type, dict(r.http_headers.headers) if r.http_headers else None) for r in ArchiveIterator(file)]
    assert info[0] == "warcinfo"
    assert record == ("response", {"Content-Type": "text/html", "X-Crawler-Transfer-Encoding": "chunked", "Content-Length": "4"})


def test_the_journal_is_plain_json_lines(tmp_path):
    one = frontier(tmp_path)
    one.offer([Visit(A)])
    one.close()
    assert [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()] == [{"found": [[A, 0, []]]}]
