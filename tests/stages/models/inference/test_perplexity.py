"""Log-likelihoods of texts: each as if it were alone, whatever stands beside it in the batch."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
TEXTS = ["맷돌은 곡식을 가는 도구이다.", "", "word " * 300, "x", "A mill grinds grain between two stones."]


@pytest.fixture(scope="module")
def reader(untrained):
    from stages.models.inference.perplexity import Foreteller

    return Foreteller(str(untrained), 1)


def test_a_text_scores_as_the_model_says_of_it_alone(reader):
    found = reader.read(TEXTS, 512)
    for text, logp, tokens in zip(TEXTS, found.logp, found.tokens):
        ids = torch.tensor(
            [[reader.opening, *reader.tokenizer(text, add_special_tokens=False)["input_ids"]][: reader.context]]
        )
        assert tokens == ids.shape[1] - 1
        if tokens:
            with torch.inference_mode():
                wanted = reader.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).sum()
            assert logp == pytest.approx(float(wanted), rel=1e-4)
    assert found.logp[1] == 0 and found.tokens[1] == 0 and found.bytes[1] == 0


def test_neighbours_and_batches_change_nothing(reader, monkeypatch):
    from stages.models.inference import perplexity

    whole = reader.read(TEXTS, 64)
    monkeypatch.setattr(perplexity, "BATCH_TOKENS", 1)
    assert reader.read(TEXTS, 64).logp == pytest.approx(whole.logp, rel=1e-5)
    assert reader.read(TEXTS[::-1], 64).logp[::-1] == pytest.approx(whole.logp, rel=1e-5)


def test_only_so_many_tokens_and_no_more_than_the_context(reader):
    assert reader.read(["word " * 300], 10).tokens.tolist() == [10]
    assert reader.read(["word " * 3000], 5000).tokens.tolist() == [reader.context - 1]
    short = reader.read(["word " * 300], 10)
    assert 0 < short.bytes[0] < 60 and np.isfinite(short.logp).all()


def test_bytes_of_a_whole_text_are_its_own(reader):
    assert reader.read(["가나다"], 100).bytes.tolist() == [9] and math.isfinite(reader.read(["가나다"], 100).logp[0])
