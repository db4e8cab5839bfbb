"""A classifier with several classes without labels: the expected confusion of a window, from its profile."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers, score_bins, singles
from detectors.distances import coarse_groups
from detectors.estimation.cells import tilted
from detectors.estimation.checking import checked
from detectors.estimation.expected import Expected, known_values
from detectors.estimation.groups import Groups, by_block, row_shares, told
from detectors.estimation.marginals import fit_marginals, moved, moved_in
from detectors.estimation.values import Estimator, Marginals, MulticlassCells
from detectors.outcome_counts import CLASSES, class_codes
from detectors.outcome_slots import MulticlassSlots
from detectors.profile import Profile
from detectors.reference import Reference

MULTICLASS_MEASURES: Final = ("accuracy", "balanced_accuracy", "macro_f1")
_PRIOR_ROWS = 20.0
"""Rows that the confusion of a class counts for in each group of its scores."""
_ROUNDS = 60
_SURE = 1e-6


class ClassRows(NamedTuple):
    """Rows of a reference: top score, predicted and true class (indices), block."""

    scores: Floats
    said: Floats
    labels: Floats
    blocks: Integers


def fit_multiclass(reference: Reference, codes: Integers, rows: ClassRows) -> Estimator:
    """Learn the chance of each true class by predicted class and score; see `Estimator`."""
    classes = min(len(reference.classes), CLASSES) + 1
    groups = coarse_groups(np.array(reference.scores, dtype=np.float64))
    width = int(groups.max()) + 1
    said, truth = (class_codes(singles(one), classes) for one in (rows.said, rows.labels))
    places = said * width + groups[score_bins(rows.scores)]
    triples = by_block(places * classes + truth, rows.blocks, classes * width * classes)
    triples = triples * (reference.effective_rows / reference.rows)
    whole = triples.sum(axis=0)
    parts = [whole, *(whole - less for less in triples)]
    chances = [_chances(one.reshape(classes, width, classes)) for one in parts]
    cells = MulticlassCells(
        groups=tuple(groups.tolist()),
        counts=told(whole.reshape(-1, classes).sum(axis=1)),
        chances=tuple(told(one.reshape(-1)) for one in chances),
    )
    right = (said == truth) & (said < classes - 1)
    residual = right - _right(chances[0], classes).reshape(-1)[places]
    marginals = fit_marginals(codes, residual[:, None], rows.blocks)
    joint = whole.reshape(-1, classes).sum(axis=1).reshape(classes, width)

    def trial(block: int, piece: Integers) -> tuple[Expected, Mapping[str, float | None]]:
        counts = np.bincount(places[piece], minlength=classes * width).reshape(classes, width)
        shift = moved(marginals, row_shares(codes[piece], int(codes.max(initial=-1)) + 1))
        guess = expect_classes(
            counts.astype(np.float64),
            chances[block + 1],
            0.0 if shift is None else float(shift[block + 1, 0]),
        )
        seen = np.bincount(said[piece] * classes + truth[piece], minlength=classes**2)
        return guess, _measures(seen.reshape(classes, classes).astype(np.float64))[0]

    trials = checked(rows.blocks, trial)
    return Estimator(
        reference_revision=reference.revision,
        task="multiclass",
        rows=len(rows.labels),
        cells=cells,
        marginals=marginals,
        expected=known_values(expect_classes(joint, chances[0], 0.0).values),
        excess=trials.excess,
        wander=trials.wander,
    )


def expect_multiclass(
    marginals: Marginals, cells: MulticlassCells, profile: Profile, groups: list[Groups]
) -> list[Expected]:
    """The measures of a window: from all reference rows, and once without each block of them."""
    slots = profile.layout.outcomes
    if not isinstance(slots, MulticlassSlots):
        return []
    width = max(cells.groups) + 1
    found = np.bincount(cells.groups, weights=profile.counters[profile.layout.scores], minlength=width)
    scores = found.astype(np.float64)
    known = np.array(cells.counts).reshape(slots.classes, width)
    counts = joined(known, profile.counters[slots.said].astype(np.float64), scores)
    shift = moved_in(marginals, groups, profile)
    return [
        expect_classes(
            counts,
            np.array(one).reshape(slots.classes, width, slots.classes),
            0.0 if shift is None else float(shift[place, 0]),
        )
        for place, one in enumerate(cells.chances)
    ]


def joined(known: Floats, said: Floats, scores: Floats) -> Floats:
    """Rows by predicted class and group of the score, of which a profile has only the two margins: the table nearest
    to the reference's that has them (iterative proportional fitting; Deming and Stephan 1940)."""
    if said.sum() <= 0 or scores.sum() <= 0:
        return np.zeros_like(known)
    wanted = scores * (said.sum() / scores.sum())
    found = known + 0.01 * np.outer(known.sum(axis=1) + 1, known.sum(axis=0) + 1) / (known.sum() + 1)
    for _ in range(_ROUNDS):
        found = found * (said / np.maximum(found.sum(axis=1), 1e-300))[:, None]
        found = found * (wanted / np.maximum(found.sum(axis=0), 1e-300))[None, :]
    return found


