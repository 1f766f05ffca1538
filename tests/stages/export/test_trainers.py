"""Each format says what its consumer reads: TRL's own loaders and trainers, and the published field rules of the others."""

import json
import warnings

import pytest
import yaml

from pipeline.engine import catalog
from pipeline.errors import SourceError, UsageError
from stages.export.commands import StoreExport, Trainers
from stages.export.trainers import FORMATS, NoForm, turns
from stages.models.holdout import held_out, prompt_key

ROLES = ("system", "user", "assistant")


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def export(store, folder, to, **more):
    StoreExport(store=store.path, out=str(folder), to=to, **more).run()
    return lines(folder / f"{store.name}.jsonl")


@pytest.fixture
def talk(make_rows_store):
    """Conversations of one and two turns, with and without a system message, and one that begins with an answer."""

    def say(role, text):
        return {"role": role, "content": text}

    rows = [
        [say("user", "콩?"), say("assistant", "beans")],
        [
            say("system", "Be brief."),
            say("user", "쌀?"),
            say("assistant", "rice"),
            say("user", "밀?"),
            say("assistant", "wheat"),
        ],
        [say("assistant", "hello"), say("user", "?")],
    ]
    return make_rows_store("CHAT", [{"id": f"{n:032x}", "messages": row} for n, row in enumerate(rows)])


def test_the_verb_is_found():
    assert "export" in catalog.verbs() and catalog.current_verb("dpo-export") == "export"


def test_trl_forms(pair_store, talk, tmp_path):
    pairs = export(pair_store, tmp_path, "trl")
    assert len(pairs) == 160 and set(pairs[0]) == {"prompt", "chosen", "rejected"}
    kto = export(pair_store, tmp_path, "trl-kto")
    assert len(kto) == 320 and [row["label"] for row in kto[:2]] == [True, False]
    reward = export(pair_store, tmp_path, "trl-reward")
    assert reward[0]["chosen"] == pairs[0]["prompt"] + pairs[0]["chosen"]
    assert [set(row) for row in export(talk, tmp_path, "trl")] == [{"messages"}] * 3
    done = export(talk, tmp_path, "trl-completion")
    assert len(done) == 2 and done[1]["completion"] == [{"role": "assistant", "content": "wheat"}]
    assert lines(tmp_path / f"{talk.name}.left-out.jsonl") == [{"id": f"{2:032x}", "reason": "export.turns"}]


@pytest.mark.slow
def test_trl_trains_on_preferences(pair_store, tiny_tokenizer, base_store, tmp_path):
    """A step of TRL's own DPOTrainer on the exported file, loaded by the line that is printed."""
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    from stages.models.chat.templates import load_tokenizer

    export(pair_store, tmp_path, "trl", part="train")
    data = load_dataset(
        "json", data_files=str(tmp_path / f"{pair_store.name}.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    model = AutoModelForCausalLM.from_pretrained(str(base_store.artefact()))
    settings = DPOConfig(
        str(tmp_path / "out"),
        max_steps=2,
        per_device_train_batch_size=4,
        max_length=64,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = DPOTrainer(
            model, args=settings, train_dataset=data, processing_class=load_tokenizer(tiny_tokenizer.artefact())
        )
        assert trainer.train().training_loss > 0


def test_llama_factory_alpaca(pair_store, talk, tmp_path):
    rows = export(talk, tmp_path, "llamafactory-alpaca")
    assert rows[1] == {
        "instruction": "밀?",
        "input": "",
        "output": "wheat",
        "system": "Be brief.",
        "history": [["쌀?", "rice"]],
    }
    info = json.loads((tmp_path / "dataset_info.json").read_text())[talk.name]
    assert info["formatting"] == "alpaca" and info["ranking"] is False and set(info["columns"].values()) == set(rows[0])
    ranked = export(pair_store, tmp_path, "llamafactory-alpaca")
    info = json.loads((tmp_path / "dataset_info.json").read_text())[pair_store.name]
    assert info["ranking"] is True and set(info["columns"].values()) == set(ranked[0])
    assert all(
        isinstance(row[name], str)
        for row in ranked
        for name in ("instruction", "input", "chosen", "rejected", "system")
    )
    assert (tmp_path / info["file_name"]).is_file()


def test_llama_factory_sharegpt(pair_store, talk, tmp_path):
    rows = export(talk, tmp_path, "llamafactory-sharegpt")
    for row in rows:
        assert [message["from"] for message in row["conversations"]] == ["human", "gpt"] * (
            len(row["conversations"]) // 2
        )
    ranked = export(pair_store, tmp_path, "llamafactory-sharegpt")
    for row in ranked:
        assert [message["from"] for message in row["conversations"]] == ["human"]
        assert row["chosen"]["from"] == row["rejected"]["from"] == "gpt" and row["chosen"]["value"]
    info = json.loads((tmp_path / "dataset_info.json").read_text())[pair_store.name]
    assert info["formatting"] == "sharegpt" and info["ranking"] and set(info["columns"].values()) == set(ranked[0])


def test_axolotl_forms(pair_store, talk, tmp_path):
    rows = export(pair_store, tmp_path, "axolotl")
    page = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    (data,) = page["datasets"]
    assert page["rl"] == "dpo" and data["type"] == "chat_template.default" and (tmp_path / data["path"]).is_file()
    for row in rows:
        assert {data["field_messages"], data["field_chosen"], data["field_rejected"]} == set(row)
        assert row["chosen"]["role"] == row["rejected"]["role"] == "assistant" and row["messages"][-1]["role"] == "user"
    flat = export(pair_store, tmp_path, "axolotl-chatml")
    assert all(isinstance(row[name], str) for row in flat for name in ("system", "prompt", "chosen", "rejected"))
    talked = export(talk, tmp_path, "axolotl")
    assert all(message["role"] in ROLES for row in talked for message in row["messages"])
    assert yaml.safe_load((tmp_path / "axolotl.yaml").read_text())["datasets"][0]["type"] == "chat_template"


def test_parts_follow_the_held_out_prompts(pair_store, tmp_path):
    train, held = (export(pair_store, tmp_path / part, "trl", part=part, holdout=0.2) for part in ("train", "heldout"))
    assert len(train) + len(held) == 160 and held
    assert held_out([prompt_key(row["prompt"]) for row in held], 0.2).all()
    assert not held_out([prompt_key(row["prompt"]) for row in train], 0.2).any()


def test_misfits_are_refused(talk, pair_store, tokens_store, tmp_path):
    with pytest.raises(UsageError, match="choose one of openai, trl,"):
        export(talk, tmp_path, "trl-kto")
    with pytest.raises(UsageError, match="no form"):
        export(pair_store, tmp_path, "trl-completion")
    with pytest.raises(SourceError, match="TOKENS"):
        export(tokens_store, tmp_path, "trl")


def test_turns_must_alternate():
    with pytest.raises(NoForm):
        turns([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    with pytest.raises(NoForm):
        turns([])
    assert turns([{"role": "system", "content": ""}, {"role": "user", "content": "a"}]) == ("", [("a", None)])
    assert set(FORMATS) == set(Trainers.__args__)
