"""The plan's time on a processor: measured on a proxy model, in proportion, and of rows as `train` reads them."""

import pytest

from stages.train import Train
from stages.train.planning import budget as b

torch = pytest.importorskip("torch")
SHAPE = b.Shape(512, 64, 2, 4, 2, 192)
SFT = {"objective": "sft", "threads": 1}


@pytest.fixture(scope="module")
def rows():
    from stages.train.planning.pace import RunRows

    return RunRows(count=80, held=20, length=48, trained=0.5, segments=2)


@pytest.mark.parametrize("options", [{"objective": "clm"}, {**SFT, "method": "freeze"}, {**SFT, "method": "lora"}, {**SFT, "method": "qlora"}, {**SFT, "method": "ia3"},
                                     {**SFT, "method": "prompt"}, {"objective": "dpo", "method": "lora"}, {"objective": "mlm"}, {"objective": "reward"}])  # fmt: skip
def test_every_objective_and_method_can_be_tried(options, rows):
    from stages.train.planning import pace

    assert pace.seconds(Train(**{"threads": 1, **options}), SHAPE, rows, 10) > pace.START


def test_seconds_grow_with_steps_and_layers_and_the_run_stays_as_it_was(rows):
    from stages.train.planning import pace

    stage = Train(**SFT, method="lora")
    torch.manual_seed(7)
    before = torch.get_rng_state()
    few, many = (pace.seconds(stage, SHAPE, rows, steps) - pace.START for steps in (10, 1000))
    assert torch.equal(torch.get_rng_state(), before), "the random state of a run does not move"
    assert 10 < many / few < 100, "steps in proportion, held-out rows once"
    deep = pace.seconds(stage, SHAPE._replace(layers=200), rows, 1000) - pace.START
    assert deep > 5 * many


def test_what_is_too_large_for_a_processor_is_not_tried(rows):
    from stages.train.planning import pace

    large = b.Shape(128_256, 4096, 32, 32, 8, 14336, tied=False)
    assert pace.seconds(Train(**SFT, method="lora"), large, rows, 10) is None
    assert pace.seconds(Train(objective="rl", threads=1), SHAPE, rows, 10) is None


@pytest.mark.parametrize("options", [{}, {"sft.packing": False, "per_device_train_batch_size": 8}])
def test_rows_are_those_train_reads(options, chat_store, base_store, tmp_path):
    import yaml

    from pipeline.engine.recipe import load
    from stages.models.chat.templates import Chat, load_tokenizer
    from stages.models.inference.chain import open_link
    from stages.models.inference.generate import tokenizer_of
    from stages.train.objective.conversations import Conversations
    from stages.train.planning import outlook

    train = {
        "name": "it",
        "of": chat_store.path,
        "base": base_store.path,
        "objective": "sft",
        "threads": 1,
        "holdout": 0.2,
        **options,
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"name": "x", "root": str(tmp_path / "run"), "steps": [{"train": train}]}))
    plan = load(str(recipe), [])
    found, width = outlook.rows_of(plan, plan.steps[0], outlook.width_of(plan, plan.steps[0]), None)
    chat = Chat(load_tokenizer(tokenizer_of([open_link(base_store.artefact())])))
    real = Conversations([chat_store], chat, 64, 0.2, pack=options.get("pack", True), measured=True)
    assert width == real.width
    assert (
        found.length == width
        if options.get("pack", True)
        else abs(found.length - max(len(real.row(n).ids) for n in range(8))) <= 4
    )
    assert abs(found.count - len(real)) <= 0.15 * len(real) + 2
    asked = sum(real.weight(n) for n in range(len(real))) / (found.length * len(real))
    assert abs(found.trained - asked) < 0.15


def test_a_step_over_several_cards_is_planned_for_each_of_them(tmp_path):
    import yaml

    from pipeline.engine.recipe import load
    from stages.train.planning import outlook

    def made(workers: int) -> tuple[str, outlook.StepEstimate]:
        train = {
            "name": "it",
            "of": str(tmp_path / "rows"),
            "model.hidden_size": 1024,
            "model.num_hidden_layers": 16,
            "parallel": "fsdp",
            "max_length": 1024,
        }
        page = {
            "name": "x",
            "root": str(tmp_path / "run"),
            "steps": [{"train": train}],
            "run": {"steps": {"it": {"workers": workers}}},
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(page))
        plan, card = load(str(tmp_path / "recipe.yaml"), []), b.machine("h100")
        found = outlook.estimate(plan, plan.steps[0], card, 1e9)
        assert found is not None
        return outlook.page(plan, plan.steps[0], card, 1e9, 2.0)[0], found

    (alone, one), (text, four) = made(1), made(4)
    for kept in ("weights", "gradients", "optimizer"):
        assert four.budget.parts[kept] == one.budget.parts[kept] // 4
    assert four.budget.seconds == pytest.approx(one.budget.seconds / 4)
    assert "for each of 4 workers" in text and "workers" not in alone
    assert text.split("about")[-1].split(" at ")[0] == alone.split("about")[-1].split(" at ")[0], (
        "as many card hours cost as much"
    )