def expect_classes(counts: Floats, chances: Floats, shift: float) -> Expected:
    """The measures of the expected confusion. counts: shape (classes, groups). chances: of each true class, shape
    (classes, groups, classes). shift: by how much the share of right predictions moves besides."""
    if counts.sum() <= 0:
        return Expected(dict.fromkeys(MULTICLASS_MEASURES), {}, {})
    if shift:
        chances = _moved_right(counts, chances, shift)
    pairs = np.einsum("jg,jgk->jk", counts, chances)
    values, slopes = _measures(pairs)
    sampling: dict[str, float] = {}
    mix: dict[str, float] = {}
    for name, slope in slopes.items():
        first = np.einsum("jgk,jk->jg", chances, slope)
        second = np.einsum("jgk,jk->jg", chances, np.square(slope))
        sampling[name] = float(np.sqrt(max(float((counts * (second - np.square(first))).sum()), 0.0)))
        mix[name] = float(np.sqrt((counts * np.square(first)).sum()))
    return Expected(values, sampling, mix)


def _moved_right(counts: Floats, chances: Floats, shift: float) -> Floats:
    right = np.clip(_right(chances, chances.shape[2]), _SURE, 1 - _SURE)
    rows = counts.copy()
    rows[-1] = 0
    if rows.sum() <= 0:
        return chances
    mean = (rows * right).sum() / rows.sum() + shift * counts.sum() / rows.sum()
    wanted = np.array([np.clip(mean, _SURE, 1 - _SURE)])
    after = tilted(right.reshape(-1, 1), rows.reshape(-1, 1), wanted).reshape(right.shape)
    found = chances * ((1 - after) / (1 - right))[:, :, None]
    for place in range(len(counts) - 1):
        found[place, :, place] = after[place]
    found[-1] = chances[-1]
    return found


def _chances(triples: Floats) -> Floats:
    """Of each true class: shrunk to those of the predicted class, and these to the prediction being right."""
    classes = len(triples)
    pairs = triples.sum(axis=1)
    of_class = (pairs + np.eye(classes)) / (pairs.sum(axis=1, keepdims=True) + 1)
    return (triples + _PRIOR_ROWS * of_class[:, None, :]) / (triples.sum(axis=2, keepdims=True) + _PRIOR_ROWS)


def _right(chances: Floats, classes: int) -> Floats:
    """The chance of being right by class and group; nothing in "other" is right."""
    found = np.stack([chances[place, :, place] for place in range(classes)])
    found[-1] = 0
    return found


def _measures(pairs: Floats) -> tuple[dict[str, float | None], dict[str, Floats]]:
    """Measures of a confusion matrix (row: predicted, column: true, the last one "other"), and their slopes."""
    values: dict[str, float | None] = dict.fromkeys(MULTICLASS_MEASURES)
    right = np.diagonal(pairs).copy()
    right[-1] = 0
    eye = np.eye(len(pairs))
    eye[-1, -1] = 0
    said, truth, rows = pairs.sum(axis=1), pairs.sum(axis=0), pairs.sum()
    accuracy = float(right.sum() / rows)
    values["accuracy"] = accuracy
    slopes: dict[str, Floats] = {"accuracy": (eye - accuracy) / rows}
    for name, of, factor in (("balanced_accuracy", truth, 1.0), ("macro_f1", said + truth, 2.0)):
        there = of > 0.5
        there[-1] = False
        if there.any():
            base, many = np.where(there, of, 1.0), int(there.sum())
            values[name] = float((factor * right / base)[there].sum()) / many
            lost = np.where(there, factor * right / np.square(base), 0.0)
            found = factor * eye * np.where(there, 1 / base, 0.0) - lost
            slopes[name] = (found - lost[:, None] if name == "macro_f1" else found) / many
    return values, slopes
