"""A merge is measured against what was trained, the nearer base is taken, and a far one is refused."""

import json

import pytest

from pipeline.deletion.forgotten import writing
from pipeline.errors import UsageError
from stages.train.commands import Merge


@pytest.fixture()
def options(chat_store, base_store, sft_store, tmp_path):
    return {
        "of": chat_store.path,
        "folder": str(tmp_path / "merged"),
        "chain": (sft_store.path, base_store.path),
        "holdout": 0.2,
        "threads": 1,
    }


def test_the_merged_model_answers_as_the_adapter_on_four_bits(options, base_store, sft_store, capsys):
    from stages.models.inference.generate import Generator, SamplingParams

    assert Merge(**options).run() == 0
    folder = options["folder"]
    card = json.loads(open(f"{folder}/maetdol.json").read())
    assert card["kind"] == "model" and card["base"] == [] and len(card["made_from"]) == 2
    found = card["merge_divergence"]
    assert set(found) == {"full precision", "4 bits written out"} and card["merged_into"] == min(found, key=found.get)
    assert found["4 bits written out"] < 1e-4, "the same rounding, so the same model"
    assert found["full precision"] > found["4 bits written out"]
    asked = [[{"role": "user", "content": "3: how do you call 콩?"}]]
    stacked, merged = Generator(base_store.artefact(), [sft_store.artefact()], threads=1), Generator(folder, threads=1)
    assert stacked.chat(asked, SamplingParams(16)) == merged.chat(asked, SamplingParams(16))
    assert "merged into 4 bits written out" in capsys.readouterr().out


def test_what_is_measured_is_what_is_written(options, base_store, sft_store, tmp_path):
    """In bf16 the weights lose digits: the distance is that of the folder, read back."""
    import torch

    from stages.models.inference.chain import chain_in, load_model
    from stages.train import merge

    far = {}
    for dtype in ("fp32", "bf16"):
        verb = Merge(**{**options, "folder": str(tmp_path / dtype), "dtype": dtype})
        given, cpu = verb.prepared(verb.chain), torch.device("cpu")
        assert verb.run() == 0
        card = json.loads((tmp_path / dtype / "maetdol.json").read_text())
        far[dtype] = card["merge_divergence"][card["merged_into"]]
        trained = merge.assemble(chain_in(verb.chain), dtype=torch.float32, device=cpu, four_bit=True)
        written = load_model(tmp_path / dtype, dtype=torch.float32, device=cpu)
        found = merge.divergence(trained, written, given.rows, given.tokenizer.pad_token_id, cpu, 8)
        assert far[dtype] == pytest.approx(found, rel=1e-2, abs=1e-8)
    assert far["bf16"] > 10 * far["fp32"]


def test_a_merge_that_goes_too_far_writes_nothing(options, tmp_path, monkeypatch):
    from stages.train import merge

    monkeypatch.setattr(merge, "divergence", lambda *given: 0.7)
    with pytest.raises(UsageError, match="0.7000 nats per token away"):
        Merge(**options).run()
    assert not (tmp_path / "merged").exists()


def test_a_folder_with_something_in_it_is_left_alone(options, tmp_path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged/notes").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        Merge(**options).run()
    assert [path.name for path in (tmp_path / "merged").iterdir()] == ["notes"]


def test_the_lock_of_the_folder_is_nothing_in_it(options, tmp_path):
    """A command makes the folder to lock it."""
    order = Merge(**options)
    with writing(str(tmp_path / "merged")):
        assert (tmp_path / "merged/lock.json").exists() and order.run() == 0
    assert not (tmp_path / "merged/lock.json").exists() and (tmp_path / "merged/config.json").exists()


def test_what_is_measured_on_is_the_conversation_with_its_tools(make_rows_store, tiny_tokenizer):
    from stages.models.chat.templates import Chat, load_tokenizer
    from stages.train.merge import held_conversations, rows_of

    tools = '[{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]'
    talk = [{"role": "user", "content": "콩?"}, {"role": "assistant", "content": "beans"}]
    rows = [{"id": f"{n:032x}", "messages": talk, "tools": tools if n == 1 else None, "lang": "ko"} for n in range(4)]
    store = make_rows_store("CHAT", rows)
    held = held_conversations(store.path, 1, 3)
    assert [one.tools for one in held] == [None, tools, None]
    template = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    chat = Chat(load_tokenizer(tiny_tokenizer.artefact(), template))
    shown = ["lookup" in chat.tokenizer.decode(row.ids) for row in rows_of(held, chat, 256)]
    assert shown == [False, True, False]
