"""What the READMEs show works as shown: the filter example, the recipe, every command with its flags, the table of stages."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from pipeline import cli, flags
from pipeline.engine import catalog
from pipeline.engine.stage import Stage
from pipeline.errors import OptionError, UsageError
from pipeline.inspection import inspect as inspecting

REPO = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README.ko.md")
DOCS = tuple(sorted(path.relative_to(REPO).as_posix() for path in (REPO / "docs").rglob("*.md")))


@pytest.fixture
def blocks(repo) -> dict[str, str]:
    """Python blocks of docs/extending.md that begin with a file name."""
    text = (repo / "docs/extending.md").read_text("utf-8")
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL)
    return dict(found)


@pytest.fixture
def judge(make_documents):
    """`judge(filter, texts)` -> reasons, through the quality stage as a recipe would run it."""

    def run(name: str, texts: list[str]) -> list[str | None]:
        stage = catalog.stage("quality").build({"filters": [name], "exempt": []}, "quality")
        ledger = stage.work(make_documents(texts).to_batches()[0]).ledger
        return ledger["reason"].to_pylist()

    return run


def test_a_new_filter_is_one_file_and_one_test(blocks, judge, tmp_path, monkeypatch):
    folder = tmp_path / "quality" / "filters"
    folder.mkdir(parents=True)
    source = blocks["quality/filters/exclamations.py"]
    (folder / "exclamations.py").write_text(source, "utf-8")
    assert len(source.strip().splitlines()) <= 20
    monkeypatch.setenv("MAETDOL_PATH", str(tmp_path))
    assert "exclamations" in catalog.members("quality", "filters")
    names: dict = {}
    exec(blocks["test_exclamations.py"], names)
    names["test_shouting_is_dropped"](judge)


@pytest.mark.parametrize("page", PAGES)
def test_the_recipe_on_the_first_page_is_valid(repo, page):
    import yaml

    from pipeline.engine.recipe import parse

    text = (repo / page).read_text("utf-8")
    page = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert [step.name for step in parse(page).steps][-1] == "sft-unique"


# -- commands ----------------------------------------------------------------------------------------------------------


def shown(text: str) -> list[list[str]]:
    """Words of every `maetdol` or `make` command in the fenced sh blocks, and of those in running text."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`((?:maetdol|make) [^`]+)`", prose)
    return [words for line in lines for words in commands(line)]


def commands(line: str) -> list[list[str]]:
    """`a; b && c  # why` -> the words of a, b and c. Brackets around what may be left out are taken off."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|"):
            found.append([])
        elif (bare := word.strip("[]")) != "flags":
            found[-1].append(bare)
    return [words for words in found if words]


def parsed(words: list[str]) -> click.Context:
    """What the command line makes of the words after `maetdol`; a click error for an unknown command, flag or argument."""
    name, *rest = words
    command = cli.cli.get_command(click.Context(cli.cli), name)
    if command is None:
        raise click.UsageError(f"no command {name!r}")
    return command.make_context(name, rest)


def accept(words: list[str]) -> None:
    """Raise where `words` (after `maetdol`) are not taken: command, flags, and the values of a stage's or verb's options."""
    if words[0] == "<stage>":
        for name in catalog.stage_names():
            parsed([name, *words[1:]])
        return
    context = parsed(words)
    if words[0] == "explain" and context.params["what"] != "STAGE":
        inspecting.explain(context.params["what"])
    elif words[0] == "list":
        inspecting.listing(context.params["what"])
    elif context.info_name in catalog.verbs():
        verb = catalog.verbs()[context.info_name].load()
        verb.build(flags.values(verb, context.params), context.info_name)
    elif words[0] in catalog.stage_names():
        stage = catalog.stage(words[0])
        given = flags.values(stage, context.params)
        if not stage.ports:
            given["from"] = list(context.params["paths"][:-1])
        stage.build(given, words[0])


def test_commands_are_found_in_the_pages(repo):
    found = {page: len(shown((repo / page).read_text("utf-8"))) for page in (*PAGES, *DOCS)}
    assert min(found[page] for page in (*PAGES, "docs/tutorial.md")) >= 5 and found["docs/commands.md"] >= 30


@pytest.mark.parametrize("page", (*PAGES, *DOCS))
def test_every_command_shown_is_one(repo, page):
    found = shown((repo / page).read_text("utf-8"))
    targets = set(re.findall(r"^([a-z-]+):", (repo / "Makefile").read_text("utf-8"), re.MULTILINE))
    for program, *words in found:
        assert program in ("maetdol", "make"), f"{program} is neither maetdol nor make"
        if program == "make":
            assert set(words) <= targets, words
        else:
            accept(words)


@pytest.mark.parametrize(
    "line",
    [
        "maetdol grind A B",
        "maetdol dedup A B --treshold 0.8",
        "maetdol dedup A B --threshold 1.8",
        "maetdol run RECIPE [--dryrun]",
        "maetdol list filter",
        "maetdol explain dedupe",
        'maetdol explain "tokenizer import"',
        "maetdol tokenizer export STORE",
        "maetdol export A B --to trlx",
        "maetdol quality A B --filters word_counts",
        "maetdol <stage> SOURCE SINK [--threshold 1]",
    ],
)
def test_a_command_that_is_none_would_be_found(line):
    (words,) = commands(line)
    with pytest.raises((click.UsageError, UsageError)):
        accept(words[1:])


@pytest.mark.parametrize("name", catalog.stage_names())
def test_every_stage_has_a_page_with_steps_that_are_valid(repo, name):
    import yaml

    text = (repo / "docs/stages" / f"{name}.md").read_text("utf-8")
    assert f"<!-- options: {name} -->" in text and f"stages/{name}.md" in (repo / "mkdocs.yml").read_text("utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        for step in yaml.safe_load(block):
            ((stage, options),) = step.items() if isinstance(step, dict) else ((step, {}),)
            cls = catalog.stage(stage)
            cls.build({key: value for key, value in options.items() if key != "name" and key not in cls.ports}, stage)


# -- the table of stages -----------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One stage of the table."""

    does: str
    reads: str
    output_shape: str
    options: str


