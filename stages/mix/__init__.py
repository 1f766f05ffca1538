"""Mix stores by weights per language, source or store to a budget; repeats are counted and have ids of their own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, Port, Stage
from pipeline.errors import UsageError
from pipeline.options import CONTENT
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store


class Mix(Stage):
    """Mix stores by weights per language, source or store to a budget; repeats are counted and have ids of their own.

    A group's target is its share of the budget; its rate is target over what there is. Every row is taken `floor(rate)`
    times and once more where a hash of (seed, id) falls below the rest, so that which rows come depends on nothing but
    the rows; with `rank` the rest are the rows of the best scores instead, and with `rank` and `curve` a row's rate follows from
    how many of its group are worse. Without weights and budget every row comes once. A weight of a group that is not there is an
    error. The receipts note the rates of all groups.
    Reasons: `mix.not_weighted` (the group has no weight), `mix.over_budget` (not drawn), `mix.below_rank` (not good enough).
    """

    ports: ClassVar[dict[str, Port]] = {"of": Port("DOCUMENT|CHAT|PAIR", many=True, help="the stores to mix")}
    output_shape: ClassVar[str | None] = None
    uses_rng: ClassVar[bool] = True

    by: str | tuple[str, ...] = "lang"
    """What a group is: a column (`lang`, `source`, `licence`), a path into one (`meta.site`, `meta.tags[0]`), the `host` of the URL,
    or the `store` a row comes from (by its number in `of`: 0, 1, ...). Several: a group of each combination, named `ko|web`."""
    weights: dict[str, float] = Field(default_factory=dict)
    "Weight per group, e.g. `{ko: 0.6, en: 0.4}`; any sum. `other` stands for every group not named. Empty: as they are."
    temperature: float | None = Field(None, ge=1.0)
    """In place of `weights`: a group's weight is its size to the power 1/temperature. 1: as they are; 3.3: alpha 0.3 (XLM-R, mT5,
    Conneau et al. 2020, Xue et al. 2021); large: all groups alike."""
    unimax: bool = False
    """In place of `weights`: all groups alike, but none more than `max_repeats` times; what small ones cannot give goes to the others
    (UniMax, Chung et al. 2023). Without a budget: as much as there is."""
    budget: str | int | None = None
    "Bytes of UTF-8 text to come out, e.g. `2GB`, or with `tokenizer` a number of tokens; default: the most that needs no group more than `max_repeats` times."
    tokenizer: Annotated[str | None, CONTENT] = None
    "Count in tokens instead of bytes: a trained tokenizer (store or folder), whose card says how many bytes a token of each language takes."
    share: float | None = Field(None, gt=0.0, le=1.0)
    "Share of the bytes of text to come out, in place of `budget`: with `rank` and `weights` left out, the best tenth of each group is 0.1."
    rank: str | None = None
    """Column of scores by which rows are taken, greatest first (`quality_score`), or a path to them (`meta.score`); equal scores by
    a hash of (seed, id), no score last."""
    curve: tuple[tuple[float, float], ...] = ()
    """With `rank`: points (share of its group that is worse, by size; rate), straight lines between them, so that good rows come
    several times and bad ones never: `[[0.4, 0], [0.4, 1], [0.95, 1], [0.95, 7], [1, 7]]` (two points of one share: a step). Before
    the first point and behind the last the rate stays. With weights, a budget or a share it says what rows are worth beside each
    other in their group."""
    repeat_by: str | None = None
    "Column of numbers, or a path to them, that a row's rate is multiplied by, as `repeat_rates` say: `cluster_size` of dedup."
    repeat_rates: tuple[tuple[float, float], ...] = ((1, 1), (2, 2), (4, 3), (16, 4), (64, 5))
    """Pairs (number from which on, factor), rising; less, or no number, is the first pair's. The idea is FineWeb-2's
    (Penedo et al. 2025: what was found often comes more often); these pairs are ours and not theirs, which depend on the language."""
    max_repeats: float = Field(1.0, gt=0.0, le=64.0)
    "Most copies of a group's rows. Up to 4 epochs of repeated data are worth nearly as much as new (Muennighoff et al. 2023)."

    @field_validator("budget")
    @classmethod
    def _bytes(cls, value: str | int | None) -> int | None:
        from pipeline.engine.recipe import parse_bytes

        size = parse_bytes(value) if isinstance(value, str) else value
        if size is not None and size <= 0:
            raise ValueError("a budget is a positive number of bytes")
        return size

    @field_validator("weights", mode="before")
    @classmethod
    def _words(cls, weights: object) -> object:
        # YAML reads `no:` (Norwegian) as false and a store's number as a number: groups are words.
        return (
            {("no" if key is False else str(key)): value for key, value in weights.items()}
            if isinstance(weights, dict)
            else weights
        )

    @field_validator("weights")
    @classmethod
    def _positive(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(weight < 0 for weight in weights.values()) or (weights and not sum(weights.values())):
            raise ValueError("weights must not be negative, and one must be above 0")
        return weights

    @field_validator("by")
    @classmethod
    def _columns(cls, by: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not by or len(set(by)) < len(by) and not isinstance(by, str):
            raise ValueError("name one column or several different ones")
        return by[0] if not isinstance(by, str) and len(by) == 1 else by

    @field_validator("curve", "repeat_rates")
    @classmethod
    def _rising(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(rate < 0 or rate > 64 for _, rate in points) or list(points) != sorted(
            points, key=lambda point: point[0]
        ):
            raise ValueError("points rise in their first number, and rates are 0 to 64")
        return points

    @model_validator(mode="after")
    def _together(self) -> Self:
        ways = [name for name in ("weights", "temperature", "unimax") if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"{ways[0]} and {ways[1]} both say what groups weigh: give one")
        if self.curve and not self.rank:
            raise ValueError("a curve wants `rank`, the column of scores")
        if self.curve and (self.curve[0][0] < 0 or self.curve[-1][0] > 1 or not any(rate for _, rate in self.curve)):
            raise ValueError("a curve goes over shares of 0 to 1, and not all of its rates are 0")
        if "repeat_rates" in self.model_fields_set and not self.repeat_by:
            raise ValueError("repeat_rates want `repeat_by`, the column of numbers")
        if self.repeat_by and self.rank:
            raise ValueError("repeat_by and rank both say which rows come more often: give one of them")
        return self

    @property
    def sets_totals(self) -> bool:
        """Does something say how much of a group comes out?"""
        return bool(self.weights or self.temperature or self.unimax or self.budget or self.share)

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        """Two passes: weigh (per shard), take (per shard)."""
        from stages.mix import passes

        if self.budget and self.share:
            raise UsageError("mix: budget and share are both given", "give one")
        if self.budget and not (self.weights or self.temperature or self.unimax) and self.max_repeats < 1:
            raise UsageError(
                "mix: max_repeats below 1 with a budget and no weights", "give weights, or leave max_repeats out"
            )
        paths = [store.path for store in inputs["of"]]
        if len(set(paths)) < len(paths):
            raise UsageError("mix: the same store is given twice", "give it once, with weights and `max_repeats`")
        return passes.run(self, inputs, sink, pool)
