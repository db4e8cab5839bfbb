"""Did a new version make the service slow or failing? Its windows beside those of the version before."""

import math
from statistics import median
from typing import NamedTuple

from remediation.causes.telling import count, hypothesis
from remediation.config import DiagnosisConfig
from remediation.evidence import Facts, Window
from remediation.requests import LEAST_FAILING, LEAST_RISE, ServiceSaid
from remediation.values import Hypothesis

_LAST_WINDOWS = 3
_TYPICAL = "latency_p50_ms"
"""What of all quantiles moves in proportion to the requests that are slow."""
_SLOWEST = "latency_p95_ms"
_BEGUN = 0.35
"""A window that rose by more than this part of the whole rise belongs to the illness."""
_WHOLE = 0.7
"""One that rose by less than this part of it is ill in part only."""
_SAME, _HEALTHY_AFTER, _PARTLY, _CLEAR = 0.15, 0.05, 0.3, 0.85


class _Rise(NamedTuple):
    """A measure, on a scale on which it rises evenly: the version before, and the ill one since the change."""

    measure: str
    old: float
    now: float

    def part(self, value: float) -> float:
        return (value - self.old) / (self.now - self.old)


def worse_service(
    facts: Facts, before: str, config: DiagnosisConfig, reasons: list[str]
) -> Hypothesis | None:
    """The hypothesis that version `before` was replaced by a slower or failing one; None where no window of both tells.
    Single requests are believed before windows. reasons: what is told first."""
    said = facts.testimony.service if facts.testimony is not None else ServiceSaid()
    if said.blames == "release":
        return hypothesis("bad_release", _CLEAR, [said.sentence, *reasons])
    if said.blames == "other":
        return hypothesis("bad_release", _HEALTHY_AFTER, [*reasons, f"but {said.sentence}"])
    measures = dict.fromkeys([_TYPICAL, *(each.measure for each in facts.service())])
    found = [rise for name in measures if (rise := _rise(facts, before, name)) is not None]
    if not found:
        return None
    risen = [each for each in found if each.now - each.old >= _least(each.measure)]
    if not risen:
        told = f"version {before} had the same {_words(found[-1])} in its last windows"
        return hypothesis("bad_release", _SAME, [*reasons, told])
    return _weighed(facts, before, config, reasons, risen[0])


def _rise(facts: Facts, before: str, measure: str) -> _Rise | None:
    release = facts.release()
    old = _values(facts, before, measure)
    earlier = [value for end, value in old if release is not None and end <= release.at_us]
    since = [value for end, value in _values(facts, facts.version, measure) if end > facts.incident.change_us]
    if not since or not earlier:
        return None
    return _Rise(measure, median(earlier[-_LAST_WINDOWS - 1 : -1] or earlier), median(since))


def _least(measure: str) -> float:
    return LEAST_RISE if measure.startswith("latency") else LEAST_FAILING


def _weighed(
    facts: Facts, before: str, config: DiagnosisConfig, reasons: list[str], rise: _Rise
) -> Hypothesis:
    if _shown_before(facts, before, rise):
        told = f"version {before} showed it, too, at its end"
        return hypothesis("bad_release", _SAME, [*reasons, told])
    parts = [rise.part(value) for _, value in _values(facts, facts.version, rise.measure)]
    healthy = next((place for place, part in enumerate(parts) if part > _BEGUN), len(parts))
    if healthy >= config.healthy_windows:
        told = f"but it was in order for {count(healthy, 'window')} after its release"
        return hypothesis("bad_release", _HEALTHY_AFTER, [*reasons, told])
    if healthy or parts[0] < _WHOLE:
        told = f"but its first window rose by {parts[0]:.0%} of it only: it began after the release"
        return hypothesis("bad_release", _PARTLY, [*reasons, told])
    told = f"{_words(rise)} since its first window, and not in the last ones of version {before}"
    return hypothesis("bad_release", _CLEAR, [told, *reasons])


def _shown_before(facts: Facts, before: str, rise: _Rise) -> bool:
    """Whether the version before was ill of it, at its end or beside the new one. Of a window that is slow in part the
    slowest requests are as slow as later all are; where they are not, the new version made it worse."""
    if not _late(facts, before, rise, _BEGUN):
        return False
    tail = _rise(facts, before, _SLOWEST) if rise.measure == _TYPICAL else None
    return tail is None or tail.now - tail.old < LEAST_RISE or _late(facts, before, tail, _WHOLE)


def _late(facts: Facts, before: str, rise: _Rise, least: float) -> bool:
    release, old = facts.release(), _values(facts, before, rise.measure)
    last = max((end for end, _ in old if release is not None and end <= release.at_us), default=0)
    return any(rise.part(value) > least for end, value in old if end >= last)


def _values(facts: Facts, version: str, measure: str) -> list[tuple[int, float]]:
    """The end and the value of each window of a version that has one."""
    return [
        (window.end_us, value)
        for window in facts.windows(version, "event")
        if (value := _value(window, measure)) is not None
    ]


def _value(window: Window, measure: str) -> float | None:
    for point in window.points:
        if point.measure == measure and point.feature is None and point.value is not None:
            return math.log(max(point.value, 1e-6)) if measure.startswith("latency") else point.value
    return None


def _words(rise: _Rise) -> str:
    if rise.measure.startswith("latency"):
        return f"{rise.measure} of {math.exp(rise.now):,.3g} instead of {math.exp(rise.old):,.3g}"
    return f"{rise.measure} of {rise.now:.1%} instead of {rise.old:.1%}"
