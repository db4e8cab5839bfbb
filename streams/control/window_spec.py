"""How the windows of a monitor are cut: by rows or by time, side by side or sliding."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from detectors.errors import MonitorInvalid
from detectors.remembered import Remembered
from detectors.values import Axis, Monitor
from streams.control.lateness import correctable_us
from streams.times import MICROSECONDS

MAX_OVERLAP = 60
"""Sliding windows that hold the same pane: each of them is measured again when the pane is corrected."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The windows of one axis. Those by time (`length_us` above 0) are aligned to the epoch and made of hops
    of `hop_us`; those by rows are made of hops of at least `hop_rows` rows. Without sliding a window is one
    hop. `delay_us`: the watermark must have passed the end by so much."""

    rows: int
    hop_rows: int
    length_us: int
    hop_us: int
    delay_us: int
    lateness_us: int
    ttl_us: int

    @property
    def by_time(self) -> bool:
        """Whether the windows are counted in time."""
        return self.length_us > 0

    @property
    def hops(self) -> int:
        """Hops in a window by rows."""
        return self.rows // self.hop_rows

    def hop_start(self, time_us: int) -> int:
        """The start of the hop by time that holds this time."""
        return time_us // self.hop_us * self.hop_us

    def is_decided_on(self, end_us: int) -> bool:
        """Whether the window by time that ends here is one of those that lie side by side."""
        return end_us % self.length_us == 0


def window_spec(monitor: Monitor, axis: Axis) -> WindowSpec:
    """The windows of a monitor on one axis. What `check_windows` would refuse is rounded up to something
    that can be cut, for a stage must go on whatever somebody has published."""
    return _KNOWN[axis].of(monitor)


def _cut(axis: Axis, monitor: Monitor) -> WindowSpec:
    pane_us = max(1, _us(monitor.pane_s))
    event = axis == "event"
    rows = max(1, monitor.window_rows if event else monitor.label_window_rows)
    hop_rows = monitor.slide_rows if event and 0 < monitor.slide_rows < rows else rows
    length_us = -(-_us(monitor.window_s if event else monitor.label_window_s) // pane_us) * pane_us
    hop_us = -(-_us(monitor.slide_s) // pane_us) * pane_us if event else 0
    if not 0 < hop_us < length_us or length_us % hop_us:
        hop_us = length_us
    lateness_us = correctable_us(monitor)
    return WindowSpec(
        rows=rows,
        hop_rows=hop_rows if rows % hop_rows == 0 else rows,
        length_us=length_us,
        hop_us=hop_us,
        delay_us=_us(monitor.watermark_delay_s),
        lateness_us=lateness_us,
        ttl_us=max(_us(monitor.series_ttl_s), lateness_us, 2 * length_us),
    )


_KNOWN: Final[dict[Axis, Remembered[Monitor, WindowSpec]]] = {
    "event": Remembered(partial(_cut, "event")),
    "label": Remembered(partial(_cut, "label")),
}


def check_windows(monitor: Monitor) -> None:
    """Raise `MonitorInvalid` for windows that cannot be cut as they are written."""
    for name in ("window_s", "label_window_s", "slide_s"):
        seconds = getattr(monitor, name)
        if seconds and _us(seconds) % max(1, _us(monitor.pane_s)):
            _refuse(monitor, name, f"{seconds:g} s", f"a multiple of the pane of {monitor.pane_s:g} s")
    if monitor.pane_s <= 0:
        _refuse(monitor, "pane_s", f"{monitor.pane_s:g}", "more than 0 seconds")
    for name in ("window_rows", "label_window_rows"):
        if getattr(monitor, name) < 1:
            _refuse(monitor, name, str(getattr(monitor, name)), "at least 1 row")
    if monitor.slide_s and not monitor.window_s:
        _refuse(monitor, "slide_s", f"{monitor.slide_s:g} s", "0, or slide_rows: the windows are in rows")
    if monitor.slide_rows and monitor.window_s:
        _refuse(monitor, "slide_rows", str(monitor.slide_rows), "0, or slide_s: the windows are in time")
    if monitor.slide_s:
        _check_slide(monitor, "slide_s", _us(monitor.slide_s), _us(monitor.window_s))
    if monitor.slide_rows:
        _check_slide(monitor, "slide_rows", monitor.slide_rows, monitor.window_rows)


def _check_slide(monitor: Monitor, name: str, slide: int, window: int) -> None:
    if not 0 < slide < window or window % slide or window // slide > MAX_OVERLAP:
        right = f"a part of the window that goes into it 2 to {MAX_OVERLAP} times without a rest"
        _refuse(monitor, name, f"{getattr(monitor, name):g}", right)


def _refuse(monitor: Monitor, field: str, value: str, right: str) -> None:
    raise MonitorInvalid(f"monitor of {monitor.model!r}: {field} is {value}; it must be {right}")


def _us(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
