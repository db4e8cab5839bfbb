"""The scores of a reference: what is looked at in each column, in the model's output and in its outcomes."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from detectors.before import point_masses
from detectors.kernels_rows import CROSS_UNIT
from detectors.layout import CategoricalSlots, Layout, NumericSlots
from detectors.reference import MASS_SHARE, FeatureReference, Reference
from detectors.sequential import families as f
from detectors.sequential.kernels import GAUSSIAN
from detectors.sequential.line import Line, count_line, places_of, shape_lines, worth_of
from detectors.sequential.outcomes import outcome_lines, output_lines, score_quality
from detectors.sequential.values import Baseline, PairMoments, ScoreName
from detectors.values import AlertKind, Axis

HEAVY: Final = 60.0
"""Fourth cumulant of a product of two columns above which its mean is not near enough to normal."""
LEAST_VARIANCE: Final = 0.01
"""Of a product of two standardised columns: less has one of a constant."""
MOST_PAIRS: Final = 512
"""Pairs that are watched, those with the strongest correlation in the reference first."""

COMMON: Final = 0.5
"""Of the other rows, so many must take on a value that is common in the reference for it to be damage; less is drift,
which the shape of the column shows."""


def lines_of(
    reference: Reference, layout: Layout, axis: Axis, baseline: Baseline | None
) -> dict[AlertKind, list[Line]]:
    """By kind of alert the scores on an axis. The weights of a kind need not add up to 1.

    Event axis: drift of the columns (shapes, categories, correlations), their quality, and the model's output.
    Label axis: how well the model did.
    """
    if axis == "label":
        return {"performance": outcome_lines(reference, layout)}
    pairs = list(_pairs(layout, baseline)) if baseline is not None else []
    columns = [*layout.numeric, *layout.categorical]
    each = (1.0 - f.PAIRS_SHARE if pairs else 1.0) / max(len(columns), 1)
    worth = worth_of(reference)
    drift: list[Line] = []
    quality: list[Line] = []
    for slots in columns:
        part = reference.feature(slots.name)
        if part is None:
            continue
        if isinstance(slots, NumericSlots):
            drift += shape_lines(slots.name, np.array(part.counts, dtype=np.int64), slots.bins, each, worth)
            quality += _numeric_quality(layout, slots, part)
        else:
            drift += _category_lines(slots, part, each)
            quality += _categorical_quality(layout, slots, part)
    drift += pairs
    quality += score_quality(reference, layout)
    return {
        "data_quality": quality,
        "data_drift": drift,
        "prediction_drift": output_lines(reference, layout),
    }


def _pairs(layout: Layout, baseline: Baseline) -> Iterator[Line]:
    """Products of two standardised columns, as far as the layout counts them and their tails allow."""
    crossed = places_of(layout.cross)
    index = {slots.name: i for i, slots in enumerate(layout.numeric)}
    count = len(index)
    known = watched([one for one in baseline.pairs if one.first in index and one.second in index])
    for one in known if len(crossed) else ():
        i, j = sorted((index[one.first], index[one.second]))
        deviation = one.variance**0.5
        place = crossed[pair_place(i, j, count)]
        yield Line(
            name=ScoreName(family=f.PAIR, column=one.first, item=one.second),
            form=GAUSSIAN,
            terms=(
                (np.array([place]), np.array([1.0 / (CROSS_UNIT * CROSS_UNIT * deviation)])),
                (np.array([layout.rows]), np.array([-one.mean / deviation])),
            ),
            rows=(layout.rows,),
            weight=f.PAIRS_SHARE / len(known),
            floor=f.FLOORS[f.PAIR],
            skew=one.skew,
            kurtosis=one.kurtosis,
        )


def watched(pairs: Sequence[PairMoments]) -> list[PairMoments]:
    """Those whose mean is near enough to normal, the ones with the strongest correlation if there are too many."""
    found = [one for one in pairs if one.variance > LEAST_VARIANCE and one.kurtosis <= HEAVY]
    return sorted(found, key=lambda one: (-abs(one.mean), one.first, one.second))[:MOST_PAIRS]


def pair_place(i: int, j: int, count: int) -> int:
    """Where the product of columns i <= j stands in the triangle of `count` columns."""
    return i * count - i * (i - 1) // 2 + (j - i)


def _category_lines(slots: CategoricalSlots, part: FeatureReference, weight: float) -> list[Line]:
    places = places_of(slots.categories)
    rows = (*places.tolist(), slots.other)
    present = part.present
    found: list[Line] = []
    for (category, count), place in zip(part.categories, places, strict=True):
        name = ScoreName(family=f.CATEGORY, column=slots.name, item=category)
        found.append(count_line(name, (int(place),), rows, count, present, weight / len(places)))
    return found


def _numeric_quality(layout: Layout, slots: NumericSlots, part: FeatureReference) -> list[Line]:
    everything = part.missing + part.present
    bins = (*places_of(slots.bins).tolist(),)
    missing = ScoreName(family=f.MISSING, column=slots.name)
    outside = ScoreName(family=f.OUTSIDE, column=slots.name)
    found = [
        count_line(missing, (slots.missing,), (layout.rows,), part.missing, everything, 0.4),
        count_line(outside, (slots.below, slots.above), bins, 0, part.present, 0.3),
    ]
    exact = places_of(slots.exact)
    tested = point_masses(part)
    for i in tested:
        value, count = part.top[i]
        name = ScoreName(family=f.MASS, column=slots.name, item=f"{value:g}")
        common, weight = count / part.present if part.present else 0.0, 0.3 / len(tested)
        known = common >= MASS_SHARE
        found.append(
            count_line(
                name,
                (int(exact[i]),),
                bins,
                count,
                part.present,
                weight,
                side=1 if known else 0,
                floor=COMMON * (1 - common) if known else 0.0,
            )
        )
    return found


def _categorical_quality(layout: Layout, slots: CategoricalSlots, part: FeatureReference) -> list[Line]:
    rows = (*places_of(slots.categories).tolist(), slots.other)
    missing = ScoreName(family=f.MISSING, column=slots.name)
    new = ScoreName(family=f.NEW, column=slots.name)
    everything = part.missing + part.present
    single = sum(count == 1 for _, count in part.categories) if not part.other else 0
    return [
        count_line(missing, (slots.missing,), (layout.rows,), part.missing, everything, 0.5),
        count_line(new, (slots.other,), rows, part.other, part.present, 0.5, earlier=single),
    ]
