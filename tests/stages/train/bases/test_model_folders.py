"""Models from elsewhere: a Hugging Face folder or a repository on the Hub serves every step, and so does what is trained on it."""

import json
import shutil

import pytest

from pipeline.engine.recipe import parse
from pipeline.engine.run import complete, run
from pipeline.errors import SourceError, UsageError
from pipeline.storage.store import Store
from stages.models.inference.chain import chain_of, open_link
from stages.models.inference.folder import ModelFolder, fetched, opened
from stages.train.commands import Merge, ModelAdopt

LORA = {
    "method": "lora",
    "lora.r": 4,
    "per_device_train_batch_size": 4,
    "threads": 1,
    "holdout": 0.2,
    "max_length": 64,
    "max_steps": 3,
    "learning_rate": 1e-3,
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def qwen(tiny_tokenizer, tmp_path_factory):
    """A Hugging Face folder: a tiny Qwen3 with random weights, its tokenizer, and files that are no part of a model."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("hub") / "Qwen3-random"
    shutil.copytree(tiny_tokenizer.artefact(), folder)
    config = Qwen3Config(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "README.md").write_text("a card")
    return folder


@pytest.fixture(scope="session")
def finished(qwen, chat_store, pair_store, tmp_path_factory):
    """The finished recipe of a lab over the folder: LoRA-SFT, the student's pairs, DPO on top, selection, evaluation."""
    root, base = tmp_path_factory.mktemp("lab") / "run", str(qwen)
    drawn = {
        "max_prompts": 6,
        "sampling": {"max_tokens": 8, "temperature": 0.0},
        "truncated": "keep",
        "length_ratio": 1000,
        "same_language": False,
    }
    steps = [
        {"train": {"name": "sft-model", "of": chat_store.path, "base": base, "objective": "sft", **LORA}},
        {"dpo": {"of": chat_store.path, "student": [base, "sft-model"], **drawn}},
        {"train": {"name": "dpo-model", "of": pair_store.path, "base": [base, "sft-model"], "objective": "dpo", **LORA}},
        {"select": {"of": chat_store.path, "model": [base, "sft-model"], "ifd_max": 9.0, "threads": 1}},
        {"evaluate": {"of": [chat_store.path, pair_store.path], "model": [base, "sft-model", "dpo-model"], "rows": 6, "samples": 1,
                      "bootstrap": 100, "max_new_tokens": 8, "threads": 1}},
    ]  # fmt: skip
    recipe = parse({"name": "lab", "root": str(root), "steps": steps, "run": {"pool": "inline"}})
    run(recipe)
    return recipe


def test_an_adapter_on_a_folder_serves_every_later_step(finished):
    report = json.loads((finished.store("evaluate").artefact() / "report.json").read_text())
    assert [model["name"] for model in report["models"]] == ["model", "sft", "dpo"]
    assert finished.store("dpo").require()["rows"] > 0 and finished.store("select").require()["rows"] == 160
    assert all(complete(finished, step)[0] for step in finished.steps)
    assert finished.store("sft-model").require()["lineage"]["base"][0]["content_hash"]


def test_it_opens_with_peft_alone_and_is_merged(finished, qwen, chat_store, tmp_path):
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    adapter = finished.store("sft-model").artefact()
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        alone = AutoPeftModelForCausalLM.from_pretrained(adapter)(ids).logits
        base = AutoModelForCausalLM.from_pretrained(qwen)(ids).logits
        Merge(
            of=chat_store.path,
            folder=str(tmp_path / "merged"),
            chain=(str(qwen), str(finished.store("sft-model").path)),
            holdout=0.2,
            threads=1,
        ).run()
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
    assert not torch.allclose(alone, base, atol=1e-4)
    assert torch.allclose(alone, merged, atol=1e-5)
    stacked = json.loads((finished.store("dpo-model").artefact() / "adapter_config.json").read_text())
    assert stacked["base_model_name_or_path"] is None, "PEFT would open it on the base without the adapter below"


def test_what_is_adopted_is_the_folder_byte_for_byte(qwen, finished, tmp_path):
    ModelAdopt(folder=str(qwen), store=str(tmp_path / "adopted")).run()
    store, view = Store(tmp_path / "adopted"), ModelFolder(qwen)
    assert store.shape == "artefact:model" and store.content_hash == view.content_hash
    assert not {path.suffix for path in store.artefact().iterdir()} & {".py", ".bin", ".md"}
    assert not any(path.is_symlink() for path in store.artefact().iterdir())
    links = [open_link(s.artefact(), s.receipt("artefact").content_hash) for s in (finished.store("sft-model"), store)]
    assert [link.is_adapter for link in chain_of(links)] == [False, True]
    with pytest.raises(UsageError, match="there already"):
        ModelAdopt(folder=str(qwen), store=str(tmp_path / "adopted")).run()


def test_an_adapter_folder_and_a_reward_folder_are_told_apart(finished, tmp_path):
    ModelAdopt(folder=str(finished.store("sft-model").artefact()), store=str(tmp_path / "a")).run()
    assert Store(tmp_path / "a").shape == "artefact:adapter"
    assert Store(tmp_path / "a").content_hash == finished.store("sft-model").content_hash
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.json").write_text('{"architectures": ["Qwen3ForSequenceClassification"]}')
    assert opened(str(tmp_path / "r")).shape == "artefact:reward"
    assert opened(finished.store("sft-model").path) is None, "a store is left to the store"


def test_a_changed_folder_is_another_input_and_a_moved_one_is_not(qwen, tmp_path):
    shutil.copytree(qwen, tmp_path / "moved")
    assert ModelFolder(tmp_path / "moved").content_hash == ModelFolder(qwen).content_hash
    (tmp_path / "moved" / "README.md").write_text("another card")
    assert ModelFolder(tmp_path / "moved").content_hash == ModelFolder(qwen).content_hash
    config = json.loads((tmp_path / "moved" / "config.json").read_text())
    (tmp_path / "moved" / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))
    assert ModelFolder(tmp_path / "moved").content_hash != ModelFolder(qwen).content_hash


