"""Verdicts on the measures of one window by itself, without a memory: where each lies beside its threshold."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from detectors import explain
from detectors.judgement import Decision, KindState, Standing, Window
from detectors.measurement import Measurement
from detectors.reference import Reference
from detectors.segments import ALL, compared, own_of
from detectors.standing import moved
from detectors.thresholds import KINDS, false_alarm_shares, is_small, threshold
from detectors.values import AlertKind, Monitor, Verdict

Told = Callable[[str], bool]
"""Whether somebody reads what was decided about the measure of this name."""

_NOTHING: Final = KindState()
_NONE: Final[dict[AlertKind, KindState]] = {}
_PLACES: Final = {kind: place for place, kind in enumerate(explain.KIND_NAMES)}


class Judged(NamedTuple):
    """The verdicts on the measures of a window. `kinds`: those that any measure is of, and whether one of them is fine.
    Left out of `decisions` is what nobody reads and no alert can rest on."""

    decisions: list[Decision]
    kinds: dict[AlertKind, bool]


def judge(
    measurements: Sequence[Measurement],
    chances: Mapping[AlertKind, float],
    kinds: Mapping[AlertKind, KindState],
    told: Told | None = None,
) -> Judged:
    """Hold each measure against its threshold. chances: of a false breach, by kind; kinds: what was remembered of
    each; told: which measures are read (default: all)."""
    leaving = unread(told, kinds)
    found: list[Decision] = []
    seen: dict[AlertKind, bool] = {}
    leaves: dict[str, bool] = {}
    for one in measurements:
        kind, leave = KINDS[one.measure], leaves.get(one.measure)
        if leave is None:
            seen.setdefault(kind, False)
            leave = leaves[one.measure] = leaving is not None and leaving(one.measure)
        if leave:
            if one.value is None:
                continue
            if is_small(one):
                seen[kind] = True
                continue
        decision = _judged(kind, one, chances[kind], kinds.get(kind, _NOTHING).standing)
        found.append(decision)
        if decision.verdict == "ok":
            seen[kind] = True
    return Judged(found, seen)


def unread(told: Told | None, kinds: Mapping[AlertKind, KindState]) -> Told | None:
    """Which measures nobody reads and no streak or statement of a person rests on; None: no measure. told, kinds: see
    `judge`."""
    if told is None:
        return None
    eventful = {kind for kind, one in kinds.items() if one.streaks or one.standing != Standing()}
    return lambda name: not told(name) and KINDS[name] not in eventful


def verdicts_alone(
    window: Window,
    measurements: Sequence[Measurement],
    monitor: Monitor,
    reference: Reference,
    told: Told | None = None,
) -> tuple[Decision, ...]:
    """Verdicts on measures outside the sequence of deciding, as `detectors.decide.decide` gives them on the first
    window of a series; of those that are told. Raises `MonitorInvalid` when the budget cannot be kept."""
    own = own_of(reference, window.segment)
    if told is not None:
        measurements = [one for one in measurements if told(one.measure)]
    if own.alone:
        measurements = [compared(own, one) for one in measurements]
    chances = false_alarm_shares(monitor, own.reference, is_segment=window.segment != ALL)
    found = judge(measurements, chances, _NONE).decisions
    return tuple(sorted(found, key=lambda one: _PLACES[one.kind]))


def _judged(kind: AlertKind, found: Measurement, chance: float, standing: Standing) -> Decision:
    found, limit = moved(found, threshold(found, chance), standing)
    effect = _effect(found, limit)
    verdict: Verdict = "undefined" if found.value is None else "breach" if effect > 1 else "ok"
    return Decision(
        kind=kind,
        measure=found.measure,
        feature=found.feature,
        value=found.value,
        low=found.low,
        high=found.high,
        naive=found.naive,
        reference=found.reference,
        threshold=limit,
        rows=found.rows,
        effect=effect,
        verdict=verdict,
        reason="" if verdict == "ok" else explain.sentence(found, limit),
        detail=found.detail,
        confusion=found.confusion,
        undefined=found.undefined,
    )


def _effect(found: Measurement, limit: float | None) -> float:
    if found.value is None or limit is None:
        return 0.0
    start = found.reference or 0.0
    return max(0.0, (found.value - start) / (limit - start)) if limit != start else 0.0
