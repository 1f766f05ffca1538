"""gigatoken gives the tokenizer's own ids or is not used: real texts, fuzzed ones, and a backend that is wrong."""

import json
import lzma
import random

import numpy as np
import pyarrow as pa
import pytest

from stages.models.fast_ids import DIFFICULT, PROBE, FastIds, faster, spread

pytest.importorskip("gigatoken", reason="gigatoken is not installed: pip install 'maetdol[fast]'")
WORDS = [
    "콩", "을", "갈아 ", "한글", "\u1112\u1161\u11ab", "e\u0301", "é", " the", "Stone", "'s", "'LL", "12", "３", "\n", "\r\n", "  ", "\t", "\u3000", "👩‍👧", "🇰🇷", "🌾", "<|user|>",
    "<|end_of_text|>", "<s>", "\x00", "\ufffd", "\u200d", "ǅ", "ß", "ſ", "-", "...", "/", "ᄀ", "ㅋ", "中", "ไทย", "ـ", "\u0338", "\U0001d518", "_", "\x1c", "\x85", "\xad",
]  # fmt: skip
FUZZED = 6_000


def trained(pattern, texts):
    """A `tokenizers.Tokenizer` with special tokens, as its folder gives it."""
    from stages.tokenizer import byte_level, patterns
    from tokenizers import Tokenizer as Library

    plan = byte_level.BytePlan(1200, patterns.expression(pattern), ("<|user|>",), "bytes", 1.0, False)
    tokens = byte_level.fit(plan, lambda: texts)
    special = {name: len(tokens) + n for n, name in enumerate((*byte_level.BASE, "<|user|>"))}
    made = Library.from_str(json.dumps(byte_level.library(tokens, plan.expression, special)))
    made.encode_special_tokens = True
    return made


@pytest.fixture(scope="module", params=["gpt4o", "llama3", "qwen"])
def pair(request):
    """(the tokenizer's own encoding of a list, gigatoken on it)."""
    draw = random.Random(3)
    hub = trained(request.param, ["".join(draw.choice(WORDS) for _ in range(300)) for _ in range(60)])

    def own(texts):
        return [np.asarray(one.ids, np.int32) for one in hub.encode_batch_fast(list(texts), add_special_tokens=False)]

    made = faster(hub, own)
    assert made is not None
    return own, made


def same(own, made, texts):
    ids, bounds = made.encode(pa.array(texts, pa.large_string()))
    assert ids.dtype == np.int32 and made.used
    for text, one, a, b in zip(texts, own(texts), bounds, bounds[1:]):
        assert np.array_equal(ids[a:b], one), text


def test_fuzzed_texts(pair):
    draw = random.Random(11)
    same(*pair, ["".join(draw.choice(WORDS) for _ in range(draw.randint(0, 14))) for _ in range(FUZZED)])


def test_difficult_texts_and_three_megabytes_without_a_blank(pair):
    same(*pair, list(DIFFICULT))
    draw = random.Random(2)
    same(*pair, ["".join(chr(draw.randint(0xAC00, 0xD7A3)) for _ in range(1_000_000)), "a" * 3_000_000])
    same(*pair, ["lone \ud800 surrogates".encode("utf-16", "surrogatepass").decode("utf-16", "replace"), ""])


def test_real_texts(pair, shared):
    with lzma.open(shared / "C-nsmc-reviews.jsonl.xz", "rt") as rows:
        texts = [json.loads(next(rows))["text"] for _ in range(3000)]
    with lzma.open(shared / "C-cpp-docs-ko.jsonl.xz", "rt") as rows:
        texts += [json.loads(next(rows))["markdown"] for _ in range(60)]
    with lzma.open(shared / "G-udhr-532.jsonl.xz", "rt") as rows:
        texts += ["\n".join(json.loads(row)["paras"][:3]) for row in list(rows)[::9]]
    same(*pair, texts)


def test_slices_and_empty_columns(pair):
    own, made = pair
    texts = pa.array(["콩을", "", "갈아", "두부"], pa.large_string())
    ids, bounds = made.encode(texts.slice(1, 2))
    assert bounds.tolist() == [0, 0, len(ids)] and np.array_equal(ids, own(["갈아"])[0])
    ids, bounds = made.encode(texts.slice(0, 0))
    assert len(ids) == 0 and bounds.tolist() == [0]


class Wrong:
    """A backend that is right until a text holds `콩`."""

    def __init__(self, made):
        self._right = made._backend

    def encode_batch(self, column, parallel):
        import awkward

        right = self._right.encode_batch(column, parallel=parallel)
        changed = awkward.Array([[7, *ids[1:]] if "콩" in text else ids for text, ids in zip(column, right.to_list())])
        return awkward.values_astype(changed, np.uint32)


@pytest.mark.parametrize("first", [["콩"], ["물", "물"]])
def test_a_backend_that_differs_is_left_at_once(pair, first):
    own, made = pair
    wrong = FastIds(lambda: Wrong(made), own)
    for texts in (first, ["물", "콩"], ["물"]):
        ids, bounds = wrong.encode(pa.array(texts, pa.large_string()))
        assert [ids[a:b].tolist() for a, b in zip(bounds, bounds[1:])] == [one.tolist() for one in own(texts)]
    assert not wrong.used


def test_a_text_longer_than_what_is_compared_is_compared_by_its_beginning(pair):
    own, made = pair
    wrong = FastIds(lambda: Wrong(made), own)
    text = "콩 " + "물 " * 2 * PROBE
    ids, _ = wrong.encode(pa.array([text], pa.large_string()))
    assert not wrong.used and wrong.left and np.array_equal(ids, own([text])[0])


def test_a_512th_of_later_texts_is_compared(pair):
    own, made = pair
    compared = []
    fast = FastIds(lambda: made._backend, lambda texts: compared.append(sum(map(len, texts))) or own(texts))
    for _ in range(3):
        fast.encode(pa.array(["a stone " * 128] * 1024, pa.large_string()))
    first, *later = compared[1:]
    assert first > PROBE // 2 and later == [2 * 1024, 2 * 1024] and fast.used


def test_words_are_forgotten_after_a_shard_of_text(pair, monkeypatch):
    own, made = pair
    opened = []
    fast = FastIds(lambda: opened.append(1) or made._backend, own)
    monkeypatch.setattr("stages.models.fast_ids.KEPT", 100)
    texts = pa.array(["stone and water " * 4], pa.large_string())
    before = []
    for _ in range(6):
        fast.encode(texts)
        before.append(len(opened))
    assert before == sorted(before) and before[-1] >= 3 and fast.used


def test_what_it_does_not_read_is_left_to_the_tokenizer():
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    hub = Tokenizer(models.BPE())
    hub.pre_tokenizer = pre_tokenizers.Split(Regex(r"\p{Hangul}+|x"), "isolated")
    assert faster(hub, lambda texts: []) is None


def test_spread_takes_rows_from_everywhere():
    assert spread(pa.array(["ab"] * 1000, pa.large_string()), 20) == list(range(0, 1000, 100))
    assert spread(pa.array(["a" * 100], pa.large_string()), 20) == []
