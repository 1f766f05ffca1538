"""Every objective lowers its held-out loss for real, and the artefact says what it is and what it was made from."""

import json

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.train import Train

SFT = {
    "objective": "sft",
    "num_train_epochs": 4,
    "per_device_train_batch_size": 4,
    "threads": 1,
    "holdout": 0.2,
    "learning_rate": 3e-3,
    "max_length": 64,
}
DPO = {
    "objective": "dpo",
    "num_train_epochs": 2,
    "per_device_train_batch_size": 4,
    "threads": 1,
    "holdout": 0.2,
    "learning_rate": 1e-3,
    "max_length": 64,
}


def test_pretraining_from_scratch_lowers_the_held_out_loss(base_store, read_history):
    curve = read_history(base_store)
    assert curve.held[0]["step"] == 0 and curve.held[-1]["step"] == 60
    assert curve.held[-1]["loss"] < 0.5 * curve.held[0]["loss"]
    assert curve.train[-1]["weight"] > curve.train[0]["weight"]


def test_the_artefact_is_a_model_folder_with_its_card(base_store, tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = base_store.artefact()
    card = json.loads((folder / "maetdol.json").read_text())
    assert (
        card["kind"] == "model"
        and card["objective"] == "clm"
        and card["made_from"] == []
        and card["document_bos"] is True
    )
    assert card["parameters"] == AutoModelForCausalLM.from_pretrained(folder).num_parameters()
    assert len(AutoTokenizer.from_pretrained(folder)) == len(tokenizer)
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    for path in folder.glob("*.json"):
        assert str(folder.parent) not in path.read_text(), f"{path.name} holds a path of this machine"


def test_training_again_gives_the_same_bytes(tokens_store, tiny_tokenizer, tiny, do_train):
    runs = [
        do_train(tokens_store, {**tiny, "max_steps": 4}, tokenizer=tiny_tokenizer).receipt("artefact") for _ in range(2)
    ]
    assert runs[0].files == runs[1].files and runs[0].content_hash == runs[1].content_hash
    other = do_train(tokens_store, {**tiny, "max_steps": 4}, tokenizer=tiny_tokenizer, seed=18)
    assert other.receipt("artefact").content_hash != runs[0].content_hash


def test_qlora_sft_lowers_the_loss_on_held_out_answers(sft_store, base_store, read_history):
    curve = read_history(sft_store)
    assert curve.held[-1]["loss"] < 0.8 * curve.held[0]["loss"]
    card = json.loads((sft_store.artefact() / "maetdol.json").read_text())
    assert card["kind"] == "adapter" and card["method"] == "qlora"
    assert card["base"] == [base_store.receipt("artefact").content_hash]
    assert card["trained_parameters"] < card["parameters"]
    config = json.loads((sft_store.artefact() / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base_store.artefact())
    assert config["target_modules"] == sorted(config["target_modules"])


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "full"},
        {"method": "lora", "lora.use_dora": True},
        {"method": "lora", "lora.use_rslora": True, "sft.packing": False},
    ],
)
def test_other_methods_lower_it_too(changed, chat_store, base_store, do_train, read_history):
    curve = read_history(do_train(chat_store, {**SFT, **changed}, base=[base_store]))
    assert curve.held[-1]["loss"] < 0.8 * curve.held[0]["loss"]


@pytest.mark.parametrize(
    "changed, share",
    [({"method": "freeze", "freeze.trainable_layers": 1}, 0.6), ({"method": "ia3", "learning_rate": 3e-2}, 0.1)],
)
def test_a_part_of_the_weights_is_trained_and_the_rest_is_left(
    changed, share, chat_store, base_store, do_train, read_history
):
    from safetensors.torch import load_file

    store = do_train(chat_store, {**SFT, "num_train_epochs": 2, **changed}, base=[base_store])
    curve, card = read_history(store), json.loads((store.artefact() / "maetdol.json").read_text())
    assert curve.held[-1]["loss"] < curve.held[0]["loss"] - 0.1
    assert 0 < card["trained_parameters"] < share * card["parameters"]
    if card["kind"] == "model":
        before, after = (load_file(s.artefact() / "model.safetensors") for s in (base_store, store))
        moved = {name for name in before if not before[name].equal(after[name])}
        assert moved and all(name.startswith(("model.layers.1.", "model.norm")) for name in moved)


def test_a_student_learns_more_in_the_same_steps_from_a_teacher(
    tokens_store, tiny_tokenizer, tiny, base_store, do_train, read_history
):
    """Three seeds; what is compared is the likelihood of held-out text, which the teacher's share of the loss does not enter."""
    options = {
        **tiny,
        "max_steps": 25,
        "per_device_train_batch_size": 4,
        "model.hidden_size": 32,
        "model.num_attention_heads": 2,
    }
    for seed in (1, 2, 3):
        alone, distilled = (
            read_history(
                do_train(tokens_store, {**options, **more}, tokenizer=tiny_tokenizer, seed=seed, **ports)
            ).held[-1]["loss"]
            for more, ports in (
                ({}, {}),
                ({"distillation.share": 1.0, "distillation.temperature": 1.0}, {"teacher": [base_store]}),
            )
        )
        assert distilled < alone


