"""A checkpoint is whole or absent, carries no pickle, and another run's is never taken up."""

import pytest

from pipeline.storage.store import Store
from stages.train.engine.checkpoint import INDEX, Checkpoints, State, flatten, unflatten

torch = pytest.importorskip("torch")


def state(step: int) -> State:
    return State(
        {"weight.a": torch.full((3,), float(step)), "flags": torch.tensor([1, 0], dtype=torch.uint8)}, {"note": step}
    )


def test_the_newest_is_taken_and_only_so_many_are_kept(tmp_path):
    checkpoints = Checkpoints(Store(tmp_path), "key", keep=2)
    assert checkpoints.latest() is None
    for step in (5, 10, 15):
        checkpoints.save(step, state(step))
    assert checkpoints.steps() == [10, 15]
    assert checkpoints.latest().scalars == {"note": 15, "step": 15}
    assert checkpoints.latest().tensors["weight.a"].tolist() == [15.0] * 3
    assert {path.suffix for path in (tmp_path / "passes").rglob("artefact/*")} == {".safetensors", ".json"}
    checkpoints.clear()
    assert checkpoints.latest() is None and not list((tmp_path / "passes").glob("step-*"))


def test_another_runs_checkpoint_is_not_taken_up(tmp_path):
    Checkpoints(Store(tmp_path), "key").save(5, state(5))
    assert Checkpoints(Store(tmp_path), "other").latest() is None


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    checkpoints = Checkpoints(Store(tmp_path), "key", keep=2)
    checkpoints.save(5, state(5))
    checkpoints.save(10, state(10))
    weights = tmp_path / "passes/step-00000010/artefact/state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert checkpoints.latest().scalars["step"] == 5
    (tmp_path / "passes/step-00000005/receipts/artefact.json").unlink()
    assert checkpoints.latest() is None


def test_a_checkpoint_without_its_receipt_or_listing_does_not_exist(tmp_path):
    checkpoints = Checkpoints(Store(tmp_path), "key")
    checkpoints.save(5, state(5))
    (tmp_path / INDEX).write_bytes(b"{half")
    assert checkpoints.latest() is None
    checkpoints.save(6, state(6))
    assert checkpoints.steps() == [6]


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    from pipeline.errors import DiskFull

    checkpoints = Checkpoints(Store(tmp_path), "key")
    checkpoints.save(5, state(5))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(DiskFull, match="no room"):
        checkpoints.save(6, state(6))
    assert checkpoints.latest().scalars["step"] == 5


def test_an_optimizers_state_survives_exactly():
    weights = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(3))]
    first = torch.optim.AdamW([{"params": weights[:1], "weight_decay": 0.1}, {"params": weights[1:]}], lr=1e-2)
    sum(w.square().sum() for w in weights).backward()
    first.step()
    tensors, plain = flatten("optimizer", first.state_dict())
    second = torch.optim.AdamW([{"params": weights[:1], "weight_decay": 0.1}, {"params": weights[1:]}], lr=1e-2)
    second.load_state_dict(unflatten("optimizer", tensors, plain))
    assert all(
        torch.equal(a[name], b[name])
        for a, b in zip(first.state_dict()["state"].values(), second.state_dict()["state"].values())
        for name in a
    )
    assert [g["weight_decay"] for g in second.param_groups] == [0.1, 0.01]


def test_a_state_comes_back_in_one_order_whatever_order_its_tensors_were_read_in():
    """Workers that hold shards go through it together; in two orders they would give each other the wrong moments."""
    tensors = {
        f"optimizer.{index}.{name}": torch.ones(1) for index in (10, 2) for name in ("step", "exp_avg", "exp_avg_sq")
    }
    plain = {"groups": [], "state": {"2": {}, "10": {}}}
    orders = [
        [(index, list(values)) for index, values in unflatten("optimizer", dict(items), plain)["state"].items()]
        for items in (tensors.items(), reversed(tensors.items()))
    ]
    assert orders[0] == orders[1] == [(2, ["exp_avg", "exp_avg_sq", "step"]), (10, ["exp_avg", "exp_avg_sq", "step"])]
