"""What is wrong? Pure: facts in, hypotheses with sentences out, the most probable first.

The order of suspicion: a release explains everything that began with it and was not there before it; a break
upstream explains the drift that it causes; a shift of the population explains a drop in performance; a drop
without any change of the inputs is a change of the concept. What nothing explains is `unknown`, and goes to
people.
"""

from detectors.values import Alert, Axis, Evidence
from remediation.changes import POPULATION, UPSTREAM, ChangeKind
from remediation.clock import US_PER_S, seconds
from remediation.config import DiagnosisConfig
from remediation.evidence import (
    ARRIVALS,
    BREAK_MEASURES,
    CERTAIN_BREAKS,
    OUTCOMES,
    RATES,
    Facts,
    Rate,
    Window,
    drop_z,
    rate,
    strongest,
)
from remediation.values import Cause, Hypothesis

_LAST_WINDOWS = 3
_SPOKEN_FOR_BY: dict[Cause, frozenset[ChangeKind]] = {
    "upstream_data_break": UPSTREAM,
    "population_shift": POPULATION,
    "concept_shift": POPULATION,
}
_HAS_EVIDENCE = 0.2
_CHANGE_WEIGHT = 0.3
"""A recorded change takes so much of what an explanation with at least `_HAS_EVIDENCE` lacks to certainty."""
_NAMED = 3
_NO_RELEASE = 0.02
_HEALTHY_AFTER_RELEASE = 0.05
_PREDECESSOR_ILL = 0.15
_LITTLE = 0.3
"""A drop of which the shift of the data explains a smaller share is not the doing of the shift."""
_RARE = 0.05
_NEARLY_ALL = 0.95
"""Shares of the rows. A value that fewer than `_RARE` held before, or `_NEARLY_ALL` hold now, was filled in."""
_CERTAIN_RISE = 0.4
"""Missing values or one value in so many more of the rows are a break whatever else moves; with few more,
features that moved explain them better."""


def ready(facts: Facts, config: DiagnosisConfig) -> str | None:
    """Why the evidence is enough for a diagnosis now; None while it is better to wait."""
    age_us = facts.now_us - facts.incident.opened_us
    if age_us < seconds(min(config.quiet_s, config.settle_s)):
        return None
    inputs = facts.firing("data_drift", "data_quality")
    performance = facts.firing(*OUTCOMES)
    if performance and inputs:
        return "performance and inputs have both spoken"
    if performance and _near_release(facts, config):
        return "performance has spoken, near a release"
    strong = performance or facts.firing("data_drift") or _breaks(facts, config)
    patience_s = config.settle_s if strong else config.weak_settle_s
    return f"no other alert in {patience_s:g} s" if age_us >= seconds(patience_s) else None


def more_may_come(facts: Facts, config: DiagnosisConfig) -> bool:
    """Whether what is unknown now may be known soon: the window in which an illness begins holds healthy rows, too, and
    the next one tells more."""
    return facts.now_us - facts.incident.opened_us < seconds(max(config.settle_s, config.quiet_s))


def diagnose(facts: Facts, config: DiagnosisConfig) -> tuple[Hypothesis, ...]:
    """Rank the causes. Confidences are degrees of belief in [0, 1] made of the weights below, not
    probabilities: they need not sum to 1, and `unknown` has what the best other cause leaves."""
    release = _bad_release(facts, config)
    broken = _upstream_data_break(facts, config)
    shifted = _population_shift(facts)
    concept = _concept_shift(facts)
    unexplained = 1 - release.confidence
    ranked = [
        release,
        _scaled(broken, unexplained),
        _scaled(shifted, unexplained * (1 - 0.9 * broken.confidence)),
        _scaled(concept, unexplained),
    ]
    ranked = [_with_changes(each, facts) for each in ranked]
    best = max(each.confidence for each in ranked)
    silent = [each.reason for each in facts.firing("volume")]
    reasons = [*silent, f"the best explanation has a confidence of {best:.2f}"]
    ranked.append(_hypothesis("unknown", 1 - best, reasons))
    return tuple(sorted(ranked, key=lambda each: -each.confidence))


