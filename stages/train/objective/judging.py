"""Who judges answers in `rl`: reward functions, a reward model, or both, each with its weight.

A function is a file in `rewards/`, its name the word in the recipe, as filters are; `FILE.py:NAME` is a Python function of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pipeline.engine import catalog
from pipeline.errors import MaetdolError, OptionError, UsageError, WorkError
from pipeline.options import Options
from stages.models.teacher.reply import spoken

if TYPE_CHECKING:
    import numpy as np

MODEL = "model"
"""What the reward model is called beside the functions."""


class JudgedAnswer:
    """An answer that was drawn: the messages it answers, its text as the model wrote it, and the row's own answer, if it has one."""

    def __init__(self, prompt: list[dict[str, Any]], text: str, reference: str | None):
        self.prompt, self.text, self.reference = prompt, text, reference

    @cached_property
    def answer(self) -> str:
        """The text without the reasoning in front of it."""
        return spoken(self.text)

    @property
    def said(self) -> str:
        """`answer` by its name of 0.1.0, for rewards of one's own; gone in the next version."""
        return self.answer


class RewardFunction(Options):
    """Judges answers without a model. Pure: the same answer, the same reward."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions decide what it gives."""
    needs_reference: ClassVar[bool] = False
    """Does it compare with the row's own answer?"""
    weight: float = Field(1.0, allow_inf_nan=False)
    "What the reward is multiplied with before all are added; below zero it is a penalty."

    @property
    def word(self) -> str:
        """Its name in the curve."""
        return type(self).__module__.rpartition(".")[2]

    def score(self, answers: Sequence[JudgedAnswer]) -> Sequence[float]:
        """A reward for each answer, mostly 0 to 1."""
        raise TypeError(f"{type(self).__name__} has no score()")


def built(entries: Any) -> tuple[RewardFunction, ...]:
    """Functions of what stands in a recipe: names, one-key mappings, `FILE.py:NAME`. ValueError names the entry and the hint."""
    if isinstance(entries, (str, dict)) or not hasattr(entries, "__iter__"):
        raise ValueError("write a list: `rewards: [numeric, {length: {most: 400, weight: 0.2}}, mine.py:score]`")
    try:
        return tuple(_one(entry) for entry in entries)
    except MaetdolError as fault:  # pydantic shows the words of a ValueError and names the option
        raise ValueError(f"{fault.message}; {fault.hint}" if fault.hint else fault.message) from None


def _one(entry: Any) -> RewardFunction:
    if isinstance(entry, RewardFunction):
        return entry
    if isinstance(entry, str) and ".py:" in entry:
        path, _, name = entry.rpartition(":")
        entry = {"file": {"path": path, "function": name}}
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, dict) or len(entry) != 1:
        raise OptionError(f"a reward is a name or `{{name: {{options}}}}`, not {entry!r}", "one reward per list entry")
    [(name, options)] = entry.items()
    cls = catalog.member("train", "rewards", str(name), RewardFunction)
    if options is not None and not isinstance(options, dict):
        raise OptionError(f"{name}: options must be a mapping", f"write `- {name}: {{option: value}}`")
    return cls.build(options or {}, str(name))  # type: ignore[return-value]


class Judge:
    """Functions and a reward model (or None) as one: the sum of what each gives, times its weight."""

    def __init__(self, functions: Sequence[RewardFunction], model: Any = None, model_weight: float = 1.0):
        self.functions, self.model, self.model_weight = functions, model, model_weight
        self.means: dict[str, float] = {}
        """Mean reward of the last answers by who gave it, unweighted; empty where the model alone judges."""

    def agree(self, chat: Any, references: Sequence[str | None]) -> None:
        """UsageError where the model was trained under another template than the policy speaks, or rows have no answer to compare with."""
        if self.model is not None:
            self.model.agree(chat)
        comparing = [one.word for one in self.functions if one.needs_reference]
        missing = sum(not (reference or "").strip() for reference in references)
        if comparing and missing:
            raise UsageError(
                f"{', '.join(comparing)} compares with a row's own answer, and {missing:,} of {len(references):,} rows have none",
                "give rows whose last turn is the right answer, or leave these rewards out",
            )

    def score(
        self,
        conversations: Sequence[list[dict[str, Any]]],
        tools: Sequence[str | None],
        references: Sequence[str | None],
    ) -> np.ndarray:
        """float64 per conversation, whose last message is the answer. WorkError for a function that gives no number."""
        import numpy as np

        total, self.means = np.zeros(len(conversations)), {}
        if self.model is not None:
            found = self.model.score(conversations, tools)
            total += self.model_weight * found
            self.means = {MODEL: float(found.mean())} if self.functions and len(found) else {}
        answers = [
            JudgedAnswer(messages[:-1], messages[-1]["content"], reference)
            for messages, reference in zip(conversations, references, strict=True)
        ]
        for number, one in enumerate(self.functions):
            found = np.asarray(one.score(answers), dtype=float)
            if found.shape != total.shape or not np.isfinite(found).all():
                raise WorkError(
                    f"the reward {one.word} does not give a finite number for each answer", "see to it that it does"
                )
            total += one.weight * found
            name = one.word if one.word not in self.means else f"{one.word} {number + 1}"
            self.means |= {name: float(found.mean())} if len(found) else {}
        return total


def judge_of(stage: Any, models: Sequence[Any], device: Any, dtype: Any) -> Judge:
    """Who judges the answers of a `Train`; `models`: stores of reward models, one or none."""
    from stages.models.inference.reward import RewardModel

    model = RewardModel(models[0].artefact(), device, dtype) if models else None
    return Judge(stage.rl.rewards, model, stage.rl.reward_weight)
