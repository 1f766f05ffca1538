"""The end of a group's crawl, told in two files: what was left out and why, and, last of all, that it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.storage import recordings

SKIPPED = "skipped.jsonl"


def finish(folder: Path, group: str, frontier: Any, read: dict[str, int]) -> None:
    """Write `skipped.jsonl` (every address that gave no record) and then `finished.json` (counts, files and their hashes, links read from other groups)."""
    _put(folder / SKIPPED, (json.dumps(row, ensure_ascii=False) + "\n" for row in frontier.skipped()))
    files = {path.name: path.stat().st_size for path in sorted(folder.glob("*.warc.gz"))}
    proven = recordings.hashes(folder, [*files, SKIPPED])
    recordings.write(folder, {"group": group, **frontier.summary(), "files": files, "read": read, "hashes": proven})


def finished(folder: Path) -> dict[str, Any] | None:
    """The summary of a finished group, or None. Files that were shortened or lost since make it unfinished. DamagedStore where it
    is not what was written."""
    summary = recordings.read(folder)
    if summary is None:
        return None
    for name, size in summary["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            return None
    return summary


def _put(path: Path, lines: Iterable[str]) -> None:
    """The whole file or none of it."""
    draft = path.with_name(path.name + ".part")
    with open(draft, "w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
