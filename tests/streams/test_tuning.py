"""A budget costs delay: what `homeostat tune` tells."""

from pathlib import Path

import pytest

from streams.files.monitor import MonitorFileInvalid
from streams.files.tables import FileInvalid
from streams.replay.tuning import tune
from tests.streams.test_backtest import frame, monitor


def test_a_smaller_budget_tells_later_and_alarms_no_more_often(tmp_path: Path) -> None:
    frame(4_000, 1, shift_at=3_000).to_csv(tmp_path / "data.csv", index=False)
    trials = tune(tmp_path / "data.csv", monitor(tmp_path), None, ("1 per 20 windows", "1 per 10000 windows"))
    loose, strict = (one.as_dict() for one in trials)
    assert (loose["windows"], loose["expected_false"], strict["expected_false"]) == (8, 0.4, 0.001)
    assert loose["incidents"] >= strict["incidents"] >= 2
    assert min(strict["opened_rows"]) > 3_000
    delays = [{one["change"]: one["windows"] for one in trial["delays"]} for trial in (loose, strict)]
    assert delays[0].keys() == delays[1].keys() == {
        "mean + 0.05 sd", "mean + 0.1 sd", "mean + 0.2 sd", "variance x 1.2", "2 % missing", "2 % new category",
    }  # fmt: skip
    for change, windows in delays[0].items():
        assert (windows or 41) <= (delays[1][change] or 41), change
    assert delays[0]["2 % new category"] in (1, 2)
    assert delays[1]["mean + 0.05 sd"] is None or delays[1]["mean + 0.05 sd"] > 5


def test_what_cannot_be_tuned(tmp_path: Path) -> None:
    frame(300, 1).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(FileInvalid, match="too few for one window"):
        tune(tmp_path / "data.csv", monitor(tmp_path))
    with pytest.raises(MonitorFileInvalid, match="soon"):
        tune(tmp_path / "data.csv", monitor(tmp_path), None, ("1 per soon",))
    with pytest.raises(MonitorFileInvalid, match="registered"):
        tune(tmp_path / "data.csv", monitor(tmp_path, reference={"registered": True}))
