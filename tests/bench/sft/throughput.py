"""Throughput of the miner without a teacher, MB/s of one core: `python tests/bench/sft/throughput.py FOLDER_OF_HTML`.

Two figures: the rules alone over documents already read (MB of their text), and HTML parsing counted (MB of HTML). CPU
seconds of this process, the first pages left out so that imports and compiled patterns are not counted.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

WARM = 5


def main(folder: str) -> None:
    from stages.ingest.html import page
    from stages.ingest.row import Raw
    from stages.sft import every_rule
    from stages.sft.mine import mine

    rules = every_rule()
    files = sorted(Path(folder).rglob("*.htm*"))
    spent: Counter = Counter()
    rows: Counter = Counter()
    for number, path in enumerate(files):
        body = path.read_bytes()
        began = time.process_time()
        document = page.read(Raw("page", path.name, body=body, url=f"http://bench.example/{path.name}"))
        read = time.process_time()
        if document.reason:
            continue
        row = document.values | {"id": f"{number:032x}", "source": "bench"}
        made = mine(rules, row, 17)
        done = time.process_time()
        if number >= WARM:
            spent.update(
                {
                    "html": len(body),
                    "text": len(row["text"].encode()),
                    "read": read - began,
                    "mine": done - read,
                    "pages": 1,
                }
            )
            rows.update(item["rule"] for item in made.rows)
    mined, whole = spent["text"] / spent["mine"] / 1e6, spent["html"] / (spent["read"] + spent["mine"]) / 1e6
    print(
        f"{spent['pages']} pages, {spent['html'] / 1e6:.1f} MB of HTML, {spent['text'] / 1e6:.1f} MB of text, {sum(rows.values())} rows"
    )
    print(f"rules alone {mined:.2f} MB/s of text; with HTML parsing {whole:.2f} MB/s of HTML")
    print(", ".join(f"{name} {count}" for name, count in rows.most_common()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
