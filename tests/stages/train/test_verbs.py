"""The verbs around training, as a user calls them: labels looked at, steps planned, methods and options compared, adapters kept."""

import json
import os
import struct

import pytest

from pipeline.deletion import forgotten
from pipeline.errors import UsageError, WorkError
from pipeline.storage.files import filesystem
from stages.train import commands, data_check
from stages.train.planning import outlook, trials

torch = pytest.importorskip("torch")
SFT = {
    "objective": "sft",
    "method": "lora",
    "max_steps": 20,
    "per_device_train_batch_size": 4,
    "threads": 1,
    "holdout": 0.2,
    "learning_rate": 3e-3,
    "max_length": 48,
}


@pytest.fixture(scope="module")
def two(chat_store, base_store, do_train):
    """Two LoRA adapters on one base."""
    return [do_train(chat_store, SFT, base=[base_store], seed=seed) for seed in (1, 2)]


@pytest.fixture
def registry(two, tmp_path, capsys):
    folder = str(tmp_path / "adapters")
    for name, store in zip(("one", "two"), two):
        assert commands.AdaptersAdd(source=store.path, name=name, registry=folder).run() == 0
    capsys.readouterr()
    return folder


# -- labels and plans --------------------------------------------------------------------------------------------------


def test_the_data_check_shows_and_examines(
    chat_store, pair_store, tokens_store, tiny_tokenizer, base_store, tmp_path, capsys
):
    for store, check in (
        (tokens_store, "tokens that read back"),
        (chat_store, "answers whose end is trained"),
        (pair_store, "pairs with two prompts"),
    ):
        assert commands.DataCheck(of=store.path, tokenizer=tiny_tokenizer.path, rows=1, max_length=64).run() == 0
        said = capsys.readouterr().out
        assert f"ok     {check}" in said and "⟦" in said
    assert (
        commands.DataCheck(
            of=chat_store.path, tokenizer=str(base_store.artefact()), rows=1, max_length=64, colour="always"
        ).run()
        == 0
    )
    assert "\x1b[32m" in capsys.readouterr().out
    bad = tmp_path / "bad.jinja"
    bad.write_text(
        "{{ bos_token }}{% for m in messages %}{{ bos_token }}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ bos_token }}{% endif %}",
        "utf-8",
    )
    assert (
        commands.DataCheck(
            of=chat_store.path, tokenizer=tiny_tokenizer.path, max_length=64, template=str(bad), rows=0
        ).run()
        == 1
    )
    said = capsys.readouterr().out
    assert "FAULT  begin tokens per segment" in said and "FAULT  answers whose end is trained" in said


def test_the_data_check_prints_nothing_of_a_store_that_is_forgotten_meanwhile(
    chat_store, tiny_tokenizer, monkeypatch, capsys
):
    examine, folder = data_check.examine, filesystem(os.path.dirname(chat_store.path))

    def forget_and_examine(*args):
        forgotten.note(folder, "t", [("domain", forgotten.mark("domain", "x.example"))])
        return examine(*args)

    monkeypatch.setattr(data_check, "examine", forget_and_examine)
    try:
        with pytest.raises(WorkError, match="a takedown of .* went by"):
            commands.DataCheck(of=chat_store.path, tokenizer=tiny_tokenizer.path, max_length=64).run()
    finally:
        folder.delete(forgotten.NAME)
    assert capsys.readouterr().out == ""


