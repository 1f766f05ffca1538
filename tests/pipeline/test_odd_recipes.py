"""A recipe that cannot be read is one line that says why, and never a traceback."""

from __future__ import annotations

import pytest

from pipeline.engine.recipe import load
from pipeline.errors import RecipeError

PLAIN = "name: x\nsteps:\n  - ingest: {from: a.txt}\n"


@pytest.mark.parametrize(
    "page, says",
    [
        (f"# 한국어 조리법\n{PLAIN}".encode("cp949"), "line 1: not UTF-8"),
        (PLAIN.encode("utf-16"), "not UTF-8"),
        (b"steps: " + b"[" * 5000, "nested too deep"),
        (b"steps: " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"seed: " + b"9" * 5000 + b"\n" + PLAIN.encode(), "thousands of digits"),
        (b"seed: " + b"9" * 30 + b"\n" + PLAIN.encode(), "seed must be a whole number"),
        (b"seed: true\n" + PLAIN.encode(), "seed must be a whole number"),
        (b"name: 2026-13-45\n" + PLAIN.encode().partition(b"\n")[2], "not readable"),
        (b"name: \x00\n", "not valid YAML"),
        (b"&a [*a, *a]", "a recipe is a mapping"),
        (b"", "a recipe is a mapping"),
    ],
)
def test_odd_pages(page, says, tmp_path):
    path = tmp_path / "page.yaml"
    path.write_bytes(page)
    with pytest.raises(RecipeError) as fault:
        load(path)
    assert says in fault.value.message and "\n" not in fault.value.message and len(fault.value.message) < 300


def test_a_mark_of_utf8_is_no_part_of_the_page(tmp_path):
    path = tmp_path / "page.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + PLAIN.encode())
    assert load(path).name == "x"


@pytest.mark.parametrize("value", ["[", "9" * 5000, "2026-13-45", "[" * 5000])
def test_odd_settings(value, tmp_path):
    path = tmp_path / "page.yaml"
    path.write_text(PLAIN)
    with pytest.raises(RecipeError, match="--set"):
        load(path, [f"seed={value}"])
