"""The command line as a user meets it: help in no time, clear errors, exit codes."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def maetdol(repo, tmp_path):
    """Runs the real command in a folder of its own."""

    def run(*words: str, **env: str) -> subprocess.CompletedProcess:
        code = "from pipeline.cli import main; main()"
        environment = {**__import__("os").environ, "PYTHONPATH": str(repo), "COLUMNS": "120", **env}
        return subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, env=environment
        )

    return run


def test_help_lists_stages_with_one_line_each(maetdol):
    out = maetdol("--help")
    assert out.returncode == 0
    for word in (
        "run",
        "report",
        "inspect",
        "trace",
        "doctor",
        "ingest",
        "quality",
        "dedup",
        "pii",
        "sft",
        "dpo",
        "train",
        "evaluate",
    ):
        assert f"\n  {word} " in out.stdout, word


@pytest.mark.parametrize("word,near", [("dedpu", "dedup"), ("quailty", "quality"), ("reprot", "report")])
def test_a_mistyped_command_is_answered(maetdol, word, near):
    out = maetdol(word)
    assert out.returncode == 2 and f"did you mean {near!r}" in out.stderr


def test_stage_help_shows_units_and_defaults(maetdol):
    out = maetdol("dedup", "--help")
    assert (
        out.returncode == 0
        and "--threshold" in out.stdout
        and "[default: 0.8]" in out.stdout
        and "SOURCE... SINK" in out.stdout
    )


def test_bad_usage_is_exit_2_with_the_hint(maetdol, tmp_path):
    out = maetdol("dedup", "nowhere", "out")
    assert out.returncode == 2 and "not a finished store" in out.stderr and "hint:" in out.stderr
    assert maetdol("dedup", "onlyone").returncode == 2
    out = maetdol("dedup", "a", "b", "--treshold", "0.7")
    assert out.returncode == 2 and "--threshold" in out.stderr
    assert maetdol("run", "absent.yaml").returncode == 2


def test_a_recipe_error_names_line_and_word(maetdol, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nsteps:\n  - ingest: {from: a\n")
    out = maetdol("run", "bad.yaml")
    assert out.returncode == 2 and "line" in out.stderr
    (tmp_path / "bad.yaml").write_text("name: x\nsteps:\n  - ingest: {from: a.jsonl, extrakt: main}\n")
    out = maetdol("run", "bad.yaml")
    assert out.returncode == 2 and "did you mean 'extract'" in out.stderr
    (tmp_path / "bad.yaml").write_text("name: x\nsteps:\n  - ingset: {from: a.jsonl}\n")
    out = maetdol("run", "bad.yaml")
    assert out.returncode == 2 and "did you mean 'ingest'" in out.stderr


def test_explain_and_list(maetdol):
    out = maetdol("explain", "dedup")
    assert out.returncode == 0 and "threshold = 0.8" in out.stdout and "inputs" in out.stdout
    out = maetdol("list", "filters")
    assert out.returncode == 0 and "word_count" in out.stdout
    assert maetdol("explain", "word_cuont").returncode == 2


def test_doctor_says_what_is_there(maetdol):
    out = maetdol("doctor")
    assert out.returncode == 0 and "pyarrow" in out.stdout and "gpu" in out.stdout


def test_a_verb_that_is_a_flag_of_its_stage_runs_instead_of_it(maetdol, tmp_path):
    (tmp_path / "in.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in ("one text", "one text", "another"))
    )
    assert maetdol("ingest", "in.jsonl", "a").returncode == 0
    out = maetdol("dedup", "--help")
    assert "--plan TEXT" in out.stdout and "dedup --plan:" not in out.stdout
    for words in (("a", "b", "--plan", "plan.json"), ("--plan", "plan.json", "a", "b", "--workers", "1")):
        out = maetdol("dedup", *words)
        assert out.returncode == 0 and "1 of 3 rows would go" in out.stdout, out.stderr
    assert not (tmp_path / "b").exists()
    assert maetdol("dedup", "a", "--plan", "plan.json").returncode == 2, "SOURCE and SINK, as without the flag"
    assert "--plan" in maetdol("list", "verbs").stdout


def test_a_flag_verb_with_arguments_takes_over_the_command_line(maetdol, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "call 010-1234-5678 now"}))
    assert maetdol("ingest", "in.jsonl", "a").returncode == 0
    for words in (("--audit", "a"), ("a", "--audit"), ("a", "--audit", "--show", "1")):
        out = maetdol("pii", *words)
        assert out.returncode == 1 and "1 LEAKS" in out.stdout and "010-1234" not in out.stdout + out.stderr, out.stderr
    assert maetdol("pii", "a", "b").returncode == 0 and maetdol("pii", "--audit", "b").returncode == 0
    assert "--audit" in maetdol("pii", "--help").stdout and "--audit" in maetdol("pii", "--audit", "--help").stdout


def test_stages_one_after_the_other(maetdol, tmp_path):
    rows = [
        {"text": f"맷돌은 곡식을 가는 도구이다. 문서 {i} 번은 서로 다른 이야기를 한다.", "url": f"http://a.example/{i}"}
        for i in range(6)
    ]
    rows.append(rows[0])
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    out = maetdol("ingest", "in.jsonl", "a")
    assert out.returncode == 0, out.stderr
    assert "7 rows" in out.stdout
    out = maetdol("dedup", "a", "b")
    assert out.returncode == 0, out.stderr
    assert "1 dropped" in out.stdout
    assert "already up to date" in maetdol("dedup", "a", "b").stdout
    out = maetdol("inspect", "b", "--rows", "1")
    assert out.returncode == 0 and "맷돌은" in out.stdout and "DOCUMENT" in out.stdout
    out = maetdol("trace", ".", "http://a.example/0")
    assert out.returncode == 0 and "ingest" in out.stdout and "dedup" in out.stdout
    out = maetdol("trace", ".", "http://a.example/none")
    assert out.returncode == 2 and "hint" in out.stderr
    out = maetdol("report", ".")
    assert out.returncode == 0 and "<html" in (tmp_path / "report.html").read_text()


def own_filter(tmp_path, body):
    """A folder for MAETDOL_PATH with a filter `mine`."""
    folder = tmp_path / "own/quality/filters"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(body)
    return str(tmp_path / "own")


@pytest.mark.parametrize(
    "body,word",
    [
        ("def x(:\n", r"line 1: SyntaxError"),
        ("x = 1\nif x:\ny = 2\n", "line 3: IndentationError"),
        ("import there_is_no_such_module\n", "line 1: ModuleNotFoundError"),
        ("\nx = 1 / 0\n", "line 2: ZeroDivisionError"),
        ("\n\nraise ValueError('two\\nlines')\n", "line 3: ValueError: two lines"),
    ],
)
def test_a_filter_of_ones_own_that_cannot_be_loaded_is_one_line(body, word, maetdol, tmp_path):
    import re

    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "one text"}))
    (tmp_path / "r.yaml").write_text(
        "root: out\nsteps:\n  - ingest: {from: in.jsonl}\n  - quality: {filters: [mine: {}]}\nrun: {pool: inline}\n"
    )
    own = own_filter(tmp_path, body)
    out = maetdol("run", "r.yaml", MAETDOL_PATH=own)
    assert (
        out.returncode == 2
        and "Traceback" not in out.stderr
        and re.search(f"quality/filters/mine.py cannot be loaded: {word}", out.stderr)
    ), out.stderr
    for words, env in (
        (("run", "r.yaml", "--debug"), {}),
        (("--debug", "run", "r.yaml"), {}),
        (("run", "r.yaml"), {"MAETDOL_DEBUG": "1"}),
    ):
        out = maetdol(*words, MAETDOL_PATH=own, **env)
        assert out.returncode == 2 and "Traceback" in out.stderr and "mine.py" in out.stderr


def test_an_exception_in_a_filter_of_ones_own_is_named_and_debug_shows_it(maetdol, tmp_path):
    from stages.quality.filters import word_count

    body = __import__("inspect").getsource(word_count).replace("class WordCount", "class Mine")
    at = body.index("class Mine")
    body = body[:at] + "def fail(*_):\n    raise ValueError('said by mine')\n\n\n" + body[at:]
    own = own_filter(tmp_path, body + "\n\nMine.measure = fail\n")
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "one text"}))
    (tmp_path / "r.yaml").write_text(
        "root: out\nsteps:\n  - ingest: {from: in.jsonl}\n  - quality: {filters: [mine: {}]}\nrun: {pool: inline}\n"
    )
    out = maetdol("run", "r.yaml", "-q", MAETDOL_PATH=own)
    assert out.returncode == 1 and "ValueError at mine.py" in out.stderr and "Traceback" not in out.stderr, out.stderr
    out = maetdol("run", "r.yaml", "-q", "--debug", MAETDOL_PATH=own)
    assert (
        out.returncode == 1 and "Traceback" in out.stderr and "said by mine" in out.stderr and "in fail" in out.stderr
    ), out.stderr


def test_whatever_is_raised_is_one_line_with_its_type(maetdol, tmp_path, repo):
    code = "import pipeline.inspection.inspect as look\ndef broken(*_): raise KeyError('a\\nb' * 400)\nlook.listing = broken\nfrom pipeline.cli import main; main()"
    environment = {**__import__("os").environ, "PYTHONPATH": str(repo)}

    def run(*words):
        return subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, env=environment
        )

    out = run("list")
    assert out.returncode == 1 and out.stderr.startswith("error: KeyError at ") and "Traceback" not in out.stderr
    assert len(out.stderr.splitlines()) == 2 and "--debug" in out.stderr
    assert "Traceback" in run("list", "--debug").stderr


def test_a_reader_that_closes_the_pipe_is_no_fault(maetdol, tmp_path, repo):
    command = f"{sys.executable} -c 'from pipeline.cli import main; main()' explain quality | head -n 1"
    out = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "PYTHONPATH": str(repo)},
    )
    assert out.stdout and not out.stderr
