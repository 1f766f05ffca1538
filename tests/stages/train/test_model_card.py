"""The card beside a model: read by the Hub's own parser, true to receipts and evaluations, and no part of the artefact."""

import json
import shutil

import pytest

from pipeline.inspection.report import write_report
from pipeline.schema import child_id
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import ARTEFACT, Store
from pipeline.storage.verify import verify
from stages.models.inference.folder import hash_of
from stages.train.model_card import lineage, page, shares

METRICS = {"bits per byte": 1.25, "loss on answers": 0.5}


def seal(store, stage, shape, lineage, numbers=()):
    of = {port: [{"store": name, "content_hash": "0" * 32} for name in names] for port, names in lineage.items()}
    store.commit_manifest({"stage": stage, "shape": shape, "key": "k", "lineage": of, "schema": []}, list(numbers))
    return store


@pytest.fixture
def root(tmp_path, make_rows_store, base_store, sft_store):
    """pages -> chats -> an adapter on a model, and an evaluation of it; licences in the pages."""
    licences = ["CC-BY-4.0"] * 6 + ["MIT|<b>\n# x"] * 2 + [None] * 2
    rows = [
        {
            "id": child_id("p", "test", "row", n),
            "text": f"text {n}",
            "lang": "ko" if n % 2 else "en",
            "licence": licence,
        }
        for n, licence in enumerate(licences)
    ]
    shutil.copytree(make_rows_store("DOCUMENT", rows).path, tmp_path / "pages")
    chats = [
        {"id": child_id("c", "test", "row", n), "messages": [{"role": "user", "content": "a"}], "lang": "ko"}
        for n in range(4)
    ]
    shutil.copytree(make_rows_store("CHAT", chats).path, tmp_path / "chats")
    for name, made in (("base", base_store), ("tuned", sft_store)):
        shutil.copytree(made.path, tmp_path / name)
    seal(Store(tmp_path / "pages"), "ingest", "DOCUMENT", {}, [0])
    seal(Store(tmp_path / "chats"), "sft", "CHAT", {"of": ["pages"]}, [0])
    seal(Store(tmp_path / "base"), "train", "artefact:model", {"of": ["pages"], "tokenizer": ["elsewhere"]})
    tuned = seal(Store(tmp_path / "tuned"), "train", "artefact:adapter", {"of": ["chats"], "base": ["base"]})
    (tmp_path / "made").mkdir()
    chain = [Store(tmp_path / "base").receipt(ARTEFACT).content_hash, tuned.receipt(ARTEFACT).content_hash]
    report = {"models": [
        {"name": "pretrained", "chain": chain[:1], "metrics": {"bits per byte": 9.0}},
        {"name": "sft", "chain": chain, "metrics": METRICS, "intervals": {"bits per byte": [1.0, 1.5]}},
    ]}  # fmt: skip
    (tmp_path / "made" / "report.json").write_text(json.dumps(report))
    measured = Store(tmp_path / "measured")
    measured.put_artefact(tmp_path / "made", COLUMNS.empty_table(), key="k", stage="evaluate")
    shutil.rmtree(tmp_path / "made")
    seal(measured, "evaluate", "artefact:evaluation", {"model": ["base", "tuned"]})
    return tmp_path


def stores(root):
    return {path.name: Store(path) for path in root.iterdir() if (path / "manifest.json").exists()}


