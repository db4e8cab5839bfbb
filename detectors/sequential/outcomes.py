"""The scores of what the model said, and of how well it did, by its task."""

import numpy as np

from detectors.columns import SCORE_BINS, Floats, Integers
from detectors.layout import Layout
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.reference import Reference
from detectors.sequential import families as f
from detectors.sequential.hermite import scores_of
from detectors.sequential.kernels import COUNT, GAUSSIAN
from detectors.sequential.line import Line, count_line, places_of, shape_lines, worth_of
from detectors.sequential.values import ScoreName


def output_lines(reference: Reference, layout: Layout) -> list[Line]:
    """Positive rate or classes, and the shape of scores or predictions. Nothing where the reference has none."""
    slots, worth = layout.outcomes, worth_of(reference)
    found: list[Line] = []
    if reference.predicted and isinstance(slots, BinarySlots):
        name = ScoreName(family=f.RATE, column=f.PREDICTION)
        positive, size = reference.predicted_positive, reference.predicted
        found.append(count_line(name, (slots.positive,), (layout.predicted,), positive, size, 0.3))
    if reference.predicted and isinstance(slots, MulticlassSlots):
        places = places_of(slots.said)
        names = [*reference.classes[: slots.classes - 1], "other"]
        for i, place in enumerate(places):
            name = ScoreName(family=f.CLASS, column=f.PREDICTION, item=names[i])
            rows = (*places.tolist(),)
            found.append(
                count_line(
                    name, (int(place),), rows, reference.said[i], reference.predicted, 0.3 / len(names)
                )
            )
    if isinstance(slots, RegressionSlots):
        if reference.predicted:
            found += _shapes(f.PREDICTION, np.array(reference.said, dtype=np.int64), slots.said, worth)
    elif reference.scores:
        found += _shapes(f.SCORE, np.array(reference.scores, dtype=np.int64), layout.scores, worth)
    return found


def score_quality(reference: Reference, layout: Layout) -> list[Line]:
    """The share of rows without a score, where at least half of the reference's rows have one."""
    told = sum(reference.scores or ())
    share = 1.0 - told / max(reference.rows, 1)
    if isinstance(layout.outcomes, RegressionSlots) or not told or share > 0.5:
        return []
    name, floor = ScoreName(family=f.MISSING, column=f.SCORE), f.RATE_FLOORS[f.MISSING]
    everything, places = np.array([layout.rows]), places_of(layout.scores)
    ones = np.ones(len(places))
    if share < f.RARE:
        terms = ((everything, np.ones(1)), (places, -ones))
        return [Line(name, COUNT, terms, (layout.rows,), 0.5, floor, unit=1.0)]
    deviation = (share * (1 - share)) ** 0.5
    return [
        Line(
            name,
            GAUSSIAN,
            ((everything, np.full(1, (1 - share) / deviation)), (places, -ones / deviation)),
            (layout.rows,),
            0.5,
            floor / deviation,
            skew=(1 - 2 * share) / deviation,
            kurtosis=1 / deviation**2 - 6,
            center=share,
            unit=deviation,
        )
    ]


def _shapes(column: str, counts: Integers, bins: slice, worth: float) -> list[Line]:
    return [one._replace(floor=f.OUTPUT_FLOOR) for one in shape_lines(column, counts, bins, 0.7, worth)]


def outcome_lines(reference: Reference, layout: Layout) -> list[Line]:
    """What is judged of outcomes: only a change for the worse, but for the bias of a regression."""
    slots = layout.outcomes
    if not reference.labelled:
        return []
    if isinstance(slots, BinarySlots):
        return _binary(reference, slots)
    if isinstance(slots, MulticlassSlots):
        return _multiclass(reference, slots)
    return _regression(reference, slots)


