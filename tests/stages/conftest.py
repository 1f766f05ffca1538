"""A small world to train on: a tokenizer, packed tokens, conversations and pairs over sentences of a small grammar."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

GRAINS = {
    "보리": "barley",
    "쌀": "rice",
    "콩": "beans",
    "밀": "wheat",
    "수수": "sorghum",
    "귀리": "oats",
    "조": "millet",
    "옥수수": "maize",
}
VERBS = {"갈다": "grinds", "씻다": "washes", "볶다": "roasts", "말리다": "dries", "찧다": "pounds"}
TOOLS = {"맷돌": "the millstone", "절구": "the mortar", "체": "the sieve", "가마솥": "the cauldron"}


def sentences(seed: int, count: int) -> list[str]:
    """Sentences of two languages over a few words, so that a model of 50,000 weights can learn them in seconds."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        grain, verb, tool = (rng.choice(list(words)) for words in (GRAINS, VERBS, TOOLS))
        kinds = (
            f"{tool}은 {grain}를 {verb}.",
            f"Every morning {TOOLS[tool]} {VERBS[verb]} {GRAINS[grain]}.",
            f"{rng.randrange(200)}: how do you call {grain}? It is {GRAINS[grain]}. No, who knows.",
        )
        made.append(rng.choice(kinds))
    return made


@pytest.fixture(scope="session")
def sentences_of():
    """`sentences_of(seed, count)` -> sentences."""
    return sentences


def commit(store: Any, shape: str, numbers: list[int]) -> Any:
    store.commit_manifest({"stage": "test", "shape": shape, "key": "test", "lineage": {}, "schema": []}, numbers)
    return store


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory) -> Any:
    """A committed `artefact:tokenizer` store: byte-level BPE of 512 tokens with the chat marks as control tokens."""
    from transformers import PreTrainedTokenizerFast

    from pipeline.storage.ledger import COLUMNS
    from pipeline.storage.store import Store
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(sentences(0, 400), trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": special[4:]}
        if "additional_special_tokens" in tokenizer.SPECIAL_TOKENS_ATTRIBUTES
        else {"extra_special_tokens": special[4:]}
    )
    tokenizer.save_pretrained(folder / "made")
    store = Store(folder / "store")
    store.put_artefact(folder / "made", COLUMNS.empty_table(), key="test", stage="tokenizer")
    return commit(store, "artefact:tokenizer", [])


@pytest.fixture(scope="session")
def tokenizer(tiny_tokenizer) -> Any:
    from stages.models.chat.templates import load_tokenizer

    return load_tokenizer(tiny_tokenizer.artefact())