def test_a_plan_says_nothing_of_rows_that_are_forgotten_meanwhile(
    chat_store, tiny_tokenizer, tmp_path, monkeypatch, capsys
):
    recipe, folder = tmp_path / "r.yaml", filesystem(os.path.dirname(chat_store.path))
    step = {"objective": "sft", "of": chat_store.path, "tokenizer": tiny_tokenizer.path, "hidden": 32, "layers": 1}
    recipe.write_text(json.dumps({"name": "r", "root": str(tmp_path / "run"), "steps": [{"train": step}]}))
    plan = commands.TrainPlan(recipe=str(recipe), card="h100")
    assert plan.run() == 0 and "train: sft" in capsys.readouterr().out
    rows_of = outlook.rows_of

    def read_and_forget(*given):
        found = rows_of(*given)
        forgotten.note(folder, "t", [("domain", forgotten.mark("domain", "x.example"))])
        return found

    monkeypatch.setattr(outlook, "rows_of", read_and_forget)
    try:
        with pytest.raises(WorkError, match="a takedown of .* went by"):
            plan.run()
    finally:
        folder.delete(forgotten.NAME)
    assert capsys.readouterr().out == ""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / forgotten.PENDING).write_text("{}")
    recipe.write_text(
        json.dumps(
            {
                "name": "r",
                "root": str(tmp_path / "run"),
                "steps": [{"train": {**step, "of": str(tmp_path / "run/chat")}}],
            }
        )
    )
    with pytest.raises(WorkError, match="was not finished"):
        plan.run()


def test_the_plan_of_a_recipe_is_told_before_anything_runs(repo, tmp_path, capsys):
    recipe = str(repo / "configs/quickstart.yaml")
    settings = (f"root={tmp_path}/run",)
    assert commands.TrainPlan(recipe=recipe, set=settings, tokens=6e5, card="h100", price=2.0).run() == 0
    said = capsys.readouterr().out
    assert (
        "pretrain: clm, full; 1,586,448 weights" in said
        and "compute-optimal" in said
        and "at 2 an hour" in said
        and "sft-model: sft, qlora" in said
    )
    large = (*settings, "pretrain.model.hidden_size=16384", "pretrain.layers=64", "pretrain.heads=64")
    assert commands.TrainPlan(recipe=recipe, set=large, tokens=6e5, card="t4").run() == 1
    assert "DOES NOT FIT" in capsys.readouterr().out
    assert commands.TrainPlan(recipe=recipe, set=settings).run() == 0
    assert "not there yet" in capsys.readouterr().out


# -- many trials -------------------------------------------------------------------------------------------------------


def test_methods_are_compared_in_one_table_and_not_run_again(chat_store, base_store, tmp_path, capsys):
    options = {"of": chat_store.path, "folder": str(tmp_path / "bench"), "base": (base_store.path,), "methods": ("lora", "ia3", "prompt"),
               "set": ("objective=sft", "max_steps=6", "per_device_train_batch_size=4", "threads=1", "holdout=0.2", "max_length=48")}  # fmt: skip
    assert commands.PeftBench(**options).run() == 0
    table = (tmp_path / "bench/table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ") and "trial" not in line and "---" not in line]
    assert sorted(row.split(" | ")[0].strip("| ") for row in rows) == ["ia3", "lora", "prompt"]
    losses = [float(row.split(" | ")[1]) for row in rows]
    assert losses == sorted(losses) and all(loss < float(row.split(" | ")[2]) for loss, row in zip(losses, rows))
    before = {
        name: (tmp_path / "bench" / name / "receipts/artefact.json").read_bytes() for name in ("lora", "ia3", "prompt")
    }
    assert commands.PeftBench(**options).run() == 0
    assert before == {name: (tmp_path / "bench" / name / "receipts/artefact.json").read_bytes() for name in before}
    with pytest.raises(UsageError, match="no method is called 'lorra'"):
        commands.PeftBench(**{**options, "methods": ("lorra",)}).run()
    assert "did you mean 'lora'" in str(
        pytest.raises(UsageError, commands.PeftBench(**{**options, "methods": ("lorra",)}).run).value
    )


def test_a_method_its_objective_refuses_is_a_line_of_the_table(pair_store, base_store, tmp_path, capsys):
    options = {"of": pair_store.path, "folder": str(tmp_path), "base": (base_store.path,), "methods": ("prompt", "ia3")}
    settings = (
        "objective=reward",
        "max_steps=2",
        "per_device_train_batch_size=4",
        "threads=1",
        "holdout=0.2",
        "max_length=48",
    )
    assert commands.PeftBench(**options, set=settings).run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| ia3 |") and "cannot be merged" in next(
        line for line in lines if line.startswith("| prompt |")
    )
    with pytest.raises(UsageError, match="stepz"):
        commands.PeftBench(**options, set=("stepz=2",)).run()


