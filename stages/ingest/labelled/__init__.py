"""Labelled sets that exist already: conversations, preferences and rankings in the forms in which they are passed around.

Known by their columns, whatever their capitals: messages (TRL, OpenAI), conversations (ShareGPT), conversation (LMSYS), data
(UltraChat), chat (Glaive), instruction/input/output (Alpaca, LLaMA-Factory), instruction/context/response (Dolly),
system_prompt/question/response (OpenOrca), segments with labels (axolotl), prompt and completion (TRL), query and response; prompt/chosen/rejected (TRL, explicit
or with the prompt inside both), preferred_output (OpenAI), two answers and which is better (PKU-SafeRLHF, HelpSteer, LMSYS),
Anthropic's transcripts, KTO's labelled completions, and lists of answers with scores or ranks. `columns` gives other names:
`{prompt: Q, completion: A}`.

Nothing a row says is lost in silence: a column the shape does not have goes to `meta`, a key of a turn that has none is
named in the ledger's note, and a value of a type that no reading fits is a Misfit.
"""

from stages.ingest.labelled.calls import TOOLS
from stages.ingest.labelled.chats import (
    ANSWERS,
    BESIDE,
    CONVERSATIONS,
    LABELS,
    PROMPT_COLUMNS,
    SEGMENTS,
    SYSTEM,
    THOUGHT,
    Labelled,
    LabelledChat,
    chat,
    verdict,
)
from stages.ingest.labelled.given import Misfit
from stages.ingest.labelled.pairs import CHOSEN, INDEXES, SCORED, SIGNED, TWO, LabelledPair, pair
from stages.ingest.labelled.rankings import MANY, RANKS, SCORES, ranking

__all__ = ["COLUMNS", "Labelled", "LabelledChat", "LabelledPair", "Misfit", "chat", "pair", "ranking", "verdict"]

COLUMNS = frozenset(
    (
        *TOOLS,
        *ANSWERS,
        *PROMPT_COLUMNS,
        *BESIDE,
        *CONVERSATIONS,
        *LABELS,
        *SYSTEM,
        *THOUGHT,
        *CHOSEN,
        *CHOSEN.values(),
        *INDEXES,
        *SIGNED,
        *MANY,
        *RANKS,
        *SCORES,
    )
    + ("history", "winner", "labels", "preference", SEGMENTS)
    + tuple(name for names in (*SCORED, *TWO) for name in names)
)
"""Names by which columns of labelled sets are known."""
