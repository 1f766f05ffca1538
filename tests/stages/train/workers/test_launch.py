"""What is heard of a training while it runs."""

import logging
import time

from pipeline.engine.watchdog import watchdog
from pipeline.storage.store import Store
from stages.train.workers import launch, process


def test_steps_are_logged_where_there_is_no_bar(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(launch, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.01)
    sink = Store(tmp_path)
    (tmp_path / "passes").mkdir()
    with caplog.at_level(logging.INFO, "maetdol.train"), launch.watched(sink):
        written = process.progress_writer(sink)
        for line in ({"step": 3, "loss": 2.5}, {"step": 8}):
            written.written = float("-inf")
            written({**line, "steps": 8})
            while not caplog.records or f"step {line['step']} of" not in caplog.messages[-1]:
                time.sleep(0.01)
            assert watchdog._at.words == ("step", line["step"], "of", 8)
    assert caplog.messages == [
        "train: step 3 of 8, loss 2.500",
        "train: step 8 of 8, about 0 s left",
    ]
