"""Journals of teachers and judges without the calls that were made for forgotten documents."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable
from pathlib import Path

from pipeline.deletion.lineage import Lost
from pipeline.errors import RootLocked
from pipeline.storage.files import Local


def forget_calls(path: Path, lost: Lost) -> int:
    """Rewrite the journal without the calls whose document goes, under its own lock; how many went. No call is made again:
    the other lines stay byte for byte, and what they answer with them."""
    if not path.is_file():
        return 0
    with open(path, "r+b") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RootLocked(
                f"{path} is in use by another run", "wait until its calls have ended, then run forget again"
            ) from None
        lines = held.readlines()
        kept = list(_kept(lines, lost))
        if len(kept) < len(lines):
            Local(path.parent).write(path.name, b"".join(kept))
    return len(lines) - len(kept)


def _kept(lines: Iterable[bytes], lost: Lost) -> Iterable[bytes]:
    import json

    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # torn by a kill: the journal itself cuts such a line away
        url, doc = entry.get("url"), entry.get("doc_id")
        if doc not in lost.ids and not lost.forgotten.at(url):
            yield line
