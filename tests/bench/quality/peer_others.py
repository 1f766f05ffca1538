"""NeMo Curator's or data-juicer's own rules on the same texts; run by the peer's Python, not the project's.

    curator/bin/python peer_others.py curator INPUT.jsonl        datajuicer/bin/python peer_others.py datajuicer INPUT.jsonl

Prints CPU seconds and megabytes of the rules alone (no Ray, no reading or writing): what one core makes of one text after the
other. Curator: its Gopher rules, quality and repetition. data-juicer has other rules; those of its filters that need no model:
words, repetition of words and characters, special and alphanumeric characters, length and lines.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def curator() -> Callable[[str], None]:
    from nemo_curator.stages.text.filters.heuristic import repetition as r
    from nemo_curator.stages.text.filters.heuristic import string as s

    if not hasattr(r, "RepeatedLinesFilter"):
        from nemo_curator.stages.text.filters.heuristic.repetition import repetition as r
    rules = [
        s.WordCountFilter(), s.MeanWordLengthFilter(), s.SymbolsToWordsFilter(), s.BulletsFilter(), s.EllipsisFilter(),
        s.WordsWithoutAlphabetsFilter(), s.CommonEnglishWordsFilter(), r.RepeatedLinesFilter(), r.RepeatedParagraphsFilter(),
        r.RepeatedLinesByCharFilter(), r.RepeatedParagraphsByCharFilter(),
        *(r.RepeatingTopNGramsFilter(n=n, max_repeating_ngram_ratio=x) for n, x in ((2, 0.2), (3, 0.18), (4, 0.16))),
        *(r.RepeatingDuplicateNGramsFilter(n=n, max_repeating_duplicate_ngram_ratio=x) for n, x in zip(range(5, 11), (0.15, 0.14, 0.13, 0.12, 0.11, 0.1))),
    ]  # fmt: skip

    def judge(text: str) -> None:
        for rule in rules:
            rule.keep_document(rule.score_document(text))

    return judge


def datajuicer() -> Callable[[str], None]:
    from data_juicer.ops import filter as f
    from data_juicer.utils.constant import Fields

    names = (
        "WordsNumFilter", "WordRepetitionFilter", "CharacterRepetitionFilter", "SpecialCharactersFilter", "AlphanumericFilter",
        "TextLengthFilter", "AverageLineLengthFilter", "MaximumLineLengthFilter",
    )  # fmt: skip
    rules = [
        getattr(f, name)(lang="en", tokenization=False) if name == "WordsNumFilter" else getattr(f, name)()
        for name in names
    ]

    def judge(text: str) -> None:
        batch = {"text": [text], Fields.stats: [{}], Fields.context: [{}]}
        for rule in rules:
            batch = rule.compute_stats_batched(batch)
            list(rule.process_batched(batch))

    return judge


def main(peer: str, source: str) -> None:
    texts = [json.loads(line)["text"] for line in open(source, encoding="utf-8")]
    judge = {"curator": curator, "datajuicer": datajuicer}[peer]()
    judge("A first text, so that nothing is loaded while the clock runs. " * 20)
    began = time.process_time()
    for text in texts:
        judge(text)
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    print(json.dumps({"cpu_seconds": time.process_time() - began, "megabytes": size / 1e6}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
