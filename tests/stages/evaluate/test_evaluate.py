"""Each model against the one before, on rows training never saw, with the numbers checked against brute force."""

import doctest
import json
import math
import shutil

import numpy as np
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.schema import doc_id
from pipeline.storage.store import Store
from stages.evaluate import Evaluate, intervals, measure
from stages.models.chat.rows import join, segment
from stages.models.holdout import held_out

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session")
def documents(make_rows_store, sentences_of):
    """The documents `tokens_store` was packed from."""
    lines = sentences_of(1, 600)
    texts = ["\n".join(lines[at : at + 3]) for at in range(0, len(lines), 3)]
    rows = [
        {
            "id": doc_id("test", str(n)),
            "content_id": None,
            "text": text,
            "lang": "ko" if n % 2 else "en",
            "source": f"books/{n % 3}/p.jsonl",
        }
        for n, text in enumerate(texts)
    ]
    return make_rows_store("DOCUMENT", rows)


@pytest.fixture(scope="session")
def preferred(pair_store, base_store, sft_store, do_train):
    options = {
        "objective": "dpo",
        "method": "qlora",
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "threads": 1,
        "holdout": 0.2,
        "learning_rate": 1e-3,
        "max_length": 64,
    }
    return do_train(pair_store, options, base=[base_store, sft_store])


@pytest.fixture(scope="session")
def evaluated(documents, chat_store, pair_store, base_store, sft_store, preferred, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("evaluated"))
    inputs = Inputs({"of": [documents, chat_store, pair_store], "model": [base_store, sft_store, preferred]}, 17)
    Evaluate(threads=1, documents=25, samples=2, max_new_tokens=8).run(inputs, store, Inline())
    return store


@pytest.fixture(scope="session")
def report(evaluated):
    return json.loads((evaluated.artefact() / "report.json").read_text(encoding="utf-8"))


def model(report, name):
    return next(found for found in report["models"] if found["name"] == name)


def change(report, measure, after):
    return next(found for found in report["comparisons"] if found["measure"] == measure and found["after"] == after)


def test_every_step_improves_on_the_one_before(report):
    assert [found["name"] for found in report["models"]] == ["untrained", "pretrained", "sft", "dpo"]
    assert change(report, "bits per byte", "pretrained")["better"]
    assert change(report, "loss on answers", "sft")["better"]
    assert change(report, "preference margin", "dpo")["better"]
    best = model(report, "dpo")["metrics"]
    assert best["preference accuracy"] > 0.5 and best["preference accuracy"] > best["guess by length"]
    assert best["reward accuracy"] > 0.9
    assert -10 < best["chosen log-probability"] < 0


