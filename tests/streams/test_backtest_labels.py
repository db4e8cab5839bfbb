"""A backtest says what the stream says, however labels come: late, before their predictions, in no order in their file,
revised, for several versions at once."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

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
from streams.files.monitor import MonitorFile
from streams.replay.backtest import backtest
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.test_backtest import frame, monitor
from tests.streams.test_stage_properties import final_points

MODEL = "loan"
ROWS = 900


@dataclass(frozen=True)
class Case:
    """What differs from example to example. Times in seconds; events come ten a second. `early`, `revised`, `shadowed`:
    shares of the labels, or of the predictions."""

    seed: int
    spread: int
    piece_rows: int
    by_time: bool
    lateness_s: float
    horizon_s: float
    longest_delay_s: float
    early: float
    revised: float
    shadowed: float


CASES = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([1, 2]),
    piece_rows=st.sampled_from([97, 400, 65_536]),
    by_time=st.booleans(),
    lateness_s=st.sampled_from([3.0, 7.3, 30.0]),
    horizon_s=st.sampled_from([40.0, 3_600.0]),
    longest_delay_s=st.sampled_from([2.0, 20.0, 60.0]),
    early=st.sampled_from([0.0, 0.05]),
    revised=st.sampled_from([0.0, 0.2]),
    shadowed=st.sampled_from([0.0, 0.5]),
)


def predictions_of(case: Case) -> pd.DataFrame:
    """In order of time; some requests were also answered by version 2, under the same id, a moment later."""
    rng = np.random.default_rng(case.seed)
    data = frame(ROWS, 4, shift_at=ROWS // 2).assign(release="1")
    shadows = data[rng.random(ROWS) < case.shadowed].assign(release="2")
    shadows["at"] += pd.to_timedelta(rng.uniform(0, 0.005, len(shadows)).round(6), unit="s")
    return pd.concat([data, shadows]).sort_values("at", kind="stable", ignore_index=True)


def labels_of(case: Case, predictions: pd.DataFrame) -> pd.DataFrame:
    """In order of time, which is when each became known: a few before their predictions, and some again, most with
    another value."""
    rng = np.random.default_rng(case.seed + 1)
    labels = predictions[predictions["release"] == "1"][["id", "at", "truth"]].reset_index(drop=True)
    delay_s = rng.uniform(0.01, case.longest_delay_s, len(labels))
    delay_s = np.where(rng.random(len(labels)) < case.early, -delay_s, delay_s)
    labels["known"] = labels["at"] + pd.to_timedelta(delay_s.round(6), unit="s")
    again = labels[rng.random(len(labels)) < case.revised].copy()
    again["known"] += pd.to_timedelta(rng.uniform(0.001, 25, len(again)).round(6), unit="s")
    again["truth"] = np.where(rng.random(len(again)) < 0.8, 1 - again["truth"], again["truth"])
    return pd.concat([labels, again]).sort_values("known", kind="stable", ignore_index=True)[
        ["id", "truth", "known"]
    ]


def sent(case: Case, predictions: pd.DataFrame, labels: pd.DataFrame) -> list[InputRecord]:
    """As services would send it: everything at its own time, in batches of any size of one kind and version."""
    rng = np.random.default_rng(case.seed + 2)
    both = pd.concat(
        [
            predictions.assign(time=predictions["at"], kind=predictions["release"]),
            labels.assign(time=labels["known"], kind="label"),
        ]
    ).sort_values("time", kind="stable")
    slots = keys_of(both["id"].tolist()) % np.uint64(case.spread)
    records: list[tuple[pd.Timestamp, InputRecord]] = []
    for slot in range(case.spread):
        mine = both[slots == slot]
        kinds = mine["kind"].to_numpy()
        cut = rng.uniform(size=len(mine)) < 1 / 37
        cut[1:] |= kinds[1:] != kinds[:-1]
        for offset, (_, rows) in enumerate(mine.groupby(np.cumsum(cut))):
            batch = batch_of(str(rows["kind"].iloc[0]), rows, f"p-{slot}", offset)
            value = encode_labels(batch) if isinstance(batch, LabelBatch) else encode_predictions(batch)
            record = InputRecord(EVENTS, slot, offset, MODEL.encode(), value, tuple(headers_of(batch)))
            records.append((rows["time"].iloc[-1], record))
    return [record for _, record in sorted(records, key=lambda one: one[0])]


def batch_of(kind: str, rows: pd.DataFrame, producer: str, sequence: int) -> PredictionBatch | LabelBatch:
    shared: dict[str, Any] = {"model": MODEL, "producer": producer, "sequence": sequence}
    shared |= {
        "ids": rows["id"].tolist(),
        "times_us": rows["time"].to_numpy("datetime64[us]").astype(np.int64),
    }
    if kind == "label":
        return LabelBatch.of(**shared, values=rows["truth"].to_numpy())
    return PredictionBatch.of(
        **shared,
        version=kind,
        predictions=rows["said"].to_numpy(),
        scores=rows["score"].to_numpy(),
        features={"age": rows["age"].to_numpy(), "city": rows["city"].to_numpy(dtype=object)},
        segments={"city": rows["city"].tolist()},
    )


def streamed(watching: Monitor, reference: Reference, records: list[InputRecord]) -> Results:
    configuration = Configuration()
    configuration.add_monitor(watching)
    configuration.add_reference(reference)
    live = InProcess(configuration, watching.spread)
    live.feed(records)
    live.end()
    return live.results


def file_of(folder: Path, case: Case) -> MonitorFile:
    window = {"every": "20s"} if case.by_time else {"rows": 150}
    return monitor(
        folder,
        timed=True,
        columns={"label_time": "known", "version": "release", "segments": ["city"]},
        window=window,
        label_window=window,
        pane="1s",
        lateness=f"{case.lateness_s:g}s",
        label_horizon=f"{case.horizon_s:g}s",
        spread=case.spread,
    )


@cache
def learned(folder: Path) -> list[Reference]:
    """The reference of the folder, once it has been learned."""
    return []


def accounts(results: Results) -> dict[str, int]:
    """Of all partitions, what became of predictions, and how many of them met a label."""
    names = ("received", "profiled", "late", "duplicates", "joined")
    return {name: sum(getattr(one, name) for one in results.accounting.values()) for name in names}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labels")


EARLY = Case(0, 2, 400, False, 30.0, 3_600.0, 8.0, 0.3, 0.0, 0.0)
"""Labels so long before their predictions as windows of labels take to close."""


@settings(max_examples=7, suppress_health_check=[HealthCheck.too_slow])
@example(case=EARLY)
@given(case=CASES)
def test_a_file_gives_what_the_stream_gave(folder: Path, case: Case) -> None:
    compare(folder, case)


def compare(folder: Path, case: Case) -> tuple[Results, Results]:
    predictions = predictions_of(case)
    labels = labels_of(case, predictions)
    path, label_path = folder / "data.csv", folder / "labels.csv"
    predictions.drop(columns="truth").to_csv(path, index=False)
    labels.sample(frac=1, random_state=1).to_csv(label_path, index=False)
    file = file_of(folder, case)
    known = learned(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "rows_at_once", lambda _: case.piece_rows)
        found = backtest(path, file, label_path, known=known[0] if known else None, keep_points=True)
    known[:] = found.references
    watching = build_monitor(file, Roles.of(file, open_table(path, file)).features)
    live = streamed(watching, known[0], sent(case, predictions, labels))
    assert accounts(found.results) == accounts(live)
    points, expected = final_points(found.results), final_points(live)
    assert len(expected) > 200
    differ = {name for name in points.keys() | expected.keys() if points.get(name) != expected.get(name)}
    assert {(points.get(name), expected.get(name)) for name in differ} == set()
    assert {one.id: one for one in found.results.alerts} == {one.id: one for one in live.alerts}
    return found.results, live
