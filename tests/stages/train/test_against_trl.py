"""TRL is the specification: on the same rows its trainers and this room give the same loss."""

import pytest

from stages.models.chat.rows import collate
from stages.models.chat.templates import Chat
from stages.train.objective.conversations import Conversations, Pairs

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(base_store):
    from stages.models.inference.chain import load_model

    return load_model(base_store.artefact(), dtype=torch.float32, device=CPU)


def settings(tmp_path, **more):
    return {
        "output_dir": str(tmp_path),
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 8,
        "max_length": 64,
        "disable_tqdm": True,
        **more,
    }


def batch_of(trainer):
    """The trainer's first eight rows, in the store's order."""
    rows = trainer.train_dataset
    columns = [
        name
        for name in ("input_ids", "assistant_masks", "prompt_ids", "chosen_ids", "rejected_ids", "labels")
        if name in rows.column_names
    ]
    return trainer.data_collator([{name: rows[n][name] for name in columns} for n in range(8)])


@pytest.mark.parametrize("loss, beta, per_token", [("sigmoid_norm", 5.0, True), ("sigmoid", 0.1, False)])
def test_the_preference_loss_is_trls(loss, beta, per_token, base, pair_store, tokenizer, tmp_path):
    from trl import DPOConfig, DPOTrainer

    from stages.train.objective.losses import Preference

    rows = pair_store.table().slice(0, 8).to_pylist()
    data = Pairs([pair_store], Chat(tokenizer), 64, 0.0)
    policy, reference = shaken(base), base
    ours = Preference(data, tokenizer.pad_token_id, CPU, beta=beta, per_token=per_token, sft_weight=0.0)
    ours.refer(reference, 16)
    with torch.no_grad():
        mine = ours.measure(policy, list(range(8)))
    import datasets

    given = datasets.Dataset.from_list([{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows])
    trainer = DPOTrainer(
        policy,
        reference,
        DPOConfig(**settings(tmp_path, loss_type=[loss], beta=beta)),
        train_dataset=given,
        processing_class=tokenizer,
    )
    policy.eval()
    with torch.no_grad():
        theirs = trainer.compute_loss(policy, batch_of(trainer))
    assert float(mine.loss) / mine.weight == pytest.approx(float(theirs), abs=2e-4)
    assert float(theirs) != pytest.approx(0.6931, abs=1e-2), (
        "the policy differs from the reference, or nothing is shown"
    )


def test_the_answers_asked_for_and_their_loss_are_trls(base, chat_store, tokenizer, tmp_path):
    import datasets
    from trl import SFTConfig, SFTTrainer

    from stages.train.objective.losses import Likelihood

    rows = chat_store.table().slice(0, 8).to_pylist()
    data = Conversations([chat_store], Chat(tokenizer), 64, 0.0, pack=False)
    ours = Likelihood(data, tokenizer.pad_token_id, CPU, fixed_width=False)
    with torch.no_grad():
        mine = ours.measure(base, list(range(8)))
    given = datasets.Dataset.from_list([{"messages": row["messages"]} for row in rows])
    trainer = SFTTrainer(
        shaken(base, 0.0),
        SFTConfig(**settings(tmp_path, assistant_only_loss=True)),
        train_dataset=given,
        processing_class=tokenizer,
    )
    theirs_batch = batch_of(trainer)
    batch = collate([data.row(n) for n in range(8)], tokenizer.pad_token_id, CPU)
    assert (theirs_batch["labels"][:, 1:] == batch.labels[:, :-1]).all()
    trainer.model.eval()
    with torch.no_grad():
        theirs = trainer.compute_loss(trainer.model, theirs_batch)
    assert float(mine.loss) / mine.weight == pytest.approx(float(theirs), abs=1e-4)


def shaken(model, by: float = 0.02):
    """A copy of the model with noise on its weights."""
    import copy

    made = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=draw))
    return made