def _with_changes(hypothesis: Hypothesis, facts: Facts) -> Hypothesis:
    """A change that was recorded near the onset speaks for a cause that has evidence of its own, and for no other."""
    kinds = _SPOKEN_FOR_BY.get(hypothesis.cause, frozenset[ChangeKind]())
    told = [each.told(facts.incident.change_us) for each in facts.changes if each.kind in kinds]
    if not told or hypothesis.confidence < _HAS_EVIDENCE:
        return hypothesis
    confidence = hypothesis.confidence + _CHANGE_WEIGHT * (1 - hypothesis.confidence)
    return _hypothesis(hypothesis.cause, confidence, [*hypothesis.reasons, *told[:2]])


def summary(facts: Facts, best: Hypothesis) -> str:
    """One sentence for people: what, since when, why."""
    words = {
        "bad_release": f"version {facts.version} is a bad release",
        "upstream_data_break": "the data that arrive are broken upstream",
        "population_shift": "the population has shifted",
        "concept_shift": "the same inputs now have other outcomes",
        "label_problem": "the labels cannot be trusted",
        "serving_problem": "the service is ill, not the model",
        "traffic_change": "the traffic changed",
        "unknown": "the cause is unknown",
    }
    reasons = "; ".join(best.reasons[:3])
    return f"{facts.incident.model}: {words[best.cause]} ({reasons})."


def _bad_release(facts: Facts, config: DiagnosisConfig) -> Hypothesis:
    release, before = facts.release(), facts.predecessor()
    if release is None or before is None:
        return _hypothesis("bad_release", _NO_RELEASE, [f"version {facts.version} replaced no other version"])
    age_s = (facts.incident.change_us - release.at_us) / US_PER_S
    reasons = [f"version {facts.version} replaced version {before} {_ago(age_s)}"]
    healthy = _healthy_windows_before_change(facts, before, config)
    if healthy >= config.healthy_windows:
        reasons.append(f"but it was in order for {healthy} windows after its release")
        return _hypothesis("bad_release", _HEALTHY_AFTER_RELEASE, reasons)
    confidence = 0.15
    if healthy == 0:
        confidence += 0.3
        reasons.append("it was ill from its first window")
    well, sentence = _predecessor_was_well(facts, before)
    reasons.append(sentence)
    if well is False:
        return _hypothesis("bad_release", _PREDECESSOR_ILL, reasons)
    confidence += 0.2 if well else 0.0
    weight, sentence = _worse_than_predecessor(facts, before, config)
    reasons.insert(0, sentence)
    confidence += weight
    return _hypothesis("bad_release", confidence if healthy == 0 else confidence / 2, reasons)


def _healthy_windows_before_change(facts: Facts, before: str, config: DiagnosisConfig) -> int:
    """Windows in order of the ill version that ended before the change, on the axis that has most of them.

    A window whose performance is already far below the predecessor's is not in order, whatever its verdict
    was: a sequential test can be slow to speak.
    """
    events = facts.firing("data_drift", "data_quality", "prediction_drift")
    counts = [0]
    if facts.firing(*OUTCOMES):
        usual = _last(facts.windows(before, "label"))
        windows = _in_order_before(facts, "label", facts.firing(*OUTCOMES))
        counts.append(sum(not _much_worse([each], usual, config) for each in windows))
    if events:
        counts.append(len(_in_order_before(facts, "event", events)))
    return max(counts)


def _in_order_before(facts: Facts, axis: Axis, alerts: list[Alert]) -> list[Window]:
    """Measured windows that ended before the change, as long as nothing that the alerts name was in
    breach."""
    change_us = min(each.change_us for each in alerts)
    named = {(each.measure, each.feature) for alert in alerts for each in alert.evidence}
    found: list[Window] = []
    for window in facts.windows(facts.version, axis, until_us=change_us):
        if any(
            point.verdict == "breach" and (point.measure, point.feature) in named for point in window.points
        ):
            break
        if window.measured:
            found.append(window)
    return found


