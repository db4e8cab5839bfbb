"""Did it help? Judged on the signals of the version that serves now, never on those of the version it
replaced."""

from collections.abc import Iterable, Sequence
from typing import Literal

from detectors.values import Alert, MetricPoint, Value
from remediation.config import VerificationConfig
from remediation.evidence import BREAK_MEASURES, OUTCOMES, RATES, Window, rate, windows
from remediation.routing import still_firing


class Verdict(Value, frozen=True, kw_only=True):
    """`pass`, `fail` or `inconclusive` (no traffic and no labels are inconclusive, never a success)."""

    outcome: Literal["pass", "fail", "inconclusive"]
    sentence: str


def verify(
    version: str,
    *,
    ill_version: str,
    since_us: int,
    points: Sequence[MetricPoint],
    alerts: Sequence[Alert],
    config: VerificationConfig,
) -> Verdict:
    """Judge `version`, which replaced `ill_version`.

    `since_us`: windows and changes before it are history (0 for a version that never served before). `points`
    are those of the label axis, `alerts` all of the incident.
    """
    own = [each for each in still_firing(alerts, version) if each.change_us >= since_us]
    performance = [each for each in own if each.kind in OUTCOMES]
    if performance:
        return Verdict(outcome="fail", sentence=f"version {version} is ill, too: {performance[-1].reason}")
    known = _broken(alert for alert in alerts if alert.version == ill_version)
    newly = sorted(_broken(own) - known)
    if newly:
        told = ", ".join(newly)
        return Verdict(outcome="inconclusive", sentence=f"version {version}: data newly broken in {told}")
    good = _run_in_order([each for each in windows(points) if each.start_us >= since_us])
    if len(good) < config.windows:
        sentence = f"version {version}: {len(good)} of {config.windows} windows of labels in order so far"
        return Verdict(outcome="inconclusive", sentence=sentence)
    return Verdict(outcome="pass", sentence=f"version {version} is healthy: {_told(good)}")


def _run_in_order(found: Sequence[Window]) -> list[Window]:
    """The last unbroken run of measured windows without a breach."""
    run: list[Window] = []
    for window in found:
        if window.in_breach:
            run = []
        elif window.measured:
            run.append(window)
    return run


def _broken(alerts: Iterable[Alert]) -> set[str]:
    return {
        evidence.feature or evidence.measure
        for alert in alerts
        if alert.kind == "data_quality" and alert.state == "firing"
        for evidence in alert.evidence
        if evidence.measure in BREAK_MEASURES
    }


def _told(run: Sequence[Window]) -> str:
    for measure in RATES:
        found = rate(run, measure)
        if found is not None:
            return f"{measure} {found.value:.3f} on {found.rows:,} labelled rows in {len(run)} windows"
    return f"{len(run)} windows of labels in order"
