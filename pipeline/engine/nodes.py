"""What every node of a cluster must share with the driver, looked at before work is handed out: the root, and the versions of
the libraries that stand in the keys of what is made.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from pipeline.engine.stage import versions
from pipeline.errors import UsageError
from pipeline.storage.files import is_remote

ANSWER = 120.0
"""Seconds in which the nodes answer; one that starts up still is looked at by no one."""
log = logging.getLogger("maetdol.nodes")


class Node(NamedTuple):
    """What a node answered."""

    host: str
    sees: bool
    """The file that the driver put into the root."""
    versions: dict[str, str]


def check(ray: Any, root: str, needs: Sequence[str]) -> None:
    """UsageError where a node that takes tasks does not see `root` (a local path), or has other versions of the distributions
    `needs` than the driver. Nodes that join later are not looked at, and none that goes away meanwhile."""
    from ray import exceptions as faults
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = None if is_remote(root) else Path(root).resolve() / f".seen-{uuid4().hex}"
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    try:
        if mark is not None:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        inspect_node = ray.remote(max_retries=0, num_cpus=0)(answer)
        refs = [
            inspect_node.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                mark, needs
            )
            for node in nodes
        ]
        ready, late = ray.wait(refs, num_returns=len(refs), timeout=ANSWER) if refs else ([], [])
        if late:
            log.warning(f"{len(late)} of {len(refs)} nodes did not answer within {ANSWER:g} seconds")
        answers, gone = [], (faults.NodeDiedError, faults.WorkerCrashedError, faults.TaskUnschedulableError)
        for ref in ready:
            try:
                answers.append(ray.get(ref))
            except gone as fault:  # work that is handed out goes to the others
                log.warning(f"a node went away while it was looked at: {type(fault).__name__}")
        compare(answers, root, versions(needs))
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)


def answer(mark: Path | None, needs: Sequence[str]) -> Node:
    """On a node: what it sees and has."""
    return Node(socket.gethostname(), mark is None or os.path.exists(mark), versions(needs))


def compare(nodes: Sequence[Node], root: str, mine: dict[str, str]) -> None:
    """UsageError for the first node that differs, with how many do."""
    blind = [node.host for node in nodes if not node.sees]
    if blind:
        raise UsageError(
            f"{_some(blind, len(nodes))} not see {root}",
            "give a root on object storage (s3://...), or on a file system that all nodes mount",
        )
    others = [node for node in nodes if node.versions != mine]
    if others:
        node = others[0]
        differ = [f"{name} {node.versions.get(name)}" for name in mine if node.versions.get(name) != mine[name]]
        here = [f"{name} {mine[name]}" for name in mine if node.versions.get(name) != mine[name]]
        raise UsageError(
            f"{node.host} has {', '.join(differ)}, the driver {', '.join(here)} ({len(others)} of {len(nodes)} nodes differ)",
            "install the same environment on every node, as constraints.txt has it: versions decide what is done again",
        )


def _some(hosts: list[str], total: int) -> str:
    return f"{hosts[0]} does" if total == 1 else f"{', '.join(hosts[:3])} ({len(hosts)} of {total} nodes) do"
