"""The house rules, kept by a test: who may import whom, no drawers, no shadowed library."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
FLOORS = [
    {"errors", "unicode", "schema", "urls", "renamed", "inspection.terminal", "engine.stop", "engine.watchdog"},
    {
        "options",
        "own_folders",
        "docs",
        "paths",
        "table_files",
        "storage.files",
        "storage.ledger",
        "storage.local_copies",
        "storage.lock",
        "deletion.forgotten",
        "engine.progress",
        "estimate.counted",
        "estimate.peak",
        "engine.shared",
    },
    {"storage.shards", "filter"},
    {"storage.proof", "engine.guard", "engine.on_worker"},
    {"storage.artefacts", "storage.input_hashes", "storage.opened", "storage.recordings"},
    {"storage.store"},
    {"engine.pool", "storage.packed_rows", "kept"},
    {"engine.tasks"},
    {"engine.stage", "engine.nodes", "storage.raydata"},
    {"engine.catalog", "storage.verify"},
    {"engine.recipe"},
    {"storage.sinks"},
    {
        "engine.run",
        "engine.fused",
        "inspection.conditions",
        "inspection.charts",
        "inspection.masks",
        "inspection.words",
        "inspection.limits",
        "flags",
    },
    {"inspection.query", "inspection.page", "estimate.requests", "estimate.sample"},
    {"inspection.inspect", "inspection.sections", "inspection.what_if", "deletion.lineage"},
    {"inspection.trace", "inspection.selection"},
    {"deletion.takedown"},
    {"inspection.report"},
    {"inspection.commands", "estimate.command", "notebook"},
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


ALSO_WORDS = {
    "text": "what the pipeline carries",
    "models": "what workers load",
    "select": "a method of Arrow's tables",
    "split": "a method of str",
    "evaluate": "the method of a filter",
    "forget": "the word for a takedown",
    "serve": "what hosts do with pages",
    "train": "a field of a message, an extra of the package, a reason that was there before",
    "in_sft": "a column of pairs, in stores that exist",
}
"""Names of folders of stages/ that `pipeline` says for another reason."""


def words(tree: ast.AST) -> set[str]:
    """The words of every string and every name of a module."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        found += [
            name
            for field in ("id", "attr", "name", "arg", "asname")
            if isinstance(name := getattr(node, field, None), str)
        ]
    spelled = " ".join(found).lower()
    for name in ALSO_WORDS:
        spelled = re.sub(rf"\b{name}\b", " ", spelled) if "_" in name else spelled
    return set(re.findall("[a-z]+", spelled))


def test_pipeline_names_no_stage():
    """What is said or done of one stage alone comes from its folder, by a hook or a class variable."""
    names = {path.parent.name for path in (REPO / "stages").glob("*/__init__.py")}
    assert len(names) > 15 and {"ingest", "pii", "dedup"} <= names
    for path in sources("pipeline"):
        assert not words(ast.parse(path.read_text("utf-8"))) & (names - set(ALSO_WORDS)), path


