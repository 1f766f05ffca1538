"""Stages, commands, readers and filters in folders of one's own (MAETDOL_PATH): the examples of docs/extending.md, run."""

import json
import os
import re
import subprocess
import sys

import pytest

from pipeline import own_folders
from pipeline.engine import catalog
from pipeline.storage.store import Store

FILTER = '''"""Whole lines."""

from pipeline.docs import Docs
from pipeline.filter import Filter, Verdict


class Own(Filter):
    """Everything is good."""

    def evaluate(self, docs: Docs) -> Verdict:
        return Verdict([None] * docs.n)
'''


@pytest.fixture
def own(repo, tmp_path):
    """The folder with every example, and a filter; the recipe of the examples beside it."""
    text = (repo / "docs/extending.md").read_text("utf-8")
    for name, body in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        path = tmp_path / ("own/" if name.endswith(".py") else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, "utf-8")
    (tmp_path / "own/quality/filters/own.py").write_text(FILTER)
    texts = ["one two three four five", "  ", "six"]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return tmp_path / "own"


def maetdol(repo, folder, *words, **env):
    """The command line in a folder, with that environment added."""
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(repo), **env},
    )


def test_a_stage_a_command_and_a_reader_of_ones_own(repo, own, tmp_path):
    env = {"MAETDOL_PATH": str(own)}
    shown = maetdol(repo, tmp_path, "--help", **env).stdout
    assert re.search(r"shorten +Keep the first words", shown) and re.search(r"longest +Print the length", shown)
    assert "shorten" not in maetdol(repo, tmp_path, "--help").stdout
    assert "Words kept" in maetdol(repo, tmp_path, "explain", "shorten", **env).stdout
    done = maetdol(repo, tmp_path, "run", "shorten.yaml", "-q", **env)
    assert done.returncode == 0, done.stderr
    store = Store(str(tmp_path / "out/shorten"))
    assert store.table(["text"])["text"].to_pylist() == ["one two three", "six"]
    assert maetdol(repo, tmp_path, "longest", "out/shorten", **env).stdout == "3\n"
    (tmp_path / "film.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nGood evening.\n\n2\n00:00:03,000 --> 00:00:04,000\n안녕하세요.\n"
    )
    done = maetdol(repo, tmp_path, "ingest", "film.srt", "films", "-q", **env)
    assert done.returncode == 0, done.stderr
    assert Store(str(tmp_path / "films")).table(["text"])["text"].to_pylist() == ["Good evening.\n\n안녕하세요."]
    assert "up to date" in maetdol(repo, tmp_path, "ingest", "film.srt", "films", "-q", **env).stdout
    assert "up to date" not in maetdol(repo, tmp_path, "ingest", "film.srt", "films", "-q").stdout, "another reader"


def test_a_stage_that_cannot_be_loaded_is_one_line_and_stops_no_other(repo, own, tmp_path):
    env = {"MAETDOL_PATH": str(own)}
    (own / "shorten/__init__.py").write_text('"""A Stage."""\n\nimport there_is_no_such_module\n')
    done = maetdol(repo, tmp_path, "run", "shorten.yaml", **env)
    assert done.returncode == 2 and "shorten cannot be loaded: line 3: ModuleNotFoundError" in done.stderr, done.stderr
    (own / "shorten/__init__.py").write_text('"""A Stage."""\n\nclass (:\n')
    (own / "shorten/commands.py").write_text("class (:\n")
    done = maetdol(repo, tmp_path, "list", "verbs", **env)
    assert (
        done.returncode == 0
        and "shorten/commands.py cannot be read: line 1" in done.stderr
        and "what-if" in done.stdout
    )


def test_two_readers_of_one_ending_are_refused(repo, own, tmp_path):
    (own / "ingest/readers/more.py").write_text((own / "ingest/readers/subtitles.py").read_text())
    (tmp_path / "a.srt").write_text("words")
    done = maetdol(repo, tmp_path, "ingest", "a.srt", "out", MAETDOL_PATH=str(own))
    assert done.returncode == 2 and "two readers read .srt" in done.stderr, done.stderr


def test_the_first_folder_of_a_name_counts(own, tmp_path, monkeypatch):
    (own / "dedup").mkdir()
    (own / "dedup/__init__.py").write_text('"""Another Stage."""\n')
    second = tmp_path / "second/shorten"
    second.mkdir(parents=True)
    (second / "__init__.py").write_text('"""A second Stage."""\n')
    monkeypatch.setenv("MAETDOL_PATH", os.pathsep.join((str(own), str(second.parent))))
    assert catalog.stage_summary("shorten") == "Keep the first words of each document."
    assert catalog.stage_folders()["dedup"] == catalog.STAGES / "dedup"


def test_what_is_shipped_to_a_cluster_holds_them(repo, own, tmp_path, monkeypatch):
    """On a node there is no MAETDOL_PATH: what is pickled here must be found in the shipped package alone."""
    assert own_folders.to_ship(str(repo / "stages")) == str(repo / "stages")
    monkeypatch.setenv("MAETDOL_PATH", str(own))
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    shipped = own_folders.to_ship(str(repo / "stages"))
    assert shipped == str(tmp_path / "stages")
    code = (
        "import pickle, sys; from pipeline.engine import catalog; from stages.ingest.readers.own import reader_of\n"
        "made = [catalog.stage('shorten').build({'words': 2}, ''), catalog.member('quality', 'filters', 'own')(), reader_of('.srt')]\n"
        "pickle.dump(made, open('made.pickle', 'wb'))"
    )
    here = {**os.environ, "PYTHONPATH": str(repo), "MAETDOL_PATH": str(own)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=here)
    node = {name: value for name, value in os.environ.items() if name != "MAETDOL_PATH"}
    node["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(repo)))
    code = "import pickle; print([type(one).__name__ for one in pickle.load(open('made.pickle', 'rb'))])"
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=node)
    assert out.stdout.strip() == "['Shorten', 'Own', 'Subtitles']", out.stderr


@pytest.mark.slow
def test_workers_of_a_local_ray_find_them(repo, own, tmp_path):
    env = {"MAETDOL_PATH": "own"}
    assert maetdol(repo, tmp_path, "run", "shorten.yaml", "-q", "--no-report", **env).returncode == 0
    steps = "  - shorten: {of: ./out/ingest, words: 2}\n  - quality: {filters: [own]}\n"
    (tmp_path / "again.yaml").write_text(f"root: again\nrun: {{workers: 2}}\nsteps:\n{steps}")
    done = maetdol(repo, tmp_path, "run", "again.yaml", "-q", "--no-report", **env)
    assert done.returncode == 0, done.stderr
    assert Store(str(tmp_path / "again/quality")).table(["text"])["text"].to_pylist() == ["one two", "six"]
