"""Where tasks run: cards are shared by no two tasks unless that is asked for."""

import itertools
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.engine.pool import OnRay
from pipeline.engine.recipe import Hardware
from pipeline.engine.run import _Sized

CARDS = 4
LOOKS = 1_200
"""At the others on a card, 0.05 seconds apart."""


def card_of(task):
    """The card that Ray gave to this task, and the most tasks that were on it at once; it stays until `company` are there.

    Each task holds a file in the card's folder for as long as it runs.
    """
    folder, number, company = task
    (card,) = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    there = Path(folder) / card
    there.mkdir(exist_ok=True)
    mark = there / str(number)
    mark.touch()
    most = 0
    for look in range(LOOKS):
        most = max(most, len(os.listdir(there)))
        if look >= 10 and most >= company:
            break
        time.sleep(0.05)
    mark.unlink()
    return card, most


@pytest.fixture(scope="module")
def cards():
    """A pool on a node that says it has four cards."""
    import ray
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    head = {"num_cpus": 16, "num_gpus": CARDS, "include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        pool = OnRay(workers=16, address=cluster.address)
        yield pool
        pool.close()
    finally:
        cluster.shutdown()


def placed(pool, folder, tasks, company, hardware):
    """What `card_of` says of each task, with the hardware of a step."""
    lock = type("Held", (), {"still": lambda self: None})()
    given = zip(itertools.repeat(str(folder)), range(tasks), itertools.repeat(company))
    return list(_Sized(pool, hardware, lock).each(card_of, list(given)))


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_of_sixteen_tasks_on_four_cards_no_two_are_on_one(cards, tmp_path):
    found = placed(cards, tmp_path, 16, 1, Hardware(gpus=1, workers=16))
    assert [most for _, most in found] == [1] * 16
    assert len({card for card, _ in found}) == CARDS


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_tasks_that_ask_for_half_a_card_share_one(cards, tmp_path):
    found = placed(cards, tmp_path, 2 * CARDS, 2, Hardware(gpus=0.5, workers=2 * CARDS))
    assert [most for _, most in found] == [2] * 2 * CARDS
    assert Counter(card for card, _ in found) == {str(card): 2 for card in range(CARDS)}
