"""The data check: what the rows ask a model to learn, examined before the first step; a fault stops the run.

The mistakes it looks for make no error and no odd loss curve: a second begin-of-sequence token, a template whose marks stand
around nothing, answers that never end, documents that see each other, chosen and rejected exchanged, shards packed with another
tokenizer of the same size. Each is a number here and a refusal that names the hint. Nothing can switch it off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.errors import UsageError
from stages.models.chat.rows import IGNORED, Row, collate
from stages.models.inference.device import computed_in
from stages.models.inference.score import token_logps

SAMPLE_ROWS = 2048
"""Rows examined at most, spread evenly over the run's."""
READ = 24
"""Documents whose tokens are spelled out and read again."""
ALIKE = 0.7
"""Share of their tokens that must come back. Another tokenizer of the same size gives a few percent; a cut or normalised text over 0.9."""
APART = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Mean difference in nats a token may have alone and in a packed row."""
MASKED = 0.01
"""Share of conversations a template may leave without a trained token."""


class CheckResult(NamedTuple):
    """One check: its name, what was found, and (where it failed) the fault and its hint."""

    check: str
    value: float | int | str
    fault: str = ""
    hint: str = ""


class Segment(NamedTuple):
    """One document, conversation or side of a pair: ids, and which of them are asked for."""

    ids: np.ndarray
    trained: np.ndarray


def segments(row: Row) -> Iterator[tuple[Segment, bool]]:
    """The segments of a row, and whether every label is its segment's next token."""
    for number in np.unique(row.segments):
        ids, labels = row.ids[row.segments == number], row.labels[row.segments == number]
        trained = labels[:-1] != IGNORED
        right = labels[-1] == IGNORED and (labels[:-1][trained] == ids[1:][trained]).all()
        yield Segment(ids, np.concatenate([[False], trained])), bool(right)


def rows_of(data: Any) -> list[Row]:
    """At most SAMPLE_ROWS training rows of `data`, spread evenly; both sides of pairs."""
    at = np.unique(np.linspace(0, len(data) - 1, min(SAMPLE_ROWS, len(data))).astype(np.int64)) if len(data) else []
    if hasattr(data, "pair"):
        return [side for index in at for side in data.pair(int(index))]
    return [data.row(int(index)) for index in at]


def examine(data: Any, tokenizer: Any, objective: str, most_lost: float) -> list[CheckResult]:
    """Every check that needs no model."""
    rows = rows_of(data)
    parts = [part for row in rows for part in segments(row)]
    found = [
        width(data),
        _labels(parts),
        _empty(rows),
        _trained_share(rows),
        *_bos([part for part, _ in parts], tokenizer, objective in ("clm", "mlm")),
    ]
    if objective in ("clm", "mlm"):
        found += [_documents_end(rows, [part for part, _ in parts], tokenizer), _reads_back(data, tokenizer)]
    else:
        found += [
            _unmasked([part for part, _ in parts]),
            _answers_end([part for part, _ in parts], tokenizer),
            _unseen(data),
        ]
    if objective in ("dpo", "reward", "kto", "orpo"):
        found += [_prompts(data), _scores(data), _both_ways(data)]
    return [*found, *lost(data, most_lost)]


def refuse(findings: Sequence[CheckResult]) -> None:
    """UsageError with every fault found."""
    faults = [one for one in findings if one.fault]
    if faults:
        raise UsageError(
            "data check: " + "; ".join(f"{one.check}: {one.fault}" for one in faults),
            " / ".join(dict.fromkeys(one.hint for one in faults)),
        )


# -- rows ----------------------------------------------------------------------------------------------------------


def width(data: Any) -> CheckResult:
    """Tokens of the longest row there can be: `max_length`, or what the longest row has where that is not given."""
    return CheckResult("tokens of a row", data.width)


def _labels(parts: Sequence[tuple[Segment, bool]]) -> CheckResult:
    wrong = sum(not right for _, right in parts)
    fault = f"in {wrong} of {len(parts)} segments a label is not the next token of its own segment" if wrong else ""
    return CheckResult(
        "labels in their segment",
        wrong,
        fault,
        "labels are shifted inside each segment (`stages.models.chat.rows.segment`): report this with the row",
    )