def test_a_sweep_ranks_combinations_and_a_bad_one_leaves_the_others(tokens_store, tiny_tokenizer, tmp_path, capsys):
    assert trials.grid(["learning_rate=1e-3|3e-3", "per_device_train_batch_size=8|16"])[0] == {
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
    }
    options = {"of": tokens_store.path, "folder": str(tmp_path), "tokenizer": tiny_tokenizer.path, "over": ("learning_rate=1e-4|5e-3", "method=full|lora"),
               "set": ("model.hidden_size=32", "model.num_hidden_layers=1", "model.num_attention_heads=2", "max_steps=8", "threads=1", "holdout=0.2")}  # fmt: skip
    assert commands.Sweep(**options).run() == 0
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert rows[0].startswith("| learning_rate=0.005,method=full") and rows[1].startswith(
        "| learning_rate=0.0001,method=full"
    )
    assert all("needs a base model" in row for row in rows[2:]) and len(rows) == 4
    with pytest.raises(UsageError, match="4 combinations"):
        commands.Sweep(**{**options, "most": 3}).run()
    with pytest.raises(UsageError, match="no range"):
        trials.grid(["batch"])
    with pytest.raises(UsageError, match="is not readable"):
        trials.grid(["lora.r=[8"])
    with pytest.raises(UsageError, match="one value of an option"):
        commands.Sweep(**{**options, "set": ("max_steps=8|9",)}).run()


# -- adapters ----------------------------------------------------------------------------------------------------------


def test_adapters_are_listed_with_their_base(registry, base_store, two, capsys):
    assert commands.AdaptersList(registry=registry).run() == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "method", "objective", "weights", "size", "base", "hash"]
    assert [row.split()[0] for row in rows] == ["one", "two"] and all(
        base_store.receipt("artefact").content_hash[:8] in row for row in rows
    )
    with pytest.raises(UsageError, match="has an adapter 'one' already"):
        commands.AdaptersAdd(source=two[0].path, name="one", registry=registry).run()
    with pytest.raises(UsageError, match="whole model"):
        commands.AdaptersAdd(source=base_store.path, name="base", registry=registry).run()


def test_a_composed_adapter_is_the_weighted_sum_of_its_parts(registry, base_store, random_ids):
    """cat at weights 0.7 and 0.3: the change of every weight matrix is the weighted sum of both changes."""
    from safetensors.torch import load_file

    from stages.train.adapters import Registry

    assert (
        commands.AdaptersCompose(
            name="both", of=("one", "two"), base=(base_store.path,), weights=(0.7, 0.3), registry=registry
        ).run()
        == 0
    )
    found = Registry(registry)
    assert found.names() == ["both", "one", "two"]

    def change(name, layer):
        entry = found.entry(name)
        state, config = load_file(entry.link.path / "adapter_model.safetensors"), entry.config
        a, b = (next(t for key, t in state.items() if layer in key and f"lora_{side}" in key) for side in "AB")
        return b @ a * config["lora_alpha"] / config["r"]

    for layer in ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"):
        assert torch.allclose(change("both", layer), 0.7 * change("one", layer) + 0.3 * change("two", layer), atol=1e-5)
    card = json.loads((found.entry("both").link.path / "maetdol.json").read_text())
    assert card["composed_of"]["one"]["weight"] == 0.7 and card["base"] == found.entry("one").link.card["base"]


def test_an_adapter_that_is_half_made_is_never_seen(registry, base_store, monkeypatch):
    import safetensors.torch

    from stages.train.adapters import Registry

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    order = commands.AdaptersCompose(name="both", of=("one", "two"), base=(base_store.path,), registry=registry)
    with pytest.raises(OSError, match="No space"):
        order.run()
    assert Registry(registry).names() == ["one", "two"] and sorted(os.listdir(registry)) == ["one", "two"]
    monkeypatch.undo()
    assert order.run() == 0 and Registry(registry).names() == ["both", "one", "two"]