def test_the_untrained_model_is_the_one_training_began_with(
    report, documents, base_store, tokens_store, tiny_tokenizer, tiny, do_train
):
    """A run of one step at a rate of nothing ends where it began."""
    still = do_train(
        tokens_store, {**tiny, "max_steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}, tokenizer=tiny_tokenizer
    )
    store = Store(still.path).sub("evaluated")
    Evaluate(threads=1, documents=25, untrained=False).run(
        Inputs({"of": [documents], "model": [still]}, 17), store, Inline()
    )
    found = json.loads((store.artefact() / "report.json").read_text())["models"][0]["metrics"]["bits per byte"]
    assert model(report, "untrained")["metrics"]["bits per byte"] == pytest.approx(found, abs=1e-4)


def test_bits_per_byte_is_what_brute_force_says(report, documents, base_store):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from stages.evaluate.drawn import draw

    folder = base_store.artefact()
    llama, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rows = draw([documents], "DOCUMENT", 0.2, 25).rows
    bits = size = 0.0
    for row in rows:
        ids = [tokenizer.bos_token_id, *tokenizer(row["text"], add_special_tokens=False)["input_ids"]]
        assert len(ids) <= 64, "one window, so that brute force is one forward pass"
        with torch.no_grad():
            logits = llama(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        bits -= float(logits.gather(-1, torch.tensor(ids[1:])[:, None]).sum()) / math.log(2)
        size += len(row["text"].encode())
    found = model(report, "pretrained")
    assert found["metrics"]["bits per byte"] == pytest.approx(bits / size, abs=1e-4)
    assert found["counts"] == {**found["counts"], "documents": len(rows), "bytes": int(size)}


def test_languages_are_told_apart_and_intervals_hold_their_number(report):
    found = model(report, "pretrained")
    assert {"bits per byte (en)", "bits per byte (ko)"} <= set(found["metrics"])
    for name, value in found["metrics"].items():
        low, high = found["intervals"][name]
        assert low - 1e-6 <= value <= high + 1e-6


def test_sources_are_told_apart_and_add_up_to_the_whole(report):
    metrics, counts = model(report, "pretrained")["metrics"], model(report, "pretrained")["counts"]
    parts = {name: value for name, value in metrics.items() if name.startswith("bits per byte (source ")}
    assert set(parts) == {f"bits per byte (source books/{n})" for n in range(3)} and counts["documents"] == 25
    assert min(parts.values()) <= metrics["bits per byte"] <= max(parts.values())
    assert doctest.testmod(measure).failed == 0


def test_a_model_whose_template_was_changed_is_not_measured(sft_store, base_store, chat_store, tmp_path):
    """Also where nothing is written out, so that no generator would have looked."""
    copied = Store(shutil.copytree(sft_store.path, tmp_path / "sft"))
    template = shutil.copytree(copied.artefact(), tmp_path / "made") / "chat_template.jinja"
    template.write_text(template.read_text("utf-8").replace("<|assistant|>", "<|bot|>") + " ", "utf-8")
    receipt, manifest = copied.receipt("artefact"), copied.require()
    copied.put_artefact(
        template.parent, copied.ledger("artefact"), key=receipt.key, stage=receipt.stage, notes=receipt.notes
    )
    copied.commit_manifest(manifest, [])
    with pytest.raises(UsageError, match="template"):
        Evaluate(threads=1, samples=0).run(
            Inputs({"of": [chat_store], "model": [base_store, copied]}, 17), Store(tmp_path / "out"), Inline()
        )


def test_the_ledger_names_every_row_and_only_held_out_ones_were_measured(evaluated, documents, chat_store, pair_store):
    ledger = evaluated.ledger("artefact")
    ids = [store.table()["id"].to_pylist() for store in (documents, chat_store, pair_store)]
    assert ledger["id"].to_pylist() == sum(ids, [])
    measured = {i for i, why in zip(ledger["id"].to_pylist(), ledger["reason"].to_pylist()) if why is None}
    out = {i for i, held in zip(ids[0], held_out(ids[0], 0.2)) if held}
    assert len(measured & set(ids[0])) == 25 and measured & set(ids[0]) <= out
    assert set(ledger["reason"].to_pylist()) == {None, "evaluate.not_held_out", "evaluate.not_drawn"}


def test_answers_are_written_out_before_and_after(report):
    before, after = model(report, "pretrained")["generations"], model(report, "sft")["generations"]
    assert len(before) == len(after) == 2
    assert [a["prompt"] for a in before] == [a["prompt"] for a in after] and all(
        a["reference"].startswith("It is") for a in after
    )
    assert all(a["finish"] == "stop" for a in after)


def test_evaluating_again_gives_the_same_bytes(
    evaluated, documents, chat_store, pair_store, base_store, sft_store, preferred, tmp_path
):
    inputs = Inputs({"of": [documents, chat_store, pair_store], "model": [base_store, sft_store, preferred]}, 17)
    stage = Evaluate(threads=1, documents=25, samples=2, max_new_tokens=8)
    [receipt] = stage.run(inputs, Store(tmp_path), Inline())
    assert receipt.files == evaluated.receipt("artefact").files
    [again] = stage.run(inputs, Store(tmp_path), Inline())
    assert again.finished == receipt.finished


def test_the_numbers_behind_the_report_are_there_row_by_row_without_text(evaluated, report, documents):
    page = (evaluated.artefact() / "rows.json").read_text("utf-8")
    found = json.loads(page)["documents"]
    assert list(found["bits"]) == [one["name"] for one in report["models"]] and set(found["ids"]) <= set(
        documents.table()["id"].to_pylist()
    )
    for name, bits in found["bits"].items():
        assert len(bits) == len(found["ids"]) == 25
        assert sum(bits) / sum(found["bytes"]) == pytest.approx(
            model(report, name)["metrics"]["bits per byte"], abs=1e-5
        )
    texts = dict(zip(documents.table()["id"].to_pylist(), documents.table()["text"].to_pylist()))
    assert found["bytes"] == [len(texts[one].encode()) for one in found["ids"]] and not any(
        text[:12] in page for text in texts.values()
    )


def test_documents_may_be_measured_by_their_beginning(documents, base_store, tmp_path):
    stage = Evaluate(threads=1, documents=25, samples=0, untrained=False, document_bytes=40)
    stage.run(Inputs({"of": [documents], "model": [base_store]}, 17), Store(tmp_path), Inline())
    found = json.loads((tmp_path / "artefact/rows.json").read_text())["documents"]
    assert all(36 < size <= 40 for size in found["bytes"]) and min(found["bytes"]) < 40, "no character is cut through"
    assert list(found["bits"]) == ["pretrained"] and all(bits > 0 for bits in found["bits"]["pretrained"])


def test_of_different_shares_the_one_that_every_model_held_out_is_used(base_store, sft_store):
    from stages.evaluate.session import shares_of
    from stages.models.inference.chain import open_link

    model, adapter = (open_link(store.artefact()) for store in (base_store, sft_store))
    wider = adapter._replace(card={**adapter.card, "holdout": 0.5})
    assert shares_of([model, adapter, wider]) == {"documents": 0.2, "prompts": 0.2}
    assert shares_of([model, wider]) == {"documents": 0.2, "prompts": 0.5}


def test_the_reward_is_told_against_the_model_it_was_trained_on(base_store, sft_store, preferred):
    from stages.evaluate.session import below, subjects_of

    subjects = subjects_of([base_store, sft_store, preferred, preferred], untrained=True)
    assert [s.name for s in subjects] == ["untrained", "pretrained", "sft", "dpo", "dpo 2"]
    assert [s and s.name for s in (below(subjects[n], subjects[:n]) for n in range(5))] == [
        None,
        "untrained",
        "pretrained",
        "sft",
        "sft",
    ]


def test_long_documents_are_read_window_by_window_every_token_once(tiny_tokenizer):
    from stages.models.encoder import Encoder

    encoder = Encoder(tiny_tokenizer.artefact())
    text = "Every morning the millstone grinds rice. " * 20
    [ids] = encoder.encode([text])
    for bos, asked in ((True, len(ids)), (False, len(ids) - 1)):
        found = measure.cut_documents([{"text": text, "lang": None}], encoder, 32, bos)
        assert sum(int((row.labels >= 0).sum()) for row in found.windows) == asked
        assert max(len(row.ids) for row in found.windows) <= 32
        spelled = [int(t) for row in found.windows for t in row.labels if t >= 0]
        assert spelled == ids.tolist()[len(ids) - asked :]
    assert found.bytes[0] == len(text.encode()) - len(encoder.piece(int(ids[0]))), (
        "an unasked first token's bytes are not counted"
    )


def test_a_guess_by_length_takes_the_better_direction():
    assert measure.guess_by_length(np.array([1, 1, -1, 0])).tolist() == [1, 1, 0, 0.5]
    assert measure.guess_by_length(np.array([-1, -1, 1])).tolist() == [1, 1, 0]


def test_intervals_cover_and_pairs_are_resampled_together():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        rows = rng.normal(1.0, 1.0, 80)
        low, high = intervals.interval(rows, np.ones(80), 400, trial)
        hits += low <= 1.0 <= high
    assert hits >= 88
    before = rng.normal(5.0, 3.0, 200)
    low, high = intervals.change(before, before + 0.1, np.ones(200), 400, 0)
    assert low == pytest.approx(0.1) and high == pytest.approx(0.1)


def test_few_rows_are_told_and_never_say_that_a_model_is_better(
    documents, chat_store, base_store, sft_store, tmp_path, caplog
):
    """Of one row every resample is the same: its interval has no width, and lies on the one side of 0 or the other."""
    inputs = Inputs({"of": [documents, chat_store], "model": [base_store, sft_store]}, 17)
    few = {"threads": 1, "documents": 2, "samples": 0, "untrained": False}
    Evaluate(**few, rows=5).run(inputs, Store(tmp_path / "five"), Inline())
    found = json.loads((tmp_path / "five/artefact/report.json").read_text("utf-8"))
    five = change(found, "loss on answers", "sft")
    assert five["high"] < 0 and five["better"] is False
    assert "5 of 160 CHAT rows are measured" not in caplog.text, "as many as were asked for"
    Evaluate(**few, rows=6).run(inputs, Store(tmp_path / "six"), Inline())
    six = json.loads((tmp_path / "six/artefact/report.json").read_text("utf-8"))
    assert change(six, "loss on answers", "sft")["better"] is True
    Evaluate(**few, holdout=0.001).run(inputs, Store(tmp_path / "none"), Inline())
    assert "1 of 160 CHAT rows are measured, as training holds out a share of 0.001; `holdout: 1`" in caplog.text


def test_a_row_of_one_token_is_asked_nothing():
    assert (join([segment(np.array([5], np.int32))]).labels == -100).all()
