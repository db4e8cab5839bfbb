"""Windows of the judge: which panes make a window, decided once, in order of time, whatever the order of
arrival.

Windows are made of hops. A hop by rows is the first sealed panes that hold enough rows; a hop by time is a
slice aligned to the epoch. A window is its last hops: one of them where windows lie side by side, several
where they slide. Panes under different revisions of the configuration share no window.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from detectors.judgement import SeriesState
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.season import window_of
from detectors.values import Axis, Monitor, PaneSnapshot
from streams.control.window_spec import WindowSpec, window_spec
from streams.judge.seals import Planned

KEPT_WINDOWS = 64
"""Closed windows of a series that late events and labels can still correct."""

NEVER_US = -(2**62)

MonitorOf = Callable[[str, int], Monitor]
"""Model and revision to the monitor."""

Revisions = tuple[int, str]
"""Of the monitor and of the reference."""


class SeriesName(msgspec.Struct, frozen=True, array_like=True):
    """What is judged by itself. `segment` is "all" or "name=value"."""

    model: str
    version: str
    segment: str
    axis: Axis


class Times(NamedTuple):
    """How far a model has come. `frontier_us`: all sources have sealed up to here (`IDLE_US` where all are
    idle, which completes windows by rows); `time_us`: the same for windows by time, which silence alone does
    not complete; `empty_us`: up to here windows without rows are told."""

    frontier_us: int
    time_us: int
    empty_us: int


class Copy(msgspec.Struct):
    """An entry as it was written to the state topic: what it was then, and where that stands (-1 while it is on its
    way)."""

    current: PaneSnapshot
    offset: int = -1


class Entry(msgspec.Struct):
    """Panes of one source: as they were sealed (None where they came after sealing had passed them) and as
    they are now. One pane; or, where `merged`, neighbours that can change no more. The offsets are those of the
    profiles topic; with a `copy` they mean nothing, because that is read instead."""

    sealed: PaneSnapshot | None
    sealed_offset: int
    current: PaneSnapshot
    current_offset: int
    merged: bool = False
    copy: Copy | None = None

    @property
    def corrected(self) -> bool:
        """Whether more is known than at sealing."""
        return self.sealed is not self.current

    @property
    def sealed_rows(self) -> int:
        """Rows at sealing."""
        return (self.sealed.sealed_rows or 0) if self.sealed else 0

    @property
    def end_us(self) -> int:
        """Where the next pane begins."""
        return self.current.pane_us + self.current.pane_length_us

    @property
    def revisions(self) -> Revisions:
        """The configuration it was counted under."""
        return self.current.monitor_revision, self.current.reference_revision


class Hop(msgspec.Struct, array_like=True):
    """A step of the windows: all panes that begin in [after_us, end_us); `start_us` is where the first one
    stands."""

    after_us: int
    start_us: int
    end_us: int
    revisions: Revisions


class ClosedWindow(msgspec.Struct):
    """A window that has been closed: all panes that begin in [after_us, end_us) under its revisions. `rows` at
    the last emission; `decided`: not one of those that are only shown; `heard`: the statements of people that come
    before it, where a log tells; `previous`: what the version before scored when it was judged."""

    after_us: int
    start_us: int
    end_us: int
    monitor_revision: int
    reference_revision: str
    rows: int
    by_time: bool = False
    decided: bool = True
    revision: int = 1
    dirty: bool = False
    heard: tuple[str, ...] | None = None
    previous: dict[str, float] = msgspec.field(default_factory=dict[str, float])

    @property
    def name(self) -> str:
        """Its name in points and alerts."""
        return f"{self.start_us}-{self.end_us}"


class SeriesMemory(msgspec.Struct, array_like=True):
    """What a series remembers besides its panes. `revisions`: of the last hop; `hops`: those that the next
    sliding window by rows may hold; `count`: hops under these revisions; `last_us`: end of the newest pane
    with rows; `rows_us`: of the newest hop with rows; `final_us`: by source, up to where panes have been
    merged and accept no correction."""

    next_us: int = NEVER_US
    last_us: int = NEVER_US
    rows_us: int = NEVER_US
    revisions: Revisions | None = None
    count: int = 0
    hops: list[Hop] = msgspec.field(default_factory=list[Hop])
    windows: list[ClosedWindow] = msgspec.field(default_factory=list[ClosedWindow])
    final_us: dict[int, int] = msgspec.field(default_factory=dict[int, int])


NOTHING: Final = SeriesState()
"""What deciding remembers before the first window; it is not written."""


class Kept(msgspec.Struct):
    """What deciding remembered when it was written, and the offsets of its records (none while they are on their
    way)."""

    state: SeriesState
    offsets: list[int] = msgspec.field(default_factory=list[int])


class Series:
    """Panes, windows and the memory of deciding (`state`; `kept`: as it was written last) of one series. With
    `plan`, the logged windows of a former run in their order, the windows are those and no others."""

    def __init__(self, name: SeriesName, monitor_of: MonitorOf, plan: deque[Planned] | None = None) -> None:
        self.name = name
        self.panes: dict[int, dict[int, Entry]] = {}
        self.memory = SeriesMemory()
        self.state: SeriesState = NOTHING
        self.kept: Kept | None = None
        self._monitor_of = monitor_of
        self._plan = plan
        self._absent: frozenset[tuple[int, int]] = frozenset()

    def store(self, snapshot: PaneSnapshot, offset: int, again: bool = False) -> bool:
        """Take a snapshot; False when a newer one of its pane and source is known, or it comes after the pane
        was final. `again`: it was taken before, by whoever wrote the checkpoint."""
        end_us = snapshot.pane_us + snapshot.pane_length_us
        if not again and end_us <= self.memory.final_us.get(snapshot.source, NEVER_US):
            return False
        entries = self.panes.setdefault(snapshot.pane_us, {})
        known = entries.get(snapshot.source)
        if known is not None and snapshot.sequence <= known.current.sequence:
            return False
        if snapshot.rows:
            self.memory.last_us = max(self.memory.last_us, end_us)
        if known is not None:
            known.current, known.current_offset = snapshot, offset
        elif snapshot.rows == snapshot.sealed_rows:
            entries[snapshot.source] = Entry(snapshot, offset, snapshot, offset)
        else:
            entries[snapshot.source] = Entry(None, offset, snapshot, offset)
        return True

    def rows_of(self, snapshot: PaneSnapshot) -> int:
        """The rows that are known of the pane of a snapshot."""
        known = self.panes.get(snapshot.pane_us, {}).get(snapshot.source)
        return 0 if known is None else known.current.rows

    def put(self, entry: Entry) -> None:
        """Take an entry as it is."""
        self.panes.setdefault(entry.current.pane_us, {})[entry.current.source] = entry

    def all_entries(self) -> Iterator[Entry]:
        """Those of all panes."""
        for entries in self.panes.values():
            yield from entries.values()

    def mark_dirty(self, pane_us: int) -> None:
        """A pane has changed: so have the windows that hold it."""
        for window in self.memory.windows:
            if window.after_us <= pane_us < window.end_us:
                window.dirty = True

    def close_due(self, times: Times) -> Iterator[ClosedWindow]:
        """Close, in order, every window that is complete."""
        if self._plan is not None:
            yield from self._close_planned(self._plan, times)
            return
        while (found := self._next_hop(times)) is not None:
            hop, spec = found
            self.memory.next_us = hop.end_us
            windows = self._windows_by_time(hop, spec) if spec.by_time else self._windows_by_rows(hop, spec)
            for window in windows:
                yield self._opened(window)

    def profile(self, window: ClosedWindow, reference: Reference | None, as_sealed: bool) -> Profile:
        """The window's panes merged, as they were sealed or as they are now."""
        entries = self.entries(window)
        snapshots = [self._sealed(entry) if as_sealed else entry.current for entry in entries]
        return window_of(
            reference,
            (
                (snapshot.pane_us, Profile.from_bytes(reference, snapshot.profile))
                for snapshot in snapshots
                if snapshot is not None
            ),
        )

    def entries(self, window: ClosedWindow) -> list[Entry]:
        """The panes of a window, in order."""
        wanted = (window.monitor_revision, window.reference_revision)
        return [
            entry
            for pane_us in sorted(self.panes)
            if window.after_us <= pane_us < window.end_us
            for _, entry in sorted(self.panes[pane_us].items())
            if entry.revisions == wanted
        ]

    def spec(self) -> WindowSpec | None:
        """How the last windows were cut; None before the first."""
        revisions = self.memory.revisions
        return self.spec_at(revisions) if revisions is not None else None

    def newest_revisions(self) -> Revisions | None:
        """The configuration of the newest pane, or of the last window; None where there is neither."""
        if not self.panes:
            return self.memory.revisions
        return self._revisions_at(max(self.panes))

    def expires_us(self) -> int:
        """The time at which the series is forgotten if no more rows come."""
        revisions = self.newest_revisions()
        return self.memory.last_us + (self.spec_at(revisions).ttl_us if revisions is not None else 0)

    def prune(self, final_us: int) -> None:
        """Forget the windows that end at or before `final_us`, because no pane there can change any more, and
        the panes that belong to none. The last window stays, for a source without a sense of what is final."""
        windows = self.memory.windows
        self.memory.windows = [
            window
            for window in windows[-KEPT_WINDOWS:]
            if window.dirty or window.end_us > final_us or window is windows[-1]
        ]
        oldest_us = self.oldest_needed_us()
        for pane_us in [start for start in self.panes if start < oldest_us]:
            del self.panes[pane_us]

    def oldest_needed_us(self) -> int:
        """Where the first pane begins that a window, closed or to come, may hold."""
        memory, spec = self.memory, self.spec()
        needed = [memory.next_us, *(window.after_us for window in memory.windows)]
        needed += [hop.after_us for hop in memory.hops]
        if spec is not None and spec.by_time:
            needed.append(memory.next_us + spec.hop_us - spec.length_us)
        return min(needed)

    def _opened(self, window: ClosedWindow) -> ClosedWindow:
        entries = self.entries(window)
        window.rows = sum(entry.sealed_rows for entry in entries if self._sealed(entry) is not None)
        window.dirty = any(self._sealed(entry) is not entry.current for entry in entries)
        self.memory.windows.append(window)
        return window

    def spec_at(self, revisions: Revisions) -> WindowSpec:
        """How windows are cut under a configuration."""
        return window_spec(self._monitor_of(self.name.model, revisions[0]), self.name.axis)

    def _revisions_at(self, pane_us: int) -> Revisions:
        return max(entry.revisions for entry in self.panes[pane_us].values())

    def _next_hop(self, times: Times) -> tuple[Hop, WindowSpec] | None:
        memory = self.memory
        due = sorted(start for start in self.panes if start >= memory.next_us)
        spec = self.spec()
        if spec is not None and spec.by_time:
            # Time goes on under the old configuration until a pane of another one begins.
            hop_end_us = spec.hop_start(memory.next_us) + spec.hop_us
            alive = hop_end_us <= memory.rows_us + spec.ttl_us
            if memory.revisions is not None and alive and (not due or due[0] >= hop_end_us):
                told_us = times.time_us if due else times.empty_us
                hop = Hop(memory.next_us, hop_end_us - spec.hop_us, hop_end_us, memory.revisions)
                return (hop, spec) if hop_end_us + spec.delay_us <= told_us else None
        if not due:
            return None
        spec = self.spec_at(self._revisions_at(due[0]))
        return self._hop_by_time(due, spec, times) if spec.by_time else self._hop_by_rows(due, times)

    def _hop_by_time(self, due: list[int], spec: WindowSpec, times: Times) -> tuple[Hop, WindowSpec] | None:
        start_us = spec.hop_start(due[0])
        hop = Hop(
            max(start_us, self.memory.next_us), start_us, start_us + spec.hop_us, self._revisions_at(due[0])
        )
        return (hop, spec) if hop.end_us + spec.delay_us <= times.time_us else None

    def _hop_by_rows(self, due: list[int], times: Times) -> tuple[Hop, WindowSpec] | None:
        """The first sealed panes that hold enough rows. What is left under an older configuration is measured
        in no window."""
        first_us, rows, revisions = 0, 0, None
        for pane_us in due:
            entries, now = self.panes[pane_us], self._revisions_at(pane_us)
            spec = self.spec_at(now)
            end_us = max(entry.end_us for entry in entries.values())
            if end_us + spec.delay_us > times.frontier_us:
                return None
            sealed_rows = sum(entry.sealed_rows for entry in entries.values())
            if not sealed_rows:
                continue
            if spec.by_time:
                self.memory.next_us = pane_us
                return self._next_hop(times)
            if revisions is None or now != revisions:
                first_us, rows, revisions = pane_us, 0, now
            rows += sealed_rows
            if rows >= spec.hop_rows:
                return Hop(self.memory.next_us, first_us, end_us, now), spec
        return None

    def _windows_by_time(self, hop: Hop, spec: WindowSpec) -> Iterator[ClosedWindow]:
        """The window that ends with this hop, once for each configuration that has panes in the hop."""
        start_us = hop.end_us - spec.length_us
        inside = sorted(pane_us for pane_us in self.panes if hop.after_us <= pane_us < hop.end_us)
        found = [entry.revisions for pane_us in inside for _, entry in sorted(self.panes[pane_us].items())]
        for revisions in dict.fromkeys(found or [hop.revisions]):
            self.memory.revisions = revisions
            self.memory.rows_us = hop.end_us if found else self.memory.rows_us
            decided = spec.is_decided_on(hop.end_us)
            yield ClosedWindow(start_us, start_us, hop.end_us, *revisions, 0, by_time=True, decided=decided)
        self.memory.hops = []

    def _windows_by_rows(self, hop: Hop, spec: WindowSpec) -> Iterator[ClosedWindow]:
        """The last hops, once there are enough of them; every so many-th window is decided on."""
        memory = self.memory
        if hop.revisions != memory.revisions:
            memory.revisions, memory.hops, memory.count = hop.revisions, [], 0
        memory.count += 1
        hops = [*memory.hops, hop][-spec.hops :]
        memory.hops = hops[len(hops) - spec.hops + 1 :] if len(hops) == spec.hops else hops
        if len(hops) == spec.hops:
            decided = memory.count % spec.hops == 0
            yield ClosedWindow(
                hops[0].after_us, hops[0].start_us, hop.end_us, *hop.revisions, 0, decided=decided
            )

    def _sealed(self, entry: Entry) -> PaneSnapshot | None:
        """A pane as it was sealed, if that was known when the window was closed."""
        if self._absent and (entry.current.source, entry.current.pane_us) in self._absent:
            return None
        return entry.sealed

    def _close_planned(self, plan: deque[Planned], times: Times) -> Iterator[ClosedWindow]:
        while plan:
            seal, self._absent = plan[0]
            revisions = (seal.monitor_revision, seal.reference_revision)
            if seal.end_us + self.spec_at(revisions).delay_us > times.time_us:
                return
            plan.popleft()
            self.memory.next_us = max(self.memory.next_us, seal.end_us)
            self.memory.revisions = revisions
            yield self._opened(
                ClosedWindow(
                    seal.after_us,
                    seal.start_us,
                    seal.end_us,
                    *revisions,
                    0,
                    by_time=seal.by_time,
                    decided=seal.decided,
                    heard=seal.heard,
                )
            )
