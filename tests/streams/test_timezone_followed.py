"""A monitor's `timezone` from its file through the stages: the night in which the clocks are set back is the same hours
live, in a backtest and in a replay, and alarms nobody."""

from collections import deque
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detectors.season import season_of
from streams.control.configuration import monitor_record, reference_record
from streams.control.monitor_build import build_monitor, open_table
from streams.files.columns import Roles
from streams.files.monitor import MonitorFile
from streams.judge.seals import Seal
from streams.judge.windows import SeriesName
from streams.replay.backtest import backtest
from streams.replay.inprocess import Results
from streams.replay.replay import Logged, ReplayRun, Stretch
from streams.replay.replay_check import check
from streams.stages import InputRecord
from streams.topics import CONTROL
from tests.streams.learning_parts import MODEL, World
from tests.streams.learning_parts import sent as in_batches
from tests.streams.stream_data import Events
from tests.streams.test_backtest import monitor
from tests.streams.test_backtest_live import PARTITIONS, sent, streamed
from tests.streams.test_stage_properties import final_points

BERLIN = "Europe/Berlin"
EVERY_S = 180


@pytest.fixture(autouse=True)
def _calibrated_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.control.monitor_build.CALIBRATION", 60)


def by_the_clocks(first: str, days: int, seed: int) -> pd.DataFrame:
    """A row each three minutes from this local midnight on; `age` and `city` follow the hour in Berlin."""
    rng = np.random.default_rng(seed)
    rows = days * 86_400 // EVERY_S
    at = pd.Timestamp(first, tz=BERLIN).tz_convert("UTC") + pd.to_timedelta(
        np.arange(rows) * EVERY_S, unit="s"
    )
    by_day = np.where(at.tz_convert(BERLIN).hour < 12, -1.5, 1.5)
    score = rng.uniform(size=rows)
    return pd.DataFrame(
        {
            "id": [f"r{seed}-{number}" for number in range(rows)],
            "at": at.tz_localize(None),
            "known": at.tz_localize(None) + pd.Timedelta(seconds=1),
            "age": rng.normal(0, 1, rows) + by_day,
            "city": np.where(rng.random(rows) < 0.5 + 0.2 * by_day, "Rome", "Oslo"),
            "score": score,
            "said": (score >= 0.5).astype(int),
            "truth": (rng.random(rows) < score).astype(float),
        }
    )


SUMMER, NIGHT = by_the_clocks("2025-10-20", 3, 1), by_the_clocks("2025-10-25", 2, 2)
"""Before the clocks were set back, and the days around it (on the 26th, 03:00)."""


def watched(folder: Path, timezone: str) -> MonitorFile:
    SUMMER.to_csv(folder / "reference.csv", index=False)
    return monitor(
        folder,
        timed=True,
        timezone=timezone,
        reference={"file": folder / "reference.csv", "seasonal": "hour_of_day"},
        columns={"label_time": "known"},
        window={"rows": 120},
        label_window={"rows": 120},
        pane="30m",
        lateness="6h",
        spread=PARTITIONS,
    )


def replayed(live: Results, control: list[tuple[bytes, bytes]], records: list[InputRecord]) -> list[object]:
    """What a replay says otherwise than the live run did."""
    plans: dict[SeriesName, deque[Seal]] = {}
    for seal in live.seals:
        axis = "event" if seal.axis == "event" else "label"
        plans.setdefault(SeriesName(seal.model, seal.version, seal.segment, axis), deque()).append(seal)
    logged = Logged(dict(live.points), {one.id: one for one in live.alerts}, plans)
    known = [InputRecord(CONTROL, 0, place, key, value, ()) for place, (key, value) in enumerate(control)]
    run = ReplayRun(logged, Stretch(), known, [True] * PARTITIONS)
    for record in records:
        run.take(record)
    compared = check(run.end())
    assert compared.points > 300
    return [*compared.differences, *compared.left_out]


def test_the_night_is_the_same_hours_live_in_a_backtest_and_in_a_replay(tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    NIGHT.to_csv(path, index=False)
    file = watched(tmp_path, BERLIN)
    found = backtest(path, file, keep_points=True)
    (reference,) = found.references
    watching = build_monitor(file, Roles.of(file, open_table(path, file)).features)
    live = streamed(NIGHT, watching, reference)
    assert final_points(live) == final_points(found.results)
    assert live.alerts == found.results.alerts == []
    control = [monitor_record(watching), reference_record(reference)]
    assert replayed(live, control, list(sent(NIGHT, seed=8))) == []
    assert backtest(path, watched(tmp_path, "UTC")).incidents


def watching(folder: Path, timezone: str, **changes: object) -> World:
    """A model whose reference by season is learned live from as many rows as the summer has."""
    file = watched(folder, timezone)
    source = file.reference.model_copy(update={"file": None, "rows": len(SUMMER)})
    learning = build_monitor(file.model_copy(update={"reference": source}), ()).learning
    return World(pane_s=1_800.0, window_rows=120, silence_s=0.0, learning=learning, **changes)


def summer_and_night() -> list[InputRecord]:
    return in_batches(events_in(pd.concat([SUMMER, NIGHT], ignore_index=True)))


def learned(folder: Path, timezone: str) -> World:
    """The summer is learned from, by a judge that starts anew now and then; then comes the night."""
    world = watching(folder, timezone)
    for number, record in enumerate(summer_and_night()):
        world.feed([record])
        if number % 9 == 0:
            world.restart_judge()
    world.end()
    reference = world.configuration.reference(MODEL, "1")
    assert reference is not None
    season = season_of(reference)
    assert season is not None
    assert season.clocks.name == timezone
    return world


def events_in(table: pd.DataFrame) -> Events:
    times_us = table["at"].to_numpy("datetime64[us]").astype(np.int64)
    return Events(
        ids=table["id"].tolist(),
        times_us=times_us,
        age=table["age"].to_numpy(),
        city=table["city"].to_numpy(dtype=object),
        scores=table["score"].to_numpy(),
        predictions=table["said"].to_numpy(dtype=float),
        labels=table["truth"].to_numpy(),
        label_times_us=times_us + 1_000_000,
    )


def test_a_reference_that_is_learned_live_goes_by_the_clocks_too(tmp_path: Path) -> None:
    world = learned(tmp_path, BERLIN)
    assert [one.version for one in world.orders] == ["1"]
    assert world.results.alerts == []
    assert learned(tmp_path, "UTC").results.alerts
