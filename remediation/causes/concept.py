"""Have the same inputs other outcomes now?"""

from remediation.causes.telling import hypothesis
from remediation.evidence import OUTCOMES, Facts, not_seen_again
from remediation.values import Hypothesis

_LITTLE = 0.3
"""A drop of which the shift of the data explains a smaller share is not the doing of the shift."""


def concept_shift(facts: Facts) -> Hypothesis:
    performance = facts.firing(*OUTCOMES)
    if not performance:
        return hypothesis("concept_shift", 0.05, ["no label says that performance dropped"])
    concept = facts.firing("concept_drift")
    if facts.firing("data_drift") or facts.quality():
        split = [each.explained for each in performance if each.explained is not None]
        if split and split[-1].share is not None and split[-1].share < _LITTLE:
            return hypothesis("concept_shift", 0.5, [split[-1].message])
        return hypothesis("concept_shift", 0.15, ["performance dropped, but the inputs moved, too"])
    reasons = [(concept or performance)[-1].reason, "the inputs look like the reference"]
    if (doubt := not_seen_again(facts)) is not None:
        return hypothesis("concept_shift", 0.35, [*reasons, doubt])
    return hypothesis("concept_shift", 0.85 if concept else 0.75, reasons)
