"""Perplexity as a number, a limit and a bucket per language; from n-grams and from a causal model."""

import math

import numpy as np
import pytest

from pipeline.errors import OptionError
from stages.quality import Quality
from stages.quality.filters.perplexity import Perplexity

ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-3.0\t<unk>\n-0.5\t</s>\n-0.5\t맷돌\n-0.6\tmill\n\n\\end\\\n"
KNOWN, STRANGE = "맷돌 맷돌 mill", "qwe rty uio pas"


@pytest.fixture
def arpa(tmp_path) -> str:
    (tmp_path / "m.arpa").write_text(ARPA, "utf-8")
    return str(tmp_path / "m.arpa")


def test_a_limit(judge, arpa):
    work = judge("perplexity", [KNOWN, STRANGE], model=arpa, max=100)
    assert work.ledger["reason"].to_pylist() == [None, "perplexity.perplexity.high"]
    assert work.ledger["perplexity.perplexity"][0].as_py() == pytest.approx(10 ** ((0.5 + 0.5 + 0.6 + 0.5) / 4))


def test_bits_per_byte(judge, arpa):
    found = judge("perplexity", ["mill"], model=arpa).ledger["perplexity.bits_per_byte"][0].as_py()
    assert found == pytest.approx(1.1 * math.log2(10) / 5)


def test_buckets_per_language(batch_of, arpa):
    def run(**options):
        filters = [{"perplexity": {"model": arpa, "cuts": {"ko": [3.4, 50]}, **options}}]
        return Quality.build({"filters": filters}, "quality").work(
            batch_of([KNOWN, "맷돌 mill mill other", STRANGE, STRANGE], lang=["ko", "ko", "ko-KR", "en"])
        )

    assert run().kept["perplexity_bucket"].to_pylist() == ["head", "middle", "tail", None]
    assert run(drop=["tail"]).ledger["reason"].to_pylist() == [None, None, "perplexity.tail", None]


def test_wrong_cuts_and_models_are_named(arpa, tmp_path, judge):
    with pytest.raises(OptionError, match="before the tail begins"):
        Quality.build({"filters": [{"perplexity": {"model": arpa, "cuts": {"ko": [9, 3]}}}]}, "quality")
    (tmp_path / "bad.arpa").write_text("no model")
    with pytest.raises(OptionError, match="no n-grams"):
        judge("perplexity", ["x"], model=str(tmp_path / "bad.arpa"))


def test_what_has_no_perplexity_is_not_kept_where_anything_may_go(arpa):
    nothing = {"perplexity": np.array([np.nan]), "bits_per_byte": np.array([np.nan])}
    assert Perplexity(model=arpa, cuts={"ko": (1, 2)}, drop=("tail",)).decide(nothing, None) == ["perplexity.empty"]
    assert Perplexity(model=arpa, max=5).decide(nothing, None) == ["perplexity.perplexity.empty"]
    assert Perplexity(model=arpa).decide(nothing, None) == [None]


@pytest.mark.slow
def test_a_model_of_this_pipeline_tells_its_own_texts_from_noise(tmp_path, batch_of, tiny_tokenizer):
    """A small causal model trained on plain sentences: shuffled letters surprise it more, and the numbers are finite."""
    import random

    torch = pytest.importorskip("torch")
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from stages.models.chat.rows import collate, join, segment
    from stages.models.inference.device import arithmetic
    from stages.models.inference.score import token_logps

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer.artefact())
    rng = random.Random(1)
    texts = [
        " ".join(
            rng.choice(["the mill grinds grain", "맷돌은 곡식을 간다", "stone on stone", "물이 바퀴를 돌린다"])
            for _ in range(6)
        )
        for _ in range(64)
    ]
    with arithmetic(2, 5):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=512,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=256,
            )
        )
        steps = torch.optim.AdamW(model.parameters(), 3e-3)
        rows = [
            join([segment(tokenizer(text, add_special_tokens=False, return_tensors="np")["input_ids"][0])])
            for text in texts
        ]
        for at in range(40):
            batch = collate(rows[at % 8 * 8 : at % 8 * 8 + 8], 0, torch.device("cpu"))
            loss = -token_logps(model, batch).sum() / (batch.labels != -100).sum()
            steps.zero_grad()
            loss.backward()
            steps.step()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    noise = ["".join(rng.sample(text, len(text))) for text in texts[:8]]
    stage = Quality.build({"filters": [{"perplexity": {"model": str(tmp_path / "model"), "max": 60}}]}, "quality")
    work = stage.work(batch_of(texts[:8] + noise))
    assert work.ledger["reason"].to_pylist() == [None] * 8 + ["perplexity.perplexity.high"] * 8
