"""Did it help? Judged on the signals of the version that serves now, never on those of the version it replaced.

Pure, and sequential: it may be asked after every window, and the rates of error hold however often it is.
`docs/verification.md` says what is compared with what.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from detectors.values import Alert, Value
from remediation import betting
from remediation.causes.telling import count
from remediation.config import VerificationConfig
from remediation.evidence import ARRIVALS, BREAK_MEASURES, CERTAIN_BREAKS, OUTCOMES
from remediation.facets import concerns, of_operation
from remediation.lasting import Lines, is_lasting
from remediation.levels import Level, expectation, lost
from remediation.outcomes import Period
from remediation.routing import still_firing
from remediation.values import Arrangement

Outcome = Literal["pass", "fail", "inconclusive", "contained"]
_BROKEN = BREAK_MEASURES | CERTAIN_BREAKS - ARRIVALS
_MOSTLY = 0.5
"""The share of windows in order that parts an ill series from one that is well."""
_DECISIVE: tuple[Outcome, ...] = ("fail", "inconclusive", "contained", "pass")
"""Of several findings the first of these counts."""


class Verdict(Value, frozen=True, kw_only=True):
    """`pass`: proven to have helped. `fail`: proven not to. `inconclusive`: neither yet (no traffic and no labels are
    that, never a success). `contained`: the harm is stopped, and what causes it is not mended."""

    outcome: Outcome
    sentence: str


class Segment(Value, frozen=True, kw_only=True):
    """How one segment did: in order before the illness, while it was ill, and since the action."""

    name: str
    before: Period
    ill: Period
    since: Period


class Signal(Value, frozen=True, kw_only=True):
    """The windows since the action that hold what an alert named, how many of them were in order, and their rows."""

    name: str
    windows: int
    in_order: int
    rows: int


class Observed(Value, frozen=True, kw_only=True):
    """All that a verdict may look at. `segments`: all rows first, then those that alerts about outcomes named. `alerts`
    are all of the incident; `since_us`: changes before it are history; `by_labels`: an alert was about outcomes, so
    only labels can prove anything; `named`: the measures that such alerts showed; `lasting`: what was ill of the
    service before the ill version came, and below which line it is as it was then."""

    version: str
    ill_version: str
    since_us: int
    segments: tuple[Segment, ...]
    signals: tuple[Signal, ...]
    alerts: tuple[Alert, ...]
    arrangement: Arrangement = Arrangement()
    by_labels: bool = False
    named: frozenset[str] = frozenset()
    lasting: Lines = msgspec.field(default_factory=dict[str, float])


def verify(observed: Observed, config: VerificationConfig) -> Verdict:
    """Judge the version that serves since the action."""
    stopped = _answers_nothing(observed)
    if stopped is not None:
        return stopped
    version = observed.version
    own = [each for each in still_firing(observed.alerts, version) if each.change_us >= observed.since_us]
    told = [
        each for each in observed.alerts if concerns(each, observed.ill_version) and each.state == "firing"
    ]
    beside = bool(told) and all(map(of_operation, told))
    again = [
        each
        for each in own
        if each.kind in OUTCOMES or (beside and of_operation(each) and not is_lasting(each, observed.lasting))
    ]
    if again:
        return Verdict(outcome="fail", sentence=f"version {version} is ill, too: {again[-1].reason}")
    known = _broken(told)
    newly = sorted(_broken([each for each in own if not is_lasting(each, observed.lasting)]) - known)
    if newly:
        return Verdict(
            outcome="inconclusive", sentence=f"version {version}: data newly broken in {', '.join(newly)}"
        )
    return _in_words(observed, _findings(observed, config))


def _answers_nothing(observed: Observed) -> Verdict | None:
    """While a model does not answer, nothing can be proven about it."""
    arrangement = observed.arrangement
    if arrangement.paused:
        told = f"version {observed.version} is paused and answers nobody"
    elif arrangement.constant is not None:
        told = f"everybody is answered {arrangement.constant:g} instead of by version {observed.version}"
    else:
        return None
    return Verdict(outcome="contained", sentence=f"{told}: the harm is stopped, the cause is not mended")


def _findings(observed: Observed, config: VerificationConfig) -> list[Verdict]:
    """What was lost has to be regained; where nothing was lost in labels, what alerts named has to be in order, and
    labels, where there are any, must not show harm."""
    missed = [
        (segment, measure, level)
        for segment in observed.segments
        for measure, level in lost(segment.before, segment.ill, segment.since, config, observed.named).items()
    ]
    if missed:
        return [_regained(*each, config, among=len(missed)) for each in missed]
    whole = observed.segments[0]
    found = [_back_in_order(signal, config) for signal in observed.signals]
    if whole.since.tallies or observed.by_labels:
        found += [_no_harm(whole, config)]
    return found or [Verdict(outcome="inconclusive", sentence="no traffic that could prove anything")]


def _regained(
    segment: Segment, measure: str, level: Level, config: VerificationConfig, *, among: int
) -> Verdict:
    """More than `regained` of what was lost is back, or is not. One of `among` measures that may say no."""
    told = _named(segment, measure)
    before = f"{level.ill:.3f} while ill, {level.healthy:.3f} when healthy"
    now = segment.since.tallies.get(measure)
    if now is None or segment.since.windows < config.windows:
        seen = f"{segment.since.windows} of {config.windows} windows of labels so far"
        return Verdict(outcome="inconclusive", sentence=f"{told}: {seen} ({before})")
    above, below = level.evidence(now)
    rows = f"{told} {now.mean:.3f} on {now.rows:,.0f} labelled rows ({before})"
    if above >= math.log(1 / config.false_pass):
        return _with_rows(now.rows, rows, config)
    if below >= math.log(among / config.false_fail):
        return Verdict(outcome="fail", sentence=f"{rows}: what was lost is not back")
    return Verdict(outcome="inconclusive", sentence=f"{rows}: not proven either way")


def _no_harm(whole: Segment, config: VerificationConfig) -> Verdict:
    """Labels show that the version does no worse than a version that is well, but for `tolerance`."""
    found = expectation(whole.before, whole.since, config)
    if not whole.since.tallies:
        return Verdict(outcome="inconclusive", sentence="no labels so far")
    if found is None:
        return Verdict(outcome="inconclusive", sentence="nobody knows how well it did before")
    measure, level = found
    now = whole.since.tallies[measure]
    rows = f"{measure} {now.mean:.3f} on {now.rows:,.0f} labelled rows ({level.healthy:.3f} when healthy)"
    above, below = level.evidence(now)
    if below >= math.log(1 / config.false_fail):
        return Verdict(outcome="fail", sentence=f"{rows}: it does worse than before")
    if above >= math.log(1 / config.false_pass) and whole.since.windows >= config.windows:
        return _with_rows(now.rows, rows, config)
    return Verdict(outcome="inconclusive", sentence=f"{rows}: not proven either way")


def _back_in_order(signal: Signal, config: VerificationConfig) -> Verdict:
    """A series that is ill has a window in order now and then; one that is well has mostly such windows."""
    told = f"{signal.name} in order in {signal.in_order} of {count(signal.windows, 'window')}"
    if not signal.windows:
        return Verdict(outcome="inconclusive", sentence=f"{signal.name}: no window so far")
    if betting.share_above(signal.in_order, signal.windows, _MOSTLY) >= math.log(1 / config.false_pass):
        return _with_rows(signal.rows, told, config)
    if betting.share_below(signal.in_order, signal.windows, _MOSTLY) >= math.log(1 / config.false_fail):
        return Verdict(outcome="fail", sentence=told)
    return Verdict(outcome="inconclusive", sentence=f"{told}: not proven either way")


def _with_rows(rows: float, told: str, config: VerificationConfig) -> Verdict:
    """What is proven passes only with as many rows as are asked for."""
    if rows >= config.rows:
        return Verdict(outcome="pass", sentence=told)
    return Verdict(
        outcome="inconclusive", sentence=f"{told}: {rows:,.0f} of {config.rows:,} rows that are asked for"
    )


def _in_words(observed: Observed, findings: Sequence[Verdict]) -> Verdict:
    """The gravest finding decides; one that passes needs all of them."""
    outcome = min(findings, key=lambda each: _DECISIVE.index(each.outcome)).outcome
    said = "; ".join(each.sentence for each in findings if each.outcome == outcome)
    version, imputed = observed.version, observed.arrangement.imputed
    if outcome != "pass":
        return Verdict(outcome=outcome, sentence=f"version {version}: {said}")
    if imputed:
        told = f"version {version} does well without {', '.join(sorted(imputed))}: {said}; the data are not mended"
        return Verdict(outcome="contained", sentence=told)
    if observed.lasting:
        ill = f"before version {observed.ill_version} came"
        told = f"version {version} does as it did {ill}: {said}; its service was ill then, too"
        return Verdict(outcome="pass", sentence=told)
    return Verdict(outcome="pass", sentence=f"version {version} is healthy: {said}")


def _named(segment: Segment, measure: str) -> str:
    return measure if segment.name == "all" else f"{measure} of {segment.name}"


def _broken(alerts: Iterable[Alert]) -> set[str]:
    return {
        evidence.feature or evidence.measure
        for alert in alerts
        if alert.kind == "data_quality" and alert.state == "firing"
        for evidence in alert.evidence
        if evidence.measure in _BROKEN
    }
