"""`maetdol chat` in a terminal, or between pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from pipeline.engine import stop
from pipeline.errors import UsageError, WorkError
from pipeline.inspection.terminal import escaped
from stages.models.teacher.base import whole_unicode
from stages.serve.answering import SpokenPiece
from stages.serve.dialogue import AnsweredTurn, Dialogue
from stages.serve.words import COMMANDS

INTERRUPTED = 130
"""The exit code after Ctrl-C, and no other signal."""
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Terminal:
    """A dialogue as lines of text: answers go to `out`, notes to `notes`. `told`: what is said in the user's language (`words`)."""

    def __init__(self, dialogue: Dialogue, texts: dict[str, str], out: TextIO, notes: TextIO, reasoning: bool):
        self.dialogue, self.texts, self.out, self.notes, self.reasoning = dialogue, texts, out, notes, reasoning
        self.colours = out.isatty()

    def converse(self, read: Callable[[str], str], model: str) -> None:
        """Read questions and commands until the end of the input or /quit; what goes wrong with one is said, and the next is read."""
        self._note("hello", model=model, context=f"{self.dialogue.generator.context:,}")
        while True:
            try:
                line = read(self.texts["you"])
            except (EOFError, KeyboardInterrupt):
                self.out.write("\n")
                return
            try:
                if not self.obey(line, self.texts["model"]):
                    return
            except KeyboardInterrupt:
                if stop.exit_code() != INTERRUPTED:
                    raise
                self.out.write(f"{PLAIN if self.colours else ''}\n")
                self._note("stopped")
            except WorkError as fault:
                self.notes.write(escaped(f"{fault}\n", lines=True))

    def obey(self, line: str, before: str = "") -> bool:
        """Ask what a line says, or follow the command it is; false where that is to end. WorkError where it cannot be asked."""
        text = whole_unicode(line).strip()
        word, _, rest = text.partition(" ")
        if not text:
            return True
        if not text.startswith("/") or "/" in word[1:]:
            self.answer(text, before)
            return True
        command = COMMANDS.get(word)
        if command == "/system":
            self.dialogue.system = rest.strip()
            self._note("system" if rest.strip() else "no_system", system=rest.strip())
        elif command == "/reset":
            self.dialogue.reset()
            self._note("reset")
        elif command != "/quit":
            self._note("help" if command else "unknown", command=word)
        return command != "/quit"

    def answer(self, question: str, before: str = "") -> AnsweredTurn:
        """Ask, write the answer while it is made, and say what there is to say about it."""
        self.out.write(before)
        self.out.flush()
        turn = self.dialogue.ask(question, self._write)
        self.out.write("\n")
        self.out.flush()
        if turn.left_out:
            self._note("left_out", count=turn.left_out)
        if turn.finish == "length":
            self._note("length", count=self.dialogue.sampling.max_new_tokens)
        if not turn.kept:
            self._note("not_kept")
        return turn

    def _write(self, piece: SpokenPiece) -> None:
        text = escaped(piece.text, lines=True)
        if piece.thought:
            text = (f"{DIM}{text}{PLAIN}" if self.colours else text) if self.reasoning else ""
        self.out.write(text)
        self.out.flush()

    def _note(self, what: str, **values: object) -> None:
        self.notes.write(escaped(self.texts[what].format(**values) + "\n", lines=True))
        self.notes.flush()


def questions(source: TextIO, by_line: bool) -> Iterable[str]:
    """All of the input as one question, or a question (or command) per line. UsageError where there is none."""
    if by_line:
        yield from source
        return
    text = source.read()
    if not text.strip():
        raise UsageError("nothing was asked", "write the question to the standard input, or give --ask")
    yield text


def typed(prompt: str) -> str:
    """A line typed at the terminal, with the keys and the memory of readline where Python has it."""
    try:
        import readline  # noqa: F401
    except ImportError:
        sys.stdout.flush()
    return input(prompt)
