"""Two Ray Train workers give the loss of one, and a group that loses a worker goes on."""

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from pipeline.engine.pool import Inline, OnRay
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.train import Train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray_pool():
    pool = OnRay(workers=3)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def job(tokens_store, tiny_tokenizer, tiny):
    return {**tiny, "max_steps": 12, "global_batch_size": 4, "save_steps": 2}, Inputs(
        {"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17
    )


@pytest.fixture(scope="module")
def alone(job, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("alone"))
    Train(**job[0]).run(job[1], store, Inline())
    return store


def losses(store, read_history):
    curve = read_history(store)
    return [line["loss"] for line in (*curve.train, *curve.held)]


@pytest.mark.parametrize("parallel", [{}, {"parallel": "fsdp"}], ids=["data", "fsdp"])
def test_two_workers_give_the_loss_of_one(parallel, job, alone, ray_pool, tmp_path, read_history):
    options, inputs = job
    [receipt] = Train(**options, **parallel).run(replace(inputs, workers=2), Store(tmp_path), ray_pool)
    assert receipt.notes["workers"] == 2
    assert losses(Store(tmp_path), read_history) == pytest.approx(losses(alone, read_history), abs=1e-4)


def test_one_ray_worker_gives_the_same_bytes(job, alone, ray_pool, tmp_path):
    options, inputs = job
    [receipt] = Train(**options).run(inputs, Store(tmp_path), ray_pool)
    assert receipt.files == alone.receipt("artefact").files


@pytest.mark.parametrize("parallel", ["data", "fsdp"])
def test_a_group_that_loses_a_worker_goes_on_from_its_checkpoint(
    parallel, job, alone, ray_pool, tmp_path, read_history
):
    options, inputs = {**job[0], "parallel": parallel}, job[1]
    killed, index = [], tmp_path / "passes/checkpoints.json"

    def kill_twice():
        """Once a checkpoint is there, and once one is there that the second group wrote: the worker that holds the run's lock."""
        for least in (2, 10):
            while not (index.exists() and json.loads(index.read_text())["steps"][-1] >= least):
                time.sleep(0.02)
            killed.append(int((tmp_path / "passes/lock").read_text()))
            os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_twice, daemon=True)
    killer.start()
    Train(**{**options, "max_steps": 60}).run(replace(inputs, workers=2), Store(tmp_path), ray_pool)
    killer.join()
    assert len(set(killed)) == 2 and os.getpid() not in killed, "two workers of two groups were to be killed"
    assert read_history(Store(tmp_path)).train[-1]["step"] == 60
    two = Store(tmp_path / "two")
    Train(**{**options, "max_steps": 60}).run(replace(inputs, workers=2), two, ray_pool)
    assert (two.artefact() / "history.jsonl").read_bytes() == (
        Store(tmp_path).artefact() / "history.jsonl"
    ).read_bytes(), "bit by bit"
    assert two.receipt("artefact").files == Store(tmp_path).receipt("artefact").files
    whole = Store(tmp_path / "whole")
    Train(**{**options, "max_steps": 60, "parallel": "data"}).run(inputs, whole, Inline())
    assert losses(Store(tmp_path), read_history) == pytest.approx(losses(whole, read_history), abs=1e-3)


def test_more_workers_than_the_machine_has_are_refused_with_the_lever(job, ray_pool, tmp_path):
    options, inputs = job
    with pytest.raises(UsageError, match="training workers, the cluster has"):
        Train(**options).run(replace(inputs, workers=64), Store(tmp_path), ray_pool)
    with pytest.raises(UsageError, match="the pool is inline"):
        Train(**options).run(replace(inputs, workers=2), Store(tmp_path), Inline())
