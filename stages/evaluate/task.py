"""An evaluation as it travels to where it is done; loads nothing heavy before it is there."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.engine.stage import Inputs
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import ARTEFACT, Store
from stages.models.inference.device import patient


class EvaluateJob(NamedTuple):
    """One evaluation, as it travels to where it is done."""

    stage: Any
    inputs: Inputs
    sink: Store
    key: str
    number: str = ARTEFACT

    @property
    def name(self) -> str:
        return "evaluate"


def evaluate(job: EvaluateJob) -> Receipt:
    """Measure, and put the artefact."""
    patient()
    from stages.evaluate.session import measure_all

    return measure_all(job)
