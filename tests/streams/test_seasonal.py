"""A reference by season in a file's backtest and in the judge: a daily cycle alarms nobody, a change within it does."""

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from detectors.season import SEASONS, season_named, season_of
from streams.control.monitor_build import build_monitor, reference_of
from streams.files.monitor import MonitorFile, MonitorFileInvalid
from streams.files.timezones import clocks_of
from streams.judge.merging import merge_final
from streams.judge.windows import Entry, Series
from streams.replay.backtest import backtest
from tests.streams.learning_parts import MODEL, World, sent
from tests.streams.stream_data import START_US, Events

HOUR_US = 3_600_000_000
DAY_S = 86_400


@pytest.fixture(autouse=True)
def _calibrated_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.control.monitor_build.CALIBRATION", 60)


def cyclic(days: int, seed: int, moved_on: int = 10_000) -> pd.DataFrame:
    """A row each minute and a half; `x` and `city` follow the hour. `moved_on`: from this day on at nine o'clock."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(0, days * DAY_S, 90)
    hour = seconds % DAY_S // 3_600
    day = np.where(hour < 12, -1.0, 1.0)
    moved = 1.5 * ((hour >= 9) & (hour < 12) & (seconds // DAY_S >= moved_on))
    return pd.DataFrame(
        {
            "at": START_US // HOUR_US * 3_600 + seconds,
            "x": rng.normal(0, 1, len(seconds)) + day + moved,
            "city": np.where(rng.random(len(seconds)) < 0.5 + 0.3 * day, "Rome", "Oslo"),
        }
    )


def monitor(folder: Path, seasonal: str | None = "hour_of_day", **fields: object) -> MonitorFile:
    cyclic(8, 1).to_parquet(folder / "good.parquet")
    reference = {"file": folder / "good.parquet"} | ({"seasonal": seasonal} if seasonal else {})
    columns = {"time": "at"}
    return MonitorFile.model_validate(
        {"model": MODEL, "columns": columns, "reference": reference, "window": {"rows": 240}} | fields
    )


def test_a_daily_cycle_alarms_nobody_and_a_change_within_it_is_found(tmp_path: Path) -> None:
    file = monitor(tmp_path)
    reference, _ = reference_of(file)
    assert season_of(reference) == SEASONS["hour_of_day"]
    assert reference.baseline is not None
    assert "differs" not in reference.baseline.note
    cyclic(14, 2, moved_on=10).to_parquet(tmp_path / "data.parquet")
    found = backtest(tmp_path / "data.parquet", file, known=reference).as_dict()
    incidents = [(one["kind"], one["change_row"] // 960, one["features"][0]) for one in found["incidents"]]
    assert incidents[:1] == [("data_drift", 10, "x")]
    assert {kind for kind, _, _ in incidents} == {"data_drift"}


def by_the_clocks_of_berlin(first: str, days: int, seed: int) -> pd.DataFrame:
    """The same cycle by local time, from the local midnight of this day on."""
    table = cyclic(days, seed)
    start = datetime.fromisoformat(first).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    return table.assign(at=table["at"] - table["at"].iloc[0] + round(start.timestamp()))


def test_the_hour_is_that_of_the_clocks_of_the_place_before_and_after_summer_time(tmp_path: Path) -> None:
    by_the_clocks_of_berlin("2026-10-10", 4, 1).to_parquet(tmp_path / "summer.parquet")
    by_the_clocks_of_berlin("2026-11-10", 2, 2).to_parquet(tmp_path / "winter.parquet")
    told: dict[str, int] = {}
    for timezone in ("UTC", "Europe/Berlin"):
        source = {"file": tmp_path / "summer.parquet", "seasonal": "hour_of_day"}
        file = monitor(tmp_path, reference=source, timezone=timezone)
        reference, _ = reference_of(file)
        assert season_of(reference) == season_named("hour_of_day", clocks_of(timezone))
        told[timezone] = len(backtest(tmp_path / "winter.parquet", file, known=reference).incidents)
    assert told["Europe/Berlin"] == 0 < told["UTC"]


def test_a_timezone_is_one_that_there_is_and_tells_phases(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"timezone is 'Berlin'.*did you mean Europe/Berlin"):
        monitor(tmp_path, timezone="Berlin")
    with pytest.raises(ValueError, match=r"timezone is 'Europe/Berlin': only reference\.seasonal goes by it"):
        monitor(tmp_path, seasonal=None, timezone="Europe/Berlin")
    with pytest.raises(MonitorFileInvalid, match="must go into 1,800 s without a rest"):
        build_monitor(monitor(tmp_path, timezone="Asia/Kolkata", pane="1h"), ())
    assert build_monitor(monitor(tmp_path, timezone="Asia/Kolkata", pane="30m"), ()).pane_s == 1_800


def test_what_a_season_needs_is_told(tmp_path: Path) -> None:
    file = monitor(tmp_path, columns={})
    with pytest.raises(MonitorFileInvalid, match=r"seasonal is 'hour_of_day', which needs columns\.time"):
        reference_of(file)
    with pytest.raises(
        MonitorFileInvalid, match=r"pane is 7 s; with reference\.seasonal: hour_of_day it must go into"
    ):
        build_monitor(monitor(tmp_path, pane="7s"), ())
    with pytest.raises(ValueError, match=r"seasonal is 'day_of_week': a registered reference has the season"):
        MonitorFile.model_validate(
            {"model": "m", "reference": {"registered": True, "seasonal": "day_of_week"}}
        )


def events_of(table: pd.DataFrame) -> Events:
    rows = len(table)
    times_us = (table["at"].to_numpy() * 1_000_000).astype(np.int64)
    return Events(
        ids=[f"e{number}" for number in range(rows)],
        times_us=times_us,
        age=table["x"].to_numpy(),
        city=table["city"].to_numpy(dtype=object),
        scores=np.full(rows, 0.5),
        predictions=np.zeros(rows),
        labels=np.zeros(rows),
        label_times_us=times_us + 1_000_000,
    )


def test_panes_of_two_phases_are_not_merged_and_a_restart_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Panes of two minutes, windows of half a day: what can change no more is merged, and lies in the state topic."""
    file = monitor(tmp_path)
    cyclic(8, 1).rename(columns={"x": "age"}).to_parquet(tmp_path / "good.parquet")
    reference, _ = reference_of(file)
    merged: list[Entry] = []

    def noted(series: Series, *rest: Any) -> None:
        merge_final(series, *rest)
        merged.extend(entry for entry in series.all_entries() if entry.merged)

    monkeypatch.setattr("streams.judge.stage.merge_final", noted)
    points: list[list[tuple[str, float | None]]] = []
    for restarts in (False, True):
        world = World(pane_s=120.0, window_s=43_200.0, lateness_s=30.0, learning=None, features=())
        world.configuration.add_reference(reference)
        for number, record in enumerate(sent(events_of(cyclic(1, 2)))):
            world.feed([record], learn=False)
            if restarts and number % 5 == 0:
                world.restart_judge()
        world.end()
        points.append(
            sorted((one.id, one.value) for one in world.results.points.values() if one.axis == "event")
        )
    assert points[0] == points[1]
    assert len(points[0]) > 10
    assert merged
    assert all(one.current.pane_us // HOUR_US == (one.end_us - 1) // HOUR_US for one in merged)