def pack(tokenizer: Any, texts: list[str], width: int) -> list[dict[str, Any]]:
    """Documents end to end in rows of `width`, cut where a row ends."""
    from pipeline.schema import child_id, doc_id

    rows: list[dict[str, Any]] = []
    ids: list[int] = []
    docs: list[dict[str, Any]] = []

    def close() -> None:
        if ids:
            rows.append(
                {
                    "id": child_id([d["id"] for d in docs], "pack", "row", len(rows)),
                    "input_ids": list(ids),
                    "docs": list(docs),
                }
            )
            ids.clear(), docs.clear()

    for number, text in enumerate(texts):
        tokens = [
            tokenizer.bos_token_id,
            *tokenizer(text, add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
        at = 0
        while at < len(tokens):
            take = min(width - len(ids), len(tokens) - at)
            docs.append({"id": doc_id("test", str(number)), "start": len(ids), "end": len(ids) + take, "offset": at})
            ids.extend(tokens[at : at + take])
            at += take
            if len(ids) == width:
                close()
    close()
    return rows


@pytest.fixture(scope="session")
def make_rows_store(tmp_path_factory):
    """`make_rows_store(shape, rows)` -> a committed store of those rows (dicts; missing columns are null)."""
    from pipeline.schema import SHAPES
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    def make(shape: str, rows: list[dict[str, Any]], shards: int = 1) -> Any:
        schema = SHAPES[shape]
        table = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
        store = Store(tmp_path_factory.mktemp(shape.lower()))
        size = -(-len(rows) // shards)
        for number in range(shards):
            part = table.slice(number * size, size)
            store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="test", stage="test", input_ids=part["id"])
        return commit(store, shape, list(range(shards)))

    return make


@pytest.fixture(scope="session")
def pack_documents():
    """`pack_documents(tokenizer, texts, width)` -> rows of TOKENS."""
    return pack


@pytest.fixture(scope="session")
def tokens_store(tokenizer, make_rows_store):
    """600 sentences in documents of three, packed into rows of 64, two shards."""
    lines = sentences(1, 600)
    texts = ["\n".join(lines[at : at + 3]) for at in range(0, len(lines), 3)]
    return make_rows_store("TOKENS", pack(tokenizer, texts, 64), shards=2)


def conversation(number: int, rng: random.Random) -> dict[str, Any]:
    grain = rng.choice(list(GRAINS))
    asked = f"{number}: {grain}는 영어로?" if rng.random() < 0.5 else f"{number}: how do you call {grain}?"
    answer = f"It is {GRAINS[grain]}."
    return {"asked": asked, "answer": answer}


@pytest.fixture(scope="session")
def chat_store(make_rows_store):
    """160 questions about the names of grains."""
    from pipeline.schema import child_id

    rng = random.Random(2)
    rows = []
    for number in range(160):
        made = conversation(number, rng)
        messages = [{"role": "user", "content": made["asked"]}, {"role": "assistant", "content": made["answer"]}]
        rows.append({"id": child_id("chat", "test", "row", number), "messages": messages, "lang": "ko"})
    return make_rows_store("CHAT", rows)


@pytest.fixture(scope="session")
def pair_store(make_rows_store):
    """160 questions whose rejected answer names another grain, or shouts: as long as the chosen one on average."""
    from pipeline.schema import child_id

    rng = random.Random(3)
    rows = []
    for number in range(160):
        made = conversation(number, rng)
        wrong = made["answer"].replace("It is", rng.choice(["No, who knows,", "No,"]))
        rows.append(
            {
                "id": child_id("pair", "test", "row", number),
                "prompt": [{"role": "user", "content": made["asked"]}],
                "chosen": [{"role": "assistant", "content": made["answer"]}],
                "rejected": [{"role": "assistant", "content": wrong}],
                "lang": "ko",
            }
        )
    return make_rows_store("PAIR", rows)


TINY = {
    "model.hidden_size": 64,
    "model.num_hidden_layers": 2,
    "model.num_attention_heads": 4,
    "threads": 1,
    "holdout": 0.2,
    "learning_rate": 3e-3,
}
"""A Llama of some 140,000 weights."""


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    return dict(TINY)


@pytest.fixture(scope="session")
def do_train(tmp_path_factory):
    """`do_train(of, options, tokenizer=..., base=[...], sink=...)` -> the committed store of a training run."""
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.train import Train

    def train(
        of: Any,
        options: dict[str, Any],
        *,
        tokenizer: Any = None,
        base: list[Any] = (),
        teacher: list[Any] = (),
        sink: Path | None = None,
        seed: int = 17,
    ) -> Any:
        stores = {
            "of": [of],
            **({"tokenizer": [tokenizer]} if tokenizer else {}),
            **({"base": list(base)} if base else {}),
            **({"teacher": list(teacher)} if teacher else {}),
        }
        stage = Train(**options)
        store = Store(sink or tmp_path_factory.mktemp("trained"))
        stage.run(Inputs(stores, seed), store, Inline())
        return commit(store, stage.output(of.shape), [])

    return train


@pytest.fixture(scope="session")
def base_store(tokens_store, tiny_tokenizer, tiny, do_train):
    """A tiny Llama pretrained for 60 steps; its curve is in history.jsonl."""
    return do_train(tokens_store, {**tiny, "max_steps": 60, "per_device_train_batch_size": 8}, tokenizer=tiny_tokenizer)


@pytest.fixture(scope="session")
def sft_store(chat_store, base_store, do_train):
    """A QLoRA adapter on the tiny Llama."""
    return do_train(
        chat_store,
        {
            "objective": "sft",
            "method": "qlora",
            "num_train_epochs": 5,
            "per_device_train_batch_size": 4,
            "threads": 1,
            "holdout": 0.2,
            "learning_rate": 3e-3,
            "max_length": 64,
        },
        base=[base_store],
    )


@pytest.fixture(scope="session")
def read_history():
    """`read_history(store)` -> (train lines, held-out lines) of a trained store."""
    import json

    def read(store: Any) -> SimpleNamespace:
        lines = [json.loads(line) for line in (store.artefact() / "history.jsonl").read_text().splitlines()]
        return SimpleNamespace(
            train=[x for x in lines if x["kind"] == "train"], held=[x for x in lines if x["kind"] == "held_out"]
        )

    return read


@pytest.fixture(scope="session")
def random_ids():
    return lambda n, seed=0: np.random.default_rng(seed).integers(8, 500, n).astype(np.int32)


THINK = "<think>\n\n</think>\n\n"
ENDS = {
    "cohere2": ("", "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"), "cohere": ("", "<|END_OF_TURN_TOKEN|>"), "deepseek": ("", "<｜end▁of▁sentence｜>"), "diffusion_gemma": ("", "<turn|>"), "gemma4": ("", "<turn|>"),
    "gemma": ("", "<end_of_turn>"), "glm4moe": ("\n<think></think>\n", "<|user|>"), "idefics3": (" ", "<end_of_utterance>"), "smolvlm": (" ", "<end_of_utterance>"), "lfm2": ("", "<|im_end|>"),
    "llama3": ("", "<|eot_id|>"), "llava_next": (" ", "</s>"), "muse_glimmer": (" to=user<|message|>", "<|eot|>"), "nemotron": ("</think>", "<|im_end|>"), "phi3": ("", "<|end|>"), "qwen": ("", "<|im_end|>"),
}  # fmt: skip
"""By the beginning of a template's name: what stands before an answer's words in what is generated, and what ends it."""
BEFORE = {"qwen3": ("", THINK), "qwen3_training": (THINK, THINK), "qwen3_5_think": ("", "\n</think>\n\n"), "qwen3_6": ("", "\n</think>\n\n"), "qwen3_5_think_training": ("\n</think>\n\n",) * 2, "qwen3_6_training": ("\n</think>\n\n",) * 2, "qwen3_8": ("\n</think>\n\n",) * 2, "qwen3_8_training": ("\n</think>\n\n",) * 2}  # fmt: skip


def text_of_answers(name: str, answers: list[str]) -> str:
    before, end = (
        next(ENDS[start] for start in ENDS if name.startswith(start))
        if name[:6] != "gptoss"
        else ("<|channel|>final<|message|>", "<|end|>")
    )
    befores = BEFORE.get(name, (before, before))[-len(answers) :]
    ends = [end] * (len(answers) - 1) + ["<|return|>" if name[:6] == "gptoss" else end]
    after = "</s>" if name in ("phi3_training", "phi3_5_training") else ""
    return "".join(b + answer + e for b, answer, e in zip(befores, answers, ends)) + after


@pytest.fixture(scope="session")
def trained_text():
    """`trained_text(name, answers)` -> what a template of TRL's writes of a conversation of these answers that is to be learnt."""
    return text_of_answers


class ChatServer:
    """`script(question, attempt, headers)` -> (status, headers, body) or None to hang up; every request is counted."""

    def __init__(self, script: Callable[..., Any]):
        self.script, self.lock = script, threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.tries: dict[str, int] = {}
        self.in_flight = self.most_in_flight = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][-1]["content"]
                with outer.lock:
                    outer.in_flight += 1
                    outer.most_in_flight = max(outer.most_in_flight, outer.in_flight)
                    outer.tries[question] = outer.tries.get(question, 0) + 1
                    attempt = outer.tries[question]
                    outer.requests.append(
                        {"path": self.path, "body": body, "headers": dict(self.headers), "at": time.monotonic()}
                    )
                try:
                    answer = outer.script(question, attempt, self.headers)
                finally:
                    with outer.lock:
                        outer.in_flight -= 1
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, headers, data = answer
                data = data if isinstance(data, bytes) else data.encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def chat_server():
    """`chat_server(script)` -> a running ChatServer, stopped when the test ends."""
    running = []

    def start(script):
        running.append(ChatServer(script))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def completion():
    """`completion(text, finish="stop", **usage)` -> the body of a chat completion."""

    def body(text: Any, finish: Any = "stop", **usage: int) -> str:
        answer = {
            "id": "x",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        }
        return json.dumps(answer | ({"usage": usage} if usage else {}), ensure_ascii=False)

    return body
