"""What is logged is shown by level: INFO and above, WARNING with --quiet, everything with --debug; warnings where nobody listens."""

import logging
import os

import pytest

from pipeline.engine import progress
from pipeline.engine.pool import Inline

LOG = logging.getLogger("maetdol.test")


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    for name in (progress.LEVEL, progress.DEBUG, progress.QUIET):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(progress, "current", progress.current)
    yield
    for name in (progress.LEVEL, progress.DEBUG, progress.QUIET):
        os.environ.pop(name, None)
    progress.set_level()


def said(capsys) -> list[str]:
    for level in ("debug", "info", "warning"):
        getattr(LOG, level)("a line of %s", level)
    progress.current.end("the step: done")
    return capsys.readouterr().err.splitlines()


def test_information_is_shown_beside_progress(capsys):
    progress.listen(quiet=False)
    assert said(capsys) == ["a line of info", "a line of warning", "the step: done"]


def test_quiet_leaves_warnings(capsys):
    progress.listen(quiet=True)
    assert said(capsys) == ["a line of warning"]
    assert progress.QUIET in os.environ, "workers are told"
    progress.listen(quiet=False)
    assert said(capsys) == ["a line of info", "a line of warning", "the step: done"], "it ends with the command"


def test_debug_shows_everything_with_time_level_and_module(capsys, monkeypatch):
    monkeypatch.setenv(progress.DEBUG, "1")
    progress.listen(quiet=False)
    lines = said(capsys)
    assert [line.split(" ", 2)[2] for line in lines[:3]] == [
        f"{level.upper()} maetdol.test: a line of {level}" for level in ("debug", "info", "warning")
    ]


def test_a_pool_logs_its_tasks_for_debugging(capsys, monkeypatch):
    monkeypatch.setenv(progress.DEBUG, "1")
    progress.listen(quiet=False)
    assert list(Inline().each(abs, [-1])) == [1]
    assert "DEBUG maetdol.pool: -1: done in 0.0 s" in capsys.readouterr().err


def test_where_nobody_listens_warnings_are_shown(capsys, monkeypatch):
    monkeypatch.setattr(progress, "current", progress.Quiet())
    assert said(capsys) == ["a line of warning"]


def test_what_steers_a_terminal_is_escaped(capsys):
    progress.listen(quiet=False)
    LOG.warning("file \x1b[2J")
    assert "\x1b" not in capsys.readouterr().err
