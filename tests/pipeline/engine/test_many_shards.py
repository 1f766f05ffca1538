"""What the driver does for each of very many shards: constant work and bounded memory, with a stub of work."""

import subprocess
import sys

import pytest

MOST_MIB, MOST_MS = 1024, 3.0
"""The bars for 10,000 shards: memory of the driver, and its CPU milliseconds a shard and step."""


def measured(repo, stage: str, shards: int) -> tuple[float, int, int]:
    """CPU milliseconds a shard, peak MiB and bytes pickled a task of a driver in a process of its own (`tests/bench/engine/driver.py`)."""
    command = [sys.executable, "tests/bench/engine/driver.py", "--here", "--stage", stage, "--shards", str(shards)]
    row = subprocess.run(command, cwd=repo, check=True, capture_output=True, text=True).stdout
    _, _, _, spent, peak, _, sent, _ = (cell.strip().replace(",", "") for cell in row.split("|"))
    return float(spent), int(peak), int(sent)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["quality", "dedup"])
def test_a_hundred_thousand_shards_cost_as_much_each_as_a_thousand(repo, stage):
    _, _, few = measured(repo, stage, 1_000)
    spent, peak, many = measured(repo, stage, 100_000)
    assert many <= 1.02 * few, f"{many} and {few} bytes a task"
    assert peak < MOST_MIB and spent < MOST_MS, f"{peak} MiB, {spent} ms a shard"
