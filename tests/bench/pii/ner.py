"""Names with a model: a small token classifier is trained from nothing on labelled sentences and measured on others.

    python tests/bench/pii/ner.py --out /tmp/ner --epochs 12

No trained model is at hand, so this is one: letters as tokens, three layers, half a million weights, trained on 2,000 sentences of
E-klue-ner-spans and the half of E-presidio-synth-v2 whose templates have even numbers; measured on the other 500 and the
other half. It says what the cascade does with a model of that kind, not what a large one reaches. Printed as JSON: precision
and recall of persons and places by overlap - rules alone, the model in windows (`names: model`), the model on everything -
and the processor seconds of windows and of everything on manuals and reviews.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))
SHARED = REPO.parent / "shared" / "data"
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
KLUE = {"PS": "PER", "LC": "LOC"}
SYNTH = {"PERSON": "PER", "GPE": "LOC"}
LONGEST = 256


class Sentence(NamedTuple):
    text: str
    spans: list[tuple[int, int, str]]


def klue() -> tuple[list[Sentence], list[Sentence]]:
    """(2,000 to train on, 500 to measure on), drawn with a seed."""
    with lzma.open(SHARED / "E-klue-ner-spans.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(17).shuffle(rows)
    made = [
        Sentence(r["text"], [(s["start"], s["end"], KLUE[s["label"]]) for s in r["spans"] if s["label"] in KLUE])
        for r in rows
    ]
    return made[:2000], made[2000:]


def synth() -> tuple[list[Sentence], list[Sentence]]:
    """(sentences of even templates, of odd ones): no template stands on both sides."""
    with tarfile.open(SHARED / "E-presidio-synth-v2.tar.xz") as archive:
        name = next(member for member in archive.getnames() if member.endswith(".json"))
        rows = json.load(archive.extractfile(name))  # type: ignore[arg-type]
    sides: tuple[list[Sentence], list[Sentence]] = ([], [])
    for row in rows:
        spans = [
            (s["start_position"], s["end_position"], SYNTH[s["entity_type"]])
            for s in row["spans"]
            if s["entity_type"] in SYNTH
        ]
        sides[int(row["template_id"]) % 2].append(Sentence(row["full_text"], spans))
    return sides


def letters(sentences: list[Sentence]) -> Any:
    """A tokenizer of single code points, those that occur twice or more."""
    from collections import Counter

    from transformers import PreTrainedTokenizerFast

    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    counts = Counter(sign for s in sentences for sign in s.text)
    vocab = {
        word: k
        for k, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(c for c, n in counts.items() if n > 1)])
    }
    made = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=LONGEST + 2,
    )


def train(folder: Path, sentences: list[Sentence], epochs: int) -> None:
    """A ModernBERT of three layers from seeded weights, each looking at 32 letters, saved with its tokenizer (safetensors)."""
    import torch
    from transformers import ModernBertConfig, ModernBertForTokenClassification

    torch.manual_seed(17)
    rng = random.Random(17)
    tokenizer = letters(sentences)
    names = dict(enumerate(TAGS))
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192, max_position_embeddings=LONGEST + 4, local_attention=32,
        global_attn_every_n_layers=3, num_labels=len(TAGS), id2label=names, label2id={tag: k for k, tag in names.items()}, attn_implementation="sdpa",
        pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3, classifier_dropout=0.1,
    )  # fmt: skip
    model = ModernBertForTokenClassification(config).train()
    rows = sorted((encoded(tokenizer, s) for s in sentences), key=lambda row: len(row[0]))
    batches = [rows[k : k + 32] for k in range(0, len(rows), 32)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(batches))
    for _ in range(epochs):
        rng.shuffle(batches)
        for batch in batches:
            width = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
            tags = torch.tensor([row + [-100] * (width - len(row)) for _, row in batch])
            model(input_ids=ids, attention_mask=(ids != 0).long(), labels=tags).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval().save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def encoded(tokenizer: Any, sentence: Sentence) -> tuple[list[int], list[int]]:
    page = tokenizer(sentence.text[:LONGEST], return_offsets_mapping=True)
    tags = []
    for start, end in page["offset_mapping"]:
        kind = next((f"{'B' if start == a else 'I'}-{kind}" for a, b, kind in sentence.spans if a <= start < b), "O")
        tags.append(-100 if start == end else TAGS.index(kind))
    return page["input_ids"], tags


def judged(sentences: list[Sentence], find: Any) -> dict[str, dict[str, float]]:
    """Per kind: how many were labelled, and precision and recall by overlap."""
    ours: list[list[Any]] = [[] for _ in sentences]
    for finding in find(pa.array([s.text for s in sentences], pa.large_string())):
        ours[finding.item].append(finding)
    out = {}
    for kind, entity in (("PER", "person"), ("LOC", "place")):
        gold = hit = made = right = 0
        for sentence, found in zip(sentences, ours):
            spans = [(a, b) for a, b, k in sentence.spans if k == kind]
            mine = [(f.start, f.end) for f in found if f.entity == entity]
            gold, made = gold + len(spans), made + len(mine)
            hit += sum(any(x < b and y > a for x, y in mine) for a, b in spans)
            right += sum(any(x < b and y > a for a, b in spans) for x, y in mine)
        out[entity] = {
            "labelled": gold,
            "recall": round(hit / gold, 3) if gold else 0.0,
            "found": made,
            "precision": round(right / made, 3) if made else 0.0,
        }
    return out


def whole(text: str) -> list[tuple[int, int]]:
    """One window: everything."""
    return [(0, len(text))]


def measured(folder: Path) -> dict[str, Any]:
    from stages.pii.engines.names import in_windows, names_finder, recogniser

    both, recognise = frozenset(("person", "place")), recogniser(folder)
    finders = {
        "rules": names_finder(None, both, 0.5),
        "model in windows": names_finder(str(folder), both, 0.5),
        "model on everything": lambda texts: [
            f for f in in_windows(texts.to_pylist(), recognise, whole) if f.score >= 0.5
        ],
    }
    held = {"E-klue-ner-spans": klue()[1], "E-presidio-synth-v2": synth()[1]}
    return {
        corpus: {name: judged(sentences, find) for name, find in finders.items()} for corpus, sentences in held.items()
    }


def samples(size: float) -> Iterator[tuple[str, list[str]]]:
    """Seeded samples of whole texts, `size` MB each."""
    for name, key in (("C-cpp-docs-ko", "markdown"), ("C-nsmc-reviews", "text"), ("C-python311-rst-en", "text")):
        with lzma.open(SHARED / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)[key] for line in lines]
        random.Random(17).shuffle(texts)
        taken, total = [], 0
        for text in texts:
            if len(text) < 60_000 and total < size * 1e6:
                taken.append(text)
                total += len(text.encode())
        yield name, taken


def timed(folder: Path, size: float) -> dict[str, dict[str, float]]:
    from stages.pii.engines.names import in_windows, recogniser, windows

    recognise = recogniser(folder)
    recognise(["한 번 데운다"])
    out = {}
    for name, texts in samples(size):
        row = {
            "MB": sum(len(t.encode()) for t in texts) / 1e6,
            "share in windows": sum(b - a for t in texts for a, b in windows(t)) / sum(map(len, texts)),
        }
        for label, cut in (("windows s", windows), ("everything s", whole)):
            began = time.process_time()
            in_windows(texts, recognise, cut)
            row[label] = time.process_time() - began
        row["times"] = row["everything s"] / row["windows s"]
        out[name] = {key: round(value, 3) for key, value in row.items()}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; trained there if it holds none")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the sentences")
    parser.add_argument("--sentences", type=int, default=0, help="train on so many only; 0 is all")
    parser.add_argument("--sample", type=float, default=0.5, help="MB per corpus for the times; 0 leaves them out")
    options = parser.parse_args()
    if not (options.out / "config.json").is_file():
        sentences = klue()[0] + synth()[0]
        random.Random(17).shuffle(sentences)
        train(options.out, sentences[: options.sentences or None], options.epochs)
    print(
        json.dumps(
            {"quality": measured(options.out), "time": timed(options.out, options.sample) if options.sample else None},
            ensure_ascii=False,
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