def test_a_teacher_of_pairs_is_refused(pair_store, base_store, do_train):
    with pytest.raises(UsageError, match="not from a teacher"):
        do_train(pair_store, {**DPO, "method": "lora"}, base=[base_store], teacher=[base_store])


def test_dpo_on_the_sft_adapter_raises_the_margin_and_keeps_the_chosen_answers(
    pair_store, base_store, sft_store, do_train, read_history
):
    store = do_train(pair_store, {**DPO, "method": "qlora"}, base=[sft_store, base_store])
    first, last = read_history(store).held
    assert first["margin"] == pytest.approx(0.0, abs=1e-6) and first["reward_accuracy"] == 0.5
    assert last["loss"] < first["loss"] and last["margin"] > 1.0 and last["reward_accuracy"] > 0.9
    assert last["chosen_logp"] > first["chosen_logp"] - 0.1
    assert last["rejected_logp"] < first["rejected_logp"]
    card = json.loads((store.artefact() / "maetdol.json").read_text())
    assert card["base"] == [s.receipt("artefact").content_hash for s in (base_store, sft_store)]


def test_dpo_of_all_weights_merges_what_lies_below(pair_store, base_store, sft_store, do_train, read_history):
    store = do_train(
        pair_store,
        {**DPO, "method": "full", "learning_rate": 3e-4, "num_train_epochs": 1},
        base=[base_store, sft_store],
    )
    first, last = read_history(store).held
    assert last["margin"] > first["margin"]
    assert (store.artefact() / "model.safetensors").exists()
    card = json.loads((store.artefact() / "maetdol.json").read_text())
    assert card["kind"] == "model" and card["base"] == [] and len(card["made_from"]) == 2


def test_bf16_gradient_checkpointing_and_accumulation_train_too(
    tokens_store, tiny_tokenizer, tiny, do_train, read_history
):
    options = {
        **tiny,
        "max_steps": 12,
        "dtype": "bf16",
        "gradient_checkpointing": True,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "optimizer.lr_scheduler_type": "wsd",
    }
    curve = read_history(do_train(tokens_store, options, tokenizer=tiny_tokenizer))
    assert curve.held[-1]["loss"] < 0.9 * curve.held[0]["loss"]


@pytest.mark.parametrize("objective", ["dpo", "kto", "orpo"])
def test_what_is_held_out_measures_the_same_in_passes_of_any_size(
    objective, pair_store, base_store, do_train, read_history
):
    options = {"objective": objective, "method": "lora", "max_steps": 1, "threads": 1, "holdout": 0.2, "max_length": 64}
    first, other = (
        read_history(do_train(pair_store, {**options, "per_device_train_batch_size": size}, base=[base_store])).held[0]
        for size in (2, 5)
    )
    names = [name for name in first if isinstance(first[name], float)]
    assert {name: first[name] for name in names} == pytest.approx({name: other[name] for name in names}, rel=1e-5)


def test_accumulation_gives_the_step_of_one_large_batch(
    tokens_store, chat_store, base_store, tiny_tokenizer, tiny, do_train, read_history
):
    """Tokens weigh the same wherever they lie, so 2 x 8 rows and 8 x 2 rows are one step; rows of unequal length too."""
    for store, extra, ports in (
        (tokens_store, dict(tiny), {"tokenizer": tiny_tokenizer}),
        (chat_store, {**SFT, "method": "full", "sft.packing": False}, {"base": [base_store]}),
    ):
        extra.pop("epochs", None)
        curves = [
            read_history(
                do_train(
                    store,
                    {
                        **extra,
                        "max_steps": 5,
                        "per_device_train_batch_size": batch,
                        "gradient_accumulation_steps": 16 // batch,
                    },
                    **ports,
                )
            ).train
            for batch in (16, 2)
        ]
        assert [a["loss"] for a in curves[0]] == pytest.approx([b["loss"] for b in curves[1]], abs=1e-4)


def test_a_second_run_does_nothing_and_another_option_starts_anew(tokens_store, tiny_tokenizer, tiny, tmp_path):
    inputs = Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17)
    stage = Train(**{**tiny, "max_steps": 3})
    [first] = stage.run(inputs, Store(tmp_path), Inline())
    [again] = stage.run(inputs, Store(tmp_path), Inline())
    assert again.finished == first.finished
    assert stage.key(inputs) == Train(**{**tiny, "max_steps": 3, "save_steps": 1}).key(inputs)
    [other] = Train(**{**tiny, "max_steps": 4}).run(inputs, Store(tmp_path), Inline())
    assert other.key != first.key and other.notes["last"]["step"] == 4


def test_the_manifest_words_of_a_store(base_store, sft_store):
    assert Train().output("TOKENS") == "artefact:model" and Train(method="lora").output("CHAT") == "artefact:adapter"
    assert base_store.receipt("artefact").notes["template"] == sft_store.receipt("artefact").notes["template"]


