"""What the README shows works as shown: a new filter is one file and one test."""

import re

import pytest

from pipeline import catalog


@pytest.fixture
def blocks(repo) -> dict[str, str]:
    """Python blocks of the README that begin with a file name."""
    text = (repo / "README.md").read_text("utf-8")
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL)
    return dict(found)


@pytest.fixture
def judge(make_documents):
    """`judge(filter, texts)` -> reasons, through the quality stage as a recipe would run it."""

    def run(name: str, texts: list[str]) -> list[str | None]:
        stage = catalog.stage("quality").build({"filters": [name], "spare": []}, "quality")
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


def test_the_recipe_on_the_first_page_is_valid(repo):
    import yaml

    from pipeline.recipe import parse

    text = (repo / "README.md").read_text("utf-8")
    page = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert [step.name for step in parse(page).steps][-1] == "sft-unique"
