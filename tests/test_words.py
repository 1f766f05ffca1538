"""The words of the field, kept by a test: no identifier, command or option is called by a word that a standard term replaced.

Docs and help are read for the words that have no other meaning in English. Names of before that are still read are listed.
"""

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
BANNED = {
    "admit": "validate_inputs",
    "admits": "validate_inputs",
    "admitted": "allowed",
    "asked": "prompt, question, request; trained (tokens with a label)",
    "doctor": "data check",
    "fate": "decision",
    "fates": "decisions",
    "foretell": "estimate, predict",
    "foretold": "estimated, predicted",
    "heard": "callbacks, received",
    "keeper": "representative, broker",
    "keepers": "representatives",
    "likeness": "similarity",
    "look": "inspect, check",
    "looked": "checked",
    "lot": "partition",
    "lots": "partitions",
    "manners": "politeness",
    "mend": "hint",
    "passport": "provenance",
    "place": "position, index, path, host",
    "placed": "located",
    "places": "positions, spans, paths",
    "said": "answer, text, emitted, reported",
    "seal": "commit",
    "sealed": "committed",
    "senders": "shuffle",
    "settle": "resolve, record",
    "settled": "resolved",
    "spare": "exempt",
    "standing": "valid, survivors",
    "stands": "is",
    "survey": "statistics",
    "teach": "train_classifier",
    "told": "callback, note, message, reported",
    "trims": "spans removed",
    "twins": "exact groups",
    "unseal": "invalidate",
    "unsealed": "checked",
    "withhold": "exclude_overlap",
}
"""Words an identifier must not have among its parts, and what is said instead."""
ALLOWED = {
    "pipeline/inspection": {"doctor": "the command `maetdol doctor`", "doctor_command": "the same"},
    "stages/train/objective/judging.py": {
        "said": "the name of 0.1.0 of `JudgedAnswer.answer`, for rewards of one's own"
    },
    "stages/pii": {"_LOT": "a lot in an address", "NO_LOTS": "the same", "_NO_LOT": "the same", "_NO_LOTS": "the same"},
}
"""Names that say such a word in its ordinary meaning, by folder."""
LEFT = {"stages/ingest/extractor": 17, "stages/ingest/flat": 23, "stages/ingest/html": 14}
"""Folders that are being rebuilt: (file, name) pairs that still have such a word. The numbers only fall."""
ALIASES = {
    "keeper": ("pipeline/storage/ledger.py", "stages/models/teacher/base.py"),
    "label-doctor": ("stages/train/commands.py",),
    "likeness": ("stages/augment/__init__.py",),
    "own_likeness": ("stages/augment/__init__.py",),
    "sign": ("stages/dedup/passes.py", "stages/view/keeping.py"),  # the second: of a comparison
    "spare": ("stages/quality/__init__.py",),
    "stands_on": ("stages/forget/commands.py",),
    "teach": ("stages/sft/__init__.py",),
    "withhold": ("stages/exclude_overlap/__init__.py",),
}
"""Names of 0.1.0 that are read in this version, as whole strings, and the only files that say them."""
PROSE = re.compile(
    r"\b(keepers?|mends?|mended|mending|unseal\w*|foretell?s?|foretold|likeness|label doctor|withhold|fates?|standing receipts?)\b",
    re.I,
)
"""What docs, help and errors do not say."""


def parts(name: str) -> list[str]:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")


def names(tree: ast.AST) -> set[str]:
    """Every name of a module: variables, attributes, arguments, keywords, functions, classes, what it imports."""
    found = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "arg", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                found |= set(name.split("."))
    return found


def said(tree: ast.AST) -> list[str]:
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def found_in(folder: str) -> dict[str, set[str]]:
    """By file, the names that have a banned word among their parts."""
    found = {}
    for path in sorted((REPO / folder).rglob("*.py")):
        own = {name for name in names(ast.parse(path.read_text("utf-8"))) if set(parts(name)) & set(BANNED)}
        below = path.relative_to(REPO).as_posix()
        allowed = {name for start, some in ALLOWED.items() if below.startswith(start) for name in some}
        if own - allowed:
            found[below] = own - allowed
    return found


def test_names_are_standard_terms():
    found = found_in("pipeline") | found_in("stages")
    assert not {file: some for file, some in found.items() if not file.startswith(tuple(LEFT))}


@pytest.mark.parametrize("folder", LEFT)
def test_what_is_left_only_falls(folder):
    assert sum(map(len, found_in(folder).values())) <= LEFT[folder]


def test_old_names_are_said_where_they_are_read():
    for path in [*sorted((REPO / "pipeline").rglob("*.py")), *sorted((REPO / "stages").rglob("*.py"))]:
        below = path.relative_to(REPO).as_posix()
        for text in set(said(ast.parse(path.read_text("utf-8")))) & set(ALIASES):
            assert below in ALIASES[text], f"{below} says {text!r}"


def test_docs_help_and_errors_say_standard_terms():
    pages = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md")), *sorted((REPO / "configs").glob("*.yaml"))]
    for page in pages:
        assert not PROSE.findall(page.read_text("utf-8")), page
    for path in [*sorted((REPO / "pipeline").rglob("*.py")), *sorted((REPO / "stages").rglob("*.py"))]:
        texts = [text for text in said(ast.parse(path.read_text("utf-8"))) if text not in ALIASES]
        assert not [found for text in texts for found in PROSE.findall(text)], path


def test_a_banned_word_is_found():
    tree = ast.parse("class TheKeeper: ...\ndef f(place_of): self.settle(x=look)\nimport a.mend as b")
    assert {name for name in names(tree) if set(parts(name)) & set(BANNED)} == {
        "TheKeeper", "place_of", "settle", "look", "mend",
    }  # fmt: skip
    assert PROSE.findall("its keeper mends it; a standing receipt") == ["keeper", "mends", "standing receipt"]
    assert not PROSE.findall("recommended amendment")
