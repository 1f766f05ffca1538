"""Methods and objectives beyond the first: each trains for real; virtual tokens act packed as they act alone and at inference."""

import json

import numpy as np
import pytest

from pipeline.errors import UsageError
from stages.models.chat.rows import collate, join, segment
from stages.models.inference.score import token_logps, virtual_tokens
from stages.train import Train

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")
SFT = {
    "objective": "sft",
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "threads": 1,
    "holdout": 0.2,
    "max_length": 48,
}
VIRTUAL = {"prompt": {"learning_rate": 3e-2}, "prefix": {"learning_rate": 3e-2}, "ptuning": {"learning_rate": 3e-3}}


def card_of(store):
    return json.loads((store.artefact() / "maetdol.json").read_text())


def assert_drawn(store):
    """The report shows the curve: loss of the steps, and of the held-out rows."""
    from pipeline.inspection.sections import Samples
    from stages.train.report import section

    (curves,) = section([store], Samples(list))[-1].groups[0]
    assert {"loss", "loss (held out)"} <= set(curves.series) and all(line.points for line in curves.lines)


@pytest.fixture(scope="module")
def virtual_stores(chat_store, base_store, do_train):
    """An adapter of each prompt method on the tiny Llama."""
    return {
        method: do_train(
            chat_store, {**SFT, "method": method, "prompt_tuning.num_virtual_tokens": 12, **more}, base=[base_store]
        )
        for method, more in VIRTUAL.items()
    }


@pytest.mark.parametrize("method", sorted(VIRTUAL))
def test_virtual_tokens_lower_the_loss_on_held_out_answers(method, virtual_stores, read_history):
    curve, card = read_history(virtual_stores[method]), card_of(virtual_stores[method])
    assert curve.held[-1]["loss"] < curve.held[0]["loss"] - 0.3
    assert card["kind"] == "adapter" and card["trained_parameters"] < 0.5 * card["parameters"]


@pytest.mark.parametrize("method", sorted(VIRTUAL))
def test_virtual_tokens_act_packed_as_alone_and_as_peft_does(method, virtual_stores, base_store, random_ids):
    from stages.models.inference.chain import assemble, chain_of, open_link

    model = assemble(
        chain_of([open_link(s.artefact()) for s in (base_store, virtual_stores[method])]),
        dtype=torch.float32,
        device=CPU,
    )
    assert virtual_tokens(model) == 12
    one, two = random_ids(11, 1), random_ids(17, 2)
    with torch.no_grad():
        packed = token_logps(model, collate([join([segment(one), segment(two)])], 3, CPU))[0]
        alone = token_logps(model, collate([join([segment(one)]), join([segment(two)])], 3, CPU))
        logits = model(input_ids=torch.from_numpy(two.astype(np.int64))[None]).logits[0, -len(two) :].log_softmax(-1)
    assert torch.allclose(packed[:11], alone[0, :11], atol=1e-5) and torch.allclose(
        packed[11:28], alone[1, :17], atol=1e-5
    )
    theirs = logits[:-1].gather(-1, torch.from_numpy(two[1:].astype(np.int64))[:, None])[:, 0]
    assert torch.allclose(alone[1, :16], theirs, atol=1e-4)


@pytest.mark.parametrize("method", sorted(VIRTUAL))
def test_virtual_tokens_are_there_when_answers_are_generated(method, virtual_stores, base_store):
    """Greedy answers of a padded batch are what asking token by token, as training does, gives."""
    from stages.models.inference.generate import Generator, SamplingParams
    from stages.models.inference.score import states

    asked = [[{"role": "user", "content": text}] for text in ("how do you call 쌀?", "콩는?")]
    before, after = (
        Generator(base_store.artefact(), [s.artefact() for s in adapters], threads=1)
        for adapters in ([], [virtual_stores[method]])
    )
    made = [answers[0].text for answers in after.chat(asked, SamplingParams(8))]
    for question, text in zip(asked, made):
        ids = after.chat_template.prompt(question)
        spelled = []
        with torch.no_grad():
            while len(spelled) < 8:
                batch = collate([join([segment(np.concatenate([ids, np.asarray(spelled, np.int32)]))])], 3, CPU)
                spelled.append(int(after.model.get_output_embeddings()(states(after.model, batch)[0, -1]).argmax()))
                if spelled[-1] in after.stops():
                    break
        assert after.tokenizer.decode(spelled, skip_special_tokens=True) == text
    row = collate([join([segment(before.chat_template.prompt(asked[0]))])], 3, CPU)
    with torch.no_grad():
        apart = states(after.model, row)[0, -1] - states(before.model, row)[0, -1]
    assert apart.abs().max() > 1e-2, "they are seen"


