"""What the judge says about a window besides its measures: points of its own, and names for `detectors`."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from detectors.estimation.judging import estimates_of, in_the_light_of, trust_at
from detectors.estimation.trust import Lesson
from detectors.judgement import Decision, Judgement, Window
from detectors.library.judging import further_decisions
from detectors.measurement import Measurement
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.season import expected
from detectors.segments import compared, own_of, profile_of
from detectors.service.measures import service_measures
from detectors.single import Told, verdicts_alone
from detectors.values import MetricPoint, Monitor
from homeostat.contract import partition_of
from streams.control.measures import known_measures
from streams.judge.seals import Seal
from streams.judge.windows import ClosedWindow, SeriesName

ALL: Final = "all"
"""The segment that all rows are in."""


KINDS: Final = {name: (("kind", name.encode()),) for name in ("alert", "point", "seal")}
"""The headers of what the judge tells."""


@lru_cache(maxsize=4_096)
def place_of(model: str, partitions: int) -> tuple[int, bytes]:
    """The partition of what is told about a model, and its key."""
    return partition_of(model, 0, partitions), model.encode()


def context_of(name: SeriesName, window: ClosedWindow, profile: Profile) -> Window:
    """The window as `detectors` knows it."""
    return Window(
        **_of_window(name, window),
        rows=profile.rows if name.axis == "event" else profile.labelled,
    )


def unlabelled(
    context: Window,
    profile: Profile,
    monitor: Monitor,
    reference: Reference,
    lessons: Sequence[Lesson],
    leave: Told | None = None,
) -> list[Measurement]:
    """What is measured of a window of events before its labels come. lessons: of the windows of labels so far; leave:
    which measures nobody reads (default: none)."""
    trust = trust_at(lessons, reference, context.start_us)
    estimates = estimates_of(profile, reference, trust, context.segment)
    own = own_of(reference, context.segment).reference
    return [*measure(profile, expected(own, profile), monitor, leave), *service_measures(profile), *estimates]


def with_lessons(judgement: Judgement, lessons: Sequence[Lesson], end_us: int) -> Judgement:
    """What was decided on a window of labels, with what it teaches about estimates."""
    told = judgement.state.kinds.get("concept_drift")
    after = in_the_light_of(lessons, end_us, drifting=told is not None and told.firing)
    return replace(judgement, state=replace(judgement.state, lessons=after))


def verdicts(
    context: Window,
    profile: Profile,
    monitor: Monitor,
    reference: Reference,
    with_drift: bool,
    lessons: Sequence[Lesson] = (),
    told: Told | None = None,
) -> tuple[Decision, ...]:
    """Verdicts on the performance, and on the rest where asked for, outside the sequence of deciding. told: which
    measures are read (default: all)."""
    found = performed(context, profile, reference, told)
    if with_drift:
        found = [*unlabelled(context, profile, monitor, reference, lessons), *found]
    decisions = verdicts_alone(context, found, monitor, reference, told)
    return (*decisions, *further(context, profile, monitor, reference)) if with_drift else decisions


def performed(
    context: Window, profile: Profile, reference: Reference, told: Told | None = None
) -> list[Measurement]:
    """How well the model did, beside the reference; of a segment that is compared with itself, beside nothing. told:
    which measures are read (default: all)."""
    own = own_of(reference, context.segment)
    found = performance(profile, reference if own.alone else own.reference, told)
    return [compared(own, one) for one in found] if own.alone else found


def further(
    context: Window, profile: Profile, monitor: Monitor, reference: Reference
) -> tuple[Decision, ...]:
    """What the measures that the monitor asks for say; shown and not decided on."""
    if not monitor.measures:
        return ()
    own, rows = own_of(reference, context.segment), profile_of(reference, context.segment)
    found = further_decisions(monitor.measures, known_measures(), profile, reference, rows)
    if not own.alone:
        return found
    return tuple(
        replace(one, value=None, verdict="undefined", undefined=one.undefined or own.because) for one in found
    )


def rows_point(name: SeriesName, window: ClosedWindow, rows: int) -> MetricPoint:
    """How many rows a window by time holds: told for each, so that none is missing where nothing came."""
    return _point(name, window, "rows", rows=rows, value=float(rows), revision=window.revision)


def without_reference(name: SeriesName, window: ClosedWindow, because: str) -> MetricPoint:
    """Nothing is measured in this window, and why."""
    return _point(name, window, "reference", rows=window.rows, verdict="undefined", undefined=because)


def seal_of(name: SeriesName, window: ClosedWindow, partition: int, offset: int) -> Seal:
    """The record of the decision that this is a window."""
    return Seal(
        **_of_window(name, window),
        after_us=window.after_us,
        rows=window.rows,
        monitor_revision=window.monitor_revision,
        reference_revision=window.reference_revision,
        partition=partition,
        offset=offset,
        by_time=window.by_time,
        decided=window.decided,
        heard=window.heard or (),
    )


def _point(name: SeriesName, window: ClosedWindow, measure: str, **values: Any) -> MetricPoint:
    parts = (*msgspec.structs.astuple(name), window.name, measure, window.monitor_revision)
    if measure == "rows":
        parts = (*parts, window.reference_revision)
    return MetricPoint(
        id=hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32],
        **_of_window(name, window),
        measure=measure,
        monitor_revision=window.monitor_revision,
        reference_revision=window.reference_revision,
        **values,
    )


def _of_window(name: SeriesName, window: ClosedWindow) -> dict[str, Any]:
    """What all that is said about a window says first: which one it is."""
    return {
        **msgspec.structs.asdict(name),
        "window": window.name,
        "start_us": window.start_us,
        "end_us": window.end_us,
    }
