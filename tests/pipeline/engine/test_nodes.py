"""Nodes of a cluster: each sees the root and has the driver's versions, or the run does not begin."""

from functools import cache
from importlib.metadata import version

import pytest

from pipeline.engine import nodes, stage
from pipeline.engine.nodes import Node
from pipeline.errors import UsageError


def test_nodes_that_do_not_see_the_root_are_named():
    with pytest.raises(UsageError, match="b, c \\(2 of 3 nodes\\) do not see /data/root") as fault:
        nodes.compare([Node("a", True, {}), Node("b", False, {}), Node("c", False, {})], "/data/root", {})
    assert "s3://" in fault.value.hint
    with pytest.raises(UsageError, match="^b does not see /data/root"):
        nodes.compare([Node("b", False, {})], "/data/root", {})


def test_a_node_of_other_versions_is_named_with_both():
    mine = {"pyarrow": "26.0.0", "numpy": "2.4.0"}
    same, other = Node("a", True, dict(mine)), Node("b", True, mine | {"pyarrow": "25.0.0"})
    nodes.compare([same], "s3://b/root", mine)
    with pytest.raises(UsageError, match="b has pyarrow 25.0.0, the driver pyarrow 26.0.0 \\(1 of 2 nodes differ\\)"):
        nodes.compare([same, other], "s3://b/root", mine)


def test_what_a_node_answers(tmp_path):
    (tmp_path / "mark").touch()
    assert nodes.answer(tmp_path / "mark", ["numpy"]).sees and not nodes.answer(tmp_path / "other", []).sees
    assert nodes.answer(None, ["numpy", "no-such-package"]).versions["no-such-package"] == "absent"


def test_a_version_is_read_once_and_what_is_absent_looked_for_again(monkeypatch):
    asked = []
    monkeypatch.setattr(stage, "_version", cache(lambda name: asked.append(name) or version(name)))
    for _ in range(3):
        assert stage.versions(["numpy", "no-such-package"]) == {"numpy": version("numpy"), "no-such-package": "absent"}
    assert asked == ["numpy", *["no-such-package"] * 3]


def test_a_node_that_dies_while_it_is_looked_at_ends_no_run(caplog):
    """Of four nodes three go away in the ways Ray knows; what the fourth says counts."""
    from types import SimpleNamespace

    from ray import exceptions as faults

    dead = [faults.NodeDiedError("gone"), faults.WorkerCrashedError(), faults.TaskUnschedulableError("gone")]
    here = nodes.versions(["numpy"])

    def cluster(last):
        said = iter([*dead, last])

        def get(ref):
            if isinstance(ref, Exception):
                raise ref
            return ref

        remote = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda mark, needs: next(said)))
        alive = [{"NodeID": f"{n:056x}", "Alive": True, "Resources": {"CPU": 1.0}} for n in range(4)]
        return SimpleNamespace(
            nodes=lambda: alive, remote=lambda **_: lambda fn: remote, wait=lambda refs, **_: (refs, []), get=get
        )

    nodes.check(cluster(Node("d", True, here)), "s3://b/root", ["numpy"])
    assert [line.split(": ")[1] for line in caplog.messages] == [type(fault).__name__ for fault in dead]
    with pytest.raises(UsageError, match="d has numpy 1.0"):
        nodes.check(cluster(Node("d", True, {"numpy": "1.0"})), "s3://b/root", ["numpy"])


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_root_that_a_node_does_not_see_is_refused(tmp_path, monkeypatch):
    """Two raylets on this machine see the same disk; a file that is gone by the time they look is as good as another disk."""
    import ray
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        nodes.check(ray, str(tmp_path / "root"), ["numpy", "pyarrow"])
        assert list((tmp_path / "root").iterdir()) == [], "the mark is taken away"
        monkeypatch.setattr("pathlib.Path.touch", lambda self: None)
        with pytest.raises(UsageError, match="2 of 2 nodes"):
            nodes.check(ray, str(tmp_path / "root"), ["numpy"])
    finally:
        ray.shutdown()
        cluster.shutdown()
