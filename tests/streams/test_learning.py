"""A reference that is learned from the first rows of a live version."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from detectors.errors import ReferenceInvalid
from detectors.values import FeatureSpec, MetricPoint
from streams.control.configuration import Configuration
from streams.control.learner import Gathered
from streams.control.learning import InForce
from streams.files.monitor import MonitorFile
from streams.replay.references import learn
from tests.streams.learning_parts import MODEL, ROWS, SECOND_US, World, sent, steady
from tests.streams.stream_data import START_US, Events, make_reference, prediction_record


@pytest.fixture(autouse=True)
def _calibrated_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.control.monitor_build.CALIBRATION", 60)


def without(world: World) -> list[MetricPoint]:
    found = [one for one in world.results.points.values() if one.measure == "reference"]
    return sorted(found, key=lambda one: (one.axis, one.segment, one.start_us))


def reference_in_file(events: Events, folder: Path) -> MonitorFile:
    columns = {
        "time": events.times_us / 1e6,
        "score": events.scores,
        "said": events.predictions,
        "truth": events.labels,
        "age": events.age,
        "city": events.city.tolist(),
    }
    pyarrow.csv.write_csv(pa.table(columns), folder / "rows.csv")
    roles = {"time": "time", "score": "score", "prediction": "said", "label": "truth"}
    return MonitorFile.model_validate({"model": MODEL, "columns": roles, "reference": {"rows": ROWS}})


def test_the_first_panes_that_hold_the_rows_are_the_reference_that_a_backtest_has(tmp_path: Path) -> None:
    events = steady(6_500)
    world = World()
    world.feed(sent(events))
    (order,) = world.orders
    assert (order.start_us, order.end_us, order.rows) == (START_US, START_US + 10 * SECOND_US, ROWS)
    reference = world.configuration.reference(MODEL, "1")
    assert reference is not None
    assert reference.revision == learn(tmp_path / "rows.csv", reference_in_file(events, tmp_path))[0].revision
    measured = [one for one in world.results.points.values() if one.reference_revision == reference.revision]
    assert min(one.start_us for one in measured) == order.effective_us == order.end_us + 30 * SECOND_US
    assert {"psi", "accuracy"} <= {one.measure for one in measured}
    assert not world.results.alerts


def test_until_then_the_points_say_how_far_it_is() -> None:
    world = World()
    world.feed(sent(steady(3_000)), learn=False)
    reasons = [one.undefined or "" for one in without(world) if one.axis == "event"]
    assert reasons[0] == "the reference is still being learned (200 of 1,000 rows)"
    assert reasons[4] == "the reference is still being learned (1,000 of 1,000 rows)"
    assert reasons[5].startswith(
        "the reference of version '1' was learned from 1,000 rows until 2025-10-09 08:53:30"
    )
    labels = [one.undefined for one in without(world) if one.axis == "label"]
    assert labels[0] == "the reference of version '1' is still being learned (1,000 rows)"


def test_a_judge_that_is_killed_in_between_asks_for_the_same() -> None:
    records = sent(steady(2_000))
    whole = World()
    whole.feed(records, learn=False)
    killed = World()
    for number, record in enumerate(records):
        killed.feed([record], learn=False)
        if number % 7 == 0:
            killed.restart_judge()
    assert killed.orders == whole.orders
    assert len(whole.orders) == 1
    assert [one.undefined for one in without(killed)] == [one.undefined for one in without(whole)]


def test_rows_of_all_partitions_are_learned_from() -> None:
    events = steady(2_600)
    world = World(partitions=2)
    world.feed(sent(events, partitions=2))
    (order,) = world.orders
    assert [partition for partition, _, _ in order.stretches] == [0, 1]
    reference = world.configuration.reference(MODEL, "1")
    assert reference is not None
    assert reference.rows == ROWS
    assert reference.labelled > 900
    assert reference.features[0].mean == float(np.float64(np.mean(events.age[:ROWS])))


def test_rows_that_come_twice_or_are_of_another_version_are_not_learned_from() -> None:
    events = steady(1_300)
    world = World()
    others = prediction_record(events, np.arange(50), MODEL, 0, version="2", offset=0)
    records = sent(events)
    again = [replace(one, offset=one.offset + 1) for one in records]
    twice = [replace(one, offset=one.offset + 5) for one in again[4:]]
    world.feed(
        [others, *again[:4], *(replace(one, offset=one.offset + 4) for one in again[:4]), *twice], learn=False
    )
    order = next(one for one in world.orders if one.version == "1")
    gathered = Gathered(order, world.configuration.monitor_revision(MODEL, order.monitor_revision), None)
    for record in world.log:
        gathered.take(record)
    specs, rows, _ = gathered.rows()
    assert [spec.kind for spec in specs] == ["numeric", "categorical"]
    assert rows.features["age"].tolist() == events.age[:ROWS].tolist()


def test_events_that_lack_a_feature_of_the_monitor_are_told() -> None:
    world = World(features=(FeatureSpec(name="age"), FeatureSpec(name="income")))
    world.feed(sent(steady(1_300)), learn=False)
    with pytest.raises(ReferenceInvalid, match=r"no features \['income'\]; they have \['age', 'city'\]"):
        world.learn()


def test_a_reference_counts_from_when_it_was_said_to() -> None:
    configuration = Configuration()
    old, new = make_reference(MODEL, "1"), make_reference(MODEL, "1", seed=8)
    configuration.add_reference(old)
    configuration.add_in_force(InForce(model=MODEL, version="1", revision=new.revision, effective_us=1_000))
    configuration.add_reference(new)
    assert configuration.pane_reference(MODEL, "1", "all", "event", 0, 999) == old
    assert configuration.pane_reference(MODEL, "1", "all", "event", 0, 1_000) == new
    assert configuration.reference(MODEL, "1") == new
