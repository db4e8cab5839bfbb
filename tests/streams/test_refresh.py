"""A reference of what a version has seen lately, from the archive."""

from pathlib import Path

import numpy as np
import pytest

from detectors.errors import ReferenceInvalid
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor
from streams.archive.export import NothingArchived
from streams.archive.read import ArchiveReader
from streams.archive.refresh import refreshed
from streams.store import LocalStore
from tests.streams.archive_parts import DAY_US, START_US, labels, predictions, write

ROWS = 300
MONITOR = Monitor(model="churn")
SPECS = [FeatureSpec(name="x"), FeatureSpec(name="plan", kind="categorical")]


@pytest.fixture
def reader(tmp_path: Path) -> ArchiveReader:
    store = LocalStore(tmp_path / "archive")
    after = write(store, [predictions(0, ROWS), labels(0, ROWS)])
    write(store, [predictions(ROWS, 5, version="2")], after)
    return ArchiveReader(store)


def former(version: str = "1") -> Reference:
    columns = {"x": np.arange(200.0), "plan": np.array(["plan0", "other"] * 100, dtype=object)}
    return build_reference("churn", version, columns, SPECS, predictions=np.arange(200.0) % 2)


def test_the_last_rows_are_usual_from_now_on(reader: ArchiveReader) -> None:
    until_us = START_US + 2 * DAY_US + DAY_US // 2
    found = refreshed(reader, former(), MONITOR, rows=120, until_us=until_us)
    again = refreshed(reader, former(), MONITOR, rows=120, until_us=until_us)
    assert (found.model, found.version, found.rows) == ("churn", "1", 120)
    assert found.revision == again.revision != former().revision
    x, plan = found.features
    # A hundred a day: the last 120 before noon of the third day.
    assert (x.minimum, x.maximum) == pytest.approx((130 / 7, 249 / 7))
    assert {name for name, _ in plan.categories} == {"plan0", "plan1", "plan2"}
    assert found.predicted == 120
    assert found.tp + found.fp + found.fn + found.tn == 120
    whole = refreshed(reader, former(), MONITOR, rows=10_000, until_us=until_us, since_us=START_US + DAY_US)
    assert whole.rows == 150


def test_too_little_is_no_reference(reader: ArchiveReader) -> None:
    with pytest.raises(ReferenceInvalid, match="5 events of 'churn' version '2'"):
        refreshed(reader, former("2"), MONITOR, rows=1_000, until_us=START_US + 400 * DAY_US)
    with pytest.raises(NothingArchived):
        refreshed(reader, former("3"), MONITOR, rows=1_000, until_us=START_US + 400 * DAY_US)
    other = build_reference("churn", "1", {"age": np.arange(200.0)}, [FeatureSpec(name="age")])
    with pytest.raises(ReferenceInvalid, match="specs is empty"):
        refreshed(reader, other, MONITOR, rows=1_000, until_us=START_US + 400 * DAY_US)
