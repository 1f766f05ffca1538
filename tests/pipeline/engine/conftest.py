"""A Ray that is none, for what the pool makes of its answers."""

from __future__ import annotations

import os
import sys

import pytest

from pipeline.engine import on_worker, shared


class FakeRay:
    """What OnRay asks of Ray, in this process: a node of 24 CPUs and 4 GB, and a dead one, and the most tasks that were in flight.

    A task that returns an exception class of `exceptions` ends with that fault.
    """

    def __init__(self):
        import types

        base = type("RayError", (Exception,), {})
        names = "WorkerCrashedError NodeDiedError ObjectLostError OutOfMemoryError RaySystemError RuntimeEnvSetupError OwnerDiedError RayTaskError LocalRayletDiedError"
        self.exceptions = types.SimpleNamespace(RayError=base, **{n: type(n, (base,), {}) for n in names.split()})
        self.flying, self.most, self.reserved, self.gpus = [], 0, [], iter([0, 0, 2])
        self.there = [{"CPU": 24.0, "memory": 4e9}]

    def is_initialized(self):
        return False

    def init(self, **options):
        self.options = options

    def cluster_resources(self):
        return {"CPU": 24.0}

    def put(self, value):
        return value

    def nodes(self):
        there = [{"GPU": next(self.gpus, 2), **self.there[0]}, *self.there[1:]] if self.there else []
        dead = {"Alive": False, "Resources": {"CPU": 99.0, "memory": 9e9, "GPU": 99}}
        return [*({"Alive": True, "Resources": each} for each in there), dead]

    def get_runtime_context(self):
        return self

    def remote(self, **resources):
        def given(fn):
            remote = type("Remote", (), {"remote": staticmethod(self._submit)})
            remote.options = staticmethod(
                lambda memory, scheduling_strategy=None: self.reserved.append(memory) or remote
            )
            return remote

        return given

    def _submit(self, fn, task):
        ref = object()
        self.flying.append((ref, fn(task)))
        self.most = max(self.most, len(self.flying))
        return ref

    def wait(self, refs, num_returns=1, timeout=None):
        return refs[:1], refs[1:]

    def get(self, ref):
        (done,) = [pair for pair in self.flying if pair[0] is ref]
        self.flying.remove(done)
        if isinstance(done[1], type):
            raise done[1]("lost")
        return done[1]


@pytest.fixture
def fake_ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.exceptions", fake.exceptions)
    monkeypatch.setattr("pipeline.engine.pool.BACKOFF", 0.0)
    monkeypatch.setattr("pipeline.engine.nodes.check", lambda ray, root, needs: None)
    monkeypatch.setattr("pipeline.engine.pool._hush", lambda: None)
    monkeypatch.setattr("pipeline.engine.on_worker.show_lines", lambda: None)
    monkeypatch.setattr("pipeline.engine.on_worker.taken_position", lambda task: on_worker.Last())
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    yield fake
    shared.begin(None)  # by a pool that was not closed
