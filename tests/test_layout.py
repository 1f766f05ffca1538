"""The house rules, kept by a test: who may import whom, no drawers, no shadowed library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
FLOORS = [
    {"errors", "unicode", "schema", "shown", "stop", "watchdog"},
    {"options", "docs", "files", "forgotten", "ledger", "lock", "paths", "progress"},
    {"shards", "filter"},
    {"proof"},
    {"store"},
    {"pool"},
    {"stage", "raydata"},
    {"catalog", "verify"},
    {"recipe"},
    {"sinks"},
    {"run", "charts", "flags"},
    {"look", "sections", "takedown"},
    {"report"},
    {"show"},
    {"cli"},
]
HEAVY = {
    "torch",
    "transformers",
    "presidio_analyzer",
    "spacy",
    "numba",
    "polars",
    "ray",
    "datasets",
    "trl",
    "peft",
    "scipy",
    "trafilatura",
    "scrapy",
    "pandas",
    "lxml",
}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(folder: str) -> list[Path]:
    return sorted((REPO / folder).rglob("*.py"))


def test_pipeline_never_imports_stages():
    for path in sources("pipeline"):
        assert not {name for name in imports(path) if name.split(".")[0] == "stages"}, path


def test_pipeline_imports_only_downwards():
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    for path in sources("pipeline"):
        if path.stem == "__init__":
            continue
        assert path.stem in floor, f"{path.name} has no floor: give it one here and in the README"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "pipeline" and len(parts) > 1 and parts[1] in floor and parts[1] != path.stem:
                same = floor[parts[1]] == floor[path.stem]
                assert floor[parts[1]] < floor[path.stem] or (same and not _circle(path, parts[1])), (
                    f"{path.name} imports {name}"
                )


def _circle(path: Path, other: str) -> bool:
    """On one floor neighbours may meet, but not in a circle."""
    back = {n.split(".")[1] for n in imports(REPO / "pipeline" / f"{other}.py") if n.startswith("pipeline.")}
    return path.stem in back


def test_stage_folders_never_import_each_other():
    for path in sources("stages"):
        room = path.relative_to(REPO / "stages").parts[0]
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "stages" and len(parts) > 1:
                allowed = {room, "text", "models"} if room not in ("text",) else {"text"}
                assert parts[1] in allowed, f"{path.relative_to(REPO)} imports {name}"


def test_filters_touch_neither_ray_nor_the_store():
    for path in sources("stages"):
        if path.parent.name == "filters":
            bad = {
                n
                for n in imports(path)
                if n.split(".")[0] == "ray" or n.startswith(("pipeline.store", "pipeline.pool", "pipeline.run"))
            }
            assert not bad, f"{path.name}: {bad}"


def test_ray_is_imported_inside_functions_in_its_places():
    allowed = ("pipeline/pool.py", "pipeline/raydata.py", "stages/models/", "stages/train/")
    for path in sources("pipeline") + sources("stages"):
        place = path.relative_to(REPO).as_posix()
        if {n for n in imports(path) if n.split(".")[0] == "ray"}:
            assert place.startswith(allowed), f"{place} imports ray"
        assert not {n for n in imports(path, True) if n.split(".")[0] == "ray"}, f"{place} imports ray at the top"


def test_the_command_line_imports_nothing_heavy():
    code = f"import sys; import pipeline.catalog as c; [c.stage(n) for n in c.stage_names()]; [v.load() for v in c.verbs().values()]; print(sorted(set(sys.modules) & {HEAVY!r}))"
    out = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["pipeline", "stages", "tests"])
def test_files_can_be_read_in_one_sitting(folder):
    long = {
        p.relative_to(REPO).as_posix(): n
        for p in sources(folder)
        if (n := len(p.read_text("utf-8").splitlines())) > 500
    }
    assert not long


def test_there_are_no_drawers():
    drawers = {"utils.py", "common.py", "helpers.py", "misc.py"}
    assert not [p for folder in ("pipeline", "stages", "tests") for p in sources(folder) if p.name in drawers]


def test_the_tokenizers_folder_shadows_nothing():
    assert not list((REPO / "tokenizers").rglob("*.py"))
    code = "import tokenizers; from tokenizers import Tokenizer; print(tokenizers.__file__)"
    out = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert "site-packages" in out.stdout
