"""The long mutation fuzz with its figures: per format, rows of the ledger and CPU seconds, as RESULTS.md has them.

    python tests/bench/ingest/mutants.py [MUTANTS]

Ends with an error at the first mutant that crashes or leaves a record unaccounted, naming its seed. Failed: rows `ingest.failed`. `test_many_mutants` of `tests/stages/ingest/mutation_fuzz` is the same without figures.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.stages.ingest.mutation_fuzz import test_mutation, test_mutation_pages, test_mutation_rows
from tests.stages.ingest.mutation_fuzz.hunt import hunt


def main(mutants: int) -> None:
    """Print the table."""
    pages = {"HTML pages, `extract: main`": test_mutation_pages.FORMATS["main"]}
    print("| format | mutants | rows | failed | CPU s |\n|---|---|---|---|---|")
    for name, form in {**pages, **test_mutation.FORMATS, **test_mutation_rows.FORMATS}.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            seen = hunt(form, Path(folder), mutants, seed=1)
            spent = time.process_time() - began
        made, failed = seen.pop("mutants"), seen["ingest.failed"]
        print(f"| {name} | {made:,} | {sum(seen.values()):,} | {failed:,} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20_000)
