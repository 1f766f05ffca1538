"""A recipe: one YAML page to steps with names, stages and typed ports, checked before anything runs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.engine import catalog
from pipeline.engine.stage import Port, Stage
from pipeline.errors import RecipeError, did_you_mean
from pipeline.options import Options
from pipeline.storage.files import is_remote
from pipeline.storage.store import Store

SEED = 17


class Hardware(Options):
    """What one step may use; never decides a byte."""

    workers: int | None = None
    "Tasks of this step in flight; of training: the processes it is spread over. Default: `run.workers`."
    gpus: float = 0
    "GPUs per task."
    memory: int | None = None
    "Memory per task in bytes, or with a unit (`16GiB`), reserved on Ray."

    @field_validator("memory", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return parse_bytes(value) if isinstance(value, str) else value


class RunOptions(Options):
    """How a recipe runs: nothing here changes a byte of output."""

    pool: Literal["ray", "inline"] = "ray"
    "`ray`: local Ray, or a cluster by `address`; `inline`: this process."
    workers: int | None = None
    "Tasks in flight; default: the machine's cores (cluster: its CPUs)."
    address: str | None = None
    "Address of a Ray cluster (`auto`, `ray://head:10001`); default: a local instance."
    window: int | None = None
    "Tasks handed to Ray at once; default: `workers`."
    memory: int | None = None
    "Memory per task, e.g. `2GiB`."
    wait: float = Field(default=0, ge=0)
    "Seconds a task may wait for a GPU or memory that no node has; give it where an autoscaler brings nodes."
    fuse: bool = False
    "Run consecutive shard stages as one task over a shard; unnamed stores between them are not written."
    drop_raw: bool = False
    "Delete the text stores that a step which masks personal data was made from, once that step is proven."
    steps: dict[str, Hardware] = Field(default_factory=dict)
    "Hardware per step."

    @field_validator("memory", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return parse_bytes(value) if isinstance(value, str) else value


def parse_bytes(word: str) -> int:
    """`2GiB`, `500MB`, `1024` in bytes; ValueError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", word, re.IGNORECASE)
    if not match:
        raise ValueError(f"{word!r} is no size: write 2GiB, 500MB or a number of bytes")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


@dataclass(frozen=True)
class Step:
    """One step: its name, its stage, and where each port comes from (step names or paths)."""

    name: str
    stage_name: str
    stage: Stage
    ports: dict[str, tuple[str, ...]]
    shape: str | None
    given: dict[str, Any] = field(default_factory=dict)
    """The options as they were written, to make the stage again from its manifest."""