def _empty(rows: Sequence[Row]) -> CheckResult:
    empty = sum(not (row.labels != IGNORED).any() for row in rows)
    return CheckResult(
        "rows without labels",
        empty,
        f"{empty} of {len(rows)} rows train nothing" if empty else "",
        "look at the template's generation marks, or pack again",
    )


def _trained_share(rows: Sequence[Row]) -> CheckResult:
    tokens, trained = sum(len(row.ids) for row in rows), sum(int((row.labels != IGNORED).sum()) for row in rows)
    return CheckResult("share of tokens trained", round(trained / tokens, 4) if tokens else 0.0)


def _bos(parts: Sequence[Segment], tokenizer: Any, documents: bool) -> list[CheckResult]:
    """A document begins with one at most. In a conversation the template alone writes them, one before each turn where it does so
    (Llama 2); two that touch are one too many."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return [CheckResult("begin tokens per segment", 0)]
    twice = sum(
        bool(((p.ids[1:] == bos) & (p.ids[:-1] == bos)).any())
        if bos != tokenizer.eos_token_id
        else len(p.ids) > 1 and p.ids[0] == bos == p.ids[1]
        for p in parts
    )
    if documents and bos != tokenizer.eos_token_id:
        twice = sum(int((p.ids == bos).sum()) > 1 for p in parts)
    with_one = sum(len(p.ids) > 0 and p.ids[0] == bos for p in parts)
    fault = f"{twice} of {len(parts)} segments hold the begin-of-sequence token more than once" if twice else ""
    hint = "let the template or the tokenizer write it, not both (a template's text is encoded without special tokens)"
    return [CheckResult("begin tokens per segment", round(with_one / len(parts), 4) if parts else 0.0, fault, hint)]


def _documents_end(rows: Sequence[Row], parts: Sequence[Segment], tokenizer: Any) -> CheckResult:
    """Where a row holds several documents, some of them end in it; rows cut out of one long text may hold no end at all."""
    ended = sum(bool(p.trained[-1] and p.ids[-1] == tokenizer.eos_token_id) for p in parts)
    fault = (
        ""
        if ended or len(parts) == len(rows)
        else "no document ends with a trained end-of-sequence token, so the model would never stop"
    )
    return CheckResult(
        "documents whose end is trained",
        round(ended / len(parts), 4) if parts else 0.0,
        fault,
        "pack with this house's `pack`, or write the end token after every document",
    )


def _unmasked(parts: Sequence[Segment]) -> CheckResult:
    bare = sum(bool(p.trained[1:].all()) for p in parts)
    fault = f"in {bare} of {len(parts)} conversations the question is trained like the answer" if bare else ""
    return CheckResult("conversations without a mask", bare, fault, "fix the template's generation marks")


def _answers_end(parts: Sequence[Segment], tokenizer: Any) -> CheckResult:
    """Every answer's last trained token, blanks aside, is a control token: what generation stops at."""
    ends = {tokenizer.eos_token_id, *tokenizer.all_special_ids, *tokenizer.added_tokens_decoder} - {None}
    blank = {}
    open_ = 0
    for part in parts:
        trained = part.ids[part.trained].tolist()
        while (
            trained
            and trained[-1] not in ends
            and blank.setdefault(trained[-1], not tokenizer.decode([trained[-1]]).strip())
        ):
            trained.pop()
        open_ += not trained or trained[-1] not in ends
    fault = (
        f"{open_} of {len(parts)} answers do not train the token that ends them, so the model would never stop"
        if open_
        else ""
    )
    return CheckResult(
        "answers whose end is trained",
        round(1 - open_ / len(parts), 4) if parts else 0.0,
        fault,
        "put the end token inside the template's generation marks",
    )


def _unseen(data: Any) -> CheckResult:
    """Templates may leave out the reasoning of earlier answers, or of all: those answers are then learnt without it."""
    return CheckResult("rows whose reasoning the template leaves out", sum(data.unseen()))


