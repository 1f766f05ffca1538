"""One evaluation: every model in turn over the same rows, then the numbers, their intervals and the comparisons."""

from __future__ import annotations

import json
import logging
import math
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine.stage import versions
from pipeline.errors import UsageError
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import ARTEFACT, Store
from stages.evaluate import answered, intervals
from stages.evaluate import drawn as drawing
from stages.evaluate import measure as m
from stages.models.chat.template_lock import check_lock
from stages.models.chat.templates import Chat, load_tokenizer
from stages.models.encoder import Encoder
from stages.models.holdout import SHARE
from stages.models.inference.chain import ChainLink, assemble, four_bit_of, open_link, prefixes
from stages.models.inference.device import arithmetic, number_type
from stages.models.inference.generate import Generator, SamplingParams, tokenizer_of
from stages.models.teacher.journaled import open_teacher
from stages.models.teacher.judge import PairJudge

log = logging.getLogger("maetdol.evaluate")
FORMAT = 1
NAMES = {"clm": "pretrained", "sft": "sft", "dpo": "dpo", "kto": "kto", "orpo": "orpo", "rl": "rl"}
LOWER = {"bits per byte", "loss on answers"}
"""Measures that are better when they fall; the others are better when they rise. Log-probabilities are neither."""
MOST_SOURCES, LEAST_OF_SOURCE = 12, 5
"""Sources whose bits per byte are told: the most frequent ones, where so many of their documents were measured."""
COMPARED = ("bits per byte", "loss on answers", "preference accuracy", "preference margin", "chosen log-probability")


