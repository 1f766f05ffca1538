"""Mix stores by weights per language, source or store to a budget; repeats are counted and have ids of their own."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

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
    the rows; with `rank` the rest are the rows of the best scores instead. Without weights and budget every row comes once.
    Reasons: `mix.not_weighted` (the group has no weight), `mix.over_budget` (not drawn), `mix.below_rank` (not good enough).
    """

    ports: ClassVar[dict[str, Port]] = {"of": Port("DOCUMENT|CHAT|PAIR", many=True, help="the stores to mix")}
    output_shape: ClassVar[str | None] = None
    uses_rng: ClassVar[bool] = True

    by: str = "lang"
    """What a group is: a column (`lang`, `source`, `licence`), a path into one (`meta.site`, `meta.tags[0]`), the `host` of the URL,
    or the `store` a row comes from (by its number in `of`: 0, 1, ...)."""
    weights: dict[str, float] = Field(default_factory=dict)
    "Weight per group, e.g. `{ko: 0.6, en: 0.4}`; any sum. `other` stands for every group not named. Empty: as they are."
    budget: str | int | None = None
    "Bytes of UTF-8 text to come out, e.g. `2GB`, or with `tokenizer` a number of tokens; default: the most that needs no group more than `max_repeats` times."
    tokenizer: Annotated[str | None, CONTENT] = None
    "Count in tokens instead of bytes: a trained tokenizer (store or folder), whose card says how many bytes a token of each language takes."
    share: float | None = Field(None, gt=0.0, le=1.0)
    "Share of the bytes of text to come out, in place of `budget`: with `rank` and `weights` left out, the best tenth of each group is 0.1."
    rank: str | None = None
    """Column of scores by which rows are taken, greatest first (`quality_score`), or a path to them (`meta.score`); equal scores by
    a hash of (seed, id), no score last."""
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

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        """Two passes: weigh (per shard), take (per shard)."""
        from stages.mix import passes

        if self.budget and self.share:
            raise UsageError("mix: budget and share are both given", "give one")
        if self.budget and not self.weights and self.max_repeats < 1:
            raise UsageError(
                "mix: max_repeats below 1 with a budget and no weights", "give weights, or leave max_repeats out"
            )
        paths = [store.path for store in inputs["of"]]
        if len(set(paths)) < len(paths):
            raise UsageError("mix: the same store is given twice", "give it once, with weights and `max_repeats`")
        return passes.run(self, inputs, sink, pool)
