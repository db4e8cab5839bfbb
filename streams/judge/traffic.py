"""The traffic of a model as the judge sees it: events by slot of time, silence by the passing of time."""

import hashlib
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from detectors.quality.arrivals import ArrivalMemory
from detectors.quality.traffic import (
    SLOT_US,
    Told,
    Traffic,
    learned,
    resumed,
    silence,
    silent_from_us,
    surprise_of,
)
from detectors.values import Alert, Evidence, Monitor, PaneSnapshot
from streams.times import IDLE_US, NEVER_US

LONGEST_SLOTS = 4 * 7 * 144
"""After a longer gap (four weeks) the usual traffic is learned anew."""


class Watched(msgspec.Struct, array_like=True):
    """What is remembered of a model's traffic. `open`: events of slots that are not complete; `version`, `revision`: of
    the newest pane; `arrivals`: by source, how events arrive, the last of which were of `arrived_version`; `heard`: the
    last statements of people that were taken."""

    traffic: Traffic | None = None
    open: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    version: str = ""
    reference_revision: str = ""
    arrivals: dict[int, ArrivalMemory] = msgspec.field(default_factory=dict[int, ArrivalMemory])
    arrived_version: str = ""
    heard: tuple[str, ...] = ()


def count(watched: Watched, snapshot: PaneSnapshot, more_rows: int, monitor: Monitor) -> list[Told]:
    """Note `more_rows` events of a pane. What a silence before them was is told now, at the same moment as when
    the clock had told it."""
    if more_rows <= 0:
        return []
    start_us, end_us = snapshot.pane_us, snapshot.pane_us + snapshot.pane_length_us
    slot_us, found = start_us // SLOT_US * SLOT_US, list[Told]()
    traffic = watched.traffic
    if traffic is None or start_us - traffic.last_us > LONGEST_SLOTS * SLOT_US:
        traffic, watched.open = Traffic(since_us=slot_us, next_us=slot_us, last_us=end_us), {}
    elif end_us > traffic.last_us:
        if start_us > traffic.last_us:
            traffic, told = silent_until(traffic, start_us, monitor)
            found += told
        traffic, ended = resumed(traffic, start_us, end_us)
        found += [ended] if ended else []
        watched.open = {slot: rows for slot, rows in watched.open.items() if slot >= traffic.next_us}
    for each_us, rows in _by_slot(slot_us, snapshot.pane_length_us, more_rows):
        if each_us >= traffic.next_us:
            watched.open[each_us] = watched.open.get(each_us, 0) + rows
    watched.traffic, watched.version = traffic, snapshot.version
    watched.reference_revision = snapshot.reference_revision
    return found


def _by_slot(first_us: int, length_us: int, rows: int) -> Iterator[tuple[int, int]]:
    """The rows of a pane by slot: of one that is longer than a slot, in equal parts, for it does not say when. No pane
    is longer than what is remembered; one that says so would take for ever."""
    slots = min(max(1, length_us // SLOT_US), LONGEST_SLOTS)
    for place in range(slots):
        yield first_us + place * SLOT_US, rows * (place + 1) // slots - rows * place // slots


def pass_time(watched: Watched, frontier_us: int, now_us: int, monitor: Monitor) -> Iterator[Told]:
    """The sources have sealed up to `frontier_us`; the model's time is `now_us` (`IDLE_US`: unknown)."""
    traffic = watched.traffic
    if traffic is None:
        return
    if frontier_us < IDLE_US:
        while traffic.next_us + SLOT_US <= min(frontier_us, traffic.last_us):
            events = watched.open.pop(traffic.next_us, 0)
            traffic, told = learned(traffic, events, surprise_of(monitor.budget))
            if told is not None and monitor.silence_s != 0:
                yield told
    if NEVER_US < now_us < IDLE_US:
        traffic, found = silent_until(traffic, now_us, monitor)
        yield from found
    watched.traffic = traffic


def silent_until(traffic: Traffic, now_us: int, monitor: Monitor) -> tuple[Traffic, list[Told]]:
    """Tell the silence before `now_us` once it is no chance."""
    least_s = monitor.silence_s
    shortest_us = traffic.last_us + (SLOT_US if least_s is None else int(least_s * 1e6))
    if traffic.told == "silence" or least_s == 0 or now_us <= shortest_us:
        return traffic, []
    from_us = silent_from_us(traffic, least_s, surprise_of(monitor.budget))
    if from_us is None or now_us < from_us:
        return traffic, []
    after, told = silence(replace(traffic, told=""), from_us)
    return after, [told]


def volume_alert(model: str, watched: Watched, told: Told, monitor: Monitor) -> Alert:
    """The alert about the traffic of a model, of the version that had the newest events."""
    window = f"{told.change_us}-{told.at_us}"
    name = (model, watched.version, "all", "volume", told.state, "event", window, monitor.revision)
    identity = hashlib.sha256("\x1f".join(map(str, name)).encode()).hexdigest()[:32]
    evidence = Evidence(
        measure="events",
        value=told.value,
        reference=told.usual,
        threshold=told.usual / 2 if told.value < told.usual else told.usual * 2,
        rows=round(told.value),
        effect=2.0,
    )
    return Alert(
        id=identity,
        model=model,
        version=watched.version,
        kind="volume",
        state=told.state,
        axis="event",
        window=window,
        start_us=told.change_us,
        end_us=told.at_us,
        change_us=told.change_us,
        rows=round(told.value),
        reason=told.reason,
        evidence=(evidence,) if told.state == "firing" else (),
        monitor_revision=monitor.revision,
        reference_revision=watched.reference_revision,
    )