def test_the_old_word_checkpoint_is_read_as_base(qwen, chat_store):
    page = {
        "steps": [{"train": {"of": chat_store.path, "checkpoint": str(qwen), "objective": "sft", "method": "lora"}}]
    }
    assert parse(page).step("train").ports["base"] == (str(qwen),)


def test_what_is_no_model_is_refused(chat_store, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="no model folder"):
        ModelAdopt(folder=str(tmp_path / "nothing"), store=str(tmp_path / "s")).run()
    (tmp_path / "nothing" / "config.json").write_text("{}")
    (tmp_path / "nothing" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UsageError, match="safetensors"):
        ModelAdopt(folder=str(tmp_path / "nothing"), store=str(tmp_path / "s")).run()
    assert not (tmp_path / "s").exists()
    (tmp_path / "nothing" / "config.json").write_text("{")
    with pytest.raises(SourceError, match="cannot be read"):
        parse({"steps": [{"train": {"of": chat_store.path, "base": str(tmp_path / "nothing"), "objective": "sft"}}]})


def test_a_stage_by_hand_takes_a_folder_where_a_recipe_does(hub, qwen, chat_store, tmp_path, capsys):
    from pipeline.cli import cli

    words = [word for name, value in LORA.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    for base in (str(qwen), f"{hub}@main"):
        call = ["train", chat_store.path, str(tmp_path / "sft"), "--base", base, "--objective", "sft", *words]
        assert cli.main(call, standalone_mode=False) == 0, capsys.readouterr().err
        assert Store(tmp_path / "sft").require()["lineage"]["base"][0]["content_hash"] == ModelFolder(qwen).content_hash
    call = [
        "evaluate",
        chat_store.path,
        str(tmp_path / "measures"),
        "--model",
        str(qwen),
        "--samples",
        "0",
        "--rows",
        "6",
    ]
    assert cli.main(call, standalone_mode=False) == 0
    assert "measures: measured, 0 dropped" in capsys.readouterr().err
    with pytest.raises(SourceError, match="is not a finished store"):
        cli.main(["train", chat_store.path, str(tmp_path / "x"), "--base", str(tmp_path)], standalone_mode=False)


@pytest.fixture
def hub(qwen, tmp_path, monkeypatch):
    """huggingface_hub's cache with the folder as `lab/qwen`, its branch `main` at `COMMIT`; no network."""
    from huggingface_hub import constants

    cache = tmp_path / "cache" / "models--lab--qwen"
    shutil.copytree(qwen, cache / "snapshots" / COMMIT)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetched.cache_clear()
    yield "hf://lab/qwen"
    fetched.cache_clear()


def test_a_repository_is_pinned_to_its_commit_and_keyed_by_its_bytes(hub, qwen, chat_store, tmp_path):
    store = opened(f"{hub}@main")
    assert store.source == f"{hub}@{COMMIT}" and store.content_hash == ModelFolder(qwen).content_hash
    train = {"name": "m", "of": chat_store.path, "base": f"{hub}@main", "objective": "sft", **LORA}
    recipe = parse(
        {"name": "hub", "root": str(tmp_path / "run"), "steps": [{"train": train}], "run": {"pool": "inline"}}
    )
    run(recipe)
    config = json.loads((recipe.store("m").artefact() / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("lab/qwen", COMMIT)
    assert recipe.store("m").require()["lineage"]["base"][0]["store"] == f"{hub}@{COMMIT}"


def test_without_a_network_and_without_a_revision_it_says_so(hub, chat_store):
    with pytest.raises(SourceError, match="cannot be fetched") as fault:
        opened("hf://lab/other@main")
    assert "HF_HUB_OFFLINE" in fault.value.hint and "hf download lab/other" in fault.value.hint
    with pytest.raises(UsageError, match="names no revision"):
        opened(hub)
    with pytest.raises(UsageError, match="names no repository"):
        parse(
            {
                "steps": [
                    {"train": {"of": chat_store.path, "base": "hf://lab@main", "objective": "sft", "method": "lora"}}
                ]
            }
        )


class Hub:
    """What huggingface_hub asks of a hub, for one repository: its commit, its files, their bytes."""

    def __init__(self, folder):
        import hashlib
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        outer, self.asked = self, []
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        names = {name: hashlib.sha1(data).hexdigest() for name, data in files.items()}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                outer.asked.append(path.rsplit("/", 1)[-1])
                if path.startswith("/api/models/lab/qwen/tree/"):
                    tree = [{"type": "file", "path": n, "size": len(files[n]), "oid": names[n]} for n in files]
                    self.answer(json.dumps(tree).encode())
                elif path.startswith("/api/models/lab/qwen"):
                    self.answer(json.dumps({"id": "lab/qwen", "sha": COMMIT}).encode())
                elif path.startswith("/lab/qwen/resolve/"):
                    name = path.rsplit("/", 1)[-1]
                    self.answer(files[name], ETag=f'"{names[name]}"', **{"X-Repo-Commit": COMMIT})
                else:
                    self.send_error(404)

            do_HEAD = do_GET

            def answer(self, body, **headers):
                self.send_response(200)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *given): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.slow
def test_what_is_fetched_is_what_a_model_is_made_of_and_nothing_else(qwen, tmp_path):
    """In a process of its own: huggingface_hub reads its settings when it is imported."""
    import os
    import subprocess
    import sys

    hub = Hub(qwen)
    told = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server.server_port}",
        "HF_HUB_CACHE": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
    }
    says = "from stages.models.inference.folder import opened; s = opened('hf://lab/qwen@main'); print(s.source, s.content_hash)"
    done = subprocess.run([sys.executable, "-c", says], env={**os.environ, **told}, capture_output=True, text=True)
    hub.server.shutdown()
    assert done.stdout.split() == [f"hf://lab/qwen@{COMMIT}", ModelFolder(qwen).content_hash], done.stderr
    asked = set(hub.asked)
    assert {"model.safetensors", "README.md"} <= asked and not {"pytorch_model.bin", "modeling_evil.py"} & asked
