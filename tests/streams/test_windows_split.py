"""From events to points: the split over partitions, batches and flushes does not show in windows by time,
sliding ones and segments."""

import dataclasses
from functools import lru_cache

import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.contract import PredictionBatch, encode_predictions, headers_of
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.stream_data import Events, label_record, make_configuration, make_events

MODEL = "loan"
SLOW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CUTS: list[dict[str, object]] = [
    {"window_s": 3.0, "label_window_s": 2.0},
    {"window_s": 4.0, "slide_s": 2.0},
    {"window_rows": 200, "slide_rows": 100},
]


def records_of(events: Events, partitions: int, batch_rows: int) -> list[InputRecord]:
    """Every stretch of rows as one batch for each partition, its labels behind it; a row's partition is its
    place."""
    records: list[InputRecord] = []
    offsets = [0] * partitions
    for start in range(0, len(events.ids), batch_rows):
        rows = np.arange(start, min(start + batch_rows, len(events.ids)))
        for partition in range(partitions):
            mine = rows[rows % partitions == partition]
            if len(mine):
                at = {"partition": partition, "offset": offsets[partition]}
                label_at = {"partition": partition, "offset": offsets[partition] + 1}
                records.append(_predictions(events, mine, **at))
                record = label_record(events, mine, MODEL, label_at["offset"], **label_at)
                records.append(_named(record, partition))
                offsets[partition] += 2
    return records


def _predictions(events: Events, rows: np.ndarray, partition: int, offset: int) -> InputRecord:
    cities = events.city[rows].tolist()
    batch = PredictionBatch.of(
        model=MODEL,
        version="1",
        producer=f"p{partition}",
        sequence=offset,
        ids=[events.ids[row] for row in rows],
        times_us=events.times_us[rows],
        predictions=events.predictions[rows],
        scores=events.scores[rows],
        features={"age": events.age[rows], "city": events.city[rows]},
        segments={"city": cities},
    )
    return InputRecord(
        EVENTS, partition, offset, MODEL.encode(), encode_predictions(batch), tuple(headers_of(batch))
    )


def _named(record: InputRecord, partition: int) -> InputRecord:
    headers = ((n, f"p{partition}".encode() if n == "producer" else v) for n, v in record.headers)
    return dataclasses.replace(record, headers=tuple(headers))


@lru_cache
def undivided(cut: int) -> Results:
    return run(CUTS[cut], 1, 50, 4)


def run(cut: dict[str, object], partitions: int, batch_rows: int, flush_every: int) -> Results:
    events = make_events(600, 5, shift=15.0)
    events.label_times_us = events.times_us
    process = InProcess(make_configuration(MODEL, segments=("city",), spread=partitions, **cut), partitions)
    process.feed(records_of(events, partitions, batch_rows), flush_every)
    process.end()
    return process.results


@SLOW
@given(
    cut=st.integers(0, len(CUTS) - 1),
    partitions=st.integers(1, 4),
    batch_rows=st.integers(10, 80),
    flush_every=st.integers(1, 8),
)
def test_the_split_of_the_work_does_not_show(
    cut: int, partitions: int, batch_rows: int, flush_every: int
) -> None:
    expected, found = undivided(cut), run(CUTS[cut], partitions, batch_rows, flush_every)
    assert {seal.segment for seal in expected.seals} == {"all", "city=Rome", "city=Oslo", "city=Bern"}

    def final(results: Results) -> object:
        points = {name: msgspec.structs.replace(one, revision=1) for name, one in results.points.items()}
        seals = sorted((s.axis, s.segment, s.window, s.rows, s.decided) for s in results.seals)
        return points, seals, {alert.id: alert for alert in results.alerts}

    assert final(found) == final(expected)


def test_segments_add_up_to_all_rows() -> None:
    results = run(CUTS[0], 2, 50, 4)
    rows: dict[tuple[str, str], dict[bool, float]] = {}
    for point in results.points.values():
        if point.measure == "rows":
            sums = rows.setdefault((point.axis, point.window), {})
            whole = point.segment == "all"
            sums[whole] = sums.get(whole, 0.0) + (point.value or 0.0)
    assert rows
    assert all(sums[True] == sums[False] for sums in rows.values())
