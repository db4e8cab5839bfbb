"""What a service shows of the SDK to Prometheus is what Prometheus's own reader understands."""

from dataclasses import fields

from prometheus_client.parser import text_string_to_metric_families

import homeostat
from homeostat.exposition import NAMES, exposition
from homeostat.ledger import Stats


def test_every_counter_is_told_under_a_name_of_its_own() -> None:
    stats = Stats(logged=7, adopted=3, adopted_processes=1, spooled=2, dropped={"memory_full": 5})
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition(stats))
        for sample in family.samples
    }
    assert NAMES.keys() == {field.name for field in fields(Stats)}
    assert told["homeostat_sdk_logged_rows_total",] == 7
    assert told["homeostat_sdk_adopted_processes_total",] == 1
    assert told["homeostat_sdk_spooled_rows",] == 2
    assert told["homeostat_sdk_dropped_rows_total", "memory_full"] == 5
    assert told["homeostat_sdk_dropped_rows_total", "too_large"] == 0, "from the start"
    assert {name for name, *_ in told} == {name for name, _ in NAMES.values()}


def test_a_service_that_sends_nothing_shows_zeros() -> None:
    assert "homeostat_sdk_pending_rows 0\n" in homeostat.metrics()