def test_the_hub_reads_it(root):
    from huggingface_hub import ModelCard

    write_report(str(root))
    card = ModelCard.load(root / "tuned" / "artefact" / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "peft" and data["pipeline_tag"] == "text-generation" and data["language"] == ["ko"]
    assert data["tags"] == ["maetdol", "sft", "qlora"]
    assert {one.metric_type: one.metric_value for one in card.data.eval_results} == METRICS
    plain = ModelCard.load(root / "base" / "artefact" / "README.md")
    assert plain.data.library_name == "transformers" and sorted(plain.data.language) == ["en", "ko"]
    assert [one.metric_value for one in plain.data.eval_results] == [9.0]


def test_it_says_what_it_was_made_of(root):
    text = page(stores(root)["tuned"], stores(root))
    assert "| pages | ingest | 10 | 0 | en 50%, ko 50% |" in text and "| chats | sft | 4 | 0 | ko 100% |" in text
    assert r"- pages: CC-BY-4.0 60%, MIT\|\<b\> \# x 20%, not known 20%" in text
    assert "| Base | `base` |" in text and "| measured | bits per byte | 1.25 | 1 to 1.5 |" in text
    assert "AutoPeftModelForCausalLM" in text
    assert [store.name for store in lineage(stores(root)["tuned"], stores(root))] == ["pages", "chats"]
    assert "not evaluated" not in text
    shutil.rmtree(root / "measured")
    assert "It was not evaluated." in page(stores(root)["tuned"], stores(root))


def test_rows_from_another_root_are_named(root, chat_store):
    lineage = {
        "of": [{"store": chat_store.path, "content_hash": "0" * 32}, {"store": "/gone/away", "content_hash": "0" * 32}]
    }
    tuned = stores(root)["tuned"]
    tuned.commit_manifest(
        {"stage": "train", "shape": "artefact:adapter", "key": "k", "lineage": lineage, "schema": []}, []
    )
    assert f"| {chat_store.name} | test | 160 | 0 | ko 100% |" in page(stores(root)["tuned"], stores(root))


def test_it_is_no_part_of_the_artefact(root):
    """Identity, proof and resume do not see it: an adapter trained on the model still finds it."""
    before = {
        name: (store.content_hash, hash_of(store.artefact()))
        for name, store in stores(root).items()
        if name in ("base", "tuned")
    }
    write_report(str(root))
    assert (root / "base" / "artefact" / "README.md").is_file()
    after = {
        name: (store.content_hash, hash_of(store.artefact())) for name, store in stores(root).items() if name in before
    }
    assert after == before
    assert not verify(str(root)).faults
    (root / "elsewhere.html").unlink(missing_ok=True)
    (root / "base" / "artefact" / "README.md").unlink()
    write_report(str(root), str(root / "elsewhere.html"))
    assert not (root / "base" / "artefact" / "README.md").exists()


def test_shares_of_rows():
    assert shares({"CC-BY-4.0": 15, "none": 4}, 20) == "CC-BY-4.0 75%, not known 25%"
    assert (
        shares({"ko": 999, "en": 1}, 1000) == "ko 100%, en below 1%" and shares({}, 3) == "" and shares(None, 3) == ""
    )
    many = shares({f"L{n:02d}": 100 - n for n in range(20)}, sum(100 - n for n in range(20)))
    assert many.count(",") == 12 and many.endswith("8 others 37%")


@pytest.mark.parametrize("stated, told", [
    ("license: apache-2.0", {"license": "apache-2.0"}), ("license: other\nlicense_name: gemma\nlicense_link: https://x.example/terms", {"license": "other", "license_name": "gemma", "license_link": "https://x.example/terms"}),
    ("tags: [a]", {}), ("license: [", {}),
])  # fmt: skip
def test_the_licence_of_the_base_is_on_the_card(root, tmp_path, stated, told):
    """Of the model from elsewhere that stands below all: below a step of this root too."""
    from huggingface_hub import ModelCard

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "README.md").write_text(f"---\n{stated}\n---\n# A model", encoding="utf-8")
    base, tuned = Store(tmp_path / "base"), Store(tmp_path / "tuned")
    seal(base, "train", "artefact:model", {"of": ["pages"], "base": [str(elsewhere)]})
    text = page(tuned, {store.name: store for store in (base, tuned)})
    head = ModelCard(text).data.to_dict()
    assert {name: head[name] for name in ("license", "license_name", "license_link") if name in head} == told
    named = told.get("license_name") or told.get("license") or "not stated"
    assert f"| Licence of the base, as its page states it | {named} |" in text
