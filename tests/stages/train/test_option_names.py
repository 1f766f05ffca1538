"""Options under the names transformers, PEFT and TRL give them, and the rows of a step counted as they count them."""

import dataclasses
import logging

import pytest

from pipeline import flags, renamed
from pipeline.engine.recipe import parse
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, UsageError
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
    assert (
        stage.gradient_accumulation_steps,
        stage.num_train_epochs,
        stage.optimizer.warmup_ratio,
        stage.optimizer.max_grad_norm,
        stage.lora.r,
        stage.lora.lora_alpha,
        stage.lora.lora_dropout,
    ) == (
        4,
        2,
        0.1,
        0.5,
        8,
        32,
        0.05,
    )
    assert (
        stage.lora.target_modules == ("q_proj",)
        and stage.lora.use_rslora
        and stage.optimizer.lr_scheduler_type == "linear"
        and stage.max_length == 512
    )
    assert not stage.sft.packing and stage.gradient_checkpointing


def test_every_other_name_is_one_that_they_have():
    """Side by side, as they write them, and in the groups."""
    pytest.importorskip("trl")
    from peft import IA3Config, LoraConfig, PromptEncoderConfig, PromptTuningConfig
    from transformers import LlamaConfig
    from trl import DPOConfig, GRPOConfig, SFTConfig
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.kto import KTOConfig

    kinds = (
        SFTConfig,
        DPOConfig,
        KTOConfig,
        CPOConfig,
        GRPOConfig,
        LoraConfig,
        IA3Config,
        PromptTuningConfig,
        PromptEncoderConfig,
    )
    theirs = {field.name for kind in kinds for field in dataclasses.fields(kind)} | {"sliding_window"}
    theirs |= set(LlamaConfig().to_dict())
    spoken = {
        "lora_r",
        "warmup_ratio",
        "mlm_probability",
        "train_batch_size",
    }  # LLaMA-Factory's, axolotl's, DeepSpeed's; transformers' until 5
    assert set(Train.also) - theirs <= spoken
    fields = set(flags.fields_of(Train))
    assert set(Train.also.values()) | set(Train.renamed.values()) - {"base"} <= fields
    assert not set(Train.also) & fields and not set(Train.also) & set(Train.renamed)
    own = {name.rpartition(".")[2] for name in fields if "." in name} - theirs - spoken
    assert own == {
        "trainable_layers",
        "min_lr_rate",
        "trains",
        "share",
        "next_sentence",
        "sft_weight",
        "algorithm",
        "rewards",
        "reward_weight",
    }


def test_the_names_of_the_version_before_are_read_with_a_note(caplog):
    before = {
        "objective": "dpo", "method": "lora", "rank": 4, "alpha": 8, "targets": ["q_proj"], "beta": 0.3, "sft_weight": 0.0, "schedule": "linear",
        "floor": 0.0, "clip": 0.5, "batch": 4, "accumulation": 2, "epochs": 2, "optimizer": "paged_adamw_8bit", "seq_len": 64,
    }  # fmt: skip
    renamed.note.cache_clear()
    with caplog.at_level(logging.WARNING):
        stage = Train.build(before, "train")
    told = " ".join(record.getMessage() for record in caplog.records)
    assert all(
        f"{name!r} is now called" in told
        for name in before
        if name not in ("objective", "method", "beta", "accumulation")
    )
    assert stage.lora.model_dump(exclude_unset=True) == {"r": 4, "lora_alpha": 8, "target_modules": ("q_proj",)}
    assert (stage.dpo.beta, stage.dpo.sft_weight, stage.optimizer.max_grad_norm, stage.optimizer.optim) == (
        0.3,
        0.0,
        0.5,
        "paged_adamw_8bit",
    )
    assert stage.rows_of_a_step(4) == "4 workers x 2 x 1 = 8 pairs a step", "`batch` counted the rows of all workers"
    assert Train.build({"objective": "rl", "rl": "rloo", "kl": 0.0}, "train").rl.algorithm == "rloo"
    assert Train.build({"objective": "kto", "beta": 0.3}, "train").kto.beta == 0.3
    assert Train.build({"objective": "sft", "method": "ia3", "targets": ["k_proj"]}, "train").ia3.target_modules == (
        "k_proj",
    )


def test_both_names_of_one_option_are_refused():
    for given, told in (
        ({"lora": {"r": 4}, "method": "lora", "rank": 8}, "'lora.r' is given twice"),
        ({"optimizer.max_grad_norm": 1.0, "clip": 1.0}, "'clip' and 'optimizer.max_grad_norm' are one option"),
        ({"per_device_train_batch_size": 2, "batch": 4}, "'batch' and 'per_device_train_batch_size' are one option"),
    ):
        with pytest.raises(OptionError, match=told):
            Train.build(given, "train")


def test_a_mistyped_option_of_a_group_is_answered():
    with pytest.raises(OptionError, match="no option 'lora.lora_alhpa'") as fault:
        Train.build({"method": "lora", "lora": {"lora_alhpa": 4}}, "train")
    assert "lora_alpha" in fault.value.hint


