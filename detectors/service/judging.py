"""Whether the service has become slower or fails more often: decided over many windows, as all else is.

A request is slow for a quantile if it takes half as long again as that quantile usually does; the shares of slow and of
failed requests are judged as rates are in `sequential`, against the usual ones and with a share of the same budget.
"""

from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from detectors import explain
from detectors.columns import Floats, Integers
from detectors.judgement import Decision, Transition, Window
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.sequential.advance import advance
from detectors.sequential.budget import SERVICE, Threshold
from detectors.sequential.feedback import Said, say_on_track
from detectors.sequential.kernels import COUNT
from detectors.sequential.plan import LinearMap, Sums, TrackPlan
from detectors.sequential.values import Moved, ScoreName, Step
from detectors.sequential.verdicts import EVIDENCE_SUFFIX, GREATEST, passed
from detectors.service.measures import QUANTILES, service_measures
from detectors.service.usual import (
    LASTING,
    LEARNED,
    MEASURES,
    UNSETTLED,
    WARM_UP_US,
    Usual,
    lasting,
    latency_ms,
    pearson,
    usual_of,
    usual_shares,
    with_spread,
)
from detectors.service.values import ServiceFeedback, ServiceMemory
from detectors.values import AlertKind

KIND: Final[AlertKind] = "data_quality"
KEPT: Final = 2
"""Statements of people that can be taken back."""
_WEIGHTS: Final = (0.25, 0.25, 0.125, 0.375)
_ERRORS: Final = len(MEASURES) - 1


class Service(NamedTuple):
    """What a window says of the service. `usual`: what its measures are told beside."""

    memory: ServiceMemory | None
    decisions: tuple[Decision, ...] = ()
    transitions: tuple[Transition, ...] = ()
    usual: Usual | None = None

    @property
    def firing(self) -> bool:
        """Whether an alert of the service is open."""
        return self.memory is not None and self.memory.firing

    def beside_usual(self, decision: Decision) -> Decision:
        """A measure of the service beside what is usual of it; any other as it is."""
        known = _shown(self.usual).get(decision.measure) if self.usual is not None else None
        if known is None or decision.value is None:
            return decision
        usual, limit = known
        effect = max(0.0, (decision.value - usual) / (limit - usual))
        verdict = "breach" if effect > 1 and self.firing else "ok"
        return replace(decision, reference=usual, threshold=limit, effect=effect, verdict=verdict)


def judge_service(
    window: Window, profile: Profile | None, limit: Threshold | None, memory: ServiceMemory | None
) -> Service:
    """Take a window of events. limit: the threshold of its part of the budget; None where it tells nothing of the
    service that is judged: then nothing is said and what was known is remembered.

    The first `LEARNED` windows say what is usual and are judged by nothing; unless that is known of the version before
    (`begun_with`). Failed requests of such a version count from its first window, slow ones after `WARM_UP_US`.
    """
    if profile is None or limit is None:
        return Service(memory)
    memory = memory or ServiceMemory()
    if memory.since_us is None:
        memory = replace(memory, since_us=window.start_us)
    latencies: Integers = profile.counters[profile.layout.latencies]
    told, failed = (int(one) for one in profile.counters[profile.layout.statuses])
    if memory.usual is None:
        return Service(_learned(memory, latencies, (told, failed)))
    usual = memory.usual
    found, rows = usual.counts(latencies, (told, failed))
    shares = found / np.maximum(rows, 1.0)
    sums = lasting(found, rows, _before(memory, usual))
    plan = _plan(usual)
    seen = Sums(sums[None], np.array([[rows[0], rows[_ERRORS]]]), lambda: sums[None])
    before = memory.track
    track, step = advance(plan, before, seen, window.start_us, limit, 0.0)
    kept, starts_us = (*memory.shares, tuple(shares.tolist())), (*memory.starts_us, window.start_us)
    after = replace(memory, track=track)
    if not _warms_up(memory, window):
        after = replace(after, shares=kept[1 - LASTING :], starts_us=starts_us[1 - LASTING :])
        after = _learned_besides(after, latencies, (told, failed))
    if after.usual is usual:
        after = _settled(after, plan, sums, rows)
    earlier_us = window.start_us - starts_us[0]
    reasons = _transitions(step, usual, profile, earlier_us)
    return Service(after, (_evidence(step, window, after),), reasons, usual)


