"""Measurements in the database: idempotent, newest revision, and readable."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from db.accounting import totals
from db.points import SqlRecordStore
from tests.db.values import alert, counts, point


@pytest.fixture
def store(engine: Engine) -> SqlRecordStore:
    return SqlRecordStore(engine)


def test_a_second_write_is_the_same_write(store: SqlRecordStore) -> None:
    points = [point(number, feature=feature) for number in range(1, 4) for feature in ("age", "income", None)]
    store.upsert_points(points)
    store.upsert_points(points)
    store.upsert_points([])
    assert len(store.series("churn", "psi")) == 9
    assert store.series("churn", "psi", "age") == [points[0], points[3], points[6]]


def test_only_a_revision_that_is_not_older_replaces(store: SqlRecordStore) -> None:
    first = point(value=0.1, revision=1)
    second = msgspec.structs.replace(first, value=0.2, revision=2, verdict="breach")
    again = msgspec.structs.replace(second, value=0.3)
    store.upsert_points([second, first])
    assert store.series("churn", "psi") == [second]
    store.upsert_points([first])
    assert store.series("churn", "psi") == [second]
    store.upsert_points([again])
    assert store.series("churn", "psi") == [again]


def test_undefined_values(store: SqlRecordStore) -> None:
    undefined = point(value=None, verdict="undefined", undefined="no labels")
    store.upsert_points([undefined, point(2, value=float("nan"))])
    first, second = store.series("churn", "psi")
    assert first == undefined
    assert second.value is None


def test_why_the_newest_window_is_not_measured(store: SqlRecordStore) -> None:
    assert store.without_reference("churn") is None
    because = "the reference is still being learned (4,210 of 10,000 rows)"
    told = point(2, value=None, verdict="undefined", undefined=because)
    store.upsert_points([point(1), msgspec.structs.replace(told, id="reference", measure="reference")])
    assert store.without_reference("churn") == because
    store.upsert_points([point(3)])
    assert store.without_reference("churn") is None


def test_series_by_version_axis_time(store: SqlRecordStore) -> None:
    store.upsert_points([point(number, version=version) for number in range(1, 5) for version in "12"])
    store.upsert_points([point(1, axis="label"), point(1, segment="north", window="other")])
    assert [one.window for one in store.series("churn", "psi", version="1", axis="event")] == [
        "w1",
        "w2",
        "w3",
        "w4",
    ]
    assert [one.window for one in store.series("churn", "psi", axis="label")] == ["w1"]
    assert [one.segment for one in store.series("churn", "psi", segment="north")] == ["north"]
    assert len(store.series("churn", "psi", since_us=4_000_000)) == 4
    assert store.series("churn", "ks") == []
    assert store.models() == ["churn"]


def test_an_alert_is_never_rewritten(store: SqlRecordStore) -> None:
    store.upsert_alerts([alert(1), alert(2, kind="data_drift"), alert(3, model="loans", state="cleared")])
    store.upsert_alerts([msgspec.structs.replace(alert(1), reason="another")])
    assert store.alerts() == [alert(3, model="loans", state="cleared"), alert(2, kind="data_drift"), alert(1)]
    assert store.alerts("churn", kind="performance", state="firing") == [alert(1)]
    assert [one.id for one in store.alerts(before="alert-3", limit=1)] == ["alert-2"]
    assert [one.id for one in store.alerts(since_us=3_000_000)] == ["alert-3", "alert-2"]
    with pytest.raises(ValueError, match="before='x' names no alert"):
        store.alerts(before="x")


def test_accounting_keeps_the_latest_counts(store: SqlRecordStore) -> None:
    store.upsert_accounting([counts(received=10, profiled=10), counts(partition=1, received=5, profiled=5)])
    store.upsert_accounting([counts(received=12, profiled=11, late=1)])
    store.upsert_accounting([counts(received=11, profiled=11), counts(model="loans")])
    assert store.accounting("churn") == [
        counts(received=12, profiled=11, late=1),
        counts(partition=1, received=5, profiled=5),
    ]
    assert len(store.accounting()) == 3
    told = store.accounting_totals("churn")
    assert told["closes"]
    assert told["predictions"] == {
        "received": 17,
        "profiled": 16,
        "late": 1,
        "deadlettered": 0,
        "duplicates": 0,
        "missing": 0,
    }
    assert store.accounting_totals("nobody")["closes"]


def test_waiting_labels_may_shrink(store: SqlRecordStore) -> None:
    store.upsert_accounting([counts(label_received=3, waiting=3)])
    store.upsert_accounting([counts(label_received=3, joined=3)])
    store.upsert_accounting([counts(label_received=3, joined=1, waiting=2)])
    assert store.accounting("churn") == [counts(label_received=3, joined=3)]
    store.upsert_accounting(
        [counts(label_received=4, joined=3, waiting=1), counts(label_received=4, joined=4)]
    )
    assert store.accounting("churn") == [counts(label_received=4, joined=4)]


def test_both_equations_over_gate_and_profile() -> None:
    gate = counts("gate", received=100, deadlettered=4, label_received=50, label_deadlettered=1)
    profile = counts(
        received=596, profiled=590, late=2, duplicates=4, label_received=49, joined=40, waiting=9
    )
    told = totals("churn", [gate, profile])
    assert told["closes"]
    assert told["predictions"]["received"] == 600
    assert told["labels"] == {
        "label_received": 50,
        "joined": 40,
        "waiting": 9,
        "orphaned": 0,
        "revised": 0,
        "label_deadlettered": 1,
        "label_duplicates": 0,
        "missing": 0,
    }
    assert totals("churn", [gate])["predictions"]["missing"] == 96
    lossy = totals("churn", [gate, msgspec.structs.replace(profile, profiled=580)])
    assert (lossy["closes"], lossy["predictions"]["missing"]) == (False, 10)
    assert totals("_unknown", [counts("gate", model="_unknown", received=3, deadlettered=3)])["closes"]


@given(st.lists(st.tuples(*[st.integers(min_value=0, max_value=10**12)] * 4), max_size=5))
def test_equations_close_for_any_split(parts: list[tuple[int, int, int, int]]) -> None:
    rows = [
        counts(partition=at, received=a + b + c + d, profiled=a, late=b, deadlettered=c, duplicates=d)
        for at, (a, b, c, d) in enumerate(parts)
    ]
    assert totals("churn", rows)["closes"]


def test_a_window_takes_as_many_statements_as_a_point(store: SqlRecordStore, engine: Engine) -> None:
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    store.upsert_points([point()])
    alone = list(statements)
    statements.clear()
    store.upsert_points([point(1, f"m{at}") for at in range(200)])
    assert statements == alone