def lost(data: Any, most: float) -> Iterator[CheckResult]:
    reasons = data.ledger(np.zeros(len(data), bool))["reason"].to_pylist()
    usable = [why for why in reasons if why != "train.held_out"]
    share = {
        name: sum((why or "").endswith(name) for why in usable) / max(1, len(usable))
        for name in ("over_context", "all_masked")
    }
    over, masked = share["over_context"], share["all_masked"]
    yield CheckResult(
        "rows longer than the context", round(over, 4), f"{over:.0%} of the rows do not fit and would be left out" if over > most else "",
        "raise max_length, shorten the rows upstream, or raise `most_lost` if so few are meant",
    )  # fmt: skip
    counts = Counter(why for why in usable if why not in (None, "train.not_reached"))
    share_lost = sum(counts.values()) / max(1, len(usable))
    counted = ", ".join(f"{count} {why}" for why, count in counts.most_common())
    fault = f"{share_lost:.0%} of the rows would be left out ({counted})" if share_lost > most else ""
    yield CheckResult(
        "rows left out",
        counted or 0,
        fault,
        "fix the rows or the template as the reasons say, or raise `most_lost` if so few are meant",
    )
    fault = f"the template leaves {masked:.0%} of the conversations without a trained token" if masked > MASKED else ""
    yield CheckResult("conversations all masked", round(masked, 4), fault, "fix the template's generation marks")


# -- the tokenizer -------------------------------------------------------------------------------------------------


