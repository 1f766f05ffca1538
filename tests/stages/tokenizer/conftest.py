"""Small corpora and tokenizers, made here and now."""

import random

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import DOCUMENT, content_id, doc_id
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store

KOREAN = "맷돌 곡식 콩 물 두부 마을 할머니 아침 손 돌 바퀴 천천히 곱게 갈아 넣고 돌리면 나온다 그리고 다시 하루 저녁 이야기 사람들 함께".split()
ENGLISH = "the millstone grinds grain and beans slowly while water turns a wheel of stone in every old village by the river".split()


def prose(seed: int, lang: str, sentences: int = 12) -> str:
    draw = random.Random(f"{lang}{seed}")
    words = KOREAN if lang == "ko" else ENGLISH
    said = (" ".join(draw.choice(words) for _ in range(draw.randint(4, 12))) for _ in range(sentences))
    return "".join(line + draw.choice([". ", ".\n", "!\n\n", "? "]) for line in said)


@pytest.fixture
def corpus(tmp_path):
    """A function (texts by language, shards) -> finished-looking DOCUMENT store."""

    def make(texts, shards=1, name="docs", licence="CC0-1.0"):
        store = Store(tmp_path / name)
        rows = [
            {
                "id": doc_id(name, str(n)), "content_id": content_id(text or ""), "text": text, "title": None, "url": None, "source": name,
                "lang": lang, "date": None, "licence": licence, "signals": [], "blocks": [], "meta": [],
            }
            for n, (lang, text) in enumerate(texts)
        ]  # fmt: skip
        for shard in range(shards):
            table = pa.Table.from_pylist(rows[shard::shards], schema=DOCUMENT)
            store.put(shard, table, Ledger.rows(table["id"]), key=f"{name}{shard}", stage="ingest")
        return store

    return make


@pytest.fixture
def mixed(corpus):
    """120 Korean and English documents in two shards."""
    return corpus([(lang, prose(n, lang)) for n in range(60) for lang in ("ko", "en")], shards=2)


@pytest.fixture
def train(tmp_path):
    """A function (stage, store) -> the sink of a training run in this process."""

    def run(stage, store, name="tok"):
        sink = Store(tmp_path / name)
        stage.run(Inputs({"of": [store]}), sink, Inline())
        return sink

    return run


@pytest.fixture(scope="module")
def module_corpus(tmp_path_factory):
    """A function (stage) -> folder of a tokenizer trained on prose, code and mark-up, once per stage and module."""
    folder = tmp_path_factory.mktemp("folders")
    html = "<span><s>x</s></span> <0x41> <|u|> a = b[0] + 0x0A;\n"
    texts = [(lang, prose(n, lang) + html + "!" * n + "ㅋ" * n + "." * n) for n in range(40) for lang in ("ko", "en")]
    rows = [
        dict.fromkeys(DOCUMENT.names) | {"id": doc_id("module", str(n)), "text": text, "lang": lang}
        for n, (lang, text) in enumerate(texts)
    ]
    store = Store(folder / "docs")
    table = pa.Table.from_pylist(rows, schema=DOCUMENT)
    store.put(0, table, Ledger.rows(table["id"]), key="module", stage="ingest")

    def make(stage):
        sink = Store(folder / stage.fingerprint())
        stage.run(Inputs({"of": [store]}), sink, Inline())
        return sink.artefact()

    return make
