"""What can go wrong, drawn as a tree. Every error says what to do about it.

MaetdolError                 message, and the hint on a line of its own
├── UsageError               the command or recipe is wrong; nothing ran             exit 2
│   ├── OptionError          an option's value or name
│   ├── RecipeError          a recipe's words, steps or ports
│   └── SourceError          an input that is not there or cannot be what was asked
├── WorkError                work was begun and did not end well                     exit 1
│   ├── HeadLost             the Ray instance or cluster that does the work is gone
│   ├── ShardFailed          one shard raised; names stage, shard and row
│   └── StageFailed          the list of failed shards of one stage
├── StoreError               what lies on disk                                       exit 1
│   ├── DamagedStore         bytes do not match their receipt or cannot be read
│   │   └── NewerStore       made by a later version of this program
│   ├── DiskFull             no room (local disk, quota)
│   └── RootLocked           another live driver holds the root
└── InfraError               worker or node died, storage timed out: retried by the pool
"""

from __future__ import annotations

import shlex


class MaetdolError(Exception):
    """Base of every error a user may read. `hint` says what to do; `exit_code` is the process's."""

    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self):  # errors travel between processes
        return (type(self), (self.message, self.hint))


class UsageError(MaetdolError):
    exit_code = 2


class OptionError(UsageError):
    pass


class RecipeError(UsageError):
    pass


class SourceError(UsageError):
    pass


class WorkError(MaetdolError):
    pass


class ShardFailed(WorkError):
    pass


class StageFailed(WorkError):
    pass


class HeadLost(WorkError):
    pass


class StoreError(MaetdolError):
    pass


class DamagedStore(StoreError):
    pass


class NewerStore(DamagedStore):
    pass


class DiskFull(StoreError):
    pass


class RootLocked(StoreError):
    pass


class InfraError(MaetdolError):
    pass


def repair_hint(store: str) -> str:
    """What repairs a store in which bytes are not those that were written. A pass is repaired with the store it belongs to."""
    return f"maetdol verify --repair {shlex.quote(store.partition('/passes/')[0])} and run again what made it: only what is damaged is redone"


def did_you_mean(word: str, known: list[str]) -> str:
    """` - did you mean 'x'?` for the nearest known word, or the list of known words."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return "known: " + ", ".join(sorted(known)) if known else ""
