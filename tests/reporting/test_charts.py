"""Charts: the same bytes for the same data, and told in words."""

import xml.etree.ElementTree as ElementTree

from msgspec.structs import replace

from reporting.charts import drift_chart, performance_chart
from reporting.values import ReportData


def test_charts_are_deterministic_and_told_in_words(report: ReportData) -> None:
    model = report.models[0]
    incidents = [story.incident for story in report.incidents]
    first, second = (performance_chart(model, incidents, report.since_us, report.until_us) for _ in range(2))
    assert first is not None
    assert first == second
    assert ElementTree.fromstring(first.svg).tag.endswith("svg")
    assert "Accuracy 95.6 % at the start, 70.9 % at worst" in first.alt
    assert "version 3 from 2026-11-21 08:28:20" in first.alt
    drift, again = drift_chart(model.drifts), drift_chart(model.drifts)
    assert drift is not None
    assert drift == again
    assert drift.alt.startswith("Most drifted features, worst window in thresholds: worst area 12.1")


def test_nothing_to_draw_is_no_chart(report: ReportData) -> None:
    empty = replace(report.models[0], series=())
    assert performance_chart(empty, [], report.since_us, report.until_us) is None
    assert drift_chart([]) is None


def test_an_open_incident_and_a_single_window_are_drawn(report: ReportData) -> None:
    model = report.models[0]
    series = tuple(replace(one, samples=one.samples[:1]) for one in model.series)
    open_one = replace(report.incidents[1].incident, closed_us=None)
    chart = performance_chart(replace(model, series=series), [open_one], report.since_us, report.until_us)
    assert chart is not None
    assert "to –" in chart.alt
