"""Options, ports, stages, members and verbs are found under the names they had before, with one note."""

import importlib
import logging
from typing import Annotated, ClassVar

import pytest
from click.testing import CliRunner
from pydantic import Field

import stages
from pipeline import flags, renamed
from pipeline.cli import cli
from pipeline.engine import catalog, recipe
from pipeline.errors import OptionError, RecipeError
from pipeline.options import Options

STAGE = '''"""Keeps the first rows."""

from typing import ClassVar

from pipeline.engine.stage import Port, ShardStage, Work
from pipeline.storage.ledger import Ledger

FORMERLY = ("skim",)


class Head(ShardStage):
    """Keeps the first rows."""

    ports: ClassVar = {"of": Port("DOCUMENT"), "beside": Port("DOCUMENT", optional=True)}
    renamed: ClassVar = {"top": "first", "near": "beside"}
    first: int = 3
    "Rows kept of a batch."

    def work(self, batch):
        reason = [None if at < self.first else "head.rest" for at in range(len(batch))]
        return Work(batch.slice(0, self.first), Ledger.rows(batch["id"], reason=reason))
'''
FILTER = '''"""Passes all."""

from pipeline.filter import Filter

FORMERLY = ("let_through",)


class PassAll(Filter):
    """Passes all."""
'''
VERB = '''"""Verbs."""

from typing import ClassVar

from pipeline.options import Options


class Count(Options):
    """Counts."""

    verb: ClassVar = "head-count"
    formerly: ClassVar = ("skim-count",)

    def run(self):
        print("counted")
'''


@pytest.fixture(autouse=True)
def told(caplog):
    renamed.note.cache_clear()
    caplog.set_level(logging.WARNING, "maetdol")
    yield lambda: [record.getMessage() for record in caplog.records if record.name == "maetdol.renamed"]
    renamed.note.cache_clear()


@pytest.fixture
def head(tmp_path, monkeypatch):
    """A folder of stages with one stage that was called `skim` before."""
    folder = tmp_path / "more" / "head"
    (folder / "filters").mkdir(parents=True)
    (folder / "filters" / "__init__.py").write_text("")
    (folder / "filters" / "pass_all.py").write_text(FILTER)
    (folder / "__init__.py").write_text(STAGE)
    (folder / "commands.py").write_text(VERB)
    monkeypatch.setattr(catalog, "STAGES", tmp_path / "more")
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(tmp_path / "more")])
    importlib.invalidate_caches()
    catalog.stage.cache_clear()
    yield
    catalog.stage.cache_clear()


class Sieve(Options):
    renamed: ClassVar = {"holes": "mesh", "from_where": "from"}
    mesh: int = 3
    "Holes per centimetre."
    tags: list[str] = []
    "Words."
    from_: Annotated[str, Field(alias="from")] = ""
    "Where from."


def test_an_option_is_read_under_its_old_name_with_one_note(told):
    assert Sieve.build({"holes": 5}, "sieve").mesh == 5 and Sieve.build({"holes": 5}, "sieve").mesh == 5
    assert told() == [
        "Sieve: option 'holes' is now called 'mesh'; the old name works in this version and not in the next"
    ]
    assert Sieve.build({"holes": 5}, "sieve").fingerprint() == Sieve(mesh=5).fingerprint()
    assert Sieve.build({"from_where": "x"}, "sieve").from_ == "x"


def test_both_names_of_an_option_are_refused():
    for given in ({"holes": 5, "mesh": 6}, {"mesh": 6, "holes": 5}):
        with pytest.raises(OptionError, match="'holes' and 'mesh' are one option"):
            Sieve.build(given, "sieve")


def test_a_flag_is_taken_under_its_old_name_and_not_shown():
    known = {name: option for option in flags.options_of(Sieve) for name in option.opts}
    assert known["--holes"].hidden and known["--from-where"].hidden and not known["--mesh"].hidden
    assert "opt_holes" not in {option.name for option in flags.options_of(Sieve, ("mesh",))}, (
        "what is left out has no old name"
    )
    assert flags.values(Sieve, {"opt_holes": "7", "opt_from_where": "a"}) == {"holes": 7, "from_where": "a"}


def test_a_recipe_with_old_names_is_todays(head, told, tmp_path):
    (step,) = recipe.parse({"steps": [{"skim": {"top": 2, "of": "./x", "near": "./y"}}]}).steps
    assert (step.name, step.stage_name, step.stage.first) == ("skim", "head", 2)
    assert step.ports == {"of": ("./x",), "beside": ("./y",)}
    assert [note.partition(";")[0] for note in told()] == [
        "stage 'skim' is now called 'head'",
        "skim: option 'top' is now called 'first'",
        "skim: option 'near' is now called 'beside'",
    ]
    with pytest.raises(RecipeError, match="'near' and 'beside' are one option"):
        recipe.parse({"steps": [{"head": {"of": "./x", "near": "./y", "beside": "./z"}}]})


def test_a_member_and_a_verb_are_found_under_their_old_names(head, told):
    assert catalog.member("head", "filters", "let_through").__name__ == "PassAll"
    assert catalog.current_verb("skim-count") == "head-count" and catalog.current_verb("none") == "none"
    assert len(told()) == 2
    result = CliRunner().invoke(cli, ["skim-count"], standalone_mode=False)
    assert result.output == "counted\n", result


def test_a_store_of_the_old_name_is_the_stages_own(head, tmp_path, make_store):
    source = make_store(tmp_path / "in", ["a", "b", "c"])
    sink = make_store(tmp_path / "out", ["a"])
    sink.commit_manifest({"shape": "DOCUMENT", "stage": "skim", "step": "out"}, [0])
    words = ["skim", source.path, sink.path, "--top", "1"]
    assert CliRunner().invoke(cli, words, standalone_mode=False).return_value == 0
    assert (sink.require()["stage"], sink.require()["rows"]) == ("head", 1)


def test_names_of_the_version_before(told):
    """What recipes of 0.1.0 may say, and what is made of it."""
    quality, overlap, sft, augment = recipe.parse(
        {
            "steps": [
                {"quality": {"of": "./x", "spare": ["code"]}},
                {"withhold": {"of": "quality", "against": "./y"}},
                {
                    "sft": {
                        "of": "quality",
                        "teacher": {"kind": "recorded", "recorded": __file__, "keeper": False},
                        "teach": ["qa"],
                    }
                },
                {"augment": {"of": "sft", "likeness": 0.5, "own_likeness": 0.6}},
            ]
        }
    ).steps
    assert quality.stage.exempt == ("code",)
    assert (overlap.name, overlap.stage_name) == ("withhold", "exclude_overlap")
    assert sft.stage.teacher.broker is False and sft.stage.teacher_tasks == ("qa",)
    assert (augment.stage.similarity, augment.stage.own_similarity) == (0.5, 0.6)
    assert len(told()) == 6
