"""What the control topic tells in the test of interleavings: at the beginning, and in the middle of the events."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.values import Monitor
from streams.control.configuration import Configuration, monitor_record, reference_record
from streams.control.learning import InForce
from tests.streams.interleaving_plan import MODELS, SECOND_US, SECONDS
from tests.streams.interleaving_world import Change
from tests.streams.stream_data import START_US, make_monitor, make_reference

_REFERENCES = {(model, version): make_reference(model, version) for model in MODELS for version in ("1", "2")}
_LATER = make_reference(MODELS[1], "1", seed=99)
_WINDOWS: list[dict[str, Any]] = [
    {"window_rows": 100, "label_window_rows": 80},
    {"window_s": 1.0, "label_window_s": 2.0},
    {"window_s": 2.0, "slide_s": 1.0, "label_window_s": 1.0},
]


def make_changes(seed: int, gap_s: float, pane_s: Sequence[float] = (0.5, 1.0), **usual: Any) -> list[Change]:
    """References and a monitor of each model; later two more monitors of each, with other windows and panes, and
    another reference of one. `gap_s`: of silence after half of the events; `pane_s`: each has one of these;
    `usual`: what all have."""
    rng = np.random.default_rng(seed)
    found = [Change(*reference_record(one)) for one in _REFERENCES.values()]
    later = [*_of_reference(_at(SECONDS * rng.uniform(0.2, 0.8), gap_s))]
    for model in MODELS:
        segments = ("city",) if model == MODELS[0] else ()
        shares = (0.0, rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.9))
        for revision, share in enumerate(shares, 1):
            from_us = _at(SECONDS * share, gap_s) if share else 0
            changed = {
                **_WINDOWS[int(rng.integers(len(_WINDOWS)))],
                "pane_s": float(rng.choice(pane_s)),
            }
            monitor = make_monitor(
                model, revision=revision, effective_us=from_us, segments=segments, **changed, **usual
            )
            (later if share else found).append(_of_monitor(monitor))
    return [*found, *sorted(later, key=lambda one: one.effective_us)]


def configuration(changes: list[Change]) -> Configuration:
    """All of it, known from the beginning."""
    known = Configuration()
    for one in changes:
        known.apply(one.key, one.value)
    return known


def _of_monitor(monitor: Monitor) -> Change:
    return Change(*monitor_record(monitor), monitor.effective_us)


def _of_reference(from_us: int) -> tuple[Change, Change]:
    told = InForce(model=_LATER.model, version=_LATER.version, revision=_LATER.revision, effective_us=from_us)
    in_force = Change(told.key, msgspec.json.encode(told), from_us)
    return in_force, Change(*reference_record(_LATER), from_us)


def _at(second: float, gap_s: float) -> int:
    """The event time that is reached after so many seconds in which events come."""
    return START_US + round((second + (gap_s if second > SECONDS / 2 else 0.0)) * SECOND_US)