def test_the_command_line_has_groups_and_takes_other_names():
    found = {option.opts[0]: option for option in flags.options_of(Train)}
    assert found["--lora-alpha"].hidden and found["--alpha"].hidden and not found["--lora.lora-alpha"].hidden
    assert not found["--per-device-train-batch-size"].hidden
    assert "Rank of the adapter" in found["--lora.r"].help and "[default: 16]" in found["--lora.r"].help
    assert flags.values(Train, {"opt_lora_alpha": "32"}) == {"lora_alpha": 32}
    given = flags.values(Train, {"opt_lora__r": "4", "opt_lora": "{lora_alpha: 8}", "opt_method": "lora"})
    assert Train.build(given, "train").lora.model_dump(exclude_unset=True) == {"lora_alpha": 8, "r": 4}


@pytest.mark.parametrize("options, workers, said", [
    ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 8, "8 workers x 2 x 4 = 64 rows a step"),
    ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 1, "1 worker x 2 x 4 = 8 rows a step"), ({}, 8, "8 workers x 8 x 1 = 64 rows a step"),
    ({"global_batch_size": 8}, 8, "8 workers x 1 x 1 = 8 rows a step"), ({"global_batch_size": 64}, 2, "2 workers x 8 x 4 = 64 rows a step"),
    ({"global_batch_size": 3}, 2, "3 rows a step, shared by 2 workers"), ({"global_batch_size": 2}, 8, "2 rows a step, shared by 8 workers"),
    ({"objective": "dpo", "per_device_train_batch_size": 2}, 2, "2 workers x 2 x 1 = 4 pairs a step"),
    ({"objective": "rl", "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}, 2, "2 workers x 8 x 2 = 32 answers a step"),
])  # fmt: skip
def test_the_rows_of_a_step_are_said(options, workers, said):
    assert Train.build(options, "train").rows_of_a_step(workers) == said


def test_the_rows_of_a_step_are_checked(tokens_store, tiny_tokenizer):
    stage = Train(per_device_train_batch_size=2, gradient_accumulation_steps=4, global_batch_size=64)
    stores = {"of": [tokens_store], "tokenizer": [tiny_tokenizer]}
    stage.check(Inputs(stores, 17, 8))
    with pytest.raises(UsageError, match="2 workers x 2 x 4 = 16 rows a step, and global_batch_size is 64"):
        stage.check(Inputs(stores, 17, 2))


def test_workers_decide_the_key_where_they_decide_the_rows():
    def keys(**options):
        return {Train(**options).key(Inputs({}, 17, workers)) for workers in (1, 2)}

    assert len(keys(global_batch_size=2)) == 1 and len(keys(per_device_train_batch_size=2)) == 2


def test_rows_of_all_workers_and_of_each_train_the_same(tokens_store, tiny_tokenizer, tiny, do_train):
    common = {**tiny, "max_steps": 3, "per_device_train_batch_size": 2}
    each = do_train(tokens_store, {**common, "gradient_accumulation_steps": 3}, tokenizer=tiny_tokenizer)
    store = do_train(tokens_store, {**common, "global_batch_size": 6}, tokenizer=tiny_tokenizer)
    assert store.receipt("artefact").files["model.safetensors"] == each.receipt("artefact").files["model.safetensors"]
    assert store.receipt("artefact").notes["batch"] == "1 worker x 2 x 3 = 6 rows a step"


@pytest.mark.parametrize(
    "name, hint",
    [
        ("parallelism_config", "leaves the attention mask out"),
        ("deepspeed", "parallel: fsdp shards"),
        ("bf16", "dtype: bf16"),
        ("load_in_4bit", "method: qlora"),
        ("warmup_steps", "warmup_ratio"),
        ("use_vllm", "leave it out"),
        ("dataset", "of, the step or store"),
        ("model_name_or_path", "base: a step"),
        ("base_model", "base: a step"),
        ("micro_batch_size", "per_device_train_batch_size"),
        ("train_on_inputs", "sft.trains"),
        ("lora_target_modules", "lora.target_modules"),
        ("val_set_size", "holdout"),
        ("max_prompt_length", "max_length"),
        ("eos_token", "the template decides"),
    ],
)
def test_a_name_of_theirs_that_is_none_here_says_what_to_write(name, hint):
    with pytest.raises(OptionError, match=f"no option '{name}'") as fault:
        Train.build({"objective": "sft", name: True}, "train")
    assert hint in fault.value.hint


def test_a_name_alone_is_a_list_of_it_and_what_the_default_is_called_is_the_default():
    """As transformers and PEFT take them."""
    plain = {"objective": "sft", "method": "lora"}
    assert Train.build({**plain, "report_to": "wandb"}, "train").report_to == ("wandb",)
    assert Train.build({**plain, "lora": {"target_modules": "q_proj"}}, "train").lora.target_modules == ("q_proj",)
    default = Train.build({**plain, "report_to": "none", "lora": {"target_modules": "all-linear"}}, "train")
    assert default == Train.build(plain, "train") and default.fingerprint() == Train.build(plain, "train").fingerprint()
    with pytest.raises(OptionError, match="report_to"):
        Train.build({**plain, "report_to": "comet"}, "train")


def test_no_name_that_is_refused_so_is_one_that_is_read():
    from stages.train.unknown_names import HINTS

    assert not set(HINTS) & {*Train.also, *Train.model_fields, *flags.fields_of(Train)}
    first_words = {hint.split(":")[0].split()[0] for hint in HINTS.values()}
    assert {"parallel", "dtype", "method", "max_length", "warmup_ratio", "target_modules"} <= first_words
