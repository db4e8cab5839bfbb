"""A window of label arrival: how well the model did, and how that stands beside its other versions and segments."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from detectors.attribution.mixture import with_parts
from detectors.decide import decide
from detectors.estimation.judging import lesson_of
from detectors.estimation.trust import Lesson
from detectors.judgement import Decision, Judgement, Window
from detectors.measurement import Measurement
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.single import Told
from detectors.slices.beside import between_segments
from detectors.slices.tally import tallied
from detectors.slices.values import Tally
from detectors.values import Monitor
from streams.judge.model_axis import ModelAxis
from streams.judge.points import ALL, performed, with_lessons
from streams.judge.windows import ClosedWindow, Series, SeriesName, Times


def in_order(series: Iterable[Series], times: Times) -> Iterator[tuple[Series, ClosedWindow]]:
    """The windows that are complete, in order of their ends; those of the same end: of older versions first, and of
    segments before all rows. What a window is compared with is then known when it is judged, and the same whether
    windows close one by one or many at once."""
    return heapq.merge(*(_closing(one, times) for one in series), key=_place)


def _closing(series: Series, times: Times) -> Iterator[tuple[Series, ClosedWindow]]:
    for window in series.close_due(times):
        yield series, window


def _place(found: tuple[Series, ClosedWindow]) -> tuple[int, int, str, bool, str]:
    series, window = found
    tally = series.state.tally
    since_us = window.start_us if tally is None else tally.since_us
    return window.end_us, since_us, series.name.version, series.name.segment == ALL, series.name.segment


def judge_labels(
    axis: ModelAxis,
    series: Series,
    context: Window,
    profile: Profile,
    monitor: Monitor,
    reference: Reference,
    lessons: Sequence[Lesson],
    told: Told | None = None,
) -> Judgement:
    """Decide on a window; its decisions on the performance tell what the version before scored, and those of all rows
    what segments differ by. told: which measures are read (default: all)."""
    errors, others, whole = list[Measurement](), list[Measurement](), context.segment == ALL
    if whole:
        lessons, errors = lesson_of(profile, reference, lessons, context.end_us)
    found = performed(context, profile, reference, told)
    segments = _segments(axis, series.name, monitor) if whole else {}
    if segments:
        others = between_segments(segments, monitor.segments, reference.task)
    judgement = decide(context, [*found, *errors, *others], monitor, reference, series.state, profile, told)
    judgement = with_lessons(judgement, lessons, context.end_us)
    tally = tallied(series.state.tally, context.start_us, context.end_us, profile, found)
    versions = _versions(axis, series.name, tally)
    splits = _splits(segments, versions, monitor) if whole else {}
    return replace(
        judgement,
        decisions=beside(judgement.decisions, _previous(versions, series.name, tally)),
        transitions=tuple(with_parts(one, splits) for one in judgement.transitions),
        state=replace(judgement.state, tally=tally),
    )


def previous_of(judgement: Judgement) -> dict[str, float]:
    """What the version before scored, by measure."""
    return {one.measure: one.previous for one in judgement.decisions if one.previous is not None}


def beside(decisions: Sequence[Decision], previous: Mapping[str, float]) -> tuple[Decision, ...]:
    """Decisions on the performance with what the version before scored."""
    return tuple(
        replace(one, previous=previous[one.measure])
        if one.kind == "performance" and one.feature is None and one.measure in previous
        else one
        for one in decisions
    )


def _segments(axis: ModelAxis, name: SeriesName, monitor: Monitor) -> dict[str, Tally]:
    """The tallies of the segments of a version."""
    if not monitor.segments:
        return {}
    mine = ((one.segment, found) for one, found in axis.series.items() if one.version == name.version)
    return {
        segment: found.state.tally
        for segment, found in mine
        if segment != ALL and found.state.tally is not None
    }


def _versions(axis: ModelAxis, name: SeriesName, tally: Tally | None) -> dict[str, Tally]:
    """The tallies of all versions of a segment."""
    found = {name.version: tally} if tally is not None else {}
    for version in axis.versions:
        other = axis.series.get(SeriesName(name.model, version, name.segment, name.axis))
        if version != name.version and other is not None and other.state.tally is not None:
            found[version] = other.state.tally
    return found


def _previous(versions: Mapping[str, Tally], name: SeriesName, tally: Tally | None) -> dict[str, float]:
    """What the version before this one scored in its last window."""
    if tally is None:
        return {}
    older = [
        (one.since_us, version, one)
        for version, one in versions.items()
        if version != name.version and one.since_us < tally.since_us
    ]
    return max(older, key=lambda one: one[:2])[2].scores if older else {}


def _splits(
    segments: Mapping[str, Tally], versions: Mapping[str, Tally], monitor: Monitor
) -> dict[str, dict[str, Tally]]:
    found = {"version": dict(versions)}
    for column in monitor.segments:
        start = f"{column}="
        found[column] = {
            name.removeprefix(start): one for name, one in segments.items() if name.startswith(start)
        }
    return found
