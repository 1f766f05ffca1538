"""A search from end to end: texts, swarm, regression, and the found mixture trained beside the natural one and all alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipeline.engine import progress
from pipeline.engine.recipe import Recipe, Step, is_path
from pipeline.engine.run import ancestors, make_pool, plan, run
from pipeline.engine.tasks import collect
from pipeline.errors import UsageError, did_you_mean
from pipeline.storage.store import ARTEFACT
from stages.evaluate import proxies
from stages.evaluate.ablation import part
from stages.evaluate.mixing import law, mixtures, swarm, table
from stages.evaluate.mixing.swarm import Groups, MeasuredGroups, Member

LEAST_MIXTURES, PER_GROUP = 12, 4
"""Mixtures by default. A regression has a coefficient for each group; RegMix has 512 for 17 groups, most searches fewer than 10 each."""
OPERATIONS = 6
"""Floating-point operations a weight and token of training (Kaplan et al. 2020)."""


def search(recipe: Recipe, options: Any) -> dict[str, Any]:
    """Everything up to the report. UsageError where the recipe has nothing to search, WorkError where a proxy failed."""
    step = swarm.mix_step(recipe, options.step)
    mix: Any = step.stage
    run(_before(recipe, step))
    second = swarm.base(recipe, step, options)
    run(second)
    found = swarm.groups(second, options.groups)
    budget = _budget(step, found, options)
    caps = swarm.caps(found, budget, options.max_repeats or mix.max_repeats)
    count = options.mixtures or max(LEAST_MIXTURES, PER_GROUP * len(found.names))
    drawn = mixtures.sampled(found.natural, caps, count + options.check, recipe.seed)

    def members(shares: Iterable[np.ndarray], names: Sequence[str], seeds: int) -> list[Member]:
        made = [swarm.member(second, found, mix.by, name, one, seeds, options) for name, one in zip(names, shares)]
        _train(recipe, made, options)
        return made

    # The checked mixtures come first in the draw, so that they stay what they are when mixtures are added.
    all_members = members(drawn, [f"{number:04d}" for number in range(len(drawn))], 1)
    held = swarm.held(second, found, mix.by, all_members[0].recipe.store("measured-1"))
    target = _target(held, options.target)
    shares = np.stack([swarm.realised(one, found) for one in all_members])
    losses = np.stack([swarm.losses(one, 1, held) for one in all_members])
    fitted, checked = slice(options.check, None), slice(0, options.check)
    best, left_out = law.fit(shares[fitted], losses[fitted], target)
    at = {
        "natural": found.natural,
        "alike": mixtures.rounded(mixtures.alike(caps), caps),
        "found": law.best_mixture(best, target, found.natural, caps, recipe.seed),
    }
    last = members(list(at.values()), list(at), options.seeds)
    measured = [swarm.measures(one, options.seeds, held, target) for one in last]
    by_measure = {name: dict(zip(at, (one[name] for one in measured))) for name in measured[0]}
    compare = {
        first: proxies.compare(by_measure, first, options.bootstrap, recipe.seed) for first in ("natural", "alike")
    }
    compare["alike"] = {name: one for name, one in compare["alike"].items() if "target" in name}
    pair = np.stack([at["natural"], at["found"]])
    change = law.change(shares[fitted], losses[fitted], target, best, pair, 400, recipe.seed)
    loss = losses @ target
    receipt = all_members[0].recipe.store("proxy-1").receipt(ARTEFACT)
    return {
        "format": table.FORMAT, "recipe": recipe.name, "step": step.name, "by": mix.by, "seeds": options.seeds,
        "mixtures": count, "tokens": options.tokens, "parameters": receipt.notes["parameters"] if receipt else 0,
        "documents": int(held.members.sum()), "budget": round(budget), "few": held.few,
        "target": dict(zip(held.names, target.round(6).tolist())),
        "groups": [
            {"name": name, "bytes": int(found.sizes[row]), "cap": round(float(caps[row]), 4),
             **{one: round(float(share[row]), 4) for one, share in at.items()},
             "epochs": round(float(at["found"][row] * budget / found.sizes[row]), 3)}
            for row, name in enumerate(found.names)
        ],
        "law": {
            "form": best.form, "ridge": best.ridge, "floor": best.floor, "change": [round(x, 5) for x in change],
            "spread": round(float(loss[fitted].std()), 5), **_quality("left_out", left_out, loss[fitted]),
            **_quality("checked", best.predict(shares[checked]) @ target, loss[checked]),
            "checked": _rows(found, shares[checked], best.predict(shares[checked]) @ target, loss[checked]),
            "fitted": _rows(found, shares[fitted], left_out, loss[fitted]),
        },
        "measures": compare, "yaml": _yaml(step, found, at["found"], options),
        "options": options.model_dump(mode="json", exclude={"recipe", "set", "dry_run", "pool", "workers"}),
    }  # fmt: skip


def _before(recipe: Recipe, step: Step) -> Recipe:
    """The recipe up to the stores the mix reads."""
    return part(recipe, {one.name for one in ancestors(recipe, step)} - {step.name})


def _budget(step: Step, found: Groups, options: Any) -> float:
    """Bytes of the mixture that is looked for."""
    stage: Any = step.stage
    if options.budget:
        return float(options.budget)
    if stage.tokenizer and stage.budget:
        raise UsageError(f"step {step.name!r} has its budget in tokens", "say it in bytes with --budget")
    return float(stage.budget or (stage.share or 1.0) * found.sizes.sum())


def _train(recipe: Recipe, members: Sequence[Member], options: Any) -> None:
    """What is not done of them, in the pool the search asks for."""
    todo = swarm.to_do(members)
    if not todo:
        return
    pool = make_pool(swarm.pool_of(recipe, options))
    progress.current.begin("mix-search")
    try:
        collect(pool, swarm.train, todo, "mixtures", gpus=options.gpus)
    finally:
        progress.current.end()
        pool.close()


def _target(held: MeasuredGroups, weights: dict[str, float]) -> np.ndarray:
    """Weight of each measured group (sum 1). UsageError for a group that is not measured."""
    for name in weights:
        if name not in held.names:
            few = f"has {held.few[name]} documents to be measured on" if name in held.few else "is not measured"
            raise UsageError(f"--target: the group {name!r} {few}", did_you_mean(name, held.names))
    found = np.array([float(weights.get(name, 0.0 if weights else 1.0)) for name in held.names])
    if (found < 0).any() or not found.sum():
        raise UsageError(
            "--target: weights must not be negative, and one must be above 0", "for example {ko: 2, en: 1}"
        )
    return found / found.sum()


def _quality(name: str, predicted: np.ndarray, measured: np.ndarray) -> dict[str, float | None]:
    """Rank correlation (Spearman) and root mean square error of what was predicted."""
    rank = law.rank_correlation(predicted, measured)
    off = float(np.sqrt(np.mean((predicted - measured) ** 2))) if len(measured) else None
    return {
        f"rank_{name}": None if rank is None else round(rank, 4),
        f"off_{name}": None if off is None else round(off, 5),
    }


def _rows(found: Groups, shares: np.ndarray, predicted: np.ndarray, measured: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"shares": dict(zip(found.names, one.round(4).tolist())), "predicted": round(float(forecast), 5), "measured": round(float(was), 5)}
        for one, forecast, was in zip(shares, predicted, measured)
    ]  # fmt: skip


def _yaml(step: Step, found: Groups, shares: np.ndarray, options: Any) -> list[str]:
    """The lines of the recipe."""
    import yaml

    stage: Any = step.stage
    by = stage.by if isinstance(stage.by, str) else list(stage.by)
    mixed: dict[str, Any] = {"name": step.name} if step.name != "mix" else {}
    mixed |= {"by": by, "weights": {name: float(share) for name, share in zip(found.names, shares)}}
    if options.budget or stage.budget:
        mixed["budget"] = options.budget or stage.budget
    elif stage.share:
        mixed["share"] = stage.share
    mixed["max_repeats"] = options.max_repeats or stage.max_repeats
    text = yaml.safe_dump([{"mix": mixed}], allow_unicode=True, sort_keys=False, default_flow_style=None, width=120)
    return text.rstrip("\n").splitlines()


def outlook(recipe: Recipe, options: Any) -> str:
    """What would be trained, and about how much computing that is; which of the recipe's own steps come first."""
    step = swarm.mix_step(recipe, options.step)
    stage: Any = step.stage
    sources = [ref if is_path(ref) else recipe.store(ref).path for ref in step.ports["of"]]
    lines = [f"  {path}" for path in sources]
    todo = [status.step for status in plan(_before(recipe, step)) if status.state != "done"]
    if todo:
        lines.append(f"first the recipe's own steps: {', '.join(todo)}")
    lines.append(f"groups by {stage.by}, at most {options.groups}")
    at_least = options.mixtures or LEAST_MIXTURES
    by_group = "" if options.mixtures else f" (or {PER_GROUP} for each group, if that is more)"
    models = at_least + options.check + 3 * options.seeds
    lines.append(
        f"{at_least} mixtures{by_group}, {options.check} to check the regression, and 3 with {options.seeds} seeds each: {models} models"
    )
    lines.append(f"{options.tokens:,} tokens each, {models * options.tokens:,} in all; {_cost(options, models)}")
    return "\n".join(lines)


def _cost(options: Any, models: int) -> str:
    """Computing of all proxies, and hours at the speed of a matrix product of a proxy's width on this machine."""
    import time

    import torch

    weights = 12 * options.layers * options.hidden**2 + options.vocab_size * options.hidden
    work = OPERATIONS * weights * options.tokens * models
    torch.set_num_threads(options.threads)
    rows, wide = (
        torch.ones(options.batch * options.seq_len, options.hidden),
        torch.ones(options.hidden, 4 * options.hidden),
    )
    torch.mm(rows, wide)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 0.2:
        torch.mm(rows, wide)
        done += 1
    speed = done * 2 * rows.numel() * wide.shape[1] / (time.perf_counter() - began)
    hours = work / speed / 3600
    return f"about {work:.1e} operations, {hours:.2f} hours by arithmetic on {options.threads} cores of this machine"