def _reads_back(data: Any, tokenizer: Any) -> CheckResult:
    """Tokens of whole documents, spelled out and encoded again: another tokenizer of the same size gives other ids."""
    same = count = 0
    special = set(tokenizer.all_special_ids)
    for ids in data.whole(READ):
        kept = [int(token) for token in ids if token not in special][:512]
        again = tokenizer(tokenizer.decode(kept), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        same += _common(kept, [token for token in again if token not in special])
        count += len(kept)
    share = same / count if count else 1.0
    fault = (
        f"of the shards' tokens {share:.0%} come back when read again: they were packed with another tokenizer"
        if share < ALIKE
        else ""
    )
    return CheckResult(
        "tokens that read back",
        round(share, 4),
        fault,
        "give the tokenizer the shards were packed with, or pack again with this one",
    )


def _common(left: list[int], right: list[int]) -> int:
    """Length of what two lists have in common, in order."""
    from difflib import SequenceMatcher

    return sum(block.size for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks())


# -- pairs ---------------------------------------------------------------------------------------------------------


def _prompts(data: Any) -> CheckResult:
    """Both sides of a pair show the same question."""
    wrong = 0
    for index in range(min(SAMPLE_ROWS, len(data))):
        sides = [next(segments(row))[0] for row in data.pair(index)]
        first = [int(np.argmax(side.trained)) for side in sides]
        wrong += first[0] != first[1] or not np.array_equal(sides[0].ids[: first[0]], sides[1].ids[: first[1]])
    return CheckResult(
        "pairs with two prompts",
        wrong,
        f"{wrong} pairs ask differently on their two sides" if wrong else "",
        "fix the pairs: both answers belong to one prompt",
    )


def _scores(data: Any) -> CheckResult:
    """Where pairs carry scores, the chosen answer has the higher one."""
    scored = [(good, bad) for good, bad in data.scores if good is not None and bad is not None]
    wrong = sum(good < bad for good, bad in scored)
    fault = (
        f"the rejected answer is scored higher in {wrong} of {len(scored)} pairs"
        if wrong > MASKED * len(scored)
        else ""
    )
    return CheckResult(
        "pairs scored the other way round",
        wrong,
        fault,
        "chosen and rejected are exchanged: fix the step that made the pairs",
    )


def _both_ways(data: Any) -> CheckResult:
    """The same two answers, once preferred this way and once that: among the first pairs, for such pairs are made side by side."""
    seen: set[tuple[bytes, bytes]] = set()
    wrong = 0
    for index in range(min(SAMPLE_ROWS, len(data))):
        chosen, rejected = (row.ids.tobytes() for row in data.pair(index))
        wrong += (rejected, chosen) in seen
        seen.add((chosen, rejected))
    sampled = min(SAMPLE_ROWS, len(data))
    fault = f"{wrong} of {sampled} pairs stand in the store both ways round" if wrong > MASKED * sampled else ""
    return CheckResult(
        "pairs both ways round", wrong, fault, "drop the contradicting pairs, or let a judge decide them"
    )


# -- with the model ------------------------------------------------------------------------------------------------


@torch.no_grad()
def documents_apart(model: Any, data: Any, pad: int, device: Any, dtype: Any) -> CheckResult:
    """The tokens of one packed row, asked in the row and each segment alone: equal unless documents see each other."""
    row = next(
        (data.row(n) for n in range(min(SAMPLE_ROWS, len(data))) if data.row(n).segments.max(initial=0) > 1), None
    )
    if row is None:
        return CheckResult("difference of packed and alone", 0.0)
    from stages.models.chat.rows import EncodedSegment, join

    alone = [
        join([EncodedSegment(row.ids[row.segments == n], row.labels[row.segments == n])])
        for n in np.unique(row.segments)
    ]
    was = model.training
    model.eval()
    with computed_in(device, dtype):
        packed = token_logps(model, collate([row], pad, device))[0]
        single = token_logps(model, collate(alone, pad, device))
    model.train(was)
    apart = torch.cat([single[n, : len(part.ids)] for n, part in enumerate(alone)])
    trained = torch.from_numpy(row.labels != IGNORED).to(device)
    value = float((packed[: len(row.ids)] - apart)[trained].abs().mean()) if trained.any() else 0.0
    fault = (
        f"a token of a packed row differs by {value:.4f} nats from the same token alone: documents see each other"
        if not value <= APART[dtype]
        else ""
    )
    return CheckResult(
        "difference of packed and alone",
        float(f"{value:.3g}"),
        fault,
        "this model's attention does not take a mask (its attn_implementation); train with sft: {packing: false}, or pack with method: bucketed",
    )


@torch.no_grad()
def sides_kept(model: Any, objective: Any, data: Any, pad: int, device: Any, dtype: Any) -> list[CheckResult]:
    """The loss of a pair falls when its chosen answer gets likelier, and the answer it calls chosen is the store's."""
    index = 0
    pair, (good, bad) = data.pair(index), data.answers(index)
    spelled = [data.spell(row) for row in pair]
    exchanged = good.strip() != bad.strip() and (
        spelled[0].strip() == bad.strip() or spelled[1].strip() == good.strip()
    )
    hint = "chosen and rejected are exchanged between the store and the loss: report this with the row"
    found = [
        CheckResult(
            "answers on their side",
            int(not exchanged),
            "the answer trained as chosen is the store's rejected one" if exchanged else "",
            hint,
        )
    ]
    if not hasattr(objective, "answers"):
        return found
    was = model.training
    model.eval()
    with computed_in(device, dtype):
        logps = token_logps(model, collate(list(pair), pad, device))
        means = logps.sum(1) / torch.tensor([(row.labels != IGNORED).sum() for row in pair], device=device)
        measured = objective.answers(model, [index], False).means[0]
        before = objective.measure(model, [index])
        objective.reference[False][index, 0] -= 1.0
        after = objective.measure(model, [index])
        objective.reference[False][index, 0] += 1.0
    model.train(was)
    same = float((measured - means).abs().max()) <= max(APART[dtype], 1e-3)
    # apo_down pulls down both answers, and simpo has no reference to move.
    falls = getattr(objective, "loss_type", "") in ("apo_down", "simpo") or float(after.loss) < float(before.loss)
    fault = "" if same and falls else "the loss pulls towards the rejected answer"
    return [*found, CheckResult("loss falls with the chosen answer", int(same and falls), fault, hint)]


# -- to look at ----------------------------------------------------------------------------------------------------

GREEN, DIM, MARK, END = "\x1b[32m", "\x1b[2m", "\x1b[7m", "\x1b[0m"


def view(row: Row, tokenizer: Any, colour: bool) -> str:
    """A row as text: trained tokens green (without colours: between ⟦ and ⟧), control tokens turned, segments on their own lines."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    lines = []
    for part, _ in segments(row):
        runs: list[tuple[bool, bool, list[int]]] = []
        for token, trained in zip(part.ids.tolist(), part.trained.tolist()):
            kind = (trained, token in special)
            if runs and runs[-1][:2] == kind:
                runs[-1][2].append(token)
            else:
                runs.append((*kind, [token]))
        lines.append(
            "".join(_painted(tokenizer.decode(ids), trained, control, colour) for trained, control, ids in runs)
        )
    return "\n".join(lines)


def _painted(text: str, trained: bool, control: bool, colour: bool) -> str:
    if not colour:
        return f"⟦{text}⟧" if trained else text
    return f"{GREEN if trained else DIM}{MARK if control else ''}{text}{END}"
