"""What has been seen, what is done and what is to do: the crawl's memory, a SQLite file beside its WARC files.

One transaction finishes one address: the reason (null = recorded), where its record ends in the WARC files, and what was
found on the page. A page and its links therefore stand together or not at all, and after a kill the addresses that are
asked again are those that were on their way. Memory does not grow with the number of addresses, and a page costs one
commit however many links it has.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedStore
from stages.ingest.crawl import reasons
from stages.ingest.crawl.urls import LONGEST, ending_of, host_of, not_pages, registered_name, site_key

FRONTIER = "frontier.sqlite"
CACHE_KIB = 64 << 10
"""KiB of the file that SQLite keeps in memory."""
ROWS_PER_PAGE = 10
"""Addresses of a host that are remembered, for each page that may be asked of it (`max_pages`); further ones are counted."""
HOSTS_TRIED = 8
"""Other hosts looked at when one request has ended, so that a refill costs the same for any number of hosts."""
_TABLES = """
CREATE TABLE IF NOT EXISTS urls (
    url TEXT PRIMARY KEY, host TEXT NOT NULL, seq INTEGER NOT NULL, depth INTEGER NOT NULL, via TEXT, state INTEGER NOT NULL,
    reason TEXT, status INTEGER, warc INTEGER, "end" INTEGER, facts TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending ON urls (host, depth, seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS recorded ON urls (warc, "end") WHERE warc IS NOT NULL;
CREATE TABLE IF NOT EXISTS hosts (host TEXT PRIMARY KEY, rows INTEGER NOT NULL DEFAULT 0, asked INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS foreign_links (seq INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT UNIQUE NOT NULL, depth INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
"""
PENDING, DONE, PASSED = 0, 1, 2
"""States: to ask; finished; left out for now (a nearer way may still lead there)."""


@dataclass(frozen=True)
class Visit:
    """An address to ask: its distance from the seeds in links, and the redirects that led to it."""

    url: str
    depth: int = 0
    via: tuple[str, ...] = ()


class Frontier:
    """`offer` what was found, `take` what to ask next, `record` what became of it.

    hosts: those of this group. others: host -> group, for links that another group follows. depth: the greatest distance
    followed. max_pages: requests per host. scope: `domain` follows every host of a registered name.
    """

    def __init__(
        self,
        folder: Path,
        hosts: Iterable[str],
        others: dict[str, str],
        depth: int,
        max_pages: int = 10_000,
        scope: str = "host",
    ):
        self._site: Callable[[str], str] = registered_name if scope == "domain" else site_key
        self.sites = {self._site(host) for host in hosts}
        self.others = {self._site(host) for host in others} - self.sites
        self.depth, self.max_pages = depth, max_pages
        self.on_their_way: dict[str, str] = {}
        self._busy: Counter[str] = Counter()
        self._claimed: dict[str, str] = {}
        self._claims: Counter[str] = Counter()
        self._last_host = ""
        self._path = folder / FRONTIER
        with self._faults():
            self._db = sqlite3.connect(self._path, isolation_level=None)
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                f"cache_size = -{CACHE_KIB}",
                "busy_timeout = 60000",
            ):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_TABLES)
            self._seq: int = (self._row("SELECT n FROM counts WHERE name = 'seq'") or (0,))[0]

    # -- what is found -------------------------------------------------------------------------------------------------

    def offer(self, visits: Iterable[Visit]) -> int:
        """Remember seeds and links from other groups; how many are new to ask."""
        with self._transaction():
            return self._remember(visits)

    def record(
        self,
        url: str,
        reason: str | None,
        found: Iterable[Visit] = (),
        *,
        beyond: int = 0,
        durable: bool = True,
        **facts: Any,
    ) -> None:
        """Write down the end of `url` together with what was found there, in one commit.

        beyond: links of the page that were not looked at. durable: False where nothing was asked, so that losing it costs
        no request; it is on the disk with the next commit.
        """
        known = {name: facts.pop(name, None) for name in ("status", "warc", "end")}
        rest = {name: value for name, value in facts.items() if value is not None}
        with self._transaction(durable):
            self._db.execute(
                'UPDATE urls SET state = ?, reason = ?, status = ?, warc = ?, "end" = ?, facts = ? WHERE url = ?',
                (DONE, reason, *known.values(), json.dumps(rest, ensure_ascii=False) if rest else None, url),
            )
            self._count("beyond", beyond)
            self._count("barred", rest.get("barred", 0))
            if url in self._claimed:
                claimed = self._claimed.pop(url)
                self._claims[claimed] -= 1
                self._count_visits(claimed, 1)
            self._remember(found)
        host = self.on_their_way.pop(url, None)
        if host is not None:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host], self._claims[host]

    def follows(self, host: str) -> bool:
        """Whether links to `host` are followed, here or by another group."""
        return self._site(host) in self.sites | self.others

    def _remember(self, visits: Iterable[Visit]) -> int:
        new = outside = beyond = 0
        seq = self._seq
        for visit in visits:
            host = host_of(visit.url)
            site = self._site(host)
            if site in self.others:
                self._db.execute(
                    "INSERT OR IGNORE INTO foreign_links (url, depth) VALUES (?, ?)", (visit.url, visit.depth)
                )
            elif site not in self.sites:
                outside += 1
            else:
                kept = self._keep(visit, host)
                new += kept == PENDING
                beyond += kept is None
        self._count("outside", outside)
        self._count("beyond", beyond)
        self._count("seq", self._seq - seq)
        return new

    def _keep(self, visit: Visit, host: str) -> int | None:
        """The state under which a new address is remembered; None where the host's share is full, DONE where it is known."""
        before = self._row("SELECT state FROM urls WHERE url = ?", visit.url)
        state, reason = self._first_state(visit, host)
        if before is not None and not (before[0] == PASSED and state == PENDING):
            return DONE
        if before is None:
            rows, _ = self._row("SELECT rows, asked FROM hosts WHERE host = ?", host) or (0, 0)
            if rows >= ROWS_PER_PAGE * self.max_pages:
                return None
            self._db.execute(
                "INSERT INTO hosts (host, rows) VALUES (?, 1) ON CONFLICT (host) DO UPDATE SET rows = rows + 1", (host,)
            )
        self._seq += 1
        self._db.execute(
            "INSERT OR REPLACE INTO urls (url, host, seq, depth, via, state, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (visit.url, host, self._seq, visit.depth, json.dumps(visit.via) if visit.via else None, state, reason),
        )
        return state

    def _first_state(self, visit: Visit, host: str) -> tuple[int, str | None]:
        """What never needs a request is finished at once."""
        if visit.depth > self.depth:
            return PASSED, reasons.DEPTH
        if len(visit.url) > LONGEST:
            return PASSED, reasons.URL_TOO_LONG
        if ending_of(visit.url) in not_pages():
            return DONE, reasons.CONTENT_TYPE
        return (DONE, reasons.PAGE_LIMIT) if self._spent(host) else (PENDING, None)

    # -- what to ask ---------------------------------------------------------------------------------------------------

    def take(self, room: int, per_host: int, host: str | None = None) -> list[Visit]:
        """At most `room` addresses to ask, at most `per_host` of one host on their way, nearest to the seeds first.

        `host`, whose request has ended, comes first; then other hosts in turn. Nothing is given only when nothing is pending
        or something is on its way.
        """
        taken = self._of_host(host, room, per_host) if host else []
        tried, first = 0, None
        while len(taken) < room and (tried < HOSTS_TRIED or not (self.on_their_way or taken) or host is None):
            self._last_host = following = self._next_host()
            if not following or following == first:
                break
            first = first or following
            taken += self._of_host(following, room - len(taken), per_host)
            tried += 1
        return taken

    def _next_host(self) -> str:
        """The host after the last one that has something to ask, in a circle; empty where none has."""
        query = "SELECT host FROM urls INDEXED BY pending WHERE state = 0 AND host > ? ORDER BY host LIMIT 1"
        found = self._row(query, self._last_host) or self._row(query, "")
        return found[0] if found else ""

    def _of_host(self, host: str, room: int, per_host: int) -> list[Visit]:
        free = min(room, per_host - self._busy.get(host, 0))
        if free <= 0:
            return []
        if self._spent(host):
            self._shut(host)
            return []
        query = "SELECT url, depth, via FROM urls INDEXED BY pending WHERE state = 0 AND host = ? ORDER BY depth, seq LIMIT ?"
        rows = self._rows(query, host, free + self._busy.get(host, 0))
        visits = [
            Visit(url, depth, tuple(json.loads(via or "[]")))
            for url, depth, via in rows
            if url not in self.on_their_way
        ][:free]
        for visit in visits:
            self.on_their_way[visit.url] = host
            self._busy[host] += 1
        return visits

    def claim(self, url: str) -> bool:
        """May `url` be asked, and so count among its host's pages? False where the host has given `max_pages` already."""
        host = host_of(url)
        if self._spent(host):
            return False
        self._claimed[url] = host
        self._claims[host] += 1
        return True

    def _spent(self, host: str) -> bool:
        found = self._row("SELECT asked FROM hosts WHERE host = ?", host)
        return (found[0] if found else 0) + self._claims.get(host, 0) >= self.max_pages

    def _count_visits(self, host: str, more: int) -> None:
        query = "INSERT INTO hosts (host, asked) VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET asked = asked + excluded.asked"
        self._db.execute(query, (host, more))

    def _shut(self, host: str) -> None:
        """Everything of a spent host that is not on its way is finished in one statement."""
        away = [url for url, its in self.on_their_way.items() if its == host]
        marks = ", ".join("?" * len(away))
        with self._transaction():
            query = f"UPDATE urls SET state = ?, reason = ? WHERE state = 0 AND host = ? AND url NOT IN ({marks})"
            self._db.execute(query, (DONE, reasons.PAGE_LIMIT, host, *away))

    def left(self) -> int:
        """Addresses seen and not finished."""
        return self._one("SELECT count(*) FROM urls INDEXED BY pending WHERE state = 0")

    # -- the recording -------------------------------------------------------------------------------------------------

    def last_end(self, warc: int, size: int) -> int:
        """Where the last record that counts ends within the first `size` bytes of a WARC file; 0 where there is none."""
        return self._one(
            'SELECT coalesce(max("end"), 0) FROM urls INDEXED BY recorded WHERE warc = ? AND "end" <= ?', warc, size
        )

    def forget(self, lengths: dict[int, int]) -> None:
        """Finished pages whose record is not in the files (`lengths`: number -> bytes that are whole) are to do again."""
        numbers = [
            number
            for (number,) in self._rows("SELECT DISTINCT warc FROM urls INDEXED BY recorded WHERE warc IS NOT NULL")
        ]
        with self._transaction():
            for number in numbers:
                lost = (number, lengths.get(number, 0))
                for host, count in self._rows(
                    'SELECT host, count(*) FROM urls WHERE warc = ? AND "end" > ? GROUP BY host', *lost
                ):
                    self._count_visits(host, -count)
                query = 'UPDATE urls SET state = 0, status = NULL, warc = NULL, "end" = NULL, facts = NULL WHERE warc = ? AND "end" > ?'
                self._db.execute(query, lost)

    # -- the account ---------------------------------------------------------------------------------------------------

    def skipped(self) -> Iterator[dict[str, Any]]:
        """Every address that was seen and gave no record: url, reason and, where known, status, to, note. Sorted."""
        with self._faults():
            for url, reason, status, facts in self._db.execute(
                "SELECT url, reason, status, facts FROM urls WHERE reason IS NOT NULL ORDER BY url"
            ):
                details = json.loads(facts or "{}")
                row = {
                    "url": url,
                    "reason": reason,
                    "status": status,
                    "to": details.get("to"),
                    "note": details.get("note"),
                }
                yield {name: value for name, value in row.items() if value is not None}

    def summary(self) -> dict[str, Any]:
        """recorded; reason -> addresses; links to hosts that are not crawled, barred by nofollow, and beyond the limits."""
        counts = dict(self._rows("SELECT name, n FROM counts"))
        return {
            "recorded": self._one("SELECT count(*) FROM urls WHERE warc IS NOT NULL"),
            "skipped": dict(
                self._rows("SELECT reason, count(*) FROM urls WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason")
            ),
            **{name: counts.get(name, 0) for name in ("outside", "barred", "beyond")},
        }

    def close(self) -> None:
        with self._faults():
            if self._db.in_transaction:
                self._db.execute("COMMIT")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()

    # -- the file ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, durable: bool = True) -> Iterator[None]:
        with self._faults():
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            if durable:
                self._db.execute("COMMIT")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as fault:
            raise _readable_fault(fault, self._path) from None

    def _count(self, name: str, more: int) -> None:
        if more:
            self._db.execute(
                "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n", (name, more)
            )

    def _rows(self, query: str, *values: Any) -> list[tuple]:
        with self._faults():
            return self._db.execute(query, values).fetchall()

    def _row(self, query: str, *values: Any) -> tuple | None:
        with self._faults():
            return self._db.execute(query, values).fetchone()

    def _one(self, query: str, *values: Any) -> Any:
        return self._row(query, *values)[0]


def links_to(folder: Path, sites: Iterable[str], start: int = 0, scope: str = "host") -> Iterator[tuple[Visit, int]]:
    """(link, its number) of every link to `sites` that the group in `folder` noted after number `start`."""
    site = registered_name if scope == "domain" else site_key
    wanted = {site(host) for host in sites}
    with _reading(folder) as db:
        for seq, url, depth in (
            db.execute("SELECT seq, url, depth FROM foreign_links WHERE seq > ? ORDER BY seq", (start,)) if db else ()
        ):
            if site(host_of(url)) in wanted:
                yield Visit(url, depth), seq


def last_link(folder: Path) -> int:
    """Number of the last link to another group that the group in `folder` has noted."""
    with _reading(folder) as db:
        return db.execute("SELECT coalesce(max(seq), 0) FROM foreign_links").fetchone()[0] if db else 0


def knows_all(folder: Path, urls: Iterable[str]) -> bool:
    """Has the group in `folder` seen every one of `urls`?"""
    with _reading(folder) as db:
        return all(db and db.execute("SELECT 1 FROM urls WHERE url = ?", (url,)).fetchone() for url in urls)


def forget_addresses(path: Path, hides: Callable[[str], bool]) -> bool:
    """Take every address that `hides` names out of the frontier file at `path`, unused pages of the file included."""
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        db.create_function("hides", 1, lambda url: int(bool(url) and hides(url)), deterministic=True)
        db.execute("PRAGMA secure_delete = ON")
        before = db.total_changes
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM urls WHERE hides(url)")
        db.execute("DELETE FROM hosts WHERE hides('http://' || host || '/')")
        db.execute("DELETE FROM foreign_links WHERE hides(url)")
        db.execute("UPDATE urls SET facts = json_remove(facts, '$.to') WHERE hides(json_extract(facts, '$.to'))")
        for url, via in db.execute("SELECT url, via FROM urls WHERE via IS NOT NULL").fetchall():
            if any(hides(one) for one in json.loads(via)):
                db.execute(
                    "UPDATE urls SET via = ? WHERE url = ?",
                    (json.dumps([one for one in json.loads(via) if not hides(one)]), url),
                )
        db.execute("COMMIT")
        changed = db.total_changes > before
        if changed:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return changed
    except sqlite3.DatabaseError as fault:
        raise _readable_fault(fault, path) from None
    finally:
        db.close()


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """The frontier of a folder, to read only; None where there is none yet."""
    path = folder / FRONTIER
    if not path.is_file():
        yield None
        return
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
    try:
        yield db if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'foreign_links'").fetchone() else None
    except sqlite3.DatabaseError as fault:
        raise _readable_fault(fault, path) from None
    finally:
        db.close()


def _readable_fault(fault: sqlite3.DatabaseError, path: Path) -> Exception:
    """A full disk as OSError, damage as DamagedStore; anything else is a fault of ours and stays as it is."""
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return OSError(errno.ENOSPC, f"no room for {path}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedStore(f"{path}: {fault}", "delete the folder that holds it; the group is then crawled anew")
    return fault
