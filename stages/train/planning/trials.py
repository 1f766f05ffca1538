"""Many trainings on the same rows, side by side in one table: `peft-bench` over methods, `sweep` over options.

Each trial is a training run of its own, with its own store, key and checkpoints, given to the pool as one task: trials that stand
are not run again, and a trial that fails leaves the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.engine.pool import Failure, Pool
from pipeline.engine.stage import Inputs
from pipeline.errors import MaetdolError, UsageError, WorkError
from pipeline.flags import fields_of
from pipeline.storage.store import ARTEFACT, Store

METHODS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "freeze": {"method": "freeze"},
    "lora": {"method": "lora"},
    "lora-rank-stabilised": {"method": "lora", "lora.use_rslora": True, "lora.r": 64},
    "lora-dora": {"method": "lora", "lora.use_dora": True},
    "qlora": {"method": "qlora"},
    "ia3": {"method": "ia3"},
    "prefix": {"method": "prefix"},
    "prompt": {"method": "prompt"},
    "ptuning": {"method": "ptuning"},
}
"""Every method with the settings PEFT's own comparison found best for it, where it says so."""


class Trial(NamedTuple):
    """A named training, and what came of it."""

    name: str
    stage: Any
    sink: Store
    notes: dict[str, Any] | None = None
    fault: str = ""

    @property
    def loss(self) -> float:
        """Held-out loss at the end; infinite where there is none."""
        last = (self.notes or {}).get("last", {})
        return float(last["loss"]) if last.get("kind") == "held_out" else float("inf")


def grid(settings: Sequence[str]) -> list[dict[str, Any]]:
    """`optimizer.learning_rate=1e-3|3e-3`, `lora.r=8|16` -> every combination as options. UsageError for a word without `=`.

    >>> grid(["lora.r=4|8", "max_steps=16"])
    [{'lora.r': 4, 'max_steps': 16}, {'lora.r': 8, 'max_steps': 16}]
    """
    import yaml

    names, values = [], []
    for setting in settings:
        name, equals, words = setting.partition("=")
        if not equals or not words:
            raise UsageError(
                f"{setting!r} is no range of an option",
                "write option=value|value, e.g. learning_rate=1e-3|3e-3 or lora.r=8|16",
            )
        names.append(name)
        try:
            values.append([_typed(yaml.safe_load(word)) for word in words.split("|")])
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
            raise UsageError(f"{setting!r} is not readable", "quote its values, or write them as YAML") from None
    return [dict(zip(names, chosen)) for chosen in itertools.product(*values)]


def _typed(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def shared(common: dict[str, Any], more: dict[str, Any], trials: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Of the options `common` to all `trials` those that the one with `more` uses; what none of them uses is kept, to be refused."""
    unused = [without(common | each) for each in (more, *trials.values())]
    return {
        name: value for name, value in common.items() if name not in unused[0] or all(name in one for one in unused)
    }


def without(given: dict[str, Any]) -> set[str]:
    """Names of options that have no effect beside the others; none where those that decide about it are no options of `train`."""
    from stages.train import Train
    from stages.train.workers.levers import deciding, unused

    fields = fields_of(Train)
    return {name for name, _ in unused({name: fields[name][1].default for name in deciding()} | given)}


def run(trials: Sequence[Trial], inputs: Inputs, pool: Pool, gpus: float = 0) -> list[Trial]:
    """Every trial's notes or fault, in the order given. A trial whose options are wrong is a fault like any other."""
    from stages.train.workers.launch import TrainingJob, train_alone

    done: dict[str, Trial] = {}
    jobs = []
    for trial in trials:
        if trial.fault:
            done[trial.name] = trial
            continue
        try:
            trial.stage.check(inputs)
        except UsageError as fault:
            done[trial.name] = trial._replace(fault=fault.message)
            continue
        key = trial.stage.key(inputs)
        receipt = trial.sink.receipt(ARTEFACT)
        if receipt is not None and receipt.key == key:
            done[trial.name] = trial._replace(notes=receipt.notes)
        else:
            jobs.append((trial, TrainingJob(trial.stage, inputs, trial.sink, key)))
    by_path = {job.sink.path: trial for trial, job in jobs}
    finished = []
    for result in pool.each(train_alone, [job for _, job in jobs], gpus=gpus):
        if isinstance(result, Failure):
            finished.append(result)
    for _path, trial in by_path.items():
        receipt = trial.sink.receipt(ARTEFACT)
        if receipt is not None and receipt.key == trial.stage.key(inputs):
            trial.sink.commit_manifest(
                {
                    "stage": "train",
                    "shape": trial.stage.output(inputs["of"][0].shape),
                    "key": receipt.key,
                    "lineage": {},
                    "schema": [],
                },
                [],
            )
            done[trial.name] = trial._replace(notes=receipt.notes)
    for failure in finished:
        missing = next((trial for trial in by_path.values() if trial.name not in done), None)
        error = failure.error
        message = error.message if isinstance(error, MaetdolError) else failure.message
        if missing is not None:
            done[missing.name] = missing._replace(fault=message.splitlines()[0])
    found = [done.get(trial.name, trial._replace(fault="did not end")) for trial in trials]
    if all(trial.notes is None for trial in found):
        raise WorkError(
            f"no trial ended well: {found[0].name}: {found[0].fault}",
            "fix the cause and run again: trials that ended are kept",
        )
    return found


def size_of(trial: Trial) -> int:
    """Bytes of the weights a trial wrote."""
    return sum(path.stat().st_size for path in Path(trial.sink.artefact()).glob("*.safetensors"))


def table(trials: Sequence[Trial]) -> str:
    """A Markdown table, the best first; score, memory, time, size, and what each trial was."""
    lines = [
        "| trial | held-out loss | before | trained weights | weights written | peak memory | tokens/s | time |",
        "| --- |" + " --- |" * 7,
    ]
    for trial in sorted(trials, key=lambda one: (one.loss, one.name)):
        notes = trial.notes
        if notes is None:
            lines.append(f"| {trial.name} | {trial.fault} | | | | | | |")
            continue
        took = notes.get("took", {})
        memory = took.get("peak_memory")
        first = notes["first"]["loss"] if notes["first"].get("kind") == "held_out" else float("nan")
        lines.append(
            f"| {trial.name} | {trial.loss:.4f} | {first:.4f} | {notes['trained_parameters']:,} ({notes['trained_parameters'] / notes['parameters']:.2%}) "
            f"| {size_of(trial) / 1e6:.2f} MB | {f'{memory / 1e6:.0f} MB' if memory is not None else '-'} | {took.get('tokens_per_second', 0):,.0f} | {took.get('seconds', 0):.1f} s |"
        )
    return "\n".join(lines)
