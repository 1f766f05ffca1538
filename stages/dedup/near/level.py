"""Level `near`: documents of similar shingles; each that goes has a direct match of exact similarity with one that stays.

band      keys of the representatives of `exact`, sorted     one task a part
link      edges between documents that share a key           one task a range of keys
cluster   connected components, in partitions                one task, or several (stages/dedup/near/components.py)
near      representatives by exact similarity                one task a partition
"""

from __future__ import annotations

from pipeline.engine.pool import Pool
from stages.dedup.near import band, cluster, components, link, resolve
from stages.dedup.near.cluster import Graph, Partitions
from stages.dedup.passes import key_ranges, make, proven
from stages.dedup.run import KeyRange, Run

SCRATCH = ("band",)


def decide(run: Run, pool: Pool) -> None:
    """Find the components, and resolve each."""
    partitions = _components(run, pool)
    run.make("near", resolve.resolve, [resolve.Resolving(run, partitions)] * partitions.count, pool)


def _components(run: Run, pool: Pool) -> Partitions:
    clusters, scratch = run.store("cluster"), run.store("components")
    ranges = components.ranges_of(run.corpus.rows, run.stage.cluster_memory)
    keys = run.keys("cluster", ranges.count if ranges else 1)
    graph = Graph(run.corpus, run.signatures, run.store("link"))
    done = proven(clusters, keys)
    if not done:
        run.make("band", band.write_keys, [run] * len(band.groups(run.corpus)), pool)
        key_count = run.corpus.rows * run.banding.bands
        run.make("link", link.write_edges, [KeyRange(run, *ends) for ends in key_ranges(key_count, link.MOST)], pool)
    if ranges and not done:
        made = components.Distributed(graph, scratch, clusters, ranges, run.key, pool).run(keys)
    else:
        made = make(clusters, cluster.find_components, keys, lambda number: graph, pool)
    scratch.fs.delete("")
    return Partitions.of(clusters, made)
