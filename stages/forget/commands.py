"""Verb of the takedown: forget what came from an address, a domain, a licence or a document, everywhere below a root."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pipeline.deletion import forgotten, lineage, takedown
from pipeline.deletion.lineage import Lost
from pipeline.deletion.takedown import Found
from pipeline.errors import UsageError
from pipeline.options import Options
from pipeline.storage.files import Local, Remote, filesystem
from pipeline.storage.lock import RootLock


class Forget(Options):
    """Take back every row that comes from an address, domain, licence or document, in every store of a root, and keep it out.

    Rewrites exactly the shards that hold such rows: documents, conversations, pairs, packed tokens (masked, the rows keep
    their length), ledgers, passes, the crawl's archives, journals of calls, samples in reports. Nothing is asked of a teacher
    again, and nothing else is redone: rewritten shards count as done. ROOT/forgotten.jsonl keeps hashes of what was named,
    so that no later run brings it back. Listed, not changed: tokenizers and models that saw the text, and near-copies that
    were removed in favour of it. Killed in the middle, the same command (or `forget ROOT`) goes on.
    """

    verb: ClassVar[str] = "forget"
    arguments: ClassVar[tuple[str, ...]] = ("root",)

    root: str
    "Root of a run, such as runs/web-ko."
    url: tuple[str, ...] = ()
    "Addresses of pages; scheme, fragment and a closing slash do not count. For files without one: the name below the ingested folder."
    domain: tuple[str, ...] = ()
    "Host names; hosts below them are meant too."
    licence: tuple[str, ...] = ()
    "Licences as the rows carry them."
    id: tuple[str, ...] = ()
    "Ids of documents."
    dry_run: bool = False
    "Say what would go; change nothing."

    def run(self) -> int:
        base = filesystem(self.root)
        with RootLock(base) as lock:
            under_way = takedown.pending(base)
            if self.dry_run:
                if under_way:
                    raise UsageError(
                        f"a takedown of {self.root} was not finished", f"finish it first: maetdol forget {self.root}"
                    )
                _say(takedown.find(self.root, self.marks()).summary(), "would go")
                return 0
            if under_way:
                lost, marks, summary = under_way
                forgotten.note(base, lost.takedown, marks)
                self._finish(base, lost, summary, lock)
            if not self.marks():
                if under_way:
                    return 0
                raise UsageError("nothing is named", "give --url, --domain, --licence or --id")
            found: Found = takedown.find(self.root, self.marks())
            takedown.begin(base, found, self.marks())
            self._finish(base, found.lost, found.summary(), lock)
        return 0

    def marks(self) -> list[tuple[str, str]]:
        """(kind, mark) of everything that is named."""
        named = {"url": self.url, "domain": self.domain, "licence": self.licence, "id": self.id}
        return [(kind, forgotten.mark(kind, value)) for kind, values in named.items() for value in values]  # type: ignore[arg-type]

    def _finish(self, base: Local | Remote, lost: Lost, summary: dict[str, Any], lock: RootLock) -> None:
        from stages.models.takedown import forget_calls

        calls = sum(forget_calls(path, lost) for path in _journals(self.root))
        shards = takedown.carry_out(self.root, lost, lock.check)
        if base.exists("report.html"):
            from pipeline.inspection.report import write_report

            write_report(self.root)
        lock.check()
        base.write(f"takedowns/{lost.takedown}.json", _as_json({**summary, "calls": calls}))
        takedown.end(base)
        _say(summary, "gone")
        print(
            f"{len(shards):,} shards and files rewritten, {calls:,} calls of teacher and judge gone from their journals"
        )
        print(f"noted in {base.path(forgotten.NAME)}; what was found: {base.path(f'takedowns/{lost.takedown}.json')}")


def _journals(root: str) -> list[Path]:
    """Journals beside the stores, and those the options of finished steps name."""
    if not isinstance(filesystem(root), Local):
        return []
    found = {path for what in ("teacher", "judge") for path in Path(root).glob(f"*-{what}.jsonl")}
    for store in lineage.stores_of(root):
        given = (store.manifest() or {}).get("options", {})
        for what in ("teacher", "judge"):
            named = (given.get(what) or {}).get("journal") if isinstance(given.get(what), dict) else None
            found |= {Path(named)} if named else set()
    return sorted(found)


def _as_json(summary: dict[str, Any]) -> bytes:
    import json

    return (json.dumps(summary, ensure_ascii=False, indent=1) + "\n").encode()


def _say(summary: dict[str, Any], done: str) -> None:
    """What goes, and what does not go by itself."""
    for name, count in sorted(summary["rows"].items()):
        print(f"  {name:<28} {count:>8,} rows {done}")
    for name, count in sorted(summary["masked"].items()):
        print(f"  {name:<28} {count:>8,} packed rows masked")
    if not summary["rows"]:
        print("  no row comes from it")
    for name, count in summary["saw"].items():
        print(
            f"saw it: {name} was made from {count:,} such rows and is not changed; to be free of them: maetdol run RECIPE --from {name}"
        )
    for name, on in summary.get("depends_on", summary.get("stands_on", {})).items():  # 0.1.0 wrote `stands_on`
        if name not in summary["saw"]:
            print(f"saw it: {name} was made from {', '.join(on)}")
    if summary["copies"]:
        stores = sorted({row["store"] for row in summary["copies"]})
        print(
            f"{len(summary['copies']):,} rows of others were removed as copies of it and stay removed; to let the best of them in: maetdol run RECIPE --from {stores[0]}"
        )
        for row in summary["copies"][:20]:
            print(f"  {row['store']}: {row['id']}  {row['reason']}  {row['url'] or ''}")
    for name in summary["outside"]:
        print(f"read from another root, not looked into: {name}; run forget there too")
