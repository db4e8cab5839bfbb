"""The post-mortem: everything about an incident on one page, and nothing in it that could be markup of others."""

import httpx
import pytest
from msgspec.structs import replace

from detectors.values import Axis, MetricPoint
from serving.postmortem import postmortem
from tests.api.api_world import MODEL, SECOND_US, START_US, World


def test_a_post_mortem_tells_what_since_when_and_who(client: httpx.Client, ill: World) -> None:
    client.post("/api/v1/approvals/apr-1-1/approve", json={"by": "mira", "reason": "agreed | <b>now</b>"})
    ill.sequence()
    answer = client.get("/api/v1/incidents/inc-1/postmortem")
    assert answer.headers["content-type"].startswith("text/markdown")
    text = answer.text
    for told in ("# Post-mortem: Bad release, credit-risk version 2", "## Cost", "## Decisions", "by mira"):
        assert told in text
    assert "agreed \\| \\<b\\>now\\</b\\>" in text


def test_an_incident_that_is_not_there(client: httpx.Client) -> None:
    assert client.get("/api/v1/incidents/inc-x/postmortem").status_code == 404


_COUNTED = ("positive_rate", "class_psi", "prediction_psi", "rows", "reference")


def test_the_cost_of_a_long_incident_counts_every_window(ill: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of every task, by rows or by time, with a reference or without."""
    monkeypatch.setattr("serving.costs._PAGE", 7)
    found = [_point("event", window, _COUNTED[window % 5]) for window in range(40)]
    found += [
        _point("event", window, "psi", feature) for window in range(40) for feature in ("age", "income")
    ]
    found += [_point("label", window, "accuracy", value=0.7) for window in range(40)]
    ill.records.upsert_points(found)
    told = postmortem(ill.journal, "inc-1")
    assert told is not None
    assert "4,000 predictions of version 2" in told
    # One more window of labels, of 500 rows, is in the world since the onset.
    assert "4,500 labels came in that time: about 92" in told


def _costs(client: httpx.Client) -> dict[str, float]:
    lines = [line.split(" ") for line in client.get("/metrics").text.splitlines() if MODEL in line]
    summed = [words for words in lines if "homeostat_incident_" in words[0] and "_created" not in words[0]]
    return {words[0]: float(words[1]) for words in summed}


def test_the_cost_of_incidents_that_ended_is_a_metric(client: httpx.Client, ill: World) -> None:
    assert _costs(client) == {}
    ill.records.upsert_points([_point("event", window, "rows") for window in range(40)])
    with ill.journal.transaction() as unit:
        found = unit.incident("inc-1")
        assert found is not None
        ended = replace(found, state="escalated", closed_us=START_US)
        assert unit.save_incident(ended, expected=found.state, actor="agent", why="over")
    first = _costs(client)
    of = f'{{model="{MODEL}"}}'
    assert first[f"homeostat_incident_ill_predictions_count{of}"] == 1
    rows = first[f"homeostat_incident_ill_predictions_sum{of}"]
    assert f"{rows:,.0f} predictions of version 2" in str(postmortem(ill.journal, "inc-1"))
    assert first[f"homeostat_incident_excess_errors_sum{of}"] > 0
    assert not any("absolute" in name for name in first), "it is no regression"
    ill.records.upsert_points([_point("label", window, "accuracy", value=0.5) for window in range(40)])
    assert _costs(client) == first
    ill.clock.at_us += 3_600 * SECOND_US
    later = _costs(client)[f"homeostat_incident_excess_errors_sum{of}"]
    assert later > first[f"homeostat_incident_excess_errors_sum{of}"]


def _point(
    axis: Axis, window: int, measure: str, feature: str | None = None, value: float | None = None
) -> MetricPoint:
    """A window of 100 rows since the onset; two windows end at the same moment."""
    end_us = START_US + (window // 2 * 10 - 100) * SECOND_US
    return MetricPoint(
        id=f"{axis}-{window}-{measure}-{feature}",
        model=MODEL,
        version="2",
        axis=axis,
        window=f"{axis}-{window}",
        start_us=end_us - (10 + window % 2) * SECOND_US,
        end_us=end_us,
        rows=100,
        measure=measure,
        feature=feature,
        value=value,
        reference=0.905 if value is not None else None,
    )
