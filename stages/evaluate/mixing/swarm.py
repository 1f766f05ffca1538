"""The proxies of a search: which documents they are measured on, which mixtures they are trained on, and what they measured.

A recipe under ROOT/mix-search sets the measured documents apart, clears the texts of them and their near-copies, and sizes the
groups. Every mixture is a recipe of its own below it (`mixtures/000`, ...), so that mixtures are worked on side by side, what is
done is not done again, and what was killed goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pipeline.engine import progress
from pipeline.engine.recipe import Recipe, Step, is_path, parse
from pipeline.engine.run import plan, run
from pipeline.errors import UsageError
from pipeline.paths import groups_of
from pipeline.storage.store import Store
from stages.evaluate.proxies import LEAST_OF_GROUP, VariantMeasure

SALT = "mix-search"
"""Parts the documents measured on from other divisions by hash; `draw` is written behind it."""
OTHER = "other"
"""The group of all groups that are not among the largest, as `mix` calls it."""
MARGIN = 1.1
"""Text of a mixture over what its tokens take by the tokenizer's card, so that it is not gone over twice."""
MOST_REPEATS = 64
"""What `mix` allows: proxies are kept from repeats by caps of the search alone."""


class Groups(NamedTuple):
    """The groups that are weighed, the largest first, and what there is of each."""

    names: list[str]
    sizes: np.ndarray
    """Bytes of text."""

    def merged(self, name: str) -> str:
        """The group that a row's group is weighed with."""
        return name if name in self.names else OTHER

    @property
    def natural(self) -> np.ndarray:
        """The shares as they are."""
        return self.sizes / self.sizes.sum()

    def shares(self, by_name: dict[str, float]) -> np.ndarray:
        """Shares of amounts by unmerged name."""
        totals = dict.fromkeys(self.names, 0.0)
        for name, amount in by_name.items():
            totals[self.merged(name)] += amount
        found = np.array([totals[name] for name in self.names])
        return found / found.sum()


class Member(NamedTuple):
    """One mixture and the recipe that trains its proxies: a task of the pool."""

    name: str
    page: dict[str, Any]

    @property
    def recipe(self) -> Recipe:
        return parse(self.page, "mix-search")


def mix_step(recipe: Recipe, name: str | None) -> Step:
    """The step of the recipe whose weights are looked for. UsageError where there is none, or several and no `name`."""
    if name is not None:
        step = recipe.step(name)
        if step.stage_name != "mix":
            raise UsageError(f"step {name!r} is no mix", "name a step that mixes documents")
        return step
    found = [step for step in recipe.steps if step.stage_name == "mix" and step.shape == "DOCUMENT"]
    if len(found) != 1:
        names = ", ".join(step.name for step in found)
        raise UsageError(
            f"the recipe has {len(found)} steps that mix documents" + (f": {names}" if names else ""),
            "name one with --step" if found else "add a `mix` step with `by` to it",
        )
    return found[0]


def folder(recipe: Recipe) -> str:
    """Where everything of the search lies."""
    return f"{recipe.root.rstrip('/')}/mix-search"


def base(recipe: Recipe, step: Step, options: Any) -> Recipe:
    """The recipe that sets documents apart, clears the texts of them, trains a tokenizer where none is given, and sizes groups."""
    stores = [ref if is_path(ref) else recipe.store(ref).path for ref in step.ports["of"]]
    steps: list[dict[str, Any]] = []
    for number, path in enumerate(stores):
        drawn = {"name": f"drawn-{number}", "of": path, "share": options.holdout, "by": "document"}
        steps.append({"split": {**drawn, "salt": SALT + options.draw}})
    steps.append({"dedup": {"name": "measured", "of": [f"drawn-{number}" for number in range(len(stores))]}})
    for number, path in enumerate(stores):
        steps.append({"exclude_overlap": {"name": f"text-{number}", "of": path, "against": "measured"}})
    texts = [f"text-{number}" for number in range(len(stores))]
    if not options.tokenizer:
        steps.append({"tokenizer": {"of": texts, "vocab_size": options.vocab_size}})
    stage: Any = step.stage
    steps.append({"mix": {"name": "natural", "of": texts, "by": stage.by}})
    run_ = {"pool": "inline", "workers": 1}
    page = {
        "name": f"{recipe.name}-mix-search",
        "root": folder(recipe),
        "seed": recipe.seed,
        "steps": steps,
        "run": run_,
    }
    return parse(page, "mix-search")


