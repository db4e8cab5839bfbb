"""The counters of `stats()` as a service shows them to Prometheus, in its text format; without its client library."""

from collections.abc import Iterator
from typing import Final

from homeostat.ledger import Stats

NAMES: Final = {
    "logged": ("homeostat_sdk_logged_rows_total", "Rows given to log."),
    "labelled": ("homeostat_sdk_labelled_rows_total", "Rows given to label."),
    "adopted": ("homeostat_sdk_adopted_rows_total", "Rows found in the spool of a process that is no more."),
    "adopted_processes": (
        "homeostat_sdk_adopted_processes_total",
        "Processes that are no more and whose spool was taken over.",
    ),
    "sent": ("homeostat_sdk_sent_rows_total", "Rows handed to the broker at least once."),
    "acknowledged": ("homeostat_sdk_acknowledged_rows_total", "Rows that the broker keeps for good."),
    "rejected": ("homeostat_sdk_rejected_rows_total", "Rows that broke the contract."),
    "dropped": ("homeostat_sdk_dropped_rows_total", "Rows that are lost, by reason."),
    "pending": ("homeostat_sdk_pending_rows", "Rows that wait in memory."),
    "spooled": ("homeostat_sdk_spooled_rows", "Rows that wait on disk."),
}
"""Field of `Stats` to the metric's name and what it says."""

_REASONS: Final = ("block_timeout", "closed", "memory_full", "oldest", "spool_damaged", "too_large")
"""Told from the start: Prometheus does not see how much a counter begins with."""


def exposition(stats: Stats) -> str:
    """The counters in Prometheus's text format, version 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(stats))


def _lines(stats: Stats) -> Iterator[str]:
    for field, (name, says) in NAMES.items():
        yield f"# HELP {name} {says}"
        yield f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
        if field == "dropped":
            dropped = dict.fromkeys(_REASONS, 0) | stats.dropped
            yield from (f'{name}{{reason="{reason}"}} {rows}' for reason, rows in sorted(dropped.items()))
        else:
            yield f"{name} {getattr(stats, field)}"
