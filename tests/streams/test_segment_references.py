"""A segment is compared with its own rows, in a backtest, live, and in references of every source."""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from detectors.reference import Reference
from streams.replay.backtest import backtest
from streams.replay.backtest_result import Backtest
from streams.replay.references import learn
from tests.streams.learning_parts import MODEL, World, sent, steady
from tests.streams.test_backtest import FEATURES, frame, monitor
from tests.streams.test_learning import reference_in_file


@pytest.fixture(autouse=True)
def _calibrated_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.control.monitor_build.CALIBRATION", 60)


def older_in_rome(rows: int, seed: int, shift_at: int | None = None) -> pd.DataFrame:
    """People in Rome are always older; from `shift_at` on those in Oslo are, too."""
    found = frame(rows, seed)
    found.loc[found["city"] == "Rome", "age"] += 12
    if shift_at is not None:
        found.loc[(found["city"] == "Oslo") & (found.index >= shift_at), "age"] += 6
    return found


def backtested(folder: Path, shift_at: int | None = None) -> Backtest:
    older_in_rome(5_000, 1).to_csv(folder / "reference.csv", index=False)
    older_in_rome(9_000, 2, shift_at).to_csv(folder / "data.csv", index=False)
    file = monitor(folder, columns={"segments": ["city"], "features": FEATURES})
    return backtest(folder / "data.csv", file)


def profiles(reference: Reference) -> dict[str, int]:
    known = reference.segments
    return {} if isinstance(known, msgspec.UnsetType) else {one.name: one.rows for one in known.profiles}


def test_a_segment_that_always_differs_has_no_incident(tmp_path: Path) -> None:
    found = backtested(tmp_path)
    assert found.as_dict()["incidents"] == []
    windows = {one.window for one in found.results.points.values() if one.segment == "city=Rome"}
    assert len(windows) >= 4


def test_the_incident_of_a_segment_names_it(tmp_path: Path) -> None:
    incidents = backtested(tmp_path, shift_at=5_000).as_dict()["incidents"]
    oslo = [one for one in incidents if one["segment"] == "city=Oslo"]
    assert [one["kind"] for one in oslo] == ["data_drift"]
    assert oslo[0]["features"][0] == "age"
    assert not [one for one in incidents if one["segment"] not in ("all", "city=Oslo")]


def test_a_reference_that_is_learned_live_knows_the_segments_as_a_backtest_does(tmp_path: Path) -> None:
    events = steady(3_000)
    world = World(segments=("city",))
    world.feed(sent(events, segments=True))
    reference = world.configuration.reference(MODEL, "1")
    assert reference is not None
    file = reference_in_file(events, tmp_path)
    named = file.model_copy(update={"columns": file.columns.model_copy(update={"segments": ["city"]})})
    assert reference.revision == learn(tmp_path / "rows.csv", named)[0].revision
    cities, counts = np.unique(events.city[:1_000], return_counts=True)
    expected = dict(zip((f"city={one}" for one in cities), counts.tolist(), strict=True))
    assert profiles(reference) == expected
    assert not [one for one in world.results.alerts if one.segment != "all"]
