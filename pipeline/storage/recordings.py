"""Recordings that a step keeps below its passes and reads again, such as a crawl's archives, and what proves their bytes.

`finished.json` of a recording's folder names its files with their hashes (`hashes`), and has a hash over itself. A recording cannot
be made again: a repair gives up what is damaged in it, and the next run reads what is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedStore
from pipeline.storage.files import Local, filesystem
from pipeline.storage.ledger import checked_page, with_hash
from pipeline.storage.shards import hash_of

FINISHED = "finished.json"


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """XXH3-128 of the files that are there."""
    found = {}
    for name in names:
        if (folder / name).is_file():
            with open(folder / name, "rb", buffering=0) as handle:
                found[name] = hash_of(handle)
    return found


def write(folder: Path, page: dict[str, Any]) -> None:
    """Replace `finished.json`."""
    text = json.dumps(with_hash(page), ensure_ascii=False, indent=1) + "\n"
    Local(folder).write(FINISHED, text.encode())


def read(folder: Path) -> dict[str, Any] | None:
    """What `finished.json` says; None where there is none. DamagedStore where it is not what was written."""
    try:
        return checked_page(json.loads((folder / FINISHED).read_bytes()), lambda page: "hashes" in page)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise DamagedStore(f"{folder / FINISHED} is damaged", hint(folder)) from None


def hint(folder: Path) -> str:
    """What to do where a recording is damaged."""
    store = str(folder).partition("/passes/")[0]
    return (
        f"maetdol verify --repair {store} gives up what is damaged, and run again reads what is left; "
        "or crawl anew with `crawl: {refresh: true}`"
    )


def hold(path: Path, found: str, known: Mapping[str, str]) -> None:
    """DamagedStore where `found`, the hash of a recording's file, is not the one that is `known`, if one is."""
    if known.get(path.name, found) != found:
        raise DamagedStore(f"{path} is damaged: its bytes are not those that were recorded", hint(path.parent))


def wrong(folder: Path) -> tuple[int, dict[str, tuple[Any, str]]]:
    """How many files of a recording hold, and of the others (kind, what)."""
    try:
        page = read(folder) or {}
    except DamagedStore:
        return 0, {FINISHED: ("damaged", "it is not what was written")}
    proven = page.get("hashes", {})
    there = hashes(folder, proven)
    faults = {
        name: ("damaged", "its bytes are not those that were recorded")
        if name in there
        else ("missing", "it was recorded")
        for name, known in proven.items()
        if there.get(name) != known
    }
    return 1 + len(proven) - len(faults), faults


def give_up(folder: Path) -> None:
    """Take what is there for what was recorded; a damaged `finished.json` goes, and the recording is finished anew."""
    try:
        page = read(folder) or {}
    except DamagedStore:
        (folder / FINISHED).unlink()
        return
    write(folder, {**page, "hashes": hashes(folder, page.get("hashes", {}))})


def below(path: str) -> list[Path]:
    """Folders of the recordings of the store at `path`, on a local disk."""
    where = filesystem(path)
    if not isinstance(where, Local) or not (where.root / "passes").is_dir():
        return []
    return sorted(found.parent for found in (where.root / "passes").rglob(FINISHED))


@contextmanager
def rewritten(folders: Iterable[Path]) -> Iterator[None]:
    """Around work that rewrites files of recordings on purpose. Those that were sound before are proven anew behind it; where it
    is killed, they are when it is done again."""
    pages = {}
    for folder in folders:
        try:
            page = read(folder) or {}
        except DamagedStore:
            continue
        if "hashes" in page:
            there = hashes(folder, page["hashes"])
            sound = {name for name, known in page["hashes"].items() if there.get(name) == known} | set(
                page.get("renew", [])
            )
            left = {name: known for name, known in page["hashes"].items() if name not in sound}
            pages[folder] = {**page, "hashes": left, "renew": sorted(sound)}
            write(folder, pages[folder])
    yield
    for folder, page in pages.items():
        fresh = page["hashes"] | hashes(folder, page["renew"])
        write(folder, {**{key: value for key, value in page.items() if key != "renew"}, "hashes": fresh})
