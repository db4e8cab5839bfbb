"""What is ill around the model: the service that runs it, and the traffic that comes to it."""

from remediation.causes.telling import hypothesis, told
from remediation.evidence import OUTCOMES, Facts
from remediation.values import Hypothesis

_VERSION = "version="
_ALONE = 0.9
_BESIDE = 0.35
"""Where the model or its inputs are ill, too, that is graver, and explained by something else."""


def serving_problem(facts: Facts) -> Hypothesis:
    """Slow or failing requests, while the model and its inputs are as they were."""
    found = facts.service()
    if not found:
        return hypothesis("serving_problem", 0.03, ["the service is as fast and as reliable as usual"])
    reasons = [told(each) for each in found[:2]]
    if facts.firing("data_drift", *OUTCOMES) or facts.quality():
        return hypothesis("serving_problem", _BESIDE, [*reasons, "but the model or its inputs are ill, too"])
    return hypothesis("serving_problem", _ALONE, [*reasons, "the inputs look like the reference"])


def traffic_change(facts: Facts) -> Hypothesis:
    """More, fewer or no events, or other parts of them, while everything else is as it was."""
    volume = facts.firing("volume")
    mixed = _mixed(facts)
    if not volume and mixed is None:
        return hypothesis("traffic_change", 0.03, ["as many events come as usual"])
    reasons = [each.reason for each in volume[-2:]] + ([mixed] if mixed else [])
    ill = facts.firing("data_drift", "prediction_drift") or facts.quality() or facts.service()
    if ill or (volume and facts.firing(*OUTCOMES) and mixed is None):
        return hypothesis("traffic_change", _BESIDE, [*reasons, "but something else is ill, too"])
    return hypothesis("traffic_change", _ALONE if volume else 0.8, [*reasons, "nothing else is unusual"])


def _mixed(facts: Facts) -> str | None:
    """A drop that comes from parts that have become more common, and not from parts that got worse."""
    for alert in facts.firing(*OUTCOMES):
        parts = [each for each in alert.parts if not each.name.startswith(_VERSION)]
        mix, within = sum(each.mix for each in parts), sum(each.within for each in parts)
        if mix > 0 and mix > 2 * abs(within):
            names = ", ".join(each.name for each in parts[:2])
            return f"the mix of {names} moved, which explains {mix / (mix + abs(within)):.0%} of the drop"
    return None
