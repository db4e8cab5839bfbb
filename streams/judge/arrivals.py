"""How the events of a model arrive, as the judge tells it: slots of arrival as alerts of data quality."""

import hashlib
from typing import Final

from detectors.quality.arrivals import ArrivalMemory, Arrived, Cause, take
from detectors.values import Alert, Evidence, Monitor, PaneSnapshot
from streams.judge.traffic import Watched

NAME: Final = "arrived-"
"""Begins the names of what they call their window: it is one of the broker's time."""


def arrived(watched: Watched, snapshot: PaneSnapshot, monitor: Monitor) -> list[Arrived]:
    """Note the slots of a snapshot. Each partition of the input is looked at by itself."""
    told: list[Arrived] = []
    for slot in snapshot.arrivals:
        memory = watched.arrivals.get(snapshot.source, ArrivalMemory())
        others = any(one.told for source, one in watched.arrivals.items() if source != snapshot.source)
        allowed: dict[Cause, float] = {"ahead": monitor.max_ahead_s, "late": monitor.lateness_s, "stale": 0.0}
        watched.arrivals[snapshot.source], found = take(memory, slot, allowed)
        watched.arrived_version = slot.version or watched.arrived_version
        told += [one for one in found if one.state == "firing" or not others]
    return told


def is_open(watched: Watched, version: str) -> bool:
    """Whether an alert about arrivals of this version is open."""
    return watched.arrived_version == version and any(one.told for one in watched.arrivals.values())


def arrival_alert(model: str, watched: Watched, told: Arrived, monitor: Monitor) -> Alert:
    """The alert, of the version that the last rows were of."""
    window = f"{NAME}{told.change_us}-{told.at_us}"
    name = (model, watched.arrived_version, "all", "arrivals", told.state, "event", window, monitor.revision)
    return Alert(
        id=hashlib.sha256("\x1f".join((*map(str, name), told.measure)).encode()).hexdigest()[:32],
        model=model,
        version=watched.arrived_version,
        kind="data_quality",
        state=told.state,
        axis="event",
        window=window,
        start_us=told.change_us,
        end_us=told.at_us,
        change_us=told.change_us,
        rows=told.rows,
        reason=told.reason,
        evidence=_evidence(told),
        monitor_revision=monitor.revision,
        reference_revision=watched.reference_revision,
    )


def _evidence(told: Arrived) -> tuple[Evidence, ...]:
    if not told.measure:
        return ()
    return (
        Evidence(
            measure=told.measure,
            value=told.value,
            reference=told.usual,
            threshold=told.least,
            rows=told.rows,
            effect=max(1.0, (told.value - told.usual) / max(told.least - told.usual, 1e-9)),
        ),
    )