def groups(second: Recipe, most: int) -> Groups:
    """The `most` largest groups of the text, by the natural mix of the base recipe; all others are one."""
    totals = _sizes(second.store("natural"))
    ranked = sorted(((size, name) for name, size in totals.items() if size), key=lambda one: (-one[0], one[1]))
    if len(ranked) < 2:
        raise UsageError(
            f"there is {len(ranked)} group of text, and nothing to weigh",
            "give the mix step another `by`, or more stores",
        )
    if len(ranked) > most:
        ranked = [*ranked[: most - 1], (sum(size for size, _ in ranked[most - 1 :]), OTHER)]
    return Groups([name for _, name in ranked], np.array([size for size, _ in ranked], np.float64))


def _sizes(mixed: Store) -> dict[str, int]:
    """Bytes of text of every group that a mix was made of."""
    totals: dict[str, int] = {}
    for receipt in mixed.sub("passes/weigh").receipts().values():
        for name, size in receipt.notes["bytes"].items():
            totals[name] = totals.get(name, 0) + size
    return totals


def caps(found: Groups, budget: float, repeats: float) -> np.ndarray:
    """The largest share of each group where `budget` bytes come out and no row more than `repeats` times. UsageError where there is no room."""
    most = np.minimum(found.sizes * repeats / budget, 1.0)
    if most.sum() < 1 + 1e-6:
        raise UsageError(
            f"{budget / 1e6:,.1f} MB of {found.sizes.sum() / 1e6:,.1f} MB, no row more than {repeats:g} times, is one mixture alone",
            "raise --max-repeats (4 epochs of repeated text are worth nearly as much as new), or lower --budget",
        )
    return most


def member(second: Recipe, found: Groups, by: Any, name: str, shares: np.ndarray, seeds: int, options: Any) -> Member:
    """The recipe of one mixture: its text, its rows, and a proxy and its measuring for each seed."""
    from stages.text.words.token_rates import bytes_per_token, usual

    tokenizer = options.tokenizer or second.store("tokenizer").path
    budget = round(options.tokens * usual(bytes_per_token(tokenizer)) * MARGIN)
    texts = [second.store(step.name).path for step in second.steps if step.name.startswith("text-")]
    weights = {group: float(share) for group, share in zip(found.names, shares)}
    mixed = {"of": texts, "by": by, "weights": weights, "budget": budget, "max_repeats": MOST_REPEATS}
    packed = {"of": "text", "tokenizer": tokenizer, "seq_len": options.seq_len, "method": "concat", "holdout": 0.0}
    steps: list[dict[str, Any]] = [{"mix": {"name": "text", **mixed}}, {"pack": {"name": "rows", **packed}}]
    for seed in range(1, seeds + 1):
        model, measuring = (
            {"name": f"proxy-{seed}", "of": "rows"},
            {"name": f"measured-{seed}", "model": f"proxy-{seed}"},
        )
        steps.append({"train": {**options.proxy(), **model, "tokenizer": tokenizer, "seed": seed}})
        steps.append({"evaluate": {**options.measuring(), **measuring, "of": second.store("measured").path}})
    root = f"{second.root}/mixtures/{name}"
    page = {"name": f"mixture {name}", "root": root, "seed": second.seed, "steps": steps, "run": {"pool": "inline"}}
    return Member(name, page)


