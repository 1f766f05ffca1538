"""A value that many tasks carry is pickled once, and arrives whole."""

from __future__ import annotations

import pickle

import pytest

from pipeline.engine import shared
from pipeline.engine.pool import OnRay


class Large:
    """Counts how often what it holds is pickled."""

    __reduce__ = shared.reduced

    def __init__(self, size: int):
        self.data = bytes(size)


class CarryingTask:
    number, key = 0, ""

    def __init__(self, large: Large, name: str):
        self.large, self.name = large, name


def size_of(task: CarryingTask) -> tuple[int, str]:
    return len(task.large.data), task.name


class Reference:
    """What a `put` gives."""

    def __init__(self, value):
        self.value = pickle.dumps(value)


def test_without_a_cluster_a_value_is_pickled_as_it_is():
    assert pickle.loads(pickle.dumps(Large(5000))).data == bytes(5000)


def test_a_value_is_put_once_for_all_tasks():
    made = []
    large, other = Large(50_000), Large(10)
    try:
        shared.begin(lambda value: made.append(value) or Reference(value))
        assert len({id(CarryingTask(large, str(n)).large.__reduce__()[1][0]) for n in range(5)}) == 1 == len(made)
        other.__reduce__()
        assert len(made) == 2
        for n in range(shared.MOST):
            Large(n).__reduce__()
        large.__reduce__()  # no longer remembered
        assert len(made) == 3 + shared.MOST
    finally:
        shared.begin(None)


@pytest.mark.slow
def test_workers_of_ray_get_the_value():
    pool = OnRay(2)
    try:
        large = Large(3_000_000)
        tasks = [CarryingTask(large, str(n)) for n in range(6)]
        assert list(pool.each(size_of, tasks)) == [(3_000_000, str(n)) for n in range(6)]
    finally:
        pool.close()
    assert len(large.__reduce__()[1]) == 2, "with the pool gone it is pickled as it is"