def test_options_refuse_what_makes_no_sense():
    for given, word in (
        ({"lora.use_dora": True}, "dora"),
        ({"objective": "sft", "num_train_epochs": 500}, "epochs"),
        ({"lora.r": 0}, "lora.r"),
    ):
        with pytest.raises(UsageError, match=word):
            Train.build(given, "train")


def test_a_sliding_window_holds_packed_and_alone_and_trains(
    tokens_store, tiny_tokenizer, tiny, do_train, read_history, random_ids
):
    """A token sees `window` tokens back: one further away changes nothing, in a packed row as in the model's own forward pass."""
    import torch

    from stages.models.chat.rows import collate, join, segment
    from stages.models.inference.chain import load_model
    from stages.models.inference.score import token_logps

    store = do_train(
        tokens_store,
        {**tiny, "max_steps": 12, "model.sliding_window": 8, "model.num_hidden_layers": 1},
        tokenizer=tiny_tokenizer,
    )
    curve = read_history(store)
    assert curve.held[-1]["loss"] < 0.9 * curve.held[0]["loss"]
    model, ids = load_model(store.artefact(), dtype=torch.float32, device=torch.device("cpu")).eval(), random_ids(24)
    other = ids.copy()
    other[2] = 9
    with torch.no_grad():
        rows = [join([segment(one), segment(ids[:5])]) for one in (ids, other)]
        packed = token_logps(model, collate(rows, 3, torch.device("cpu")))
        alone = token_logps(model, collate([join([segment(ids)])], 3, torch.device("cpu")))
    assert torch.allclose(packed[0, :23], alone[0, :23], atol=1e-5)
    assert torch.equal(packed[0, 10:23], packed[1, 10:23]) and not torch.allclose(packed[0, 2:9], packed[1, 2:9])


def test_levers_that_cannot_be_pulled_here_are_refused(
    tokens_store, chat_store, tiny_tokenizer, base_store, tiny, do_train
):
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="there is no card"):
            do_train(
                tokens_store, {**tiny, "max_steps": 1, "optimizer.optim": "paged_adamw_8bit"}, tokenizer=tiny_tokenizer
            )
    with pytest.raises(UsageError, match="window shapes a model from scratch"):
        do_train(chat_store, {**SFT, "model.sliding_window": 16}, base=[base_store])
    with pytest.raises(UsageError, match="looks back"):
        Train.build({"objective": "mlm", "model.sliding_window": 16}, "train")


@pytest.mark.slow
def test_compiled_layers_train_to_the_same_curve(tokens_store, tiny_tokenizer, tiny, do_train, read_history):
    """Needs a C++ compiler; on CUDA Triton."""
    import shutil

    if not shutil.which("c++"):
        pytest.skip("no C++ compiler on this machine")
    plain, compiled = (
        read_history(
            do_train(
                tokens_store,
                {**tiny, "model.num_hidden_layers": 1, "max_steps": 4, "torch_compile": flag},
                tokenizer=tiny_tokenizer,
            )
        ).train
        for flag in (False, True)
    )
    assert [a["loss"] for a in compiled] == pytest.approx([b["loss"] for b in plain], abs=1e-3)


GEMMA = "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|system|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
"""Ends a turn with a mark that is not the tokenizer's end token, and takes no system turn."""


def test_generation_stops_at_the_templates_own_end_mark(chat_store, tiny_tokenizer, tiny, do_train, tmp_path):
    """Also where it is done by whoever loads the folder with transformers alone, and after a merge."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from stages.models.inference.generate import Generator, SamplingParams
    from stages.train.commands import Merge

    (tmp_path / "gemma.jinja").write_text(GEMMA, "utf-8")
    options = {
        **tiny,
        "objective": "sft",
        "max_steps": 50,
        "per_device_train_batch_size": 8,
        "sft.packing": False,
        "template": str(tmp_path / "gemma.jinja"),
    }
    model = do_train(chat_store, options, tokenizer=tiny_tokenizer)
    folder = model.artefact()
    question = [{"role": "user", "content": "3: 쌀는 영어로?"}]
    [[answer]] = Generator(folder, threads=1).chat([question], SamplingParams(60))
    assert answer.finish == "stop" and answer.text and "<|" not in answer.text
    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template([question], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = theirs.generate(**asked, max_new_tokens=60, do_sample=False)[0, asked["input_ids"].shape[1] :].tolist()
    assert made[-1] == tokenizer.convert_tokens_to_ids("<|system|>") and len(made) < 60
    assert tokenizer.decode(made[:-1]) == answer.text
    adapter = do_train(
        chat_store,
        {
            "objective": "sft",
            "method": "lora",
            "max_steps": 1,
            "per_device_train_batch_size": 4,
            "threads": 1,
            "holdout": 0.2,
        },
        base=[model],
    )
    assert (
        Merge(
            of=chat_store.path,
            folder=str(tmp_path / "merged"),
            chain=(model.path, adapter.path),
            holdout=0.2,
            threads=1,
            rows=4,
        ).run()
        == 0
    )
    assert json.loads((tmp_path / "merged/generation_config.json").read_text())["eos_token_id"] == [2, 4]
