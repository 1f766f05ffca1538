"""The levels `url` and `semantic`: their passes, in order, over what the earlier levels left.

address     canonical URLs of all rows, sorted              one task a part
url         which row of each address stays                 one task a range of addresses
standing, vectors, centroids, cells, semantic               see stages/dedup/semantic/passes.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.pool import Pool
from pipeline.engine.stage import merge_notes, versions
from pipeline.errors import OptionError
from pipeline.options import content_hash, digest
from pipeline.storage.store import Store
from stages.dedup import apply
from stages.dedup.later import Later
from stages.dedup.passes import make, spread
from stages.dedup.semantic import passes as semantic
from stages.dedup.semantic.embedding import Embedding, Held, are_vectors, embed, unpacked
from stages.dedup.url import address

if TYPE_CHECKING:
    from stages.dedup.plan import Plan

WHY = {"url": apply.URL, "semantic": apply.SEMANTIC}
LIBRARIES = ("torch", "transformers", "tokenizers")


def laid_over(plan: Plan, before: str | None = None) -> tuple[Later, ...]:
    """The later levels asked for, in order; only those before the level `before`."""
    names = [name for name in WHY if name in plan.stage.levels]
    return tuple(Later(plan.store(name), WHY[name]) for name in names[: names.index(before) if before else None])


def settle(plan: Plan, pool: Pool) -> None:
    """Run the later levels that are asked for."""
    if "url" in plan.stage.levels:
        _url(plan, pool)
    if "semantic" in plan.stage.levels:
        _semantic(plan, pool)


def notes(plan: Plan) -> dict[str, Any]:
    """What the report should know: addresses with several rows, rows that stay because they stand for others, cells."""
    found: dict[str, Any] = {}
    names = {"url": ("address", "url"), "semantic": ("vectors", "centroids", "semantic")}
    for level in (name for name in WHY if name in plan.stage.levels):
        for name in names[level]:
            for receipt in plan.store(name).receipts().values():
                merge_notes(found.setdefault(level, {}), receipt.notes)
    return found


def _url(plan: Plan, pool: Pool) -> None:
    parts, found = len(plan.corpus.parts), plan.store("address")
    applying = plan.applying("url")
    made = make(found, address.find, plan.keys("address", parts), lambda number: applying, pool)
    ranges = spread(sum(receipt.notes["addresses"] for receipt in made), address.MOST)

    def choosing(number: int) -> address.Choosing:
        return address.Choosing(plan.corpus, plan.store("sign"), found, plan.policy, *ranges[number])

    make(plan.store("url"), address.choose, plan.keys("url", len(ranges)), choosing, pool)


def _semantic(plan: Plan, pool: Pool) -> None:
    stage, parts = plan.stage, len(plan.corpus.parts)
    standing, vectors, centroids, cells = (plan.store(name) for name in ("standing", "vectors", "centroids", "cells"))
    applying = plan.applying("semantic")
    make(standing, semantic.stand, plan.keys("standing", parts), lambda number: applying, pool)

    vectors_of = Embedding(plan.corpus, standing, plan.signing.fields, plan.signing.shape, stage.vectors, stage.encoder)
    model = digest([content_hash(Path(stage.encoder)), versions(LIBRARIES)]) if stage.encoder else ""
    keys = {number: vectors_of.key(number, model) for number in range(parts)}
    embedded = make(vectors, embed, keys, lambda number: vectors_of, pool)
    if not any(receipt.notes["vectors"] for receipt in embedded):
        make(plan.store("semantic"), semantic.compare, {}, lambda number: None, pool)
        return

    held = Held(plan.corpus, vectors, stage.vectors)
    clustering = semantic.Clustering(held, stage.cells)
    make(centroids, semantic.cluster, plan.keys("centroids", 1), lambda number: clustering, pool)
    width = unpacked(centroids.read(0)["vector"].chunks[0]).shape[1]
    scattered = held.local() and held.count() * 4 * width <= semantic.SCATTERED
    placing = semantic.Placing(applying, held, centroids, not scattered)
    made = make(cells, semantic.place, plan.keys("cells", parts), lambda number: placing, pool)

    lots = semantic.lots_of(made, 4 * width)
    comparing = semantic.Comparing(held, plan.store("sign"), cells, plan.policy, stage.cosine, lots)
    make(plan.store("semantic"), semantic.compare, plan.keys("semantic", len(lots)), lambda number: comparing, pool)


def fits(vectors: str | None, schemas: dict[str, Any]) -> None:
    """OptionError where an input lacks the column of vectors, or has something else under its name."""
    for path, schema in schemas.items():
        if vectors is not None and not (vectors in schema.names and are_vectors(schema.field(vectors).type)):
            fault = (
                f"{vectors!r} of {path} holds {schema.field(vectors).type}"
                if vectors in schema.names
                else f"{path} has no column {vectors!r}"
            )
            raise OptionError(f"dedup: {fault}", "name a column of lists of numbers, or give `encoder`")


def scratch(plan: Plan) -> list[Store]:
    """Passes that nothing reads once the output stands."""
    return [plan.store(name) for name in ("address", "cells")]