@dataclass
class Subject:
    """A model to be measured: its chain, or the shape whose random beginning is meant."""

    name: str
    chain: list[ChainLink]
    untrained: bool = False
    values: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Measure -> (numerator, denominator) per row."""
    preferences: Any = None
    generations: list[dict[str, Any]] = field(default_factory=list)
    answered: dict[str, Any] = field(default_factory=dict)
    """Particulars of choices, problems and the judge."""

    @property
    def card(self) -> dict[str, Any]:
        return self.chain[-1].card


def measure_all(job: Any) -> Receipt:
    """Measure, and put `report.json` with the ledger of the rows used."""
    began = time.monotonic()
    stage, inputs = job.stage, job.inputs
    subjects = subjects_of(inputs["model"], stage.untrained)
    shares = shares_of([link for s in subjects for link in s.chain])
    shares = dict.fromkeys(shares, stage.holdout) if stage.holdout else shares
    rows = {
        "DOCUMENT": drawing.draw(inputs["of"], "DOCUMENT", shares["documents"], stage.documents),
        **{shape: drawing.draw(inputs["of"], shape, shares["prompts"], stage.rows) for shape in ("CHAT", "PAIR")},
    }
    if stage.document_bytes:
        rows["DOCUMENT"] = rows["DOCUMENT"]._replace(
            rows=[drawing.beginning(row, stage.document_bytes) for row in rows["DOCUMENT"].rows]
        )
    for shape, found in rows.items():
        if found.too_few:
            share = shares["documents" if shape == "DOCUMENT" else "prompts"]
            log.warning(
                f"evaluate: {len(found.rows):,} of {len(found.ids):,} {shape} rows are measured, as training holds out a share of {share:g}; "
                "`holdout: 1` measures every row of stores that no model was trained on"
            )
    refused: dict[str, dict[str, str]] = {shape: {} for shape in rows}
    guess: np.ndarray | None = None
    with arithmetic(stage.threads, inputs.seed) as device:
        for at_subject, subject in enumerate(subjects):
            guess = _measure(stage, subject, below(subject, subjects[:at_subject]), rows, refused, device, guess)
    if stage.judge is not None:
        with closing(open_teacher(stage.judge, f"{job.sink.path.rstrip('/')}-judge.jsonl")) as teacher:
            answered.judge_all(PairJudge(teacher), [subject for subject in subjects if not subject.untrained], below)
    report = compose(stage, subjects, shares, guess, inputs.seed)
    ledger = Ledger.concat(found.ledger(refused[shape]) for shape, found in rows.items() if found.ids)
    with tempfile.TemporaryDirectory(prefix="maetdol-evaluate-") as folder:
        text = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
        Path(folder, "report.json").write_text(text + "\n", encoding="utf-8")
        Path(folder, "rows.json").write_text(
            json.dumps(numbers(subjects, rows["DOCUMENT"].rows)) + "\n", encoding="utf-8"
        )
        notes = {"models": {model["name"]: model["metrics"] for model in report["models"]}}
        return job.sink.put_artefact(
            Path(folder), ledger, key=job.key, stage="evaluate", notes=notes,
            seconds=round(time.monotonic() - began, 1), versions=versions(stage.needs()),
        )  # fmt: skip


def subjects_of(stores: Sequence[Store], untrained: bool) -> list[Subject]:
    """The models to measure, in the order given; the random beginning of the first first, where its card tells it."""
    links = [open_link(store.artefact(), store.receipt(ARTEFACT).content_hash) for store in stores]  # type: ignore[union-attr]
    found: list[Subject] = []
    for chain in prefixes(links):
        word = NAMES.get(chain[-1].card.get("objective", ""), "model")
        count = sum(s.name == word or s.name.startswith(f"{word} ") for s in found)
        found.append(Subject(f"{word} {count + 1}" if count else word, chain))
    first = found[0]
    if untrained and len(first.chain) == 1 and first.card.get("made_from") == [] and first.card.get("seed") is not None:
        found.insert(0, Subject("untrained", first.chain, untrained=True))
    return found


def below(subject: Subject, measured: Sequence[Subject]) -> Subject | None:
    """What `subject` was trained on top of, among the models already measured; for a whole model the one before it."""
    if len(subject.chain) == 1:
        return measured[-1] if measured else None
    under = [link.hash for link in subject.chain[:-1]]
    return next(
        (found for found in measured if not found.untrained and [link.hash for link in found.chain] == under), None
    )


def shares_of(links: Sequence[ChainLink]) -> dict[str, float]:
    """Share of `documents` and of `prompts` that every model held out.

    The smallest of those they were trained with: what a smaller share holds out, a larger one does too.
    """
    found: dict[str, list[float]] = {"documents": [], "prompts": []}
    for link in links:
        if link.card.get("holdout") is not None:
            found["documents" if link.card.get("objective") == "clm" else "prompts"].append(link.card["holdout"])
    return {kind: min(shares, default=SHARE) for kind, shares in found.items()}


def _measure(
    stage: Any, subject: Subject, before: Subject | None, rows: dict, refused: dict, device: Any, guess: Any
) -> Any:
    """Fill `subject.values` and its generations; returns the guess by length, once pairs have been read."""
    if subject.card.get("objective") in ("mlm", "reward"):
        raise UsageError(
            f"a model trained with objective {subject.card['objective']} writes no text",
            "give evaluate models trained with clm, sft, dpo or rl",
        )
    folder = tokenizer_of(subject.chain)
    tokenizer = load_tokenizer(folder)
    chat = Chat(tokenizer)
    check_lock(subject.card.get("template_lock"), chat, f"the model in {subject.chain[-1].path}")
    dtype = number_type(stage.dtype, device)
    model = _model(subject, dtype, device)
    reader = m.Reader(model, device, dtype, stage.batch, tokenizer.pad_token_id)
    width = stage.width or int(subject.card.get("width") or getattr(model.config, "max_position_embeddings", 1024))
    if rows["DOCUMENT"].rows:
        documents = m.cut_documents(
            rows["DOCUMENT"].rows, Encoder(folder), width, bos=bool(subject.chain[0].card.get("document_bos", True))
        )
        refused["DOCUMENT"] |= {
            row["id"]: "evaluate.empty" for row, size in zip(rows["DOCUMENT"].rows, documents.bytes) if size <= 0
        }
        _put_bits(subject, m.bits(reader, documents), documents)
    if stage.choices:
        answered.put_choices(stage, subject, reader, Encoder(folder), width)
    if subject.untrained:
        return guess
    if stage.problems:
        answered.put_problems(
            stage, subject, Generator.around(model, subject.chain, threads=stage.threads, batch=stage.batch)
        )
    if rows["CHAT"].rows:
        conversations = m.encode_conversations(rows["CHAT"].rows, chat, width)
        refused["CHAT"] |= conversations.refused
        total, count = reader.sums(conversations.rows)
        subject.values["loss on answers"] = (-total, count)
    if rows["PAIR"].rows:
        pairs = m.encode_pairs(rows["PAIR"].rows, chat, width)
        refused["PAIR"] |= pairs.refused
        if pairs.chosen:
            _put_preferences(subject, before, m.preferences(reader, pairs))
            guess = m.guess_by_length(pairs.longer)
    subject.generations = _generate(stage, subject, rows, model)
    return guess


def _model(subject: Subject, dtype: Any, device: Any) -> Any:
    if subject.untrained:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(subject.card["seed"])
        config = AutoConfig.from_pretrained(str(subject.chain[0].path), local_files_only=True, trust_remote_code=False)
        return AutoModelForCausalLM.from_config(config).to(device=device, dtype=dtype).eval()
    return assemble(subject.chain, dtype=dtype, device=device, four_bit=four_bit_of(subject.chain))


def _put_bits(subject: Subject, bits: np.ndarray, documents: m.DocumentWindows) -> None:
    subject.values["bits per byte"] = (bits, documents.bytes)
    for lang in sorted(set(documents.langs)):
        of = np.asarray([found == lang for found in documents.langs])
        subject.values[f"bits per byte ({lang})"] = (bits[of], documents.bytes[of])
    counts = Counter(documents.sources)
    for source in sorted(
        name for name, count in counts.most_common(MOST_SOURCES) if count >= LEAST_OF_SOURCE and len(counts) > 1
    ):
        of = np.asarray([found == source for found in documents.sources])
        subject.values[f"bits per byte (source {source})"] = (bits[of], documents.bytes[of])


def _put_preferences(subject: Subject, before: Subject | None, found: m.Preferences) -> None:
    each = np.ones(len(found.chosen))
    subject.preferences = found
    subject.values |= {
        "preference accuracy": (m.wins(found.chosen - found.rejected), each),
        "preference accuracy (sums)": (m.wins(found.chosen_sum - found.rejected_sum), each),
        "preference margin": (found.chosen - found.rejected, each),
        "chosen log-probability": (found.chosen, each),
        "rejected log-probability": (found.rejected, each),
    }
    if before is not None and before.preferences is not None and len(before.preferences.chosen) == len(each):
        reward = (found.chosen - before.preferences.chosen) - (found.rejected - before.preferences.rejected)
        subject.values["reward accuracy"] = (m.wins(reward), each)


def _generate(stage: Any, subject: Subject, rows: dict, model: Any) -> list[dict[str, Any]]:
    """Answers to the first held-out prompts, with what stands in the data as the reference."""
    prompts = []
    for row in rows["CHAT"].rows:
        last = max(
            (n for n, message in enumerate(row["messages"] or []) if message["role"] == "assistant"), default=None
        )
        if last:
            prompts.append((row["messages"][:last], row["messages"][last]["content"], row["lang"], row.get("tools")))
    for row in rows["PAIR"].rows if not prompts else []:
        prompts.append(
            (row["prompt"], (row["chosen"] or [{"content": ""}])[0]["content"], row["lang"], row.get("tools"))
        )
    prompts = prompts[: stage.samples]
    if not prompts:
        return []
    generator = Generator.around(model, subject.chain, threads=stage.threads, batch=stage.batch)
    made = generator.chat(
        [messages for messages, *_ in prompts],
        SamplingParams(stage.max_new_tokens, stage.temperature, seed=0),
        tools=[tools for *_, tools in prompts],
    )
    return [
        {
            "prompt": messages[-1]["content"],
            "text": answers[0].text,
            "reference": reference,
            "finish": answers[0].finish,
            "lang": lang,
        }
        for (messages, reference, lang, _), answers in zip(prompts, made)
    ]


# -- the report ----------------------------------------------------------------------------------------------------


def compose(stage: Any, subjects: Sequence[Subject], shares: dict[str, float], guess: Any, seed: int) -> dict[str, Any]:
    """`report.json` as the stage's docstring gives it."""
    models = []
    for subject in subjects:
        if guess is not None and "preference accuracy" in subject.values:
            subject.values["guess by length"] = (guess, np.ones(len(guess)))
        metrics = {name: intervals.ratio(*value) for name, value in subject.values.items()}
        metrics = {name: round(value, 5) for name, value in metrics.items() if not math.isnan(value)}
        bounds = {
            name: [round(b, 5) for b in intervals.interval(*subject.values[name], stage.bootstrap, seed)]
            for name in metrics
        }
        card = subject.card
        models.append(
            {
                "name": subject.name,
                "kind": "model" if subject.untrained else card["kind"],
                "objective": None if subject.untrained else card.get("objective"),
                "method": None if subject.untrained else card.get("method"),
                "parameters": card.get("parameters"),
                "chain": [link.hash for link in subject.chain],
                "metrics": metrics,
                "intervals": bounds,
                "counts": _counts(subject),
                "generations": subject.generations,
                **subject.answered,
            }
        )
    return {"format": FORMAT, "holdout": shares, "models": models, "comparisons": _comparisons(stage, subjects, seed)}


