"""A root of real pages: the site that the quickstart crawls, through quality and near duplicates, in this process."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def site_root(tmp_path_factory, repo) -> Path:
    """pages -> quality -> unique -> clean, of the files of configs/site (English and Korean) and of docs."""
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    root = tmp_path_factory.mktemp("site") / "root"
    steps = [
        {"ingest": {"name": "pages", "from": [str(repo / "configs/site"), str(repo / "docs")]}},
        {"quality": {"filters": [
            {"language": {"keep": ["ko", "en"], "min": 0.5}},
            {"word_count": {"min": 60, "languages": {"ko": {"min": 150}}}},
            "gopher_quality",
            {"fineweb": {"min_ended_lines": None}},
        ]}},
        {"dedup": {"name": "unique", "threshold": 0.3}},
        {"pii": {"name": "clean"}},
    ]  # fmt: skip
    run(parse({"name": "site", "root": str(root), "seed": 17, "steps": steps, "run": {"pool": "inline"}}))
    return root
