"""Options under the names transformers, PEFT and TRL give them, and the rows of a step counted as they count them."""

import dataclasses
import logging

import pytest

from pipeline import flags
from pipeline.engine.recipe import parse
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from stages.train import Train

HUGGING_FACE = {
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 2, "warmup_ratio": 0.1, "max_grad_norm": 0.5,
    "learning_rate": 1e-4, "lora_alpha": 32, "r": 8, "lora_dropout": 0.05, "target_modules": ["q_proj"], "use_rslora": True,
    "lr_scheduler_type": "linear", "weight_decay": 0.1, "max_length": 512, "packing": False, "gradient_checkpointing": True,
}  # fmt: skip


def test_a_configuration_in_hugging_faces_words_is_read_without_a_note(caplog):
    page = {"steps": [{"train": {"of": "./x", "base": "./y", "objective": "sft", "method": "lora", **HUGGING_FACE}}]}
    with caplog.at_level(logging.WARNING):
        stage = parse(page).step("train").stage
    assert not caplog.records
    assert (stage.accumulation, stage.epochs, stage.warmup, stage.clip, stage.rank, stage.alpha, stage.dropout) == (
        4,
        2,
        0.1,
        0.5,
        8,
        32,
        0.05,
    )
    assert (
        stage.targets == ("q_proj",) and stage.rank_stabilised and stage.schedule == "linear" and stage.seq_len == 512
    )
    assert not stage.pack and stage.checkpointing


def test_every_other_name_is_one_that_they_have():
    pytest.importorskip("trl")
    from peft import LoraConfig, PromptTuningConfig
    from trl import GRPOConfig, SFTConfig

    theirs = {
        field.name
        for kind in (SFTConfig, GRPOConfig, LoraConfig, PromptTuningConfig)
        for field in dataclasses.fields(kind)
    }
    spoken = {"lora_r", "warmup_ratio"}  # LLaMA-Factory's and axolotl's; transformers' until 5
    assert set(Train.also) - theirs <= spoken
    assert set(Train.also.values()) <= set(Train.model_fields) and not set(Train.also) & set(Train.model_fields)


def test_both_names_of_one_option_and_both_ways_to_count_are_refused():
    with pytest.raises(OptionError, match="'max_grad_norm' and 'clip' are one option"):
        Train.build({"max_grad_norm": 1.0, "clip": 1.0}, "train")
    with pytest.raises(OptionError, match="count the same rows"):
        Train.build({"per_device_train_batch_size": 2, "batch": 4}, "train")


def test_the_command_line_takes_them_too_and_shows_ours_alone():
    found = {option.opts[0]: option for option in flags.options_of(Train)}
    assert (
        found["--lora-alpha"].hidden
        and not found["--alpha"].hidden
        and not found["--per-device-train-batch-size"].hidden
    )
    assert flags.values(Train, {"opt_lora_alpha": "32"}) == {"lora_alpha": 32}


@pytest.mark.parametrize("options, workers, said", [
    ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 2, "2 workers x 2 x 4 = 16 rows a step"),
    ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 1, "1 worker x 2 x 4 = 8 rows a step"),
    ({"batch": 8}, 8, "8 workers x 1 x 1 = 8 rows a step"), ({"batch": 8, "accumulation": 2}, 2, "2 workers x 8 x 1 = 16 rows a step"),
    ({"batch": 3}, 2, "3 rows a step, shared by 2 workers"), ({"batch": 2}, 8, "2 rows a step, shared by 8 workers"),
    ({"objective": "dpo", "per_device_train_batch_size": 2}, 2, "2 workers x 2 x 1 = 4 pairs a step"),
    ({"objective": "rl", "per_device_train_batch_size": 8, "accumulation": 2}, 2, "2 workers x 8 x 2 = 32 answers a step"),
])  # fmt: skip
def test_the_rows_of_a_step_are_said(options, workers, said):
    assert Train.build(options, "train").rows_of_a_step(workers) == said


def test_workers_decide_the_key_where_they_decide_the_rows():
    def keys(**options):
        return {Train(**options).key(Inputs({}, 17, workers)) for workers in (1, 2)}

    assert len(keys(batch=2)) == 1 and len(keys(per_device_train_batch_size=2)) == 2


def test_what_is_trained_is_what_batch_and_accumulation_train(tokens_store, tiny_tokenizer, tiny, do_train):
    ours = do_train(tokens_store, {**tiny, "steps": 3, "batch": 2, "accumulation": 3}, tokenizer=tiny_tokenizer)
    theirs = {**tiny, "max_steps": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}
    store = do_train(tokens_store, theirs, tokenizer=tiny_tokenizer)
    assert store.receipt("artefact").files["model.safetensors"] == ours.receipt("artefact").files["model.safetensors"]
    assert store.receipt("artefact").notes["batch"] == "1 worker x 2 x 3 = 6 rows a step"
