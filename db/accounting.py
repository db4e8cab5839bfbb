"""Invariant 8 as arithmetic: no event without an account."""

from collections.abc import Iterable
from typing import Any

from detectors.values import Accounting

PREDICTIONS = ("profiled", "late", "deadlettered", "duplicates")
LABELS = ("joined", "waiting", "orphaned", "revised", "label_deadlettered", "label_duplicates")

GATE = "gate"
"""The stage that only passes on: what it does not write off arrives at the next one, which counts it
again."""


def totals(model: str, counts: Iterable[Accounting]) -> dict[str, Any]:
    """Both equations over all stages and partitions, and whether they close.

    Predictions: received = profiled + late + deadlettered + duplicates.
    Labels: label_received = joined + waiting + orphaned + revised + label_deadlettered + label_duplicates.

    An event that passed the gate is counted there and again by the profile stage, so of the gate only what it
    wrote off goes into the sums. `missing` is what the right side lacks, plus what the gate passed on beyond
    what the profile stage has received: events on their way, or lost.

    Returns {"model", "closes", "predictions": {"received", PREDICTIONS..., "missing"},
    "labels": {"label_received", LABELS..., "missing"}, "stages": {stage: {count: sum}}}. Nothing recorded
    closes.
    """
    stages: dict[str, dict[str, int]] = {}
    for count in counts:
        sums = stages.setdefault(count.stage, dict.fromkeys(_COUNTS, 0))
        for name in sums:
            sums[name] += getattr(count, name)
    predictions = _equation(stages, "received", PREDICTIONS)
    labels = _equation(stages, "label_received", LABELS)
    closes = predictions["missing"] == 0 and labels["missing"] == 0
    return {"model": model, "closes": closes, "predictions": predictions, "labels": labels, "stages": stages}


_COUNTS = ("received", *PREDICTIONS, "label_received", *LABELS)


def _equation(stages: dict[str, dict[str, int]], left: str, right: tuple[str, ...]) -> dict[str, int]:
    gate = stages.get(GATE, dict.fromkeys(_COUNTS, 0))
    others = [sums for stage, sums in stages.items() if stage != GATE]
    arrived = sum(sums[left] for sums in others)
    written_off = sum(gate[name] for name in right)
    passed_on = gate[left] - written_off
    sides = {name: gate[name] + sum(sums[name] for sums in others) for name in right}
    received = arrived + written_off
    missing = received - sum(sides.values()) + max(0, passed_on - arrived)
    return {left: received, **sides, "missing": missing}
