"""What has become of the inputs: broken on their way here, or of other people."""

from detectors.values import Evidence
from remediation.causes.telling import count, hypothesis, told
from remediation.config import DiagnosisConfig
from remediation.evidence import ARRIVALS, BREAK_MEASURES, CERTAIN_BREAKS, Facts, is_plain, strongest
from remediation.values import Hypothesis

_NAMED = 3
_RARE = 0.05
_NEARLY_ALL = 0.95
"""Shares of the rows. A value that fewer than `_RARE` held before, or `_NEARLY_ALL` hold now, was filled in."""
_CERTAIN_RISE = 0.4
"""Missing values or one value in so many more of the rows are a break whatever else moves; with few more,
features that moved explain them better."""


def upstream_data_break(facts: Facts, config: DiagnosisConfig) -> Hypothesis:
    found = breaks(facts, config)
    if not found:
        outside = facts.quality()
        if outside and outside[0].measure == "missing_rate" and not facts.firing("data_drift"):
            few = "few rows, but people who come do not lose values"
            return hypothesis("upstream_data_break", 0.55, [told(outside[0]), few])
        but = (
            f"only {told(outside[0])}, which a shift explains" if outside else "no value is missing or stuck"
        )
        return hypothesis("upstream_data_break", 0.05, [but])
    worst = max(_rise(each) for each in found)
    confidence = 0.25 + 0.7 * min(1.0, worst / _CERTAIN_RISE)
    if not facts.firing("data_drift"):
        confidence = max(confidence, 0.7)
    arrivals = [each.reason.rstrip(".") for each in facts.arrivals()]
    what = [told(each) for each in found[:3] if each.measure not in ARRIVALS]
    return hypothesis("upstream_data_break", confidence, [*arrivals, *what])


def population_shift(facts: Facts) -> Hypothesis:
    drift = facts.firing("data_drift")
    if not drift:
        outside = [each for each in facts.quality() if each.measure != "missing_rate"]
        if outside:
            return hypothesis(
                "population_shift", 0.55, [told(outside[0]), "no other sign that the inputs moved"]
            )
        return hypothesis("population_shift", 0.05, ["the inputs look like the reference"])
    found = strongest(drift)
    features = {each.feature for each in found if each.feature is not None}
    reasons = [told(each) for each in found[:2]]
    reasons.append(
        f"{count(len(features), 'feature')} moved away from the reference of version {facts.version}"
    )
    carried = drift[-1].attribution
    if carried and carried[0].importance:
        names = ", ".join(each.feature for each in carried[:_NAMED])
        reasons.append(f"by what they mean to the model, {names} carry it")
    followed = facts.firing("performance", "estimated_performance", "prediction_drift")
    if followed:
        reasons.append(followed[-1].reason)
    if not followed and not is_plain(drift):
        return hypothesis(
            "population_shift", 0.45, [*reasons, "but hardly more than chance brings now and then"]
        )
    return hypothesis("population_shift", 0.85 if followed else 0.75, reasons)


def breaks(facts: Facts, config: DiagnosisConfig) -> list[Evidence]:
    found = facts.quality(BREAK_MEASURES | CERTAIN_BREAKS)
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
