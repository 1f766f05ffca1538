"""What has been seen, what is done and what is to do: the crawl's memory, rebuilt from its journal after a kill.

One journal line settles one address: the reason (null = recorded), where its record ends in the WARC files, and what was
found on the page. A page and its links therefore stand together or not at all, and after a kill the addresses that are
asked again are those that were on their way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable

from stages.ingest.crawl import reasons
from stages.ingest.crawl.journal import Journal, lines
from stages.ingest.crawl.urls import LONGEST, host_of, site_key

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Visit:
    """An address to ask: its distance from the seeds in links, and the redirects that led to it."""

    url: str
    depth: int = 0
    via: tuple[str, ...] = ()


class Frontier:
    """`offer` what was found, `settle` what was asked; `pending` is what a fresh process has to ask.

    hosts: those of this group. others: host -> group, for links that another group follows. depth: the greatest distance
    followed.
    """

    def __init__(self, folder: Path, hosts: Iterable[str], others: dict[str, str], depth: int):
        self.sites = {site_key(host) for host in hosts}
        self.others = {site_key(host) for host in others} - self.sites
        self.depth = depth
        self.seen: dict[str, Visit] = {}
        self.done: dict[str, dict[str, Any]] = {}
        self.passed: dict[str, str] = {}
        self.outside = 0
        for line, _ in lines(folder / JOURNAL):
            self._recall(line)
        self.journal = Journal(folder / JOURNAL)

    def _recall(self, line: dict[str, Any]) -> None:
        for url, depth, via in line.get("found", ()):
            self.seen.setdefault(url, Visit(url, depth, tuple(via)))
        self.passed.update(line.get("passed", {}))
        self.outside += line.get("outside", 0)
        if "url" in line:
            self.done[line["url"]] = line
        for url in line.get("lost", ()):
            self.done.pop(url, None)

    def ends(self) -> dict[int, list[int]]:
        """WARC file number -> where the records that count end in it, in bytes."""
        found: dict[int, list[int]] = {}
        for line in self.done.values():
            if line["reason"] is None:
                found.setdefault(line["warc"], []).append(line["end"])
        return found

    def forget(self, lengths: dict[int, int]) -> None:
        """Settled pages whose record is not in the files (`lengths`: number -> bytes that are whole) are to do again."""
        lost = [u for u, line in self.done.items() if line["reason"] is None and line["end"] > lengths.get(line["warc"], 0)]
        if lost:
            self._note({"lost": lost})

    def pending(self) -> list[Visit]:
        """Everything seen and not settled, nearest first."""
        return sorted((v for u, v in self.seen.items() if u not in self.done), key=lambda v: v.depth)

    def offer(self, visits: Iterable[Visit]) -> list[Visit]:
        """Remember seeds and letters from other groups; gives those that are new."""
        found = self._sort_out(visits)
        if found.line():
            self._note(found.line())
        return found.new

    def settle(self, url: str, reason: str | None, found: Iterable[Visit] = (), **facts: Any) -> list[Visit]:
        """Write down the end of `url` together with what was found there; gives what is new to ask."""
        sorted_out = self._sort_out(found)
        line = {"url": url, "reason": reason, **{k: v for k, v in facts.items() if v is not None}}
        self._note(line | sorted_out.line())
        return sorted_out.new

    def _note(self, line: dict[str, Any]) -> None:
        self.journal.append(line)
        self._recall(line)

    def follows(self, host: str) -> bool:
        """Whether links to `host` are followed, here or by another group."""
        return site_key(host) in self.sites | self.others

    def _sort_out(self, visits: Iterable[Visit]) -> "_Found":
        found = _Found()
        for visit in visits:
            key = site_key(host_of(visit.url))
            if key in self.others:
                found.foreign.setdefault(visit.url, visit.depth)
            elif key not in self.sites:
                found.outside += 1
            elif visit.url in self.seen or visit.url in found.names:
                continue
            elif visit.depth > self.depth:
                found.passed[visit.url] = reasons.DEPTH
            elif len(visit.url) > LONGEST:
                found.passed[visit.url] = reasons.URL_TOO_LONG
            else:
                found.names.add(visit.url)
                found.new.append(visit)
        found.passed = {u: why for u, why in found.passed.items() if u not in self.passed and u not in found.names}
        return found

    def skipped(self) -> list[dict[str, Any]]:
        """Every address that was seen and gave no record: url, reason and, where known, status, to, note. Sorted."""
        rows = [{k: line[k] for k in ("url", "reason", "status", "to", "note") if k in line} for line in self.done.values() if line["reason"]]
        rows += [{"url": url, "reason": why} for url, why in self.passed.items() if url not in self.seen]
        return sorted(rows, key=lambda row: row["url"])

    def close(self) -> None:
        self.journal.close()


class _Found:
    """What a page's links came to."""

    def __init__(self) -> None:
        self.new: list[Visit] = []
        self.names: set[str] = set()
        self.passed: dict[str, str] = {}
        self.foreign: dict[str, int] = {}
        self.outside = 0

    def line(self) -> dict[str, Any]:
        """The part of a journal line that tells it."""
        parts = {
            "found": [[v.url, v.depth, list(v.via)] for v in self.new],
            "passed": self.passed,
            "foreign": self.foreign,
            "outside": self.outside,
        }
        return {name: part for name, part in parts.items() if part}


def letters(journal: Path, sites: Iterable[str], start: int = 0) -> tuple[list[Visit], int]:
    """Links to `sites` that another group wrote down from byte `start` of its journal, and how far it was read."""
    wanted = {site_key(host) for host in sites}
    found, read = [], start
    for line, read in lines(journal, start):
        found += [Visit(url, depth) for url, depth in line.get("foreign", {}).items() if site_key(host_of(url)) in wanted]
    return found, read


def known_addresses(journal: Path) -> set[str]:
    """Every address that a group's journal says it has seen."""
    return {url for line, _ in lines(journal) for url, _, _ in line.get("found", ())}