def test_a_prompt_begun_with_text_learns_more_than_one_begun_at_random(
    chat_store, base_store, do_train, read_history, monkeypatch
):
    from stages.train import model

    options = {
        **SFT,
        "method": "prompt",
        "prompt_tuning.num_virtual_tokens": 12,
        "prompt_tuning.prompt_tuning_init_text": "how do you call rice? It is rice.",
    }
    for seed in (1, 2, 3):
        text = read_history(do_train(chat_store, options, base=[base_store], seed=seed)).held[-1]["loss"]
        with monkeypatch.context() as patched:
            patched.setattr(model, "begin_with_text", lambda *_: None)
            assert (
                text < read_history(do_train(chat_store, options, base=[base_store], seed=seed)).held[-1]["loss"] - 0.1
            )


def test_masked_language_modelling_lowers_the_loss_on_hidden_tokens(
    tokens_store, tiny_tokenizer, tiny, do_train, read_history
):
    from transformers import AutoModelForCausalLM

    store = do_train(
        tokens_store, {**tiny, "objective": "mlm", "max_steps": 60, "mlm.next_sentence": True}, tokenizer=tiny_tokenizer
    )
    curve, card = read_history(store), card_of(store)
    assert curve.held[-1]["loss"] < 0.75 * curve.held[0]["loss"]
    assert_drawn(store)
    assert card["mask_id"] == 0 and Train(objective="mlm").output("TOKENS") == "artefact:encoder"
    both = AutoModelForCausalLM.from_pretrained(store.artefact()).eval()
    ids = torch.arange(20, 30)[None]
    changed = ids.clone()
    changed[0, -1] = 40
    with torch.no_grad():
        assert not torch.allclose(both(input_ids=ids).logits[0, 0], both(input_ids=changed).logits[0, 0]), (
            "the first token sees the last"
        )


def test_what_is_hidden_depends_on_seed_step_and_row_alone(tokens_store, tokenizer):
    from stages.train.objective.corpus import TokenRows
    from stages.train.objective.masked import Masked

    data = TokenRows([tokens_store], None, 0.2, 512)
    made = [Masked(data, tokenizer, CPU, seed=s, share=0.15, next_sentence=False) for s in (1, 1, 2)]
    rows = []
    for objective in made:
        objective.begin(3)
        rows.append(objective._hidden(5, False))
    assert (rows[0].ids == rows[1].ids).all() and (rows[0].ids != rows[2].ids).any()
    source, hidden = data.row(5), rows[0]
    asked = hidden.labels >= 0
    assert (hidden.labels[asked] == source.ids[asked]).all() and (hidden.ids[~asked] == source.ids[~asked]).all()
    assert made[0].weight(5) == asked.sum() == round(0.15 * int((~np.isin(source.ids, made[0].special)).sum()))
    before = rows[0].ids.copy()
    made[0].begin(4)
    assert (made[0]._hidden(5, False).ids != before).any()


