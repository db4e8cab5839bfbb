"""Seeded events for tests of the stages: a model with two features, labels with delays, some disorder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor
from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from streams.control.configuration import Configuration
from streams.stages import InputRecord
from streams.topics import EVENTS

START_US = 1_760_000_000_000_000
SPECS = (FeatureSpec(name="age"), FeatureSpec(name="city", kind="categorical"))
CITIES = np.array(["Rome", "Oslo", "Bern"], dtype=object)
Floats = npt.NDArray[np.float64]


@dataclass
class Events:
    """Columns of predictions and of their labels, each in the order in which they are sent."""

    ids: list[str]
    times_us: npt.NDArray[np.int64]
    age: Floats
    city: npt.NDArray[np.object_]
    scores: Floats
    predictions: Floats
    labels: Floats
    label_times_us: npt.NDArray[np.int64]


def make_reference(model: str, version: str, seed: int = 7) -> Reference:
    events = make_events(2_000, seed, shift=0.0)
    return build_reference(
        model,
        version,
        {"age": events.age, "city": events.city},
        SPECS,
        scores=events.scores,
        predictions=events.predictions,
        labels=events.labels,
    )


def make_monitor(model: str, **changes: object) -> Monitor:
    settings: dict[str, object] = {
        "model": model,
        "features": SPECS,
        "window_rows": 200,
        "label_window_rows": 100,
        "pane_s": 1.0,
        "watermark_delay_s": 0.5,
        "lateness_s": 30.0,
        "label_horizon_s": 3_600.0,
        "idle_s": 2.0,
    }
    return Monitor(**(settings | changes))  # pyright: ignore[reportArgumentType]


def make_configuration(model: str, versions: Sequence[str] = ("1",), **changes: object) -> Configuration:
    configuration = Configuration()
    configuration.add_monitor(make_monitor(model, **changes))
    for version in versions:
        configuration.add_reference(make_reference(model, version))
    return configuration


def make_events(rows: int, seed: int, shift: float = 0.0, rate: float = 100.0, prefix: str = "e") -> Events:
    """`rows` events at `rate` per second; from the middle on `age` is moved by `shift` and labels go wrong
    with it."""
    rng = np.random.default_rng(seed)
    times_us = START_US + np.sort(rng.integers(0, int(rows / rate * 1e6), rows))
    age = rng.normal(50, 10, rows)
    truth = (age + rng.normal(0, 5, rows) > 50).astype(float)
    age[rows // 2 :] += shift
    scores = 1 / (1 + np.exp(-(age - 50) / 5))
    return Events(
        ids=[f"{prefix}{number}" for number in range(rows)],
        times_us=times_us,
        age=age,
        city=CITIES[rng.integers(0, 3, rows)],
        scores=scores,
        predictions=(scores >= 0.5).astype(float),
        labels=truth,
        label_times_us=times_us + rng.integers(200_000, 3_000_000, rows),
    )


def prediction_record(
    events: Events,
    rows: npt.NDArray[np.int64],
    model: str,
    sequence: int,
    version: str = "1",
    segments: bool = False,
    **at: int,
) -> InputRecord:
    batch = PredictionBatch.of(
        model=model,
        version=version,
        producer="p",
        sequence=sequence,
        ids=[events.ids[row] for row in rows],
        times_us=events.times_us[rows],
        predictions=events.predictions[rows],
        scores=events.scores[rows],
        features={"age": events.age[rows], "city": events.city[rows]},
        segments={"city": events.city[rows].tolist()} if segments else None,
    )
    return InputRecord(
        EVENTS,
        at.get("partition", 0),
        at.get("offset", 0),
        model.encode(),
        encode_predictions(batch),
        tuple(headers_of(batch)),
    )


def label_record(
    events: Events,
    rows: npt.NDArray[np.int64],
    model: str,
    sequence: int,
    values: Floats | None = None,
    times_us: npt.NDArray[np.int64] | None = None,
    **at: int,
) -> InputRecord:
    batch = LabelBatch.of(
        model=model,
        producer="p",
        sequence=sequence,
        ids=[events.ids[row] for row in rows],
        times_us=events.label_times_us[rows] if times_us is None else times_us,
        values=events.labels[rows] if values is None else values,
    )
    return InputRecord(
        EVENTS,
        at.get("partition", 0),
        at.get("offset", 0),
        model.encode(),
        encode_labels(batch),
        tuple(headers_of(batch)),
    )


def interleaved(events: Events, model: str, batch_rows: int = 50, version: str = "1") -> list[InputRecord]:
    """Predictions and labels as a live service would send them: batches of each, by time."""
    sends: list[tuple[int, bool, npt.NDArray[np.int64]]] = []
    order = np.argsort(events.label_times_us, kind="stable")
    for start in range(0, len(events.ids), batch_rows):
        rows = np.arange(start, min(start + batch_rows, len(events.ids)))
        sends.append((int(events.times_us[rows[-1]]), False, rows))
        labels = order[start : start + batch_rows]
        sends.append((int(events.label_times_us[labels[-1]]), True, labels))
    sends.sort(key=lambda send: send[0])
    return [
        label_record(events, rows, model, number, offset=number)
        if labels
        else prediction_record(events, rows, model, number, version, offset=number)
        for number, (_, labels, rows) in enumerate(sends)
    ]
