"""Level `near`: documents of similar shingles; each that goes has a direct match of exact similarity with one that stays.

band      keys of the representatives of `exact`             one task some parts
met       buckets, and signatures of those that meet         see stages/dedup/near/link.py
link      edges between documents that share a key           one task a range of keys
cluster   connected components, in partitions                one task, or several (stages/dedup/near/components.py)
near      representatives by exact similarity                one task a partition; see stages/dedup/near/resolve.py
"""

from __future__ import annotations

from pipeline.engine.pool import Pool
from stages.dedup.exchange.gather import Gather
from stages.dedup.exchange.ranges import Exchange
from stages.dedup.near import band, cluster, components, link, resolve
from stages.dedup.near.cluster import Graph, Partitions
from stages.dedup.passes import key_ranges, make, proven
from stages.dedup.run import Run

SCRATCH = ("band", "buckets", "met", "near-known")


def decide(run: Run, pool: Pool) -> None:
    """Find the components, and resolve each."""
    partitions = _components(run, pool)
    count = partitions.count
    known = Gather(run, "near-known", count, band.most_rows(run))
    given = resolve.Resolving(run, partitions, known)
    if run.proven("near", count) is None:
        run.make(known.passes[0], resolve.ask, [given] * count, pool)
        known.answer(pool, resolve.fetch, run)
    run.make("near", resolve.resolve, [given] * count, pool)


def _components(run: Run, pool: Pool) -> Partitions:
    clusters, scratch = run.store("cluster"), run.store("components")
    ranges = components.ranges_of(run.corpus.rows, run.stage.cluster_memory)
    keys = run.keys("cluster", range(ranges.count if ranges else 1))
    graph = Graph(run.corpus, run.store("measures"), run.store("link"))
    done = proven(clusters, keys)
    if done is None:
        _link(run, pool)
    if done is not None:
        made = done
    elif ranges:
        made = components.Distributed(graph, scratch, clusters, ranges, run.key, pool).run(keys)
    else:
        made = make(clusters, cluster.find_components, keys, lambda number: graph, pool)
    scratch.fs.delete("")
    return Partitions.of(clusters, made)


def _link(run: Run, pool: Pool) -> None:
    """Edges between the documents that meet."""
    ranges = len(key_ranges(run.corpus.rows * run.banding.bands, link.MOST))
    lists = len(run.corpus.groups(band.most_rows(run)))
    keys = Exchange.of(run.store("band"), lists, ranges)
    run.make("band", band.write_keys, [band.Keying(run, ranges)] * lists, pool)
    keys.merge(run, pool)
    given = link.Linking(run, keys, Gather(run, "met", ranges, band.most_rows(run)))
    run.make(given.signatures.passes[0], link.meet, [given] * ranges, pool)
    given.signatures.answer(pool, link.fetch, run)
    run.make("link", link.write_edges, [given] * ranges, pool)