def table(text: str) -> dict[str, Row]:
    """Rows that begin with a word in backticks and have four cells."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|→]*)→([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    assert len({row[0] for row in rows}) == len(rows), "a stage stands twice"
    return {name: Row(*cells) for name, *cells in rows}


def shapes(cell: str) -> set[str]:
    return set(re.findall(r"\b(?:DOCUMENT|CHAT|PAIR|TOKENS)\b", cell))


def words_in(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_the_table_of_the_docs_is_that_of_the_first_page(repo):
    assert table((repo / "docs/stages/index.md").read_text("utf-8")) == table((repo / PAGES[0]).read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_the_table_lists_every_stage_and_nothing_else(repo, page):
    assert sorted(table((repo / page).read_text("utf-8"))) == catalog.stage_names()


@pytest.mark.parametrize("page", PAGES)
def test_the_table_says_what_stages_read_and_make(repo, page):
    for name, row in table((repo / page).read_text("utf-8")).items():
        stage = catalog.stage(name)
        needed = {port for port, declared in stage.ports.items() if not declared.optional} - {"of"}
        optional = {port for port, declared in stage.ports.items() if declared.optional}
        assert words_in(row.reads) == needed, f"{name} needs {needed}"
        assert optional <= words_in(row.does), f"{name}: an input that may be left out is not named"
        assert shapes(row.reads) == (set(stage.ports["of"].shape.split("|")) if "of" in stage.ports else set()), name
        if stage.output_shape:
            assert row.output_shape.strip() == stage.output_shape.removeprefix("artefact:"), name
        elif stage.output is Stage.output:
            assert row.output_shape.strip() in ("same", "그대로"), f"{name} makes the shape it reads"


@pytest.mark.parametrize("page", PAGES)
def test_the_table_names_options_that_are_there(repo, page):
    for name, row in table((repo / page).read_text("utf-8")).items():
        stage = catalog.stage(name)
        known = {field.alias or word: field.default for word, field in stage.model_fields.items()}
        options = re.findall(r"`(\w+)`(?: ?\(([\w.]+)\))?", row.options)
        assert options, name
        for option, default in options:
            assert option in known, f"{name} has no option {option!r}"
            if default in ("needed", "필수"):
                with pytest.raises(OptionError, match=option):
                    stage.build({}, name)
            elif default:
                assert default == str(known[option]), f"{name}.{option} is {known[option]} by default"


@pytest.mark.parametrize("page", (*PAGES, "CONTRIBUTING.md", *DOCS))
def test_links_lead_to_files(repo, page):
    links = re.findall(r"\]\(([^)#]+)\)", (repo / page).read_text("utf-8"))
    inside = [link for link in links if not link.startswith("http")]
    assert not [link for link in inside if not ((repo / page).parent / link).exists()]
