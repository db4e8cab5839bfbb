"""The lines of a report that are there only where something was measured: estimates, concept drift, volume."""

from detectors.values import Alert, MetricPoint
from reporting.measures import measures_of
from reporting.values import Accounts
from reporting.verdict import checks

NOTHING = Accounts(model="m", closes=True, predictions={"received": 0}, labels={"label_received": 0})


def point(measure: str, value: float | None, end_us: int = 10, **more: object) -> MetricPoint:
    known: dict[str, object] = {
        "id": f"{measure}{end_us}",
        "model": "m",
        "version": "1",
        "axis": "event",
        "window": "w",
        "start_us": 0,
        "end_us": end_us,
        "rows": 500,
        "measure": measure,
        "value": value,
    }
    return MetricPoint(**(known | more))  # pyright: ignore[reportArgumentType]


def lines(points: list[MetricPoint], alerts: list[Alert] | None = None) -> dict[str, tuple[str, str]]:
    return {one.area: (one.light, one.told) for one in checks(points, alerts or [], NOTHING, None)}


def test_what_was_not_measured_has_no_line() -> None:
    assert list(lines([])) == ["Performance", "Input drift", "Output drift", "Data quality", "Accounting"]


def test_an_estimate_is_told_with_its_interval_and_withdrawn_with_its_reason() -> None:
    fine = point("estimated_accuracy", 0.931, low=0.91, high=0.95, reference=0.94, threshold=0.89)
    light, told = lines([fine])["Estimated performance"]
    assert light == "ok"
    assert told == "Estimated accuracy 93.1 %, 91.0 % to 95.0 % (alarm below 89.0 %)."
    gone = point("estimated_accuracy", None, 20, verdict="undefined", undefined="the labels contradict it")
    later = point("estimation_error", -0.2, 30, axis="label")
    assert lines([fine, gone, later])["Estimated performance"] == (
        "none",
        "Not told, because the labels contradict it.",
    )


def test_concept_drift_and_volume_have_lines_of_their_own() -> None:
    calm = point("concept_drift_evidence", 0.2, axis="label", threshold=1.0)
    assert lines([calm])["Concept drift"][0] == "ok"
    silent = Alert(
        id="a",
        model="m",
        version="1",
        kind="volume",
        state="firing",
        axis="event",
        window="w",
        start_us=0,
        end_us=10,
        change_us=0,
        rows=0,
        reason="Volume: no event has come for 30 minutes.",
    )
    light, told = lines([calm], [silent])["Volume"]
    assert light == "act"
    assert "no event has come" in told
    assert measures_of("concept_drift") == ["concept_drift_evidence"]
