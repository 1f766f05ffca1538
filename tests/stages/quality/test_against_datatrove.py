"""Decision by decision against datatrove's own filters, where an environment of its own holds it.

    python -m venv peer && peer/bin/pip install "datatrove==0.10.*" nltk regex
    DATATROVE_PYTHON=peer/bin/python python -m pytest tests/stages/quality/test_against_datatrove.py -m slow

The table it proves stands in tests/bench/quality/RESULTS.md, which `run.py` writes from the same comparison.
"""

import importlib.util
import os
import shutil
import sys

import pytest


@pytest.fixture(scope="module")
def peer() -> str:
    """Python of an environment with datatrove."""
    found = shutil.which(os.environ.get("DATATROVE_PYTHON", ""))
    if not found:
        pytest.skip("DATATROVE_PYTHON names no Python with datatrove 0.10: this file says how to make one")
    return os.path.abspath(found)


@pytest.fixture(scope="module")
def bench(repo):
    """tests/bench/quality/run.py as a module."""
    sys.path.insert(0, str(repo / "tests/bench/quality"))
    spec = importlib.util.spec_from_file_location("quality_bench", repo / "tests/bench/quality/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("lang, fewest", [("en", 4_500), ("ko", 23_000)])
def test_every_decision_is_datatroves(peer, bench, shared, tmp_path, lang, fewest):
    """99.9 % is asked for. None differs, so none has to be explained; a difference would be named here."""
    found = bench.compare(tmp_path, shared, lang, peer, 1)
    assert found["documents"] >= fewest and all(found["dropped"][family] > 0.05 * fewest for family in bench.FAMILIES)
    assert found["differing"] == []
    assert all(found["agreed"][family] >= 0.999 * found["documents"] for family in bench.FAMILIES)
    assert found["agreed"]["text left by c4"] == found["agreed"]["kept by c4"]
