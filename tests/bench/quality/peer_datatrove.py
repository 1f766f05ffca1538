"""datatrove's own filter classes on words between blanks; run by the peer's Python, not the project's.

    python peer_datatrove.py INPUT.jsonl OUTPUT.jsonl

Input: one `{"id", "text", "lang"}` a line. Output: one `{"id", "verdicts": {family: [kept, reason]}, "text_after_c4"}` a
line and last a `{"cpu_seconds"}` of the four filters alone, reading and writing not counted. datatrove's word splitter is
replaced by `str.split` and its sentence splitter by the rule `stages/text/lines/table.py` states, so that rules are compared
with rules, and speed on equal words.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time

from datatrove.data import Document
from datatrove.pipeline.filters import c4_filters
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from datatrove.utils import text as texts
from datatrove.utils import word_tokenizers
from datatrove.utils.text import TERMINAL_PUNCTUATION

CLOSERS = set("\"')]}»”’›」』】》〉）］｝＂＇")


class Blanks(word_tokenizers.WordTokenizer):
    """Words between blanks; a sentence ends at a terminal mark, closers after it, then a blank or the end."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        return [text[a:b] for a, b in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        spans, start, stopped, pending = [], 0, False, False
        for i, char in enumerate(text):
            if char.isspace():
                if stopped:
                    spans.append((start, i))
                    start, stopped, pending = i, False, False
            elif char in TERMINAL_PUNCTUATION:
                stopped = pending = True
            elif not (stopped and char in CLOSERS):
                stopped, pending = False, True
        if pending:
            spans.append((start, len(text)))
        return spans


def main(source: str, target: str) -> None:
    blanks = Blanks()
    word_tokenizers.load_word_tokenizer = lambda language: blanks
    rows = [json.loads(line) for line in open(source, encoding="utf-8")]
    families = {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "fineweb": FineWebQualityFilter(),
        "c4": C4QualityFilter(),
    }
    assert c4_filters.split_into_sentences is texts.split_into_sentences
    out, spent = [], 0.0
    for row in rows:
        verdicts = {}
        document = Document(text=row["text"], id=row["id"])
        began = time.process_time()
        for name, rule in families.items():  # C4 last: it edits the text
            verdict = rule.filter(document)
            verdicts[name] = [True, None] if verdict is True else [bool(verdict[0]), verdict[1]]
        spent += time.process_time() - began
        after = hashlib.blake2b(document.text.encode(), digest_size=8).hexdigest() if verdicts["c4"][0] else None
        out.append({"id": row["id"], "verdicts": verdicts, "text_after_c4": after})
    with open(target, "w", encoding="utf-8") as handle:
        for line in out:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        handle.write(json.dumps({"cpu_seconds": spent, "documents": len(rows)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
