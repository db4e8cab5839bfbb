"""A backtest of a file says what the stream says of the same events, however they were sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

import streams.files.tables as tables
from detectors.reference import Reference
from detectors.values import Monitor
from homeostat.contract import (
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
    keys_of,
)
from streams.control.configuration import Configuration
from streams.control.monitor_build import build_monitor, open_table
from streams.files.columns import Roles
from streams.replay.backtest import backtest
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.test_backtest import frame, monitor
from tests.streams.test_stage_properties import final_points

PARTITIONS = 2
MODEL = "loan"


def sent(data: pd.DataFrame, seed: int, at_once: bool = False) -> Iterator[InputRecord]:
    """As services would send it: in batches of any size, each label when it became known, on two partitions. `at_once`:
    no batch is behind one of the other kind."""
    rng = np.random.default_rng(seed)
    both = pd.concat(
        [
            data.assign(time=data["at"], is_label=False),
            data.assign(time=data["known"], is_label=True),
        ]
    ).sort_values("time", kind="stable")
    cut = rng.uniform(size=len(both)) < 1 / 37
    if at_once:
        is_label = both["is_label"].to_numpy()
        cut[1:] |= is_label[1:] != is_label[:-1]
    number = np.cumsum(cut)
    partition = keys_of(both["id"].tolist()) % np.uint64(PARTITIONS)
    offsets = [0] * PARTITIONS
    for name, rows in both.groupby([number, partition, both["is_label"].to_numpy()]):
        _, slot, is_label = cast("tuple[int, int, bool]", name)
        place = int(slot)
        shared: dict[str, Any] = {"model": MODEL, "producer": f"p-{place}", "sequence": offsets[place]}
        shared |= {
            "ids": rows["id"].tolist(),
            "times_us": rows["time"].to_numpy("datetime64[us]").astype(np.int64),
        }
        batch: PredictionBatch | LabelBatch
        if is_label:
            batch = LabelBatch.of(**shared, values=rows["truth"].to_numpy())
            value = encode_labels(batch)
        else:
            features = {"age": rows["age"].to_numpy(), "city": rows["city"].to_numpy(dtype=object)}
            batch = PredictionBatch.of(
                **shared,
                version="1",
                predictions=rows["said"].to_numpy(),
                scores=rows["score"].to_numpy(),
                features=features,
                segments={"city": rows["city"].tolist()},
            )
            value = encode_predictions(batch)
        yield InputRecord(EVENTS, place, offsets[place], MODEL.encode(), value, tuple(headers_of(batch)))
        offsets[place] += 1


def test_a_file_gives_the_points_and_alerts_of_the_stream(tmp_path: Path) -> None:
    data = frame(2_000, 4, shift_at=1_000)
    delay_s = np.random.default_rng(4).uniform(0, 20, len(data)).round(6)
    data["known"] = data["at"] + pd.to_timedelta(delay_s, unit="s")
    path = tmp_path / "data.csv"
    data.to_csv(path, index=False)
    known: Reference | None = None
    for window in ({"every": "20s"}, {"rows": 200}):
        file = monitor(
            tmp_path,
            timed=True,
            columns={"label_time": "known", "segments": ["city"]},
            window=window,
            label_window=window,
            pane="1s",
            spread=PARTITIONS,
        )
        found = backtest(path, file, known=known, keep_points=True)
        (known,) = found.references
        live = streamed(data, build_monitor(file, Roles.of(file, open_table(path, file)).features), known)
        points = final_points(live)
        assert len(points) > 500
        assert {one.measure for one in points.values()} >= {"psi", "accuracy", "estimated_accuracy"}
        assert final_points(found.results) == points
        alerts = {one.id: one for one in live.alerts}
        assert {one.id: one for one in found.results.alerts} == alerts
        assert {one.kind for one in alerts.values()} >= {"data_drift", "performance"}


def test_labels_beyond_correction_count_in_no_window_of_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows are read at once, and as they would not have counted live."""
    data = frame(2_000, 4, shift_at=1_000)
    delay_s = np.random.default_rng(4).uniform(0, 40, len(data)).round(6)
    data["known"] = data["at"] + pd.to_timedelta(delay_s, unit="s")
    path = tmp_path / "data.csv"
    data.to_csv(path, index=False)
    rows = {"rows": 200}
    file = monitor(
        tmp_path,
        timed=True,
        columns={"label_time": "known"},
        window=rows,
        label_window=rows,
        pane="1s",
        lateness="5s",
        spread=PARTITIONS,
    )
    found = backtest(path, file, keep_points=True)
    (known,) = found.references
    monkeypatch.setattr(tables, "rows_at_once", lambda _: 300)
    again = backtest(path, file, known=known, keep_points=True)
    watching = build_monitor(file, Roles.of(file, open_table(path, file)).features)
    points = final_points(streamed(data, watching, known, at_once=True))
    assert final_points(found.results) == points
    assert final_points(again.results) == points
    labelled = [one for one in points.values() if one.measure == "accuracy" and one.axis == "event"]
    assert 0 < sum(one.rows for one in labelled) < len(data) / 2, "most labels come after the lateness"


def streamed(data: pd.DataFrame, watching: Monitor, reference: Reference, at_once: bool = False) -> Results:
    """The same rows through the stages, as live workers run them."""
    configuration = Configuration()
    configuration.add_monitor(watching)
    configuration.add_reference(reference)
    live = InProcess(configuration, PARTITIONS)
    live.feed(sent(data, seed=8, at_once=at_once))
    live.end()
    return live.results
