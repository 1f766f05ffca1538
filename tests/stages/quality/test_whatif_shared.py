"""What-if on the shared texts: answers from ledgers are those of real reruns, and come in seconds."""

import json
import lzma

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.quality import Quality
from stages.quality.whatif import Ledgers, changed

FILTERS = ["language", "gopher_quality", "gopher_repetition", "fineweb", "korean", "paragraph_languages"]
SETTINGS = [
    ["gopher_quality.min_words=20", "fineweb.max_newlines=0.5"],
    ["language.keep=[ko]", "language.min=0.9"],
    ["gopher_repetition.languages.ko.max_top_2=0.3", "korean.max_unspaced=0.1", "exempt=[]"],
    ["paragraph_languages.max_other=0.1"],
]


def rerun(stage: Quality, source: Store, path) -> Store:
    sink = Store(path)
    receipts = stage.run(Inputs({"of": [source]}), sink, Inline())
    options = stage.model_dump(mode="json", exclude={"filters"}) | {
        "filters": [{type(f).__module__.rsplit(".", 1)[-1]: f.model_dump(mode="json")} for f in stage.filters]
    }
    sink.commit_manifest(
        {"stage": "quality", "shape": "DOCUMENT", "key": "k", "lineage": {}, "schema": [], "options": options},
        [r.shard for r in receipts],
    )
    return sink


@pytest.fixture(scope="module")
def finished(shared, make_store, tmp_path_factory):
    """A quality step over 14,000 texts of the shared data: (source, its ledgers)."""
    folder = tmp_path_factory.mktemp("what-if")
    texts: list[str] = []
    for name, field in (
        ("C-cpp-docs-ko.jsonl.xz", "markdown"),
        ("C-python311-rst-en.jsonl.xz", "text"),
        ("F-installguide12-docs.jsonl.xz", "text"),
    ):
        with lzma.open(shared / name, "rt", encoding="utf-8") as lines:
            texts += [str(json.loads(line)[field] or "") for line in lines]
    with lzma.open(shared / "C-nsmc-reviews.jsonl.xz", "rt", encoding="utf-8") as lines:
        reviews = [str(json.loads(line)["text"] or "") for _, line in zip(range(70_000), lines)]
    texts += ["\n".join(reviews[at : at + 10]) for at in range(0, len(reviews), 10)]
    source = make_store(folder / "in", texts, shards=4)
    return source, Ledgers(rerun(Quality.build({"filters": FILTERS}, "quality"), source, folder / "out"))


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
def test_kept_counts_are_those_of_a_rerun(finished, tmp_path, settings, monkeypatch):
    source, ledgers = finished
    stage = changed(ledgers.stage, settings)
    again = rerun(stage, source, tmp_path / "again")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "read", lambda *_: pytest.fail("a text was read"))
        patched.setattr(Store, "batches", lambda *_: pytest.fail("a text was read"))
        reasons = ledgers.decided(stage)
    asked = [i for i, why in zip(ledgers.table["id"].to_pylist(), reasons) if why is None]
    before = sum(why is None for why in ledgers.table["reason"].to_pylist())
    assert asked == again.table(["id"])["id"].to_pylist() and len(asked) != before
    tally = ledgers.tally(reasons)
    assert tally.documents == again.require()["rows"] and tally.bytes > 0