def _much_worse(after: list[Window], before: list[Window], config: DiagnosisConfig) -> bool:
    for measure in RATES:
        was, now = rate(before, measure), rate(after, measure)
        if was is not None and now is not None:
            return drop_z(was, now) >= config.min_drop_z
    return False


def _predecessor_was_well(facts: Facts, before: str) -> tuple[bool | None, str]:
    """Was the previous version in order at its end? By labels where there are any, else by its inputs."""
    labelled = _last([each for each in facts.windows(before, "label") if each.measured])
    if labelled:
        ill = any(each.in_breach for each in labelled)
        state = "was ill, too, in" if ill else "was in order in"
        return not ill, f"version {before} {state} its last {_count(len(labelled), 'window')} of labels"
    alerts = facts.firing("data_drift", "data_quality", "prediction_drift")
    named = {(each.measure, each.feature) for alert in alerts for each in alert.evidence}
    seen = _last([each for each in facts.windows(before, "event") if each.measured])
    if not seen:
        return None, f"version {before} left no measured window to compare with"
    ill = any(
        point.verdict == "breach" and (point.measure, point.feature) in named
        for each in seen
        for point in each.points
    )
    state = "showed the same" if ill else "showed nothing of it"
    return not ill, f"version {before} {state} in its last {_count(len(seen), 'window')} of inputs"


def _worse_than_predecessor(facts: Facts, before: str, config: DiagnosisConfig) -> tuple[float, str]:
    if not facts.firing(*OUTCOMES):
        named = strongest(facts.firing("data_drift", "data_quality", "prediction_drift"))
        first = _told(named[0]) if named else facts.incident.summary
        return 0.2, f"against its own reference: {first}"
    usual = _last(facts.windows(before, "label"))
    for measure in RATES:
        was, now = rate(usual, measure), _ill_rate(facts, measure)
        if was is None or now is None:
            continue
        z = drop_z(was, now)
        sentence = (
            f"{measure} of version {facts.version} is {now.value:.3f} on {now.rows:,} labelled rows, "
            f"version {before} had {was.value:.3f} on its last {was.rows:,} ({z:.1f} standard errors)"
        )
        return (0.3 if z >= config.min_drop_z else -0.1), sentence
    return 0.1, f"performance: {facts.firing('performance')[-1].reason}"


def _ill_rate(facts: Facts, measure: str) -> Rate | None:
    """The ill version's rate since the change, from its windows, or from the alert when it was faster than
    they."""
    performance = facts.firing(*OUTCOMES)
    change_us = min(each.change_us for each in performance)
    since = [each for each in facts.windows(facts.version, "label") if each.end_us > change_us]
    found = rate(since, measure)
    if found is not None:
        return found
    told = next((each for each in strongest(performance) if each.measure == measure), None)
    return Rate(measure=measure, value=told.value, rows=told.rows) if told else None


def _upstream_data_break(facts: Facts, config: DiagnosisConfig) -> Hypothesis:
    found = _breaks(facts, config)
    if not found:
        outside = strongest(facts.firing("data_quality"))
        but = (
            f"only {_told(outside[0])}, which a shift explains" if outside else "no value is missing or stuck"
        )
        return _hypothesis("upstream_data_break", 0.05, [but])
    worst = max(_rise(each) for each in found)
    confidence = 0.25 + 0.7 * min(1.0, worst / _CERTAIN_RISE)
    if not facts.firing("data_drift"):
        confidence = max(confidence, 0.7)
    arrivals = [each.reason.rstrip(".") for each in facts.arrivals()]
    told = [_told(each) for each in found[:3] if each.measure not in ARRIVALS]
    return _hypothesis("upstream_data_break", confidence, [*arrivals, *told])


