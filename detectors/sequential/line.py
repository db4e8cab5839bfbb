"""One score of a plan."""

from typing import NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.reference import Reference
from detectors.sequential import families as f
from detectors.sequential.hermite import scores_of
from detectors.sequential.kernels import COUNT, GAUSSIAN
from detectors.sequential.values import ScoreName


class Line(NamedTuple):
    """One score. `terms`: pairs of (places of counters, their factors); `rows`: places whose counts are its rows;
    `floor`: the least change told, in units of the score (counts: of the rate); `side`: 1 or -1 where only such a
    change is an illness; `earlier`: events of a count that a reference must be taken to hold besides those seen.
    Where `unit` is above 0 the score stands for a rate, `center` + `unit` x its mean."""

    name: ScoreName
    form: int
    terms: tuple[tuple[Integers, Floats], ...]
    rows: tuple[int, ...]
    weight: float
    floor: float
    skew: float = 0.0
    kurtosis: float = 0.0
    side: int = 0
    earlier: float = 0.0
    center: float = 0.0
    unit: float = 0.0


def places_of(room: slice) -> Integers:
    """The places of a slice."""
    return np.arange(room.start, room.stop, dtype=np.int64)


def shape_lines(column: str, counts: Integers, bins: slice, weight: float, worth: float = 1.0) -> list[Line]:
    """The four shapes of a histogram; fewer where it has few bins, whose share goes to the first ones. worth:
    independent rows per row of the reference."""
    scores = scores_of(counts, worth)
    if scores is None:
        return []
    places = places_of(bins)
    shares = f.SHAPE_SHARES[: len(scores.values)]
    return [
        Line(
            name=ScoreName(family=f.SHAPES[degree], column=column),
            form=GAUSSIAN,
            terms=((places, values),),
            rows=(*places.tolist(),),
            weight=weight * shares[degree] / sum(shares),
            floor=f.FLOORS[f.SHAPES[degree]],
            skew=float(scores.skews[degree]),
            kurtosis=float(scores.kurtoses[degree]),
        )
        for degree, values in enumerate(scores.values)
    ]


def count_line(
    name: ScoreName,
    places: tuple[int, ...],
    rows: tuple[int, ...],
    count: int,
    size: int,
    weight: float,
    *,
    side: int = 0,
    earlier: float = 0.0,
    floor: float = 0.0,
) -> Line:
    """The score of a rate: of the rows in `rows`, those at `places`. count, size: the same in the reference. floor:
    the least change of the rate that is told, where it is not that of the family.

    Its complement is counted where nearly all rows are there, and it is a mean where neither is rare.
    """
    share, floor = (count / size if size else 0.0), floor or f.RATE_FLOORS[name.family]
    at = np.array(places, dtype=np.int64)
    if share > 1 - f.RARE and set(places) < set(rows):
        at = np.array(sorted(set(rows) - set(places)), dtype=np.int64)
        ones = ((at, np.ones(len(at))),)
        return Line(name, COUNT, ones, rows, weight, floor, side=-side, center=1.0, unit=-1.0)
    if not f.RARE <= share <= 1 - f.RARE:
        ones = ((at, np.ones(len(at))),)
        return Line(name, COUNT, ones, rows, weight, floor, side=side, earlier=earlier, unit=1.0)
    return mean_line(name, share, at, rows, weight, side)._replace(floor=floor / (share * (1 - share)) ** 0.5)


def mean_line(
    name: ScoreName, share: float, places: Integers, rows: tuple[int, ...], weight: float, side: int
) -> Line:
    """A rate as the mean of standardised indicators."""
    deviation = (share * (1 - share)) ** 0.5
    inside = set(places.tolist())
    skew = (1 - 2 * share) / deviation
    if inside <= set(rows):
        others = np.array([place for place in rows if place not in inside], dtype=np.int64)
        terms = (
            (places, np.full(len(places), (1 - share) / deviation)),
            (others, np.full(len(others), -share / deviation)),
        )
    else:
        everything = np.array(rows, dtype=np.int64)
        terms = (
            (places, np.full(len(places), 1 / deviation)),
            (everything, np.full(len(everything), -share / deviation)),
        )
    return Line(
        name=name,
        form=GAUSSIAN,
        terms=terms,
        rows=rows,
        weight=weight,
        floor=f.RATE_FLOORS[name.family] / deviation,
        skew=skew,
        kurtosis=(1 - 6 * share * (1 - share)) / (share * (1 - share)),
        side=side,
        center=share,
        unit=deviation,
    )


def worth_of(reference: Reference) -> float:
    """Independent rows per row of a reference."""
    return reference.effective_rows / max(reference.rows, 1) if reference.rows_identify else 1.0
