"""What twice the text costs, for every hostile text of `tests/test_hostile_texts.py` and every stage: a table row a text.

    python tests/bench/hostile/growth.py [NAME ...]

Stages that take under a tenth of a second for two megabytes are not held. Seconds are user time of one process.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))


def main() -> None:
    from tests.test_hostile_texts import SEEDS, growth, stages_in, text_of

    with tempfile.TemporaryDirectory() as folder:
        stages = stages_in(Path(folder), REPO)
        print("| text | stages held | most for twice the text | slowest, s/MB |\n|---|---|---|---|", flush=True)
        for name in sys.argv[1:] or SEEDS:
            found = {}
            for stage, read in stages.items():
                read(text_of(SEEDS[name], 2_000))
                if (grown := growth(read, SEEDS[name])) is not None:
                    found[stage] = grown
            most = max(found, key=lambda stage: found[stage].ratio, default="")
            slow = max(found, key=lambda stage: found[stage].seconds / found[stage].size, default="")
            cells = (
                f"{found[most].ratio:.2f} ({most})" if most else "",
                f"{found[slow].seconds / found[slow].size * 1e6:.2f} ({slow})" if slow else "",
            )
            print(f"| {name} | {len(found)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
