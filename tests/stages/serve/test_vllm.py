"""What is handed to vLLM's server. vLLM itself is not installed here: the words are those of its documentation."""

import json
import os
import stat
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from stages.models.inference.chain import chain_in
from stages.serve import vllm
from stages.serve.commands import Serve


def test_a_model_and_an_adapter_on_it(base_store, sft_store):
    alone = vllm.command(chain_in([base_store.path]), "mill", "127.0.0.1", 8000, "bf16")
    assert alone[:6] == ["serve", str(base_store.artefact()), "--host", "127.0.0.1", "--port", "8000"]
    assert alone[-2:] == ["--served-model-name", "mill"] and "bfloat16" in alone
    both = vllm.command(chain_in([base_store.path, sft_store.path]), "mill", "127.0.0.1", 8000)
    said = dict(zip(both[1:], both[2:]))
    assert (
        said["--lora-modules"] == f"mill={sft_store.artefact()}"
        and said["--max-lora-rank"] == "16"
        and "--enable-lora" in both
    )
    assert said["--chat-template"] == str(sft_store.artefact() / "chat_template.jinja") and said["--tokenizer"] == str(
        sft_store.artefact()
    )


def test_what_it_cannot_serve_is_refused(base_store, sft_store, tmp_path):
    chain = chain_in([base_store.path, sft_store.path])
    with pytest.raises(UsageError, match="merge it into one model first"):
        vllm.command([*chain, chain[-1]], "mill", "127.0.0.1", 8000)
    for change in ({"use_dora": True}, {"peft_type": "IA3"}, {"r": 600}):
        config = json.loads((sft_store.artefact() / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(UsageError, match="merge it into one model first"):
            vllm.command([chain[0], chain[1]._replace(path=tmp_path)], "mill", "127.0.0.1", 8000)


def test_it_becomes_the_program_and_the_key_stays_off_the_command_line(base_store, tmp_path, monkeypatch):
    program = tmp_path / "vllm"
    program.write_text(f'#!/bin/sh\necho "$VLLM_API_KEY $@" > {tmp_path}/said\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("MILL_KEY", "secret-key")
    child = os.fork()
    if child == 0:
        try:
            Serve(model=base_store.path, engine="vllm", key_env="MILL_KEY", host="0.0.0.0", port=9000).run()
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    key, *words = Path(tmp_path, "said").read_text().split()
    assert key == "secret-key" and "secret-key" not in words and words[:2] == ["serve", str(base_store.artefact())]


def test_without_it_that_is_said(base_store, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="vllm is not installed"):
        Serve(model=base_store.path, engine="vllm").run()
    assert vllm.usable() is False
