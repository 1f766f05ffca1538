"""Every command block of the READMEs, docs/commands.md and the tutorial, run as it stands there: on a small finished quickstart, and on
what earlier blocks made."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from pipeline import cli


def blocks(repo: Path, page: str = "docs/commands.md") -> list[list[str]]:
    """The commands of every fenced sh block that calls maetdol, comments taken off."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", (repo / page).read_text("utf-8"), re.DOTALL | re.MULTILINE):
        lines = [piece for line in block.splitlines() for piece in _commands(line)]
        if any(words[0] == "maetdol" for words in lines):
            found.append(lines)
    return found


def _commands(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[list[str]] = [[]]
    for word in lexer:
        words.append([]) if word == ";" else words[-1].append(word)
    return [one for one in words if one]


@pytest.fixture(scope="module")
def folder(repo, quickstart, tmp_path_factory):
    """A clone's folder as far as commands see it: configs, and runs/quickstart."""
    where = tmp_path_factory.mktemp("clone")
    (where / "configs").symlink_to(repo / "configs")
    shutil.copytree(quickstart, where / "runs" / "quickstart")
    before = Path.cwd()
    os.chdir(where)
    yield where
    os.chdir(before)


def run(words: list[str]) -> None:
    assert words[0] == "maetdol"
    code = cli.cli.main(words[1:], standalone_mode=False)
    assert not code, f"{shlex.join(words)} ended with {code}"


@pytest.fixture
def served_once(monkeypatch):
    """A server that is started ends at its first turn."""
    uvicorn = pytest.importorskip("uvicorn")

    async def ends(self, counter):
        return True

    monkeypatch.setattr(uvicorn.Server, "on_tick", ends)


@pytest.mark.parametrize("page", ["README.md", "README.ko.md", "docs/commands.md"])
def test_looking_at_a_run(page, folder, repo, capsys, served_once):
    looking, *others = blocks(repo, page)
    assert not others or page.startswith("docs"), "every block of the first page is run"
    for words in looking:
        run(words)
        assert capsys.readouterr().out.strip(), shlex.join(words)
    assert (folder / "runs/quickstart/report.html").is_file()


def test_stage_by_stage_by_hand(folder, repo):
    for words in blocks(repo)[1]:
        run(words)
    assert {path.parent.name for path in (folder / "runs/hand").glob("*/manifest.json")} >= {
        "site",
        "good",
        "unique",
        "safe",
        "clean",
        "sft",
        "tokenizer",
    }


def test_the_tutorial(folder, repo, capsys):
    """Block by block, in the order of the page: commands, Python, and the recipe under the name the page gives it."""
    text = (repo / "docs/tutorial.md").read_text("utf-8")
    for kind, block in re.findall(r"^```(sh|python|yaml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if kind == "python":
            exec(block, {})
        elif kind == "yaml":
            (folder / "tutorial.yaml").write_text(block, "utf-8")
        else:
            for words in (words for line in block.splitlines() for words in _commands(line)):
                run(words)
                assert capsys.readouterr().out.strip(), shlex.join(words)
    assert (folder / "runs/tutorial/clean.parquet").is_file() and (folder / "runs/tutorial/report.html").is_file()


@pytest.mark.slow
def test_further_verbs(folder, repo):
    """Needs what the blocks before it made."""
    _, by_hand, verbs, using = blocks(repo)
    if not (folder / "runs/hand/sft").is_dir():
        for words in by_hand:
            run(words)
    # What waits for a person or for clients is run by tests/stages/serve.
    alone = [words for words in using if words[0] == "maetdol" and ("--ask" in words or words[1] == "merge")]
    assert len(alone) == 2
    for words in [*verbs, *alone]:
        run(words)
    assert (folder / "runs/hand/merged/model.safetensors").is_file() and (folder / "runs/hand/bench/table.md").is_file()


def test_the_store_opens_as_shown(folder, repo):
    text = (repo / "docs/stores.md").read_text("utf-8")
    (shown,) = [
        block
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        if "import datasets" in block
    ]
    lines = [
        line for line in shown.splitlines() if "raydata" not in line
    ]  # Ray Data has its own tests: starting Ray takes longer than all of these
    names: dict = {}
    exec("\n".join(lines), names)
    assert names["store"].dataset().num_rows == names["store"].require()["rows"]


def test_the_notebooks_run_on_a_root_made_by_hand(folder, repo, monkeypatch):
    """Another root than the quickstart's: other steps, no pairs, no training."""
    import nbformat
    from nbclient import NotebookClient

    if not (folder / "runs/hand/sft").is_dir():
        test_stage_by_stage_by_hand(folder, repo)
    monkeypatch.setenv("MAETDOL_ROOT", str(folder / "runs/hand"))
    for path in sorted((repo / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
        ).execute()
        assert any(cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"), path.name
