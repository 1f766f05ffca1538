"""Every export is read the way its consumer reads it: TRL trains on it, the others' published rules give the conversation back.

LLaMA-Factory: data/README.md (alpaca and sharegpt, supervised and preference). axolotl: docs/dataset-formats and docs/rlhf.qmd
(chat_template, chat_template.default, chatml.prompt_pairs). Their own code was run on the same exports once:
tests/bench/dpo/RESULTS.md.
"""

import json
import warnings

import pytest
import yaml

from pipeline.schema import bare
from stages.export.commands import StoreExport
from stages.models.chat.templates import load_tokenizer

INFO = {"file_name", "formatting", "ranking", "columns", "tags", "split", "subset", "folder", "num_samples"}
COLUMNS = {
    "prompt",
    "query",
    "response",
    "history",
    "messages",
    "system",
    "tools",
    "images",
    "videos",
    "audios",
    "chosen",
    "rejected",
    "kto_tag",
}
DEFAULTS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}


def export(store, folder, to):
    StoreExport(store=store.path, out=str(folder), to=to).run()
    return [json.loads(line) for line in (folder / f"{store.name}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture
def talks(make_rows_store):
    """Conversations of one and two turns, with and without a system message, quotes, line breaks and two languages."""

    def say(role, text):
        return {"role": role, "content": text}

    rows = [
        [say("user", '콩을 "영어"로?\n한 낱말로.'), say("assistant", "beans\n\n(bean의 복수)")],
        [
            say("system", "Be brief."),
            say("user", "쌀?"),
            say("assistant", "rice"),
            say("user", "밀?"),
            say("assistant", "wheat"),
        ],
        [say("user", "보리?"), say("assistant", "barley"), say("user", "조?"), say("assistant", "millet")],
    ]
    return make_rows_store("CHAT", [{"id": f"{n:032x}", "messages": row} for n, row in enumerate(rows)])


@pytest.fixture
def preferred(make_rows_store, talks):
    rows = [row["messages"] for row in talks.read(0).to_pylist()]

    def answer(text):
        return [{"role": "assistant", "content": text}]

    made = [
        {"id": f"{n:032x}", "prompt": row[:-1], "chosen": row[-1:], "rejected": answer("모릅니다.")}
        for n, row in enumerate(rows)
    ]
    return make_rows_store("PAIR", made)


# -- TRL ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "to, shape",
    [("trl", "CHAT"), ("trl-completion", "CHAT"), ("trl", "PAIR"), ("trl-kto", "PAIR"), ("trl-reward", "PAIR")],
)
def test_trl_trains_on_what_the_printed_line_loads(
    to, shape, chat_store, pair_store, tiny_tokenizer, base_store, tmp_path, capsys, monkeypatch
):
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    export(chat_store if shape == "CHAT" else pair_store, tmp_path, to)
    line = capsys.readouterr().out.split("load with: ")[1].strip()
    data = eval(line, {"datasets": datasets})
    kind = {"trl-kto": "KTO", "trl-reward": "Reward"}.get(to, "SFT" if shape == "CHAT" else "DPO")
    settings = getattr(trl, f"{kind}Config")(
        str(tmp_path / "out"), max_steps=3, per_device_train_batch_size=4, max_length=64, report_to=[], use_cpu=True, bf16=False, save_strategy="no", disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    tokenizer = load_tokenizer(tiny_tokenizer.artefact())
    folder = str(base_store.artefact())
    if kind == "Reward":
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
        model.config.pad_token_id = tokenizer.pad_token_id
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = getattr(trl, f"{kind}Trainer")(model, args=settings, train_dataset=data, processing_class=tokenizer)
        done = trainer.train()
    assert done.global_step == 3 and done.training_loss > 0


# -- LLaMA-Factory -----------------------------------------------------------------------------------------------------------


def factory_reads(folder, name, rows):
    """(system, prompt, answers) of each row, by LLaMA-Factory's rules: what it would train on."""
    entry = json.loads((folder / "dataset_info.json").read_text())[name]
    assert set(entry) <= INFO and set(entry["columns"]) <= COLUMNS and (folder / entry["file_name"]).is_file()
    assert entry["formatting"] in ("alpaca", "sharegpt")
    if entry["formatting"] == "alpaca":
        # Once `columns` stands there, what it does not name is not read: no default fills it in.
        columns = dict.fromkeys(DEFAULTS) | entry["columns"]
        return [_alpaca(row, columns, entry["ranking"]) for row in rows]
    return [_sharegpt(row, entry["columns"], entry["ranking"]) for row in rows]


def _alpaca(row, columns, ranking):
    said = [
        {"role": role, "content": text}
        for turn in row[columns["history"]]
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    asked = "\n".join(row[columns[name]] for name in ("prompt", "query") if columns[name] and row[columns[name]])
    answers = [row[columns[name]] for name in (("chosen", "rejected") if ranking else ("response",))]
    assert all(isinstance(answer, str) and answer for answer in answers)
    return row[columns["system"]], [*said, {"role": "user", "content": asked}], answers


def _sharegpt(row, columns, ranking):
    spoken = row[columns["messages"]]
    roles = (("human", "observation"), ("gpt", "function_call"))
    assert all(m["from"] in roles[n % 2] for n, m in enumerate(spoken)), (
        "human and observation at odd, gpt and function_call at even places"
    )
    assert isinstance(row[columns["tools"]], str)
    assert len(spoken) % 2 == (1 if ranking else 0)
    said = [{"role": {"human": "user", "gpt": "assistant"}[m["from"]], "content": m["value"]} for m in spoken]
    if ranking:
        sides = [row[columns[name]] for name in ("chosen", "rejected")]
        assert all(side["from"] == "gpt" for side in sides)
        return row[columns["system"]], said, [side["value"] for side in sides]
    return row[columns["system"]], said[:-1], [said[-1]["content"]]


@pytest.mark.parametrize("to", ["llamafactory-alpaca", "llamafactory-sharegpt"])
def test_llama_factory_reads_the_conversation_back(to, talks, preferred, tmp_path):
    for store, sides in ((talks, None), (preferred, ("chosen", "rejected"))):
        read = factory_reads(tmp_path, store.name, export(store, tmp_path, to))
        for row, (system, prompt, answers) in zip(store.read(0).to_pylist(), read, strict=True):
            whole = [bare(turn) for turn in (row["prompt"] if sides else row["messages"][:-1])]
            led = [{"role": "system", "content": system}] if system else []
            assert led + prompt == whole
            assert answers == [row[side][0]["content"] for side in sides] if sides else [row["messages"][-1]["content"]]


@pytest.mark.parametrize("to, stage", [("llamafactory-alpaca", "sft"), ("llamafactory-sharegpt", "dpo")])
def test_the_line_for_llama_factory_names_folder_dataset_and_stage(to, stage, talks, preferred, tmp_path, capsys):
    store = talks if stage == "sft" else preferred
    export(store, tmp_path, to)
    words = capsys.readouterr().out.split("load with: ")[1].split()
    assert (
        words[words.index("--dataset_dir") + 1] == str(tmp_path) and words[words.index("--dataset") + 1] == store.name
    )
    assert words[words.index("--stage") + 1] == stage


# -- axolotl -----------------------------------------------------------------------------------------------------------------


def axolotl_config(folder):
    page = yaml.safe_load((folder / "axolotl.yaml").read_text())
    (data,) = page["datasets"]
    assert (
        set(data)
        <= {
            "path",
            "ds_type",
            "split",
            "type",
            "field_messages",
            "field_chosen",
            "field_rejected",
            "field_tools",
            "message_field_training",
        }
        and data["ds_type"] == "json"
    )
    return page, data


def test_axolotl_chat_template_renders_what_the_tokenizer_does(talks, preferred, tiny_tokenizer, tmp_path):
    tokenizer = load_tokenizer(tiny_tokenizer.artefact())
    rows = export(talks, tmp_path, "axolotl")
    page, data = axolotl_config(tmp_path)
    assert "rl" not in page and data["type"] == "chat_template" and (tmp_path / data["path"]).is_file()
    assert [row[data["field_messages"]] for row in rows] == [
        [bare(turn) for turn in row["messages"]] for row in talks.read(0).to_pylist()
    ]
    rows = export(preferred, tmp_path, "axolotl")
    page, data = axolotl_config(tmp_path)
    assert page["rl"] == "dpo" and data["type"] == "chat_template.default"
    for row, held in zip(rows, preferred.read(0).to_pylist(), strict=True):
        prompt = tokenizer.apply_chat_template(row[data["field_messages"]], add_generation_prompt=True, tokenize=False)
        for side in ("chosen", "rejected"):
            # chat_template.default renders an answer behind a dummy question and takes what begins with the answer's words.
            answer = row[data[f"field_{side}"]]
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": "[[dummy_message]]"}, answer], tokenize=False
            )
            rendered = text[text.find(answer["content"]) :].rstrip()
            whole = tokenizer.apply_chat_template([*held["prompt"], *held[side]], tokenize=False)
            assert (prompt + rendered).replace("\n", "") == whole.rstrip().replace("\n", "")


def test_axolotl_chatml_is_four_strings_and_one_turn(talks, preferred, tmp_path):
    rows = export(preferred, tmp_path, "axolotl-chatml")
    page, data = axolotl_config(tmp_path)
    assert page["rl"] == "dpo" and data["type"] == "chatml.prompt_pairs"
    assert [row["prompt"] for row in rows] == ['콩을 "영어"로?\n한 낱말로.'], "two-turn prompts have no form in it"
    assert all(isinstance(row[name], str) for row in rows for name in ("system", "prompt", "chosen", "rejected"))
    assert "export.many_turns" in (tmp_path / f"{preferred.name}.left-out.jsonl").read_text()
