"""The sequential tests as `detectors.decide` uses them: one window of one series, with its profile."""

import math
from typing import NamedTuple, cast

from detectors.judgement import Decision, Transition, Window
from detectors.profile import Profile
from detectors.quality.values import SURPRISE
from detectors.reference import Reference
from detectors.segments import ALL, own_of
from detectors.sequential.budget import (
    FINDINGS,
    SEGMENTS,
    SERVICE,
    VOLUME,
    Threshold,
    part_of,
    threshold_of,
)
from detectors.sequential.plan import Plan, plan_of
from detectors.sequential.step import step
from detectors.sequential.values import Memory
from detectors.sequential.verdicts import closing, decision_of, opening
from detectors.service.measures import tells_service
from detectors.text import WATCHED
from detectors.values import AlertKind, Monitor


class Sequential(NamedTuple):
    """What the sequential tests say of a window. `kinds`: those that they decide on, and whether an incident is
    open."""

    kinds: dict[AlertKind, bool]
    decisions: tuple[Decision, ...] = ()
    transitions: tuple[Transition, ...] = ()
    memory: Memory | None = None


def plan_for(window: Window, monitor: Monitor, reference: Reference) -> Plan:
    """The plan of the window's series. A segment is compared with its own rows of the reference; where there are too
    few, with itself, by the scores of all rows."""
    columns, own = WATCHED.of(monitor.features), own_of(reference, window.segment)
    source = reference if own.alone else own.reference
    return plan_of(source, window.axis, columns=columns, small=window.segment != ALL, alone=own.alone)


def besides_of(window: Window, profile: Profile | None, monitor: Monitor) -> tuple[str, ...]:
    """The kinds that are decided on elsewhere and share the budget of this window's axis: findings, and of all rows of
    a version what they tell of the service, and their volume, where the budget is told in time."""
    if profile is None or window.axis != "event":
        return ()
    if window.segment != ALL:
        return (FINDINGS,)
    service = (SERVICE,) if tells_service(profile) else ()
    return (FINDINGS, *service, VOLUME) if monitor.budget.every_s > 0 else (FINDINGS, *service)


def service_limit(
    window: Window, profile: Profile | None, monitor: Monitor, reference: Reference
) -> Threshold | None:
    """The threshold of what is decided about the service; None where the window tells nothing of it."""
    return _limit(SERVICE, window, profile, monitor, reference)


def findings_surprise(
    window: Window, profile: Profile | None, monitor: Monitor, reference: Reference
) -> float:
    """How unlikely by chance (minus its logarithm) each thing that is found in the data of a window must be, so that
    all of them together keep the part of the budget that findings have."""
    limit, tests = _limit(FINDINGS, window, profile, monitor, reference), 2 * len(reference.features) + 1
    return SURPRISE if limit is None else max(SURPRISE, math.log(tests * limit.value / limit.share))


def _limit(
    kind: str, window: Window, profile: Profile | None, monitor: Monitor, reference: Reference
) -> Threshold | None:
    besides = besides_of(window, profile, monitor)
    if kind not in besides:
        return None
    kinds = (*(str(track.kind) for track in plan_for(window, monitor, reference).tracks), *besides)
    segments, is_segment = SEGMENTS * len(monitor.segments), window.segment != ALL
    part = part_of(kind, kinds, labels=reference.labelled > 0, segments=segments, is_segment=is_segment)
    return threshold_of(monitor.budget, part, (window.end_us - window.start_us) / 1e6, None)


def judge_sequence(
    window: Window, profile: Profile | None, monitor: Monitor, reference: Reference, memory: Memory | None
) -> Sequential:
    """Take one window. Without a profile, of an axis on which the reference can be compared with nothing, or where the
    reference has seasons and the profile does not tell them apart, the sequential tests say nothing and remember
    what they did; but what is open under another reference ends."""
    if profile is None:
        return Sequential({}, memory=memory)
    own = own_of(reference, window.segment)
    baseline, is_segment = (None if own.alone else own.reference.baseline), window.segment != ALL
    plan = plan_for(window, monitor, reference)
    counters = list(profile.phases) if plan.strata else [profile.counters]
    if not counters or not (plan.tracks or _is_open(memory)):
        return Sequential({}, memory=memory)
    after, steps = step(
        plan,
        memory or Memory(),
        counters,
        window.start_us,
        window.end_us,
        monitor.budget,
        calibration=baseline.calibration if baseline is not None else None,
        labels=reference.labelled > 0,
        segments=SEGMENTS * len(monitor.segments),
        is_segment=is_segment,
        besides=besides_of(window, profile, monitor),
    )
    open_now = {
        kind: track.opened is not None and not track.opened.expected for kind, track in after.tracks.items()
    }
    decisions: list[Decision] = []
    transitions: list[Transition] = []
    for one in steps:
        kind = cast(AlertKind, one.kind)
        open_now.setdefault(kind, False)
        if one.closed_us is not None and not one.expected:
            transitions.append(closing(kind, one))
        elif one.opened is not None:
            transitions.append(opening(kind, one.opened, further=one.further))
        if one.threshold:
            decisions.append(decision_of(kind, one, window.rows, is_open=open_now[kind]))
    return Sequential(
        {cast(AlertKind, kind): firing for kind, firing in open_now.items()},
        tuple(decisions),
        tuple(transitions),
        after,
    )


def _is_open(memory: Memory | None) -> bool:
    return memory is not None and any(track.opened is not None for track in memory.tracks.values())
