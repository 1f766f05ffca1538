"""A group of training workers through Ray Train: gloo on CPUs, nccl on GPUs; rows of a step shared, gradients summed."""

from __future__ import annotations

import tempfile
from typing import Any

from pipeline.errors import StageFailed, UsageError
from pipeline.storage.files import Local
from stages.models.inference.device import patient
from stages.train.workers.process import alive_check, locked, progress_writer
from stages.train.workers.world import World

FAILURES = 3
"""Times a group that lost a worker is started again; it goes on from the last checkpoint."""


def train_group(job: Any, workers: int, gpus: float) -> None:
    """Train `job` with `workers` processes. The sink must be where every worker can reach it."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    have = ray.cluster_resources()
    if gpus and workers * gpus > have.get("GPU", 0):
        raise UsageError(
            f"{workers} workers with {gpus:g} GPU each, the cluster has {have.get('GPU', 0):g}",
            "lower `workers` or `gpus` in run.steps",
        )
    if workers > have.get("CPU", 0):
        raise UsageError(
            f"{workers} training workers, the cluster has {have.get('CPU', 0):g} CPUs",
            "lower `workers` in run.steps, or raise run.workers",
        )
    if not isinstance(job.sink.fs, Local) and len(ray.nodes()) == 0:
        raise UsageError("no node is alive in the Ray cluster", "start the cluster again")
    with tempfile.TemporaryDirectory(prefix="maetdol-train-") as folder:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": 1, **({"GPU": gpus} if gpus else {})},
            ),
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            run_config=RunConfig(
                storage_path=folder, name="train", failure_config=FailureConfig(max_failures=FAILURES)
            ),
        )
        _fit(trainer)


def _fit(trainer: Any) -> None:
    from ray.train import TrainingFailedError

    from pipeline.errors import MaetdolError

    try:
        trainer.fit()
    except TrainingFailedError as fault:
        for cause in getattr(fault, "worker_failures", {}).values():
            inner = getattr(cause, "cause", cause)
            if isinstance(inner, MaetdolError):
                raise inner from None
        raise StageFailed(
            f"train: {str(fault).splitlines()[0][:300]}",
            "fix the cause and run again: it goes on from the last checkpoint",
        ) from None


def train_worker(config: dict[str, Any]) -> None:
    """One worker of the group: its share of every step's rows."""
    patient()
    from ray import train

    from stages.train.session import Session

    job = config["job"]
    context = train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    if world.rank:
        with Session(job, world) as session:
            session.train(alive_check(job.driver), lambda line: None)
        return
    with locked(job.sink), Session(job, world) as session:
        session.train(alive_check(job.driver), progress_writer(job.sink))