@dataclass(frozen=True)
class Recipe:
    """Steps in order, and how to run them."""

    name: str
    root: str
    steps: tuple[Step, ...]
    seed: int = SEED
    run: RunOptions = field(default_factory=RunOptions)
    source: str = ""

    def step(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        raise RecipeError(f"no step is called {name!r}", did_you_mean(name, [s.name for s in self.steps]))

    def store(self, name: str) -> Store:
        """The store of a step: root/<step name>."""
        return Store(f"{self.root.rstrip('/')}/{name}")

    def hardware(self, name: str) -> Hardware:
        return self.run.steps.get(name, Hardware())


def load(path: str | os.PathLike, settings: list[str] | None = None) -> Recipe:
    """Read a recipe file. `settings` are `step.option=value` (or `root=`, `seed=`, `run.option=value`) overrides."""
    import yaml

    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise RecipeError(
            f"cannot read recipe {path}: {fault.strerror}", "give the path of a YAML file, e.g. configs/quickstart.yaml"
        ) from None
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        raise RecipeError(
            f"{path} line {line}: not UTF-8",
            "save the recipe as UTF-8 (editors on Korean Windows may write CP949 or UTF-16)",
        ) from None
    try:
        page = yaml.safe_load(text)
    except (ValueError, RecursionError, OverflowError) as fault:
        raise RecipeError(
            f"{path}: not readable: {_odd_yaml(fault)}", "write plain values, and nest them a few levels deep"
        ) from None
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise RecipeError(
            f"{path}{where}: not valid YAML: {' '.join(str(getattr(fault, 'problem', fault)).split())}",
            "fix the indentation or quoting there",
        ) from None
    return parse(page, str(path), settings or [])


def _odd_yaml(fault: Exception) -> str:
    """What is odd about valid YAML that no value can be made of."""
    return (
        "nested too deep"
        if isinstance(fault, RecursionError)
        else "a number or date that is none, or a number of thousands of digits"
    )


PAGE = ("name", "root", "seed", "steps", "run")


def parse(page: Any, source: str = "recipe", settings: list[str] | None = None) -> Recipe:
    """A recipe from plain values; RecipeError says which word is wrong and the nearest right one."""
    if not isinstance(page, dict):
        raise RecipeError(f"{source}: a recipe is a mapping with `steps:`", "see configs/quickstart.yaml")
    for word in page:
        if word not in PAGE:
            raise RecipeError(f"{source}: unknown word {word!r}", did_you_mean(str(word), list(PAGE)))
    entries = page.get("steps")
    if not isinstance(entries, list) or not entries:
        raise RecipeError(f"{source}: `steps:` must be a list with at least one step", "see configs/quickstart.yaml")
    page = {**page, "run": dict(page.get("run") or {})}
    raw = [_entry(entry, index, source) for index, entry in enumerate(entries)]
    for setting in settings or []:
        _override(page, raw, setting)
    steps: list[Step] = []
    for stage_name, options in raw:
        steps.append(_step(stage_name, dict(options), steps, source))
    run = RunOptions.build(page["run"], "run")
    for name in run.steps:
        if name not in {step.name for step in steps}:
            raise RecipeError(f"run.steps: no step is called {name!r}", did_you_mean(name, [s.name for s in steps]))
    name = str(page.get("name") or Path(source).stem)
    root = str(page.get("root") or f"runs/{name}")
    if run.pool == "ray" and run.address not in (None, "local") and not (is_remote(root) or os.path.isabs(root)):
        raise RecipeError(
            f"{source}: root {root!r} is relative, and each node of the cluster at {run.address} would take it from a folder of its own",
            "give a root on object storage (s3://...), or the whole path of a folder that all nodes mount",
        )
    seed = page.get("seed", SEED)
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise RecipeError(f"{source}: seed must be a whole number of at most 64 bits", "write e.g. `seed: 17`")
    return Recipe(name, root, tuple(steps), seed, run, source)


def _entry(entry: Any, index: int, source: str) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        stage_name, options = next(iter(entry.items()))
        if options is None or isinstance(options, dict):
            return str(stage_name), dict(options or {})
    raise RecipeError(
        f"{source}: step {index + 1} must be `- stage: {{options}}`", "indent the options below their stage"
    )


def _override(page: dict[str, Any], raw: list[tuple[str, dict[str, Any]]], setting: str) -> None:
    import yaml

    target, equals, value = setting.partition("=")
    if not equals:
        raise RecipeError(f"--set {setting!r} has no `=`", "write --set step.option=value")
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        raise RecipeError(f"--set {target}: the value is not readable", "quote it, or write it as YAML") from None
    if target in ("root", "seed", "name"):
        page[target] = parsed
        return
    first, _, path = target.partition(".")
    if not path:
        raise RecipeError(f"--set {target}: which option?", "write --set step.option=value")
    if first == "run":
        group = page["run"]
    else:
        names = {str(options.get("name") or stage_name): options for stage_name, options in raw}
        stages = {id(options): stage_name for stage_name, options in raw}
        if first not in names:
            raise RecipeError(
                f"--set: no step is called {first!r}", did_you_mean(first, [*names, "run", "root", "seed"])
            )
        group = names[first]
        path = _under_current_names(stages[id(group)], group, path)
    *folders, last = path.split(".")
    for word in folders:
        group = group.setdefault(word, {})
        if not isinstance(group, dict):
            raise RecipeError(f"--set {target}: {word} has no parts", "set the whole option")
    group[last] = parsed


def _under_current_names(stage_name: str, options: dict[str, Any], path: str) -> str:
    """`options` and the `path` of one of them as the stage calls them today, so that an override meets what it overrides."""
    cls = catalog.stage(stage_name)
    try:
        current = cls.under_current_names(dict(options), stage_name)
    except ValueError:  # said where the step is read
        return path
    options.clear()
    options.update(current)
    return {**cls.renamed, **cls.also}.get(path, path)


def _step(stage_name: str, options: dict[str, Any], earlier: list[Step], source: str) -> Step:
    cls = catalog.stage(stage_name)
    name = str(options.pop("name", stage_name))  # a step written under its stage's earlier name keeps its store
    stage_name = catalog.current_stage(stage_name)
    if not re.fullmatch(r"[\w][\w.\-]*", name):
        raise RecipeError(f"{source}: step name {name!r} must be letters, digits, `-`, `_`, `.`", "rename the step")
    if name in {step.name for step in earlier}:
        raise RecipeError(f"{source}: two steps are called {name!r}", "give the second a `name:`")
    try:
        options = cls.under_current_names(options, name)
    except ValueError as fault:
        raise RecipeError(f"{source}: {name}: {fault}", f"see `maetdol explain {stage_name}`") from None
    given = {port: options.pop(port) for port in list(options) if port in cls.ports}
    stage = cls.build(options, name if name == stage_name else f"{stage_name}.{name}")
    ports: dict[str, tuple[str, ...]] = {}
    for port, declared in cls.ports.items():
        refs = _refs(given.get(port), port, name, source) if port in given else _default(declared, earlier, name, port)
        _check_port(refs, declared, earlier, name, port)
        if refs:
            ports[port] = refs
    of = _shape(ports["of"][0], earlier, cls.ports["of"]) if ports.get("of") else None
    return Step(name, stage_name, stage, ports, stage.output(of), options)


def _refs(value: Any, port: str, name: str, source: str) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise RecipeError(
            f"{source}: {name}.{port} must be a step name, a path or a list of them", "see `maetdol explain`"
        )
    return tuple(items)


def _default(declared: Port, earlier: list[Step], name: str, port: str) -> tuple[str, ...]:
    """The nearest earlier step whose output shape fits; nothing for an optional port."""
    if declared.optional:
        return ()
    for step in reversed(earlier):
        if declared.takes(step.shape):
            return (step.name,)
    raise RecipeError(
        f"step {name!r}: its input `{port}` needs {declared.shape}, and no earlier step makes that",
        f"add such a step before it, or give a path: `{port}: path/to/store`",
    )


def is_path(ref: str) -> bool:
    return "/" in ref or os.sep in ref or ref.startswith(".") or os.path.isdir(ref)


def _shape(ref: str, earlier: list[Step], declared: Port) -> str | None:
    for step in earlier:
        if step.name == ref:
            return step.shape
    return declared.store(ref).shape if is_path(ref) else None


def _check_port(refs: tuple[str, ...], declared: Port, earlier: list[Step], name: str, port: str) -> None:
    if not refs and not declared.optional:
        raise RecipeError(
            f"step {name!r}: its input `{port}` is empty", f"name a step or path that makes {declared.shape}"
        )
    if len(refs) > 1 and not declared.many:
        raise RecipeError(
            f"step {name!r}: `{port}` takes one input, {len(refs)} given",
            "keep one, or join them in a step of their own first",
        )
    names = [step.name for step in earlier]
    for ref in refs:
        if ref not in names and not is_path(ref):
            raise RecipeError(
                f"step {name!r}: `{port}` names {ref!r}, which is no earlier step and no path", did_you_mean(ref, names)
            )
        shape = _shape(ref, earlier, declared)
        if shape is not None and not declared.takes(shape):
            raise RecipeError(
                f"step {name!r}: `{port}` takes {declared.shape}, but {ref!r} makes {shape}",
                f"name a step or store that makes {declared.shape}",
            )
