"""Level `near`: documents of similar shingles; each that goes has a direct match of exact similarity with one that stays.

band      keys of the representatives of `exact`, sorted     one task some parts
link      edges between documents that share a key           one task a range of keys
cluster   connected components, in partitions                one task, or several (stages/dedup/near/components.py)
near      representatives by exact similarity                one task a partition
"""

from __future__ import annotations

from pipeline.engine.pool import Pool
from stages.dedup.decisions import consolidate
from stages.dedup.near import band, cluster, components, link, resolve
from stages.dedup.near.cluster import Graph, Partitions
from stages.dedup.passes import key_ranges, make, proven
from stages.dedup.run import Run

SCRATCH = ("band", "decided-near")


def decide(run: Run, pool: Pool) -> None:
    """Find the components, and resolve each."""
    partitions = _components(run, pool)
    run.make("near", resolve.resolve, [resolve.Resolving(run, partitions)] * partitions.count, pool)


def _components(run: Run, pool: Pool) -> Partitions:
    clusters, scratch = run.store("cluster"), run.store("components")
    ranges = components.ranges_of(run.corpus.rows, run.stage.cluster_memory)
    keys = run.keys("cluster", range(ranges.count if ranges else 1))
    graph = Graph(run.corpus, run.store("measures"), run.store("link"))
    done = proven(clusters, keys)
    if done is None:
        consolidate(run, pool, "near")
        count = len(key_ranges(run.corpus.rows * run.banding.bands, link.MOST))
        run.make("band", band.write_keys, [band.Keying(run, count)] * len(band.groups(run)), pool)
        run.make("link", link.write_edges, [run] * count, pool)
    if done is not None:
        made = done
    elif ranges:
        made = components.Distributed(graph, scratch, clusters, ranges, run.key, pool).run(keys)
    else:
        made = make(clusters, cluster.find_components, keys, lambda number: graph, pool)
    scratch.fs.delete("")
    return Partitions.of(clusters, made)
