"""A Python function of one's own."""

import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pipeline.engine.catalog import BROKEN
from pipeline.errors import UsageError, WorkError
from pipeline.options import CONTENT
from stages.train.objective.judging import JudgedAnswer, RewardFunction


class FileReward(RewardFunction):
    """What a function in a Python file gives: `def score(prompt, answer, reference)`, called for each answer, returns a number.

    `prompt` is the list of messages answered, `answer` the text, `reference` the row's own answer or None. The file is run: name only
    what you trust. Its content is part of the step's key.
    """

    path: Annotated[str, CONTENT]
    "The Python file."
    function: str = "score"
    "The function in it."

    @property
    def word(self) -> str:
        return f"{Path(self.path).name}:{self.function}"

    def score(self, answers: Sequence[JudgedAnswer]) -> list[float]:
        judge = loaded(self.path, self.function)
        try:
            return [float(judge(one.prompt, one.text, one.reference)) for one in answers]
        except BROKEN as fault:
            raise WorkError(
                f"{self.word} failed: {type(fault).__name__}: {' '.join(str(fault).split())[:300]}",
                "it gets (prompt, answer, reference) and returns a number",
            ) from fault


@lru_cache
def loaded(path: str, name: str) -> Callable[..., Any]:
    """The function `name` of the file at `path`. UsageError where it cannot be had."""
    spec = importlib.util.spec_from_file_location(f"maetdol_reward_{Path(path).stem}", path)
    try:
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        found = getattr(module, name)
    except BROKEN as fault:
        words = f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
        raise UsageError(
            f"the reward {path}:{name} cannot be loaded: {words}", "give a Python file and a function in it"
        ) from fault
    if not callable(found):
        raise UsageError(f"{name} in {path} is no function", "give the name of a function")
    return found