def _binary(reference: Reference, slots: BinarySlots) -> list[Line]:
    tp, fp, fn, tn = places_of(slots.confusion).tolist()
    counts = dict(
        zip((tp, fp, fn, tn), (reference.tp, reference.fp, reference.fn, reference.tn), strict=True)
    )
    found: list[Line] = []
    for family, bad, rows, weight in (
        (f.ERROR, (fp, fn), (tp, fp, fn, tn), 0.4),
        (f.MISS, (fn,), (tp, fn), 0.125),
        (f.FALSE_ALARM, (fp,), (tp, fp), 0.125),
    ):
        size = sum(counts[place] for place in rows)
        events = sum(counts[place] for place in bad)
        if size:
            found.append(count_line(ScoreName(family=family), bad, rows, events, size, weight, side=1))
    if reference.positive_scores and sum(reference.positive_scores) and sum(reference.negative_scores):
        found.append(_brier(reference, slots))
        for family, histogram, room, side in (
            (f.LOWER, reference.positive_scores, slots.positive_scores, -1),
            (f.HIGHER, reference.negative_scores, slots.negative_scores, 1),
        ):
            found += _location(
                family, np.array(histogram, dtype=np.int64), room, (0.1, side, worth_of(reference))
            )
    return found


def _brier(reference: Reference, slots: BinarySlots) -> Line:
    """The squared distance of label and score, at the middles of the bins of the scores."""
    middles = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    losses = np.concatenate(((1 - middles) ** 2, middles**2))
    counts = np.array([*reference.positive_scores, *reference.negative_scores], dtype=np.int64)
    places = np.concatenate((places_of(slots.positive_scores), places_of(slots.negative_scores)))
    return _standardised(ScoreName(family=f.LOSS), losses, counts, places, 0.15, 1)


def _standardised(
    name: ScoreName, values: Floats, counts: Integers, places: Integers, weight: float, side: int
) -> Line:
    shares = counts / counts.sum()
    mean = float(values @ shares)
    deviation = float(((values - mean) ** 2) @ shares) ** 0.5 or 1.0
    scores = (values - mean) / deviation
    return Line(
        name=name,
        form=GAUSSIAN,
        terms=((places, scores),),
        rows=(*places.tolist(),),
        weight=weight,
        floor=f.FLOORS[name.family],
        skew=float((scores**3) @ shares),
        kurtosis=float((scores**4) @ shares) - 3.0,
        side=side,
    )


def _location(family: str, counts: Integers, room: slice, judged: tuple[float, int, float]) -> list[Line]:
    weight, side, worth = judged
    scores = scores_of(counts, worth)
    if scores is None:
        return []
    return [_standardised(ScoreName(family=family), scores.values[0], counts, places_of(room), weight, side)]


def _multiclass(reference: Reference, slots: MulticlassSlots) -> list[Line]:
    """Wrong predictions among all, and among those of each class that is true."""
    pairs = places_of(slots.confusion).reshape(slots.classes, slots.classes)
    counts = np.array(reference.confusion, dtype=np.int64).reshape(slots.classes, slots.classes)
    right = set(np.diagonal(pairs)[:-1].tolist())
    everything = (*pairs.reshape(-1).tolist(),)
    wrong = tuple(place for place in everything if place not in right)
    correct = int(np.diagonal(counts)[:-1].sum())
    total = int(counts.sum())
    found = [count_line(ScoreName(family=f.ERROR), wrong, everything, total - correct, total, 0.6, side=1)]
    for i, name in enumerate(reference.classes[: slots.classes - 1]):
        rows = (*pairs[:, i].tolist(),)
        size = int(counts[:, i].sum())
        if size:
            missed = tuple(place for place in rows if place not in right)
            found.append(
                count_line(
                    ScoreName(family=f.MISS, item=name),
                    missed,
                    rows,
                    size - int(counts[i, i]),
                    size,
                    0.4 / (slots.classes - 1),
                    side=1,
                )
            )
    return found


def _regression(reference: Reference, slots: RegressionSlots) -> list[Line]:
    """How large the errors are, by the rank of their size, and where they lie."""
    counts = np.array(reference.errors, dtype=np.int64)
    found = _location(f.BIAS, counts, slots.errors, (0.4, 0, worth_of(reference)))
    edges = np.array(reference.error_edges)
    if len(edges) == 0:
        return found
    middles = np.concatenate(([edges[0]], (edges[1:] + edges[:-1]) / 2, [edges[-1]]))
    order = np.argsort(abs(middles), kind="stable")
    scores = scores_of(counts[order], worth_of(reference))
    if scores is None:
        return found
    values = np.empty(len(counts))
    values[order] = scores.values[0]
    name = ScoreName(family=f.ABSOLUTE)
    return [*found, _standardised(name, values, counts, places_of(slots.errors), 0.6, 1)]