def begun_with(before: ServiceMemory) -> ServiceMemory | None:
    """What a version begins with that comes after one with this memory: a release that is slow from its first request
    is no new usual. What was not learned to its end is learned on. None where nothing is known yet."""
    if before.own is not None:
        return ServiceMemory(usual=before.own, inherited=True)
    return ServiceMemory(learning=before.learning) if before.learning and not before.inherited else None


def say(memory: ServiceMemory, said: Said, name: str) -> ServiceMemory:
    """The memory after a person has spoken about the service; unchanged where nothing is told of it."""
    if memory.usual is None or memory.track.opened is None:
        return memory
    entry = ServiceFeedback(id=name, before=memory.track)
    track = say_on_track(_plan(memory.usual), memory.track, said)
    return replace(memory, track=track, feedback=(*memory.feedback, entry)[-KEPT:])


def take_back(memory: ServiceMemory, name: str) -> ServiceMemory:
    """The memory as if the statement of this name had not been made, nor a later one."""
    place = next((i for i, one in enumerate(memory.feedback) if one.id == name), None)
    if place is None:
        return memory
    before = replace(memory.feedback[place].before, windows=memory.track.windows)
    return replace(memory, track=before, feedback=memory.feedback[:place])


def _warms_up(memory: ServiceMemory, window: Window) -> bool:
    return memory.inherited and memory.since_us is not None and window.end_us <= memory.since_us + WARM_UP_US


def _before(memory: ServiceMemory, usual: Usual) -> Floats:
    """The shares of the windows before this one; an heir's were as usual before it came."""
    seen = np.array(memory.shares).reshape(-1, len(MEASURES))
    return np.vstack((usual_shares(usual, LASTING - 1 - len(seen)), seen)) if memory.inherited else seen


def _learned_besides(memory: ServiceMemory, latencies: Integers, statuses: tuple[int, int]) -> ServiceMemory:
    """An heir learns in its healthy windows what is usual of itself, for the version after it; and for itself, where it
    tells latencies or failures and the version before did not."""
    if not memory.inherited or memory.learned is not None:
        return memory
    if memory.track.opened is not None:
        return replace(memory, learning=())
    return _learned(memory, latencies, statuses)


def _learned(memory: ServiceMemory, latencies: Integers, statuses: tuple[int, int]) -> ServiceMemory:
    if max(int(latencies.sum()), statuses[0]) < MINIMUM_ROWS:
        return memory
    places = np.flatnonzero(latencies)
    flat = np.column_stack((places, latencies[places])).reshape(-1)
    windows = (*memory.learning, (*statuses, *flat.tolist()))
    if len(windows) < LEARNED:
        return replace(memory, learning=windows)
    found = usual_of([_window_of(one, len(latencies)) for one in windows])
    if not memory.inherited:
        return replace(memory, learning=(), usual=found)
    if memory.usual is None or not any(
        now and not before for now, before in zip(found.rows, memory.usual.rows, strict=True)
    ):
        return replace(memory, learning=(), learned=found)
    return ServiceMemory(usual=found, since_us=memory.since_us)


def _window_of(flat: tuple[int, ...], buckets: int) -> tuple[Integers, tuple[int, int]]:
    latencies = np.zeros(buckets, dtype=np.int64)
    latencies[list(flat[2::2])] = flat[3::2]
    return latencies, (flat[0], flat[1])


