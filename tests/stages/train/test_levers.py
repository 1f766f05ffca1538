"""Levers of memory and attention: the loss in slices is the plain loss, and an attention that cannot be computed here is refused."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.flags import fields_of
from stages.models.chat.rows import collate, join, segment
from stages.train import Train

CPU = torch.device("cpu")
VOCABULARY, CELLS = 4000, 4000 * 16


@pytest.fixture
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
    }
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=False, **shape))


@pytest.fixture
def rows(random_ids):
    return [join([segment(random_ids(n, seed=n)) for n in (40, 24, 36)]), join([segment(random_ids(90, seed=9))])]


class Given:
    """Rows as a corpus gives them."""

    width, held_rows = 100, 0

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def row(self, index, held=False):
        return self.rows[index]


def objective(rows):
    from stages.train.objective.losses import Likelihood

    return Likelihood(Given(rows), 0, CPU, fixed_width=True)


def plain(model, rows):
    """The loss over all logits at once, as a textbook writes it."""
    batch = collate(rows, 0, CPU, 100)
    mask = torch.ones(2, 1, 100, 100, dtype=torch.bool).tril() if batch.mask is None else batch.mask
    logits = model(input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False).logits
    return F.cross_entropy(
        logits.view(-1, VOCABULARY).float(), batch.labels.view(-1), ignore_index=-100, reduction="sum"
    )


def test_the_loss_trained_on_is_the_plain_one_and_so_is_its_gradient_in_slices_of_bounded_size(
    llama, rows, monkeypatch
):
    from stages.models.inference import score

    monkeypatch.setattr(score, "CELLS", CELLS)
    plain_loss = plain(llama, rows)
    plain_loss.backward()
    wanted = {name: parameter.grad.clone() for name, parameter in llama.named_parameters()}
    llama.zero_grad()
    sizes: list[int] = []
    llama.lm_head.register_forward_hook(lambda module, given, logits: sizes.append(logits.numel()))
    measured = objective(rows).measure(llama, [0, 1])
    measured.loss.backward()
    assert measured.weight == sum(int((row.labels != -100).sum()) for row in rows) == 39 + 23 + 35 + 89
    assert float(measured.loss.detach()) == pytest.approx(float(plain_loss), rel=1e-6)
    for name, parameter in llama.named_parameters():
        assert (parameter.grad - wanted[name]).abs().max() < 1e-5 * max(1.0, float(wanted[name].abs().max())), name
    assert max(sizes) <= CELLS, "no more logits than that at a time"
    assert sum(sizes) == 2 * measured.weight * VOCABULARY, (
        "once forward and once backward, for the tokens asked for alone"
    )


def kept(compute):
    """Numbers of the size of a vocabulary that autograd keeps for the backward pass."""
    found = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (found.append(t.numel()) if t.dim() and t.shape[-1] == VOCABULARY else None, t)[1], lambda t: t
    ):
        compute()
    return sum(found)


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_rows(llama, rows, monkeypatch):
    from stages.models.inference import score

    monkeypatch.setattr(score, "CELLS", CELLS)
    assert kept(lambda: objective(rows).measure(llama, [0, 1])) == 0
    assert kept(lambda: objective(rows * 4).measure(llama, list(range(8)))) == 0
    assert kept(lambda: plain(llama, rows)) >= 200 * VOCABULARY, "the measure sees logits that are kept"


@pytest.mark.parametrize("options, word", [
    ({"attn_implementation": "flash", "dtype": "fp32"}, "bf16 or fp16"), ({"attn_implementation": "flex", "objective": "rl"}, "TRL"),
    ({"attn_implementation": "flex", "objective": "sft", "method": "prefix"}, "written mask"), ({"attn_implementation": "eager"}, "sdpa"),
])  # fmt: skip
def test_attention_that_contradicts_other_options_is_refused(options, word):
    with pytest.raises(ValidationError, match=word):
        Train(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
@pytest.mark.parametrize("way", ["flex", "flash"])
def test_attention_for_a_card_without_one_is_refused_before_anything_runs(way, tokens_store, tiny_tokenizer):
    stage = Train(attn_implementation=way)
    with pytest.raises(UsageError, match=f"attn_implementation: {way} is computed on a CUDA card") as fault:
        stage.check(Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17))
    assert "attn_implementation: auto" in fault.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_kernels_of_liger_without_a_card_are_refused_before_anything_runs(tokens_store, tiny_tokenizer, monkeypatch):
    for found in (None, object()):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=found: found)
        with pytest.raises(UsageError, match="use_liger_kernel: .*CUDA card, and there is none"):
            Train(use_liger_kernel=True).check(Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17))


@pytest.mark.skipif(
    not (torch.cuda.is_available() and importlib.util.find_spec("liger_kernel")),
    reason="there is no CUDA card, or no liger-kernel",
)
def test_kernels_of_liger_train_what_those_of_torch_do(tokens_store, tiny_tokenizer, tiny, do_train, read_history):
    options = {**tiny, "max_steps": 4, "dtype": "bf16"}
    plain, liger = (
        read_history(do_train(tokens_store, {**options, "use_liger_kernel": kernels}, tokenizer=tiny_tokenizer))
        for kernels in (False, True)
    )
    assert [line["loss"] for line in liger.train] == pytest.approx([line["loss"] for line in plain.train], rel=0.02)


def test_an_old_card_is_told_that_flash_is_not_for_it(monkeypatch):
    from stages.train.workers.levers import check_card

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    with pytest.raises(UsageError, match="compute capability 8.0") as fault:
        check_card(Train(attn_implementation="flash"), True)
    assert "flex" in fault.value.hint
    check_card(Train(attn_implementation="flex"), True)


def test_a_budget_of_shards_is_a_workers_part():
    from stages.train.planning.budget import Machine, Shape, budget
    from stages.train.workers.levers import spread

    shape = Shape(32_000, 1024, 16, 16, 16, 2752)
    whole = budget(Train(parallel="fsdp"), shape, 1024, 1 << 20, Machine("a card", 80 << 30, 1e14, True))
    part = spread(whole, Train(parallel="fsdp"), 4)
    for name in ("weights", "gradients", "optimizer"):
        assert part.parts[name] == whole.parts[name] // 4
    assert part.parts["activations"] == whole.parts["activations"]
    assert part.parts["gathered"] == 4 * (shape.matrices + 32_000 * 1024)
    assert spread(whole, Train(), 4) is whole


@pytest.mark.parametrize("options, told", [
    ({"lora.r": 4}, "lora.r is used by method lora, qlora (not by full)"), ({"objective": "sft", "beta": 0.1}, "dpo.beta is used by objective dpo (not by sft)"),
    ({"objective": "sft", "method": "ia3", "lora.lora_alpha": 16}, "lora.lora_alpha is used by method lora, qlora (not by ia3)"), ({"method": "qlora", "prompt_tuning.num_virtual_tokens": 8}, "prompt, prefix, ptuning (not by qlora)"),
    ({"objective": "dpo", "rl.num_generations": 8}, "rl.num_generations is used by objective rl (not by dpo)"), ({"optimizer.lr_scheduler_type": "constant", "optimizer.min_lr_rate": 0.5}, "(not by constant)"), ({"objective": "reward", "sft.packing": False}, "sft.packing is used by objective sft"), ({"lora.use_dora": False}, "lora.use_dora is used by method"),
])  # fmt: skip
def test_an_option_that_would_have_no_effect_is_refused(options, told):
    from pipeline.errors import OptionError

    with pytest.raises(OptionError) as fault:
        Train.build(options, "train")
    assert told in fault.value.message and "leave it out" in fault.value.message
    name = list(options)[-1]
    rest = {other: value for other, value in options.items() if other != name}
    assert Train.build(rest, "train") is not None, "it alone is what is refused"


def test_it_is_known_of_every_option_who_uses_it():
    from stages.train.workers.levers import BY_ALL, FROM_SCRATCH, USED_BY

    groups = {name for name in USED_BY if "." not in name}
    assert sorted([*groups, *FROM_SCRATCH, *BY_ALL]) == sorted(Train.model_fields), "each stands in one of the three"
    fields = fields_of(Train)
    assert set(USED_BY) <= set(fields)
    for users in USED_BY.values():
        for by, values in users.items():
            assert set(values) <= set(fields[by][1].annotation.__args__)


def test_options_that_the_stores_given_leave_without_effect_are_refused(chat_store, base_store, tmp_path, capsys):
    from pipeline import cli

    for options, told in (
        ({"model.num_hidden_layers": 2}, "model.num_hidden_layers shapes a model from scratch, and a base is given"),
        ({"distillation.share": 0.5}, "distillation.share is used with a teacher"),
    ):
        with pytest.raises(UsageError, match=told):
            Train(objective="sft", **options).check(Inputs({"of": [chat_store], "base": [base_store]}, 17))
    with pytest.raises(UsageError, match="dpo.beta is used by objective dpo"):
        cli.cli.main(
            [
                "train",
                chat_store.path,
                str(tmp_path / "sft"),
                "--base",
                base_store.path,
                "--objective",
                "sft",
                "--beta",
                "0.1",
            ],
            standalone_mode=False,
        )
    assert not (tmp_path / "sft").exists()


def test_trials_of_several_methods_each_take_the_shared_options_they_use():
    from stages.train.planning.trials import METHODS, shared

    common = {"objective": "sft", "lora.r": 4, "dpo.beta": 1.0}
    some = {name: METHODS[name] for name in ("full", "lora", "ia3")}
    found = {name: shared(common, more, some) for name, more in some.items()}
    assert [sorted(one) for one in found.values()] == [
        ["dpo.beta", "objective"],
        ["dpo.beta", "lora.r", "objective"],
        ["dpo.beta", "objective"],
    ]
