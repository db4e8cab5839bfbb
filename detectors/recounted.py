"""A reference of other rows than its own: its columns, bins and ranges with the counts of a profile."""

from typing import cast

from msgspec.structs import replace

from detectors.columns import Integers
from detectors.layout import CategoricalSlots, Layout
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.reference_values import FeatureReference, Reference


def columns_of(reference: Reference, layout: Layout, counters: Integers) -> tuple[FeatureReference, ...]:
    """The columns with these counts. Range, mean and variance stay those of the reference: the layout rests on them."""
    return tuple(_column(part, layout, counters) for part in reference.features)


def said_of(reference: Reference, layout: Layout, counters: Integers) -> dict[str, object]:
    """Counts of what the model said, as fields of a reference."""
    found: dict[str, object] = {"predicted": int(counters[layout.predicted])}
    slots = layout.outcomes
    if reference.scores:
        found["scores"] = _counts(counters, layout.scores)
    if isinstance(slots, BinarySlots):
        found["predicted_positive"] = int(counters[slots.positive])
    elif reference.said:
        found["said"] = _counts(counters, slots.said)
    return found


def outcomes_of(reference: Reference, layout: Layout, counters: Integers) -> dict[str, object]:
    """Counts of what turned out, as fields of a reference; of what it does not count itself there are none."""
    slots = layout.outcomes
    if isinstance(slots, RegressionSlots):
        known = {"errors": slots.errors, "sums": slots.sums}
    elif isinstance(slots, MulticlassSlots):
        known = {"confusion": slots.confusion, "ranks": slots.ranks}
        known |= {"positive_scores": slots.right_scores, "negative_scores": slots.wrong_scores}
    else:
        tp, fp, fn, tn = _counts(counters, slots.confusion)
        return {"tp": tp, "fp": fp, "fn": fn, "tn": tn} | _kept(
            reference,
            counters,
            {"positive_scores": slots.positive_scores, "negative_scores": slots.negative_scores},
        )
    return _kept(reference, counters, known)


def _kept(reference: Reference, counters: Integers, known: dict[str, slice]) -> dict[str, object]:
    return {name: _counts(counters, room) for name, room in known.items() if getattr(reference, name)}


def _counts(counters: Integers, room: slice) -> tuple[int, ...]:
    return tuple(cast("list[int]", counters[room].tolist()))


def _column(part: FeatureReference, layout: Layout, counters: Integers) -> FeatureReference:
    slots = layout.by_name[part.spec.name]
    missing = int(counters[slots.missing])
    if isinstance(slots, CategoricalSlots):
        counts = _counts(counters, slots.categories)
        named = tuple((one, count) for (one, _), count in zip(part.categories, counts, strict=True))
        return replace(part, missing=missing, categories=named, other=int(counters[slots.other]))
    exact = _counts(counters, slots.exact)
    top = tuple((value, count) for (value, _), count in zip(part.top, exact, strict=True))
    return replace(part, missing=missing, counts=_counts(counters, slots.bins), top=top)