def _plan(usual: Usual) -> TrackPlan:
    count, timed = len(MEASURES), usual.rows[0] > 0
    known = np.array([timed] * _ERRORS + [usual.rows[_ERRORS] > 0])
    weights = np.where(known, _WEIGHTS, 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(weights / max(weights.sum(), 1e-9))
    figures = np.zeros((5, count))
    figures[2], figures[4] = usual.inflation, usual.floors
    nothing = LinearMap.of([[] for _ in range(count)])
    return TrackPlan(
        kind=KIND,
        names=tuple(ScoreName(family=name) for name in MEASURES),
        forms=np.full(count, COUNT, dtype=np.int8),
        sides=np.ones(count, dtype=np.int8),
        groups=np.array([0] * _ERRORS + [1]),
        log_weights=logs,
        figures=figures,
        scores=nothing,
        rows=LinearMap.of([[], []]),
        base_sums=np.array([usual.sums]),
        base_rows=np.array([[usual.rows[0], usual.rows[_ERRORS]]]),
        variances=np.ones((1, count)),
        centers=np.zeros(count),
        units=np.ones(count),
        worth=1.0,
        squares=nothing,
    )


def _settled(memory: ServiceMemory, plan: TrackPlan, sums: Floats, rows: Floats) -> ServiceMemory:
    """How windows differ is learned further while nothing is told, some windows late."""
    track, usual = memory.track, memory.usual
    if usual is None or track.opened is not None:
        return replace(memory, recent=())
    before, known = np.array(usual.sums), np.array(usual.rows)
    if track.sums:
        streamed = np.frombuffer(track.rows)
        before = before + np.frombuffer(track.sums)
        known = known + streamed[plan.groups]
    lost = pearson(sums, rows, (before + 1) / (known + 2))
    recent = (*memory.recent, (*lost.tolist(), *(rows > 0).astype(float).tolist()))
    if len(recent) > UNSETTLED:
        oldest, recent = recent[0], recent[1:]
        told = [bool(one) for one in oldest[len(MEASURES) :]]
        usual = with_spread(usual, oldest[: len(MEASURES)], told)
    return replace(memory, usual=usual, recent=recent)


def _transitions(step: Step, usual: Usual, profile: Profile, earlier_us: int) -> tuple[Transition, ...]:
    """What began or ended. earlier_us: how long before a window of slow requests the first one of them was, for it
    takes `LASTING` in a row."""
    name = explain.KIND_NAMES[KIND]
    if step.closed_us is not None:
        if step.expected:
            return ()
        reason = f"{name}: the service is as it usually is again."
        return (Transition(kind=KIND, state="cleared", change_us=step.closed_us, reason=reason),)
    change = step.opened
    if change is None:
        return ()
    values = {one.measure: one.value for one in service_measures(profile)}
    moved = [one for one in change.moved if one.change > 0] or list(change.moved[:1])
    since_us = change.since_us - (earlier_us if moved[0].name.family in QUANTILES else 0)
    decisions = tuple(_decision(since_us, one, usual, values.get(one.name.family)) for one in moved)
    begins = "the service is worse still" if step.further else "the service is worse than usual"
    reason = f"{name}: {begins}: {'; '.join(one.reason for one in decisions)}. {passed(change)}"
    return (Transition(kind=KIND, state="firing", change_us=since_us, reason=reason, decisions=decisions),)


def _decision(since_us: int, moved: Moved, usual: Usual, value: float | None) -> Decision:
    name = moved.name.family
    now, before = moved.now or 0.0, moved.before or 0.0
    shares = f"{explain.percent(now)} of {moved.rows:,} requests (before {explain.percent(before)})"
    if name in QUANTILES:
        usual_ms, slow_ms = _shown(usual)[name]
        text = f"{explain.latency_words(name, value if value is not None else slow_ms)} (usually {usual_ms:,.3g} ms)"
        reason = f"{text}, and {shares} took more than {slow_ms:,.3g} ms"
        told, reference, threshold = value if value is not None else slow_ms, usual_ms, slow_ms
    else:
        reason = f"{shares} failed"
        told, reference, threshold = now, before, before + max(moved.least, 1e-9)
    return Decision(
        kind=KIND,
        measure=name,
        value=told,
        reference=reference,
        threshold=threshold,
        rows=moved.rows,
        effect=max(1.0, abs(told - reference) / max(threshold - reference, 1e-9)),
        verdict="breach",
        reason=reason,
        change_us=since_us,
    )


def _shown(usual: Usual) -> dict[str, tuple[float, float]]:
    """The usual value of each measure and where a window is beyond it, of what was there to be learned."""
    found = {
        name: (usual_ms, latency_ms(place))
        for name, usual_ms, place in zip(QUANTILES, usual.quantiles_ms, usual.places, strict=True)
        if usual.rows[0]
    }
    if usual.rows[_ERRORS]:
        share = usual.sums[_ERRORS] / usual.rows[_ERRORS]
        found[MEASURES[_ERRORS]] = (share, share + float(usual.floors[_ERRORS]))
    return found


def _evidence(step: Step, window: Window, memory: ServiceMemory) -> Decision:
    """The statistic as a measure of its own."""
    statistic = min(step.statistic, GREATEST)
    state = "an incident is open" if memory.firing else "no incident is open"
    return Decision(
        kind=KIND,
        measure=f"{SERVICE}{EVIDENCE_SUFFIX}",
        value=statistic,
        threshold=step.threshold,
        rows=window.rows,
        effect=statistic / step.threshold if step.threshold else 0.0,
        verdict="breach" if memory.firing else "ok",
        reason=f"the evidence of a change is {explain.times(statistic, step.threshold)} what it takes; {state}",
    )
