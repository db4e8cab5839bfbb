"""A budget in time is kept in event time, however the windows are cut."""

from pathlib import Path

import pytest

from detectors.sequential.budget import FINDINGS, KIND_SHARES, VOLUME
from detectors.values import MetricPoint
from streams.files.monitor import MonitorFileInvalid
from streams.replay.backtest import backtest
from streams.replay.backtest_result import Backtest
from tests.streams.test_backtest import frame, monitor


def evidence(found: Backtest) -> list[MetricPoint]:
    points = [one for one in found.results.points.values() if one.measure == "data_drift_evidence"]
    return sorted(points, key=lambda point: point.start_us)


def test_windows_of_rows_take_of_the_budget_as_long_as_they_last(tmp_path: Path) -> None:
    """500 rows at 10 a second: a window lasts 50 s, and `1 per 10h` is 1 per 720 windows."""
    frame(6_000, 1, shift_at=4_000).to_csv(tmp_path / "data.csv", index=False)
    by_budget = {
        budget: backtest(
            tmp_path / "data.csv", monitor(tmp_path, timed=True, alarms={"budget": budget}), keep_points=True
        )
        for budget in ("1 per 10h", "1 per 720 windows")
    }
    in_time, in_windows = (evidence(found) for found in by_budget.values())
    assert len(in_time) == len(in_windows) > 8
    for_volume = 1 + KIND_SHARES[VOLUME] / (1 + KIND_SHARES[FINDINGS])
    assert in_time[0].threshold == pytest.approx((in_windows[0].threshold or 0) * 50 * for_volume)
    for timed, counted in zip(in_time[:6], in_windows[:6], strict=True):
        assert (timed.value or 0) / (timed.threshold or 1) == pytest.approx(
            (counted.value or 0) / (counted.threshold or 1), rel=0.25
        )
    starts = [
        [(one["kind"], one["change_row"]) for one in found.as_dict()["incidents"]]
        for found in by_budget.values()
    ]
    assert starts[0] == starts[1]
    assert any(kind == "data_drift" and abs(row - 4_000) <= 100 for kind, row in starts[0])


def test_a_file_without_time_has_no_budget_in_time(tmp_path: Path) -> None:
    frame(1_000, 1).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(MonitorFileInvalid, match=r"alarms\.budget is '1 per 90d', which needs columns\.time"):
        backtest(tmp_path / "data.csv", monitor(tmp_path, alarms={"budget": "1 per 90d"}))