def _population_shift(facts: Facts) -> Hypothesis:
    drift = facts.firing("data_drift")
    if not drift:
        outside = strongest(facts.firing("data_quality"))
        if outside:
            return _hypothesis(
                "population_shift", 0.55, [_told(outside[0]), "no other sign that the inputs moved"]
            )
        return _hypothesis("population_shift", 0.05, ["the inputs look like the reference"])
    found = strongest(drift)
    features = {each.feature for each in found if each.feature is not None}
    reasons = [_told(each) for each in found[:2]]
    reasons.append(
        f"{_count(len(features), 'feature')} moved away from the reference of version {facts.version}"
    )
    carried = drift[-1].attribution
    if carried and carried[0].importance:
        names = ", ".join(each.feature for each in carried[:_NAMED])
        reasons.append(f"by what they mean to the model, {names} carry it")
    followed = facts.firing("performance", "estimated_performance", "prediction_drift")
    if followed:
        reasons.append(followed[-1].reason)
    return _hypothesis("population_shift", 0.85 if followed else 0.75, reasons)


def _concept_shift(facts: Facts) -> Hypothesis:
    performance = facts.firing(*OUTCOMES)
    if not performance:
        return _hypothesis("concept_shift", 0.05, ["no label says that performance dropped"])
    concept = facts.firing("concept_drift")
    if facts.firing("data_drift", "data_quality"):
        told = [each.explained for each in performance if each.explained is not None]
        if told and told[-1].share is not None and told[-1].share < _LITTLE:
            return _hypothesis("concept_shift", 0.5, [told[-1].message])
        return _hypothesis("concept_shift", 0.15, ["performance dropped, but the inputs moved, too"])
    told = concept or performance
    reasons = [told[-1].reason, "the inputs look like the reference"]
    return _hypothesis("concept_shift", 0.85 if concept else 0.75, reasons)


def _breaks(facts: Facts, config: DiagnosisConfig) -> list[Evidence]:
    found = strongest(facts.firing("data_quality"), BREAK_MEASURES | CERTAIN_BREAKS)
    return [each for each in found if _rise(each) >= config.min_rise and not _familiar(each)]


def _familiar(evidence: Evidence) -> bool:
    """A value that was common before and only became more common: a world that moves does that, too."""
    common = (evidence.reference or 0.0) > _RARE
    return evidence.measure == "point_mass" and common and evidence.value < _NEARLY_ALL


def _rise(evidence: Evidence) -> float:
    """By how much of the rows a break grew; all of them, where what broke is known."""
    if evidence.measure in CERTAIN_BREAKS:
        return 1.0
    return evidence.value - (evidence.reference or 0.0)


def _near_release(facts: Facts, config: DiagnosisConfig) -> bool:
    release = facts.release()
    return release is not None and abs(facts.incident.change_us - release.at_us) <= seconds(config.release_s)


def _last(windows: list[Window]) -> list[Window]:
    return windows[-_LAST_WINDOWS:]


def _hypothesis(cause: Cause, confidence: float, reasons: list[str]) -> Hypothesis:
    return Hypothesis(
        cause=cause, confidence=round(min(max(confidence, 0.0), 1.0), 3), reasons=tuple(reasons)
    )


def _scaled(hypothesis: Hypothesis, factor: float) -> Hypothesis:
    return _hypothesis(hypothesis.cause, hypothesis.confidence * factor, list(hypothesis.reasons))


def _told(evidence: Evidence) -> str:
    subject = f"{evidence.measure} of {evidence.feature}" if evidence.feature else evidence.measure
    usual = f"reference {evidence.reference:.3g}, " if evidence.reference is not None else ""
    limits = f"{usual}threshold {evidence.threshold:.3g}, {evidence.rows:,} rows"
    return f"{subject} is {evidence.value:.3g} ({limits})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _ago(age_s: float) -> str:
    if abs(age_s) < 1:
        return "just when the change began"
    return f"{age_s:.0f} s before the change" if age_s > 0 else f"{-age_s:.0f} s after the estimated change"