def test_next_sentence_pairs_go_on_or_do_not(tokens_store, tokenizer):
    from stages.train.objective.corpus import TokenRows
    from stages.train.objective.masked import Masked

    data = TokenRows([tokens_store], None, 0.2, 512)
    objective = Masked(data, tokenizer, CPU, seed=1, share=0.15, next_sentence=True)
    rng = np.random.default_rng(0)
    answers = []
    for index in range(40):
        row = data.row(index)
        parts = [row.ids[row.segments == n] for n in np.unique(row.segments)]
        made, first = objective._paired(parts, index, False, rng)
        assert sum(len(part) for part in made) <= data.width
        for part, whole, answer in zip(parts, made, first):
            answers.append(answer)
            at = objective._split(part)
            if answer is None:
                assert (whole == part).all()
            else:
                follows = whole[at + 1 :] == part[at:][: len(whole) - at - 1]
                assert (whole[:at] == part[:at]).all() and whole[at] == tokenizer.eos_token_id
                assert bool(follows.all()) == (answer == tokenizer.bos_token_id) or len(follows) < 4
    split = [a for a in answers if a is not None]
    assert 0.3 < np.mean([a == tokenizer.bos_token_id for a in split]) < 0.7


@pytest.fixture(scope="module")
def reward_store(pair_store, base_store, do_train):
    options = {
        "objective": "reward",
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 48,
        "learning_rate": 1e-3,
    }
    return do_train(pair_store, options, base=[base_store])


def test_the_reward_model_ranks_held_out_pairs_above_chance(reward_store, read_history):
    first, last = read_history(reward_store).held
    assert last["loss"] < first["loss"] and last["accuracy"] > 0.9
    assert_drawn(reward_store)
    assert reward_store.shape == "artefact:reward"


def test_a_reward_adapter_is_written_whole_and_reads_as_it_was_trained(pair_store, base_store, do_train, read_history):
    from stages.models.inference.reward import RewardModel

    options = {
        "objective": "reward",
        "method": "lora",
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 48,
        "learning_rate": 3e-3,
    }
    store = do_train(pair_store, options, base=[base_store])
    assert read_history(store).held[-1]["accuracy"] > 0.8
    model = RewardModel(store.artefact(), CPU, torch.float32)
    rows = pair_store.table().slice(0, 20).to_pylist()
    good, bad = (model.score([[*row["prompt"], *row[side]] for row in rows]) for side in ("chosen", "rejected"))
    assert (good > bad).mean() > 0.8
    empty = model.score(
        [rows[0]["prompt"] + [{"role": "assistant", "content": ""}], rows[0]["prompt"] + rows[0]["chosen"]]
    )
    assert empty[0] == pytest.approx(empty[1] - 1.0)


@pytest.mark.parametrize("kind, method", [("grpo", "lora"), ("rloo", "full")])
def test_online_rl_raises_the_reward_of_held_out_answers(
    kind, method, chat_store, base_store, reward_store, do_train, read_history
):
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store

    stage = Train(objective="rl", **{"rl.algorithm": kind}, method=method, max_steps=12, per_device_train_batch_size=16, **{"rl.num_generations": 8}, **{"rl.max_completion_length": 10}, learning_rate=3e-3 if method == "lora" else 2e-3,
                  threads=1, holdout=0.2, max_length=48, **{"rl.beta": 0.0}, eval_rows=16)  # fmt: skip
    sink = Store(base_store.path).sub(f"rl-{kind}")
    [receipt] = stage.run(
        Inputs({"of": [chat_store], "base": [base_store], "reward": [reward_store]}, 17), sink, Inline()
    )
    curve = read_history(sink)
    assert curve.held[-1]["reward"] > curve.held[0]["reward"] and len(curve.train) == 12
    assert receipt.notes["method"] == method and card_of(sink)["objective"] == "rl"
    assert set(sink.ledger("artefact")["reason"].to_pylist()) <= {None, "train.held_out", "train.not_reached"}


def test_fp16_trains_with_a_scaled_loss(tokens_store, tiny_tokenizer, tiny, do_train, read_history):
    curve = read_history(do_train(tokens_store, {**tiny, "max_steps": 20, "dtype": "fp16"}, tokenizer=tiny_tokenizer))
    assert curve.held[-1]["loss"] < 0.9 * curve.held[0]["loss"]