def numbers(subjects: Sequence[Subject], documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`rows.json` as the stage's docstring gives it."""
    found: dict[str, Any] = {"documents": {"ids": [], "bytes": [], "bits": {}}, "questions": {}}
    for subject in subjects:
        for name, (number, over) in subject.values.items():
            if name == "bits per byte":
                found["documents"]["ids"], found["documents"]["bytes"] = [row["id"] for row in documents], over.tolist()
                found["documents"]["bits"][subject.name] = [round(value, 4) for value in number.tolist()]
            elif name.startswith("accuracy (") and name[10:-1] in subject.answered.get("choices", {}):
                found["questions"].setdefault(name[10:-1], {})[subject.name] = number.astype(int).tolist()
    return found


def _counts(subject: Subject) -> dict[str, int]:
    counts: dict[str, int] = {}
    if "bits per byte" in subject.values:
        counts |= {
            "documents": len(subject.values["bits per byte"][1]),
            "bytes": int(subject.values["bits per byte"][1].sum()),
        }
    if "loss on answers" in subject.values:
        counts |= {
            "conversations": len(subject.values["loss on answers"][1]),
            "answer tokens": int(subject.values["loss on answers"][1].sum()),
        }
    if "preference accuracy" in subject.values:
        counts["pairs"] = len(subject.values["preference accuracy"][1])
    return counts


def _comparisons(stage: Any, subjects: Sequence[Subject], seed: int) -> list[dict[str, Any]]:
    """Every model against the one before, where both were measured on the same rows."""
    found = []
    for before, after in zip(subjects, subjects[1:]):
        for name in (*COMPARED, *(name for name in after.values if name.startswith("accuracy ("))):
            if name not in before.values or name not in after.values:
                continue
            (old, size), (new, other) = before.values[name], after.values[name]
            if len(size) != len(other) or (size != other).any():
                continue
            low_high = intervals.change(old, new, size, stage.bootstrap, seed)
            if not low_high:
                continue
            low, high = low_high
            clear = (high < 0 if name in LOWER else low > 0) and np.count_nonzero(size) >= intervals.LEAST
            better = None if "log-probability" in name else bool(clear)
            found.append(
                {
                    "measure": name, "before": before.name, "after": after.name,
                    "change": round(intervals.ratio(new, size) - intervals.ratio(old, size), 5),
                    "low": round(low, 5), "high": round(high, 5), "better": better,
                }
            )  # fmt: skip
    return found
