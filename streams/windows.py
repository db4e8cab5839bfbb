"""Windows of the judge: which panes make a window, decided once, in order of time, whatever the order of
arrival."""

from collections.abc import Callable, Iterator

import msgspec

from detectors.judgement import SeriesState
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Axis, Monitor, PaneSnapshot
from streams.panes import MICROSECONDS

KEPT_WINDOWS = 64
"""Closed windows of a series that late events and labels can still correct."""

_NEVER_US = -(2**62)

MonitorOf = Callable[[str, int], Monitor]
"""Model and revision to the monitor."""


class SeriesName(msgspec.Struct, frozen=True, array_like=True):
    """What is judged by itself."""

    model: str
    version: str
    segment: str
    axis: Axis


class Entry(msgspec.Struct):
    """One pane of one source: as it was sealed (None where it came after sealing had passed it) and as it is
    now, each with its offset on the profiles topic."""

    sealed: PaneSnapshot | None
    sealed_offset: int
    current: PaneSnapshot
    current_offset: int

    @property
    def corrected(self) -> bool:
        """Whether more is known than at sealing."""
        return self.sealed is not self.current

    @property
    def sealed_rows(self) -> int:
        """Rows at sealing."""
        return self.sealed.rows if self.sealed else 0

    @property
    def revisions(self) -> tuple[int, str]:
        """The configuration it was counted under."""
        return self.current.monitor_revision, self.current.reference_revision


class ClosedWindow(msgspec.Struct):
    """A window that has been decided: all panes that begin in [after_us, end_us). `rows` at the last
    emission."""

    after_us: int
    start_us: int
    end_us: int
    monitor_revision: int
    reference_revision: str
    rows: int
    revision: int = 1
    dirty: bool = False

    @property
    def name(self) -> str:
        """Its name in points and alerts."""
        return f"{self.start_us}-{self.end_us}"


class Series:
    """Panes, windows and the memory of deciding of one series."""

    def __init__(self, name: SeriesName) -> None:
        self.name = name
        self.panes: dict[int, dict[int, Entry]] = {}
        self.next_us = _NEVER_US
        self.windows: list[ClosedWindow] = []
        self.state = SeriesState()

    def store(self, snapshot: PaneSnapshot, offset: int) -> bool:
        """Take a snapshot; False when a newer one of its pane and source is known."""
        entries = self.panes.setdefault(snapshot.pane_us, {})
        known = entries.get(snapshot.source)
        if known is not None and snapshot.sequence <= known.current.sequence:
            return False
        if known is not None:
            known.current, known.current_offset = snapshot, offset
        elif snapshot.rows == snapshot.sealed_rows:
            entries[snapshot.source] = Entry(snapshot, offset, snapshot, offset)
        else:
            entries[snapshot.source] = Entry(None, offset, snapshot, offset)
        return True

    def mark_dirty(self, pane_us: int) -> None:
        """A pane has changed: so has the window that holds it, if one does."""
        for window in self.windows:
            if window.after_us <= pane_us < window.end_us:
                window.dirty = True

    def close_due(self, frontier_us: int, monitor_of: MonitorOf) -> Iterator[ClosedWindow]:
        """Close every window that is complete below `frontier_us`: the first sealed panes that hold enough
        rows.

        Panes under different revisions of the configuration share no window: what was left under the old one
        is measured in none.
        """
        first_us, rows, revisions = None, 0, None
        for pane_us in sorted(start for start in self.panes if start >= self.next_us):
            entries = self.panes[pane_us]
            now = max(entry.revisions for entry in entries.values())
            monitor = monitor_of(self.name.model, now[0])
            end_us = pane_us + max(entry.current.pane_length_us for entry in entries.values())
            if end_us + int(monitor.watermark_delay_s * MICROSECONDS) > frontier_us:
                return
            sealed_rows = sum(entry.sealed_rows for entry in entries.values())
            if not sealed_rows:
                continue
            if first_us is None or now != revisions:
                first_us, rows, revisions = pane_us, 0, now
            rows += sealed_rows
            if rows < (monitor.window_rows if self.name.axis == "event" else monitor.label_window_rows):
                continue
            window = ClosedWindow(self.next_us, first_us, end_us, now[0], now[1], rows)
            window.dirty = any(entry.corrected for entry in self._entries(window))
            self.windows.append(window)
            self.next_us = end_us
            first_us, rows, revisions = None, 0, None
            yield window

    def profile(self, window: ClosedWindow, reference: Reference | None, as_sealed: bool) -> Profile:
        """The window's panes merged, as they were sealed or as they are now."""
        snapshots = [entry.sealed if as_sealed else entry.current for entry in self._entries(window)]
        return Profile.merged(
            reference,
            (
                Profile.from_bytes(reference, snapshot.profile)
                for snapshot in snapshots
                if snapshot is not None
            ),
        )

    def prune(self, lateness_us: int, frontier_us: int) -> None:
        """Forget windows beyond correction, and the panes that belong to none."""
        self.windows = [
            window
            for window in self.windows[-KEPT_WINDOWS:]
            if window.dirty or window.end_us + lateness_us > frontier_us or window is self.windows[-1]
        ]
        oldest_us = self.windows[0].after_us if self.windows else self.next_us
        for pane_us in [start for start in self.panes if start < oldest_us]:
            del self.panes[pane_us]

    def offsets(self) -> list[int]:
        """Where the snapshots stand from which this series can be rebuilt."""
        return [
            offset
            for entries in self.panes.values()
            for entry in entries.values()
            for offset in (entry.sealed_offset, entry.current_offset)
        ]

    def _entries(self, window: ClosedWindow) -> list[Entry]:
        wanted = (window.monitor_revision, window.reference_revision)
        return [
            entry
            for pane_us in sorted(self.panes)
            if window.after_us <= pane_us < window.end_us
            for _, entry in sorted(self.panes[pane_us].items())
            if entry.revisions == wanted
        ]