def train(task: Member) -> str:
    """Bring one mixture's recipe up to date, where the pool runs it; one line when it is done in place of those of its steps."""
    before, began = progress.current, time.monotonic()
    progress.current = progress.Quiet()
    try:
        run(task.recipe)
    finally:
        progress.current = before
    progress.current.say(f"mixture {task.name}: trained and measured, {time.monotonic() - began:.1f} s")
    return task.name


def to_do(members: Sequence[Member]) -> list[Member]:
    """Those with a step that is not done."""
    return [one for one in members if any(status.state != "done" for status in plan(one.recipe))]


def realised(task: Member, found: Groups) -> np.ndarray:
    """The shares a mixture really has: rows come whole, and none more than `mix` allows."""
    text = task.recipe.store("text")
    sizes = _sizes(text)
    rates = next(iter(text.receipts().values())).notes["rates"]
    return found.shares({name: sizes[name] * rates[name] for name in sizes})


class MeasuredGroups(NamedTuple):
    """The measured documents by group."""

    names: list[str]
    """Groups of enough documents, the most documents first."""
    members: np.ndarray
    """bool (groups, documents), in the order the documents are measured."""
    few: dict[str, int]
    """Groups of too few documents to speak of, and how many they have."""


def held(second: Recipe, found: Groups, by: Any, measured: Store) -> MeasuredGroups:
    """The groups of the documents that `measured`, one proxy's measuring, names."""
    group_of: dict[str, str] = {}
    for number, step in enumerate(step for step in second.steps if step.name.startswith("drawn-")):
        store = second.store(step.name)
        for shard in store.shards():
            for batch in store.batches(shard):
                names = groups_of(batch, by, number, "mix-search")
                group_of |= {one: found.merged(name) for one, name in zip(batch.column("id").to_pylist(), names)}
    rows = np.array([group_of[one] for one in _rows(measured)["ids"]])
    counts = {name: int((rows == name).sum()) for name in found.names}
    enough = sorted((name for name in counts if counts[name] >= LEAST_OF_GROUP), key=lambda name: (-counts[name], name))
    if not enough:
        raise UsageError(
            f"no group has {LEAST_OF_GROUP} documents to be measured on ({', '.join(f'{n}: {c}' for n, c in counts.items())})",
            "raise `holdout` or `documents`, or give the recipe more text",
        )
    few = {name: counts[name] for name in found.names if name not in enough}
    return MeasuredGroups(enough, np.stack([rows == name for name in enough]), few)


def losses(task: Member, seed: int, groups_held: MeasuredGroups) -> np.ndarray:
    """Bits per byte of one proxy on each measured group."""
    bits, size = _bits(task.recipe.store(f"measured-{seed}"))
    return (groups_held.members @ bits) / (groups_held.members @ size)


def measures(task: Member, seeds: int, groups_held: MeasuredGroups, target: np.ndarray) -> dict[str, VariantMeasure]:
    """Bits per byte of `target`, and of each measured group, under every seed's proxy."""
    bits, sizes = zip(*(_bits(task.recipe.store(f"measured-{seed}")) for seed in range(1, seeds + 1)))
    size = sizes[0]
    weigh = target / (groups_held.members @ size)
    by_row = weigh @ groups_held.members
    counted = by_row > 0
    found = {"bits per byte (target)": VariantMeasure((np.stack(bits) * by_row)[:, counted], (size * by_row)[counted])}
    for name, of in zip(groups_held.names, groups_held.members):
        found[f"bits per byte ({name})"] = VariantMeasure(np.stack(bits)[:, of], size[of])
    return found


def _bits(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Bits and bytes of the measured documents."""
    rows = _rows(store)
    [bits] = rows["bits"].values()
    return np.asarray(bits, np.float64), np.asarray(rows["bytes"], np.float64)


def _rows(store: Store) -> dict[str, Any]:
    return json.loads((store.artefact() / "rows.json").read_text("utf-8"))["documents"]


def pool_of(recipe: Recipe, options: Any) -> Recipe:
    """The recipe with the pool that the search asks for, to make one of."""
    return replace(recipe, run=recipe.run.model_copy(update={"pool": options.pool, "workers": options.workers}))