def test_an_adapter_of_another_base_is_refused(
    registry, chat_store, tokens_store, tiny_tokenizer, tiny, do_train, base_store
):
    other = do_train(tokens_store, {**tiny, "max_steps": 2}, tokenizer=tiny_tokenizer, seed=5)
    foreign = do_train(chat_store, {**SFT, "max_steps": 2}, base=[other])
    commands.AdaptersAdd(source=foreign.path, name="foreign", registry=registry).run()
    with pytest.raises(UsageError, match="different bases"):
        commands.AdaptersCompose(name="x", of=("one", "foreign"), base=(base_store.path,), registry=registry).run()
    with pytest.raises(UsageError, match="the base given is"):
        commands.AdaptersSwap(question="쌀은?", of=("foreign",), base=(base_store.path,), registry=registry).run()


def test_adapters_take_turns_on_a_base_that_is_loaded_once(registry, base_store, two, capsys):
    from stages.models.inference.generate import Generator, SamplingParams

    question = "how do you call 쌀?"
    assert (
        commands.AdaptersSwap(
            question=question,
            of=("one", "two"),
            base=(base_store.path,),
            max_new_tokens=8,
            registry=registry,
            threads=1,
        ).run()
        == 0
    )
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    for name, adapters in (("(base alone)", []), ("one", [two[0].artefact()]), ("two", [two[1].artefact()])):
        alone = (
            Generator(base_store.artefact(), adapters, threads=1)
            .chat([[{"role": "user", "content": question}]], SamplingParams(8))[0][0]
            .text
        )
        assert said[name] == alone.rstrip("\n") or said[name] == alone


def test_a_named_adapter_is_merged_and_measured(registry, base_store, chat_store, tmp_path, capsys):
    merged = commands.AdaptersMerge(
        name="one",
        of=chat_store.path,
        folder=str(tmp_path / "merged"),
        base=(base_store.path,),
        holdout=0.2,
        threads=1,
        registry=registry,
    )
    assert merged.run() == 0 and (tmp_path / "merged/model.safetensors").exists()
    assert "nats per token" in capsys.readouterr().out


# -- what is written while training ------------------------------------------------------------------------------------


def test_every_step_is_reported_to_tensorboard(tokens_store, tiny_tokenizer, tiny, do_train, tmp_path, read_history):
    """By transformers' own callback, each number under its name."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    store = do_train(tokens_store, {**tiny, "max_steps": 3, "logging_dir": str(tmp_path)}, tokenizer=tiny_tokenizer)
    [path] = tmp_path.rglob("*tfevents*")
    data, at, told = path.read_bytes(), 0, {}
    while at < len(data):  # a record: its size, a checksum, the event, a checksum
        [size] = struct.unpack_from("<Q", data, at)
        event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
        for value in event.summary.value:
            told.setdefault(value.tag, {})[event.step] = value.simple_value
        at += size + 16
    curve = read_history(store)
    assert told["train/loss"] == pytest.approx({line["step"]: line["loss"] for line in curve.train}, rel=1e-5)
    assert told["eval/loss"] == pytest.approx({line["step"]: line["loss"] for line in curve.held}, rel=1e-5)
    assert {"train/tokens_per_second", "train/learning_rate", "train/gradient_norm"} <= set(told)
    took = store.receipt("artefact").notes["took"]
    assert took["tokens_per_second"] > 0 and took["mfu"] is None
    assert took["peak_memory"] >= 0, "what this process grew by: nothing, where a test before it took as much"


def test_a_logger_that_is_not_installed_is_refused_before_anything_runs(
    tokens_store, tiny_tokenizer, tiny, monkeypatch
):
    import importlib.util

    from pipeline.engine.stage import Inputs
    from pipeline.errors import UsageError
    from stages.train import Train

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find(name, *rest))
    with pytest.raises(UsageError, match="wandb is not installed"):
        Train(**tiny, report_to=["wandb"]).check(Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17))
