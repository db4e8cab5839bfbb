"""Batches that are measured together give the numbers of each one taken alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from detectors.reference import build_reference
from detectors.values import FeatureSpec
from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from streams.control.configuration import Configuration
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord, OutputRecord
from streams.topics import EVENTS
from tests.streams.stream_data import START_US, make_monitor

MODEL = "loan"
SPECS = (FeatureSpec(name="age"), FeatureSpec(name="income"))
NOW_US = START_US + 40_000_000
AHEAD = 12


def configuration(versions: Sequence[str] = ("1", "2")) -> Configuration:
    """With a reference for some of the versions."""
    found, rng = Configuration(), np.random.default_rng(1)
    found.add_monitor(make_monitor(MODEL, features=SPECS, lateness_s=10.0, label_horizon_s=30.0))
    for version in versions:
        columns = {spec.name: rng.normal(size=500) for spec in SPECS}
        found.add_reference(build_reference(MODEL, version, columns, SPECS, scores=rng.random(500)))
    return found


def predictions(
    rng: np.random.Generator,
    number: int,
    ids: npt.NDArray[np.int64],
    times_us: npt.NDArray[np.int64],
    version: str,
) -> InputRecord:
    scores = rng.random(len(ids))
    batch = PredictionBatch.of(
        model=MODEL,
        version=version,
        producer="pq"[int(rng.integers(2))],
        sequence=number,
        ids=[f"e{one}" for one in ids],
        times_us=times_us,
        predictions=(scores > 0.5).astype(float),
        scores=scores,
        features={spec.name: rng.normal(size=len(ids)) for spec in SPECS},
    )
    return InputRecord(EVENTS, 0, 0, None, encode_predictions(batch), tuple(headers_of(batch)), NOW_US)


def labels(rng: np.random.Generator, number: int, ids: npt.NDArray[np.int64], time_us: int) -> InputRecord:
    batch = LabelBatch.of(
        model=MODEL,
        producer="r",
        sequence=number,
        ids=[f"e{one}" for one in ids],
        times_us=np.full(len(ids), time_us),
        values=rng.integers(0, 2, len(ids)).astype(float),
    )
    return InputRecord(EVENTS, 0, 0, None, encode_labels(batch), tuple(headers_of(batch)), NOW_US)


def records(seed: int) -> list[InputRecord]:
    """Out of order, late, twice, labels first, from the future, sent again, damaged, over slots of arrival."""
    rng, found, start = np.random.default_rng(seed), list[InputRecord](), 0
    for number in range(120):
        rows = int(rng.integers(5, 120))
        ids = np.arange(start, start + rows)
        times_us = START_US + ids * 3_000 + rng.integers(-400_000, 400_000, rows)
        if rng.random() < 0.1:
            times_us[: rows // 4] -= 15_000_000
        if rng.random() < 0.1:
            ids[: rows // 3] = rng.integers(0, start + 1, rows // 3)
        one = predictions(rng, number, ids, times_us, "1" if rng.random() < 0.9 else "2")
        found.append(one)
        if rng.random() < 0.05:
            found.append(one)
        if rng.random() < 0.15:
            chosen = rng.integers(max(0, start - 300), start + 2 * rows, rows)
            found.append(labels(rng, number, chosen, int(times_us[-1]) + 2_000_000))
        if rng.random() < 0.03:
            found.append(replace(one, value=b"damaged"))
        if rng.random() < 0.03:
            far = times_us + 3_600_000_000
            found.append(predictions(rng, number, ids + 1_000_000, far, "1"))
        start += rows
    passed_us = (
        np.sort(rng.integers(0, 25, len(found))) * 36_400_000 if seed % 2 else np.zeros(len(found), int)
    )
    return [
        replace(record, offset=offset, timestamp_us=NOW_US + int(passed))
        for offset, (record, passed) in enumerate(zip(found, passed_us, strict=True))
    ]


def outputs(given: Sequence[InputRecord], known: Configuration, ahead: int) -> tuple[list[OutputRecord], int]:
    """What the stage says, and how many records it was given."""
    stage, calls, found = ProfileStage(0, 1, known), 0, list[OutputRecord]()
    for start in range(0, len(given), AHEAD):
        part = given[start : start + AHEAD]
        if ahead:
            stage.look_ahead(part)
        for record in part:
            if record.offset > stage.offset:
                calls += 1
                stage.process(record)
        flush = stage.flush()
        assert flush is not None
        found += flush.outputs
        stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
    stage.end()
    last = stage.flush(final=True)
    assert last is not None
    return [*found, *last.outputs], calls


@pytest.mark.parametrize("seed", range(8))
def test_batches_that_are_measured_together_give_the_outputs_of_each_alone(seed: int) -> None:
    given = records(seed)
    alone, calls = outputs(given, configuration(), 0)
    together, fewer = outputs(given, configuration(), AHEAD)
    assert together == alone
    assert calls == len(given)
    assert fewer < 0.95 * calls


def test_batches_without_a_reference_are_taken_one_by_one() -> None:
    """A pane that has none tells between which records it stood."""
    given = records(0)
    alone, _ = outputs(given, configuration(versions=("2",)), 0)
    together, _ = outputs(given, configuration(versions=("2",)), AHEAD)
    assert together == alone


@pytest.mark.parametrize("seed", range(2))
def test_batches_around_a_change_of_the_monitor_are_each_measured_by_their_own(seed: int) -> None:
    known, given = configuration(), records(seed)
    later = {"pane_s": 0.25, "watermark_delay_s": 1.0, "effective_us": START_US + 9_250_000, "revision": 2}
    known.add_monitor(make_monitor(MODEL, features=SPECS, lateness_s=10.0, label_horizon_s=30.0, **later))
    alone, _ = outputs(given, known, 0)
    together, fewer = outputs(given, known, AHEAD)
    assert together == alone
    assert fewer < len(given)


def test_what_is_taken_together_is_told_by_the_offset() -> None:
    rng, ids = np.random.default_rng(2), np.arange(20)
    first = [predictions(rng, number, ids + 20 * number, START_US + ids * 1_000, "1") for number in range(4)]
    given = [replace(one, offset=3 * offset) for offset, one in enumerate(first)]
    stage = ProfileStage(0, 1, configuration())
    stage.process(given[0])
    stage.look_ahead(given[1:])
    stage.process(given[1])
    assert stage.offset == given[-1].offset