def test_a_stage_is_found_where_pipeline_names_it():
    code = 'def drop(pii):\n    if stage == "dedup" or x.mix:\n        "of sft"\n        return in_sft'
    assert {"pii", "dedup", "mix", "sft"} <= words(ast.parse(code))
    assert "sft" not in words(ast.parse("in_sft"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def modules(path: Path, known: set[str]) -> set[str]:
    """The modules of `known` that `path` imports, inside functions too, but for what type checkers alone read: a name taken out
    of a package may itself be one."""
    found, tree = set(), ast.parse(path.read_text("utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by a relative name: write it whole"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= full & known | ({node.module} & known if full - known else set())
    return found


def test_pipeline_imports_only_downwards():
    floor = {f"pipeline.{name}": level for level, names in enumerate(FLOORS) for name in names}
    for path in sources("pipeline"):
        if path.stem == "__init__":
            continue
        own = module(path)
        assert own in floor, f"{own} has no floor: give it one here"
        for name in imports(path) & set(floor) - {own}:
            assert floor[name] <= floor[own], f"{own} imports {name}"


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph: its strongly connected components of more than one node (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(stack[at:])
            del stack[at:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_no_module_imports_itself_through_others():
    """Between rooms or inside one, imports inside functions too."""
    names = {module(path): path for folder in ("pipeline", "stages") for path in sources(folder)}
    assert len(names) > 500
    assert not circles({name: modules(path, set(names)) - {name} for name, path in names.items()})


def test_imports_inside_functions_are_seen(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import x\n\ndef f():\n    from c import y, d\n    import e\n"
    )
    assert modules(path, {"b", "c", "c.d", "e"}) == {"c", "c.d", "e"}


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert [sorted(circle) for circle in circles(graph)] == [["a", "b", "c"]]


REGISTRIES = {"filters", "rules", "labelled"}
"""Folders in which each file is one entry of a recipe: they may be as long as they are."""


@pytest.mark.parametrize("folder", ["pipeline", "stages", "tests"])
def test_no_folder_is_too_long_to_know(folder):
    counts = {}
    for path in sources(folder):
        if path.stem != "__init__" and not REGISTRIES & set(path.parts):
            counts.setdefault(path.parent.relative_to(REPO).as_posix(), []).append(path.name)
    assert not {name: len(files) for name, files in counts.items() if len(files) > 15}


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
                if n.split(".")[0] == "ray"
                or n.startswith(("pipeline.storage.store", "pipeline.engine.pool", "pipeline.engine.run"))
            }
            assert not bad, f"{path.name}: {bad}"


def test_ray_is_imported_inside_functions_of_few_modules():
    engine = ("pipeline/engine/pool.py", "pipeline/engine/on_worker.py", "pipeline/engine/nodes.py")
    allowed = (*engine, "pipeline/storage/raydata.py", "stages/models/", "stages/train/")
    for path in sources("pipeline") + sources("stages"):
        path_below = path.relative_to(REPO).as_posix()
        if {n for n in imports(path) if n.split(".")[0] == "ray"}:
            assert path_below.startswith(allowed), f"{path_below} imports ray"
        assert not {n for n in imports(path, True) if n.split(".")[0] == "ray"}, f"{path_below} imports ray at the top"


def test_the_command_line_imports_nothing_heavy():
    code = f"import sys; import pipeline.engine.catalog as c; [c.stage(n) for n in c.stage_names()]; [v.load() for v in c.verbs().values()]; print(sorted(set(sys.modules) & {HEAVY!r}))"
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


def test_a_class_name_stands_once():
    """Who reads a class's name knows which one is meant."""
    homes: dict[str, list[str]] = {}
    for path in [*sources("pipeline"), *sources("stages")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path.relative_to(REPO).as_posix())
    assert len(homes) > 500
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def names_in(path: Path) -> set[str]:
    """Names a module has at its top: defined, assigned or imported there, in whichever branch, and the modules beside a package."""
    tree, found = ast.parse(path.read_text("utf-8")), set[str]()
    inside = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, SCOPES)
        for node in ast.walk(scope)
        if node is not scope
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, SCOPES):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found | ({part.stem for part in path.parent.iterdir()} if path.name == "__init__.py" else set())


SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef


def missing(path: Path) -> list[str]:
    """Names that a file imports from modules of ours, inside functions too, and that are not in them."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.partition(".")[0] in ("pipeline", "stages", "tests")
        ):
            base = REPO / node.module.replace(".", "/")
            file = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
            there = names_in(file) if file.is_file() else {part.stem for part in base.glob("*")}
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name not in there]
    return found


def test_what_is_imported_is_there():
    """Benches too, which no other test imports."""
    faults = {
        str(path): names
        for folder in ("pipeline", "stages", "tests")
        for path in sources(folder)
        if (names := missing(path))
    }
    assert not faults


def test_an_import_of_what_is_gone_is_found(tmp_path):
    (file := tmp_path / "a.py").write_text(
        "def f():\n    from pipeline.errors import UsageError, Gone\n    from pipeline import cli, none\n"
    )
    assert missing(file) == ["pipeline.errors.Gone", "pipeline.none"]
