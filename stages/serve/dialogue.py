"""A conversation with a model: its system turn, its turns so far, and what is left out when they no longer fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.errors import WorkError
from stages.models.chat.templates import ChatFault
from stages.models.inference.generate import Generator, SamplingParams
from stages.serve.answering import WHY, Parting, SpokenPiece, opens_thinking


class AnsweredTurn(NamedTuple):
    """What became of a question."""

    answer: str
    reasoning: str
    finish: str
    """`stop` or `length`."""
    left_out: int
    """Messages at the beginning that the model was not shown, since the context ends."""
    kept: bool
    """Is it part of the conversation from now on? Not where there is no answer, or where the template would refuse it."""


class Dialogue:
    """Questions and answers, one after another."""

    def __init__(self, generator: Generator, sampling: SamplingParams, system: str = ""):
        self.generator, self.sampling = generator, sampling
        self.system = system
        self.turns: list[dict[str, Any]] = []

    def reset(self) -> None:
        """Forget all turns; the system turn stays."""
        self.turns = []

    def ask(self, question: str, on_piece: Callable[[SpokenPiece], None]) -> AnsweredTurn:
        """Ask, and hand every piece of the answer on. WorkError, and nothing is kept, where the question cannot be asked."""
        user_turn = {"role": "user", "content": question}
        first, messages = self._within_context(user_turn)
        part = Parting(opens_thinking(self.generator, messages))
        pieces: list[SpokenPiece] = []

        def hear(_: int, __: int, text: str) -> bool:
            for piece in part.add(text):
                pieces.append(piece)
                on_piece(piece)
            return True

        made = self.generator.chat([messages], self.sampling, on_text=hear)[0][0]
        for piece in part.add("", last=True):
            pieces.append(piece)
            on_piece(piece)
        answer, reasoning = ("".join(p.text for p in pieces if p.thought is kind).strip() for kind in (False, True))
        answered = {"role": "assistant", "content": answer, "reasoning": reasoning or None}
        kept = self._keepable(answered)
        if kept:
            self.turns = [*self.turns[first:], user_turn, answered]
        return AnsweredTurn(answer, reasoning, made.finish, first, kept)

    def _within_context(self, user_turn: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        """The messages the model is shown, and how many turns at the beginning are not among them: questions go with their answers."""
        above = [{"role": "system", "content": self.system}] if self.system.strip() else []
        for first in range(0, len(self.turns) + 1, 2):
            messages = [*above, *self.turns[first:], user_turn]
            try:
                size = len(self.generator.chat_template.prompt(messages))
            except ChatFault as fault:
                raise WorkError(WHY.get(fault.reason, fault.reason), HINTS.get(fault.reason, "ask otherwise")) from None
            if size < self.generator.context:
                return first, messages
        raise WorkError(
            f"the question does not fit the model's context of {self.generator.context:,} tokens",
            "ask a shorter one, or shorten the system turn",
        )

    def _keepable(self, answered: dict[str, Any]) -> bool:
        try:
            self.generator.chat_template.check([answered])
        except ChatFault:
            return False
        return True


HINTS = {
    "chat.system": "begin without --system, or take the system turn away: /system with nothing behind it",
    "chat.control_token": "leave the token out: it would begin or end a turn",
}