@pytest.mark.parametrize("options, word", [
    ({"objective": "reward", "method": "prompt"}, "cannot be merged"), ({"objective": "mlm", "method": "prefix"}, "cannot be merged"),
    ({"objective": "rl", "method": "ptuning"}, "padding between virtual tokens"),
    ({"method": "prefix", "gradient_checkpointing": True}, "cache"), ({"dtype": "fp16", "optimizer.optim": "paged_adamw_8bit"}, "scaled loss"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused_by_name(options, word):
    with pytest.raises(UsageError, match=word):
        Train.build(options, "train")


def test_a_prompt_on_another_adapter_is_refused(chat_store, base_store, sft_store, do_train):
    with pytest.raises(UsageError, match="cannot be stacked"):
        do_train(chat_store, {**SFT, "method": "prompt"}, base=[base_store, sft_store])


def test_rl_without_a_reward_and_a_reader_as_a_writer_are_refused(chat_store, base_store, reward_store, do_train):
    with pytest.raises(UsageError, match="rl needs somebody who judges"):
        do_train(chat_store, {"objective": "rl", "max_steps": 1, "threads": 1}, base=[base_store])


@pytest.mark.parametrize("method", ["prefix", "prompt", "ia3"])
def test_what_dpo_compares_with_is_the_base_alone(method, pair_store, base_store, monkeypatch, tmp_path):
    """Virtual tokens change the model before its first step, so the reference is measured without them."""
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.models.inference.chain import load_model
    from stages.train.objective.preferences import Preference

    seen = {}
    refer = Preference.refer

    def watched(self, ask, batch, *more):
        refer(self, ask, batch, *more)
        bare = load_model(base_store.artefact(), dtype=torch.float32, device=CPU)
        with torch.no_grad():
            seen["bare"] = self.answers(bare, range(8), False).sums
            seen["began"] = ask(lambda model: self.answers(model, range(8), False).sums)
        seen["reference"] = self.reference[False][:8].clone()

    monkeypatch.setattr(Preference, "refer", watched)
    options = {
        "objective": "dpo",
        "method": method,
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "threads": 1,
        "holdout": 0.2,
        "max_length": 48,
    }
    Train(**options).run(Inputs({"of": [pair_store], "base": [base_store]}, 17), Store(tmp_path), Inline())
    assert torch.allclose(seen["reference"], seen["bare"], atol=1e-4)
    assert torch.allclose(seen["began"], seen["bare"], atol=1e-4) == (method == "ia3")


@pytest.mark.parametrize("objective, of", [("mlm", "tokens"), ("reward", "pairs")])
def test_what_was_trained_on_four_bits_is_written_out_as_it_computes(
    objective, of, tokens_store, pair_store, base_store, monkeypatch, tmp_path
):
    """The adapter is merged into the 4-bit base written out in full: the file holds no 4-bit weights, and the same function."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.train import merge, session

    ids, said = torch.arange(20, 40)[None], {}

    def folded(built):
        built.model.eval()
        with torch.no_grad():
            said["trained"] = built.model(input_ids=ids).logits
        return merge.folded(built)

    monkeypatch.setattr(session, "folded", folded)
    options = {
        "objective": objective,
        "method": "qlora",
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "threads": 1,
        "holdout": 0.2,
        "learning_rate": 3e-3,
        **({"max_length": 48} if of == "pairs" else {}),
    }
    Train(**options).run(
        Inputs({"of": [pair_store if of == "pairs" else tokens_store], "base": [base_store]}, 17),
        Store(tmp_path),
        Inline(),
    )
    kind = AutoModelForSequenceClassification if objective == "reward" else AutoModelForCausalLM
    whole = kind.from_pretrained(Store(tmp_path).artefact()).eval()
    assert getattr(whole.config, "quantization_config", None) is None
    with torch.no_grad():
        assert torch.allclose(whole(input_ids=ids).logits, said["trained"], atol=1e-4)
