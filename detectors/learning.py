"""Learning from the rows of a reference, once, what windows are estimated and explained with."""

import numpy as np
from msgspec.structs import replace

from detectors.attribution.influence import build_influence
from detectors.columns import Column
from detectors.embedded import flattened
from detectors.estimation.fit import build_estimator
from detectors.learned import Learned
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.dependence import column_worth, longest_runs
from detectors.ranks import plain
from detectors.reference import Reference
from detectors.reference_values import revision_of
from detectors.sequential.blocks import Rows

CORRELATED_ROWS = 20_000
"""Rows that correlations are read from: they are then known to within .01."""


def with_learned(reference: Reference, rows: Rows) -> Reference:
    """The reference with what its rows teach, under a revision of its own.

    rows: those that the reference was built from, in their order of time, where they have one. What cannot be learned
    (no labels, no scores) is undefined inside, with the reason. Raises `ReferenceInvalid` when a feature is missing.
    """
    said = (
        plain(rows.predictions) if reference.task == "multiclass" and rows.predictions is not None else None
    )
    outputs = (rows.predictions if said is None else said, rows.scores, rows.labels)
    features = flattened(rows.features)
    estimator = build_estimator(reference, features, *outputs)
    influence = build_influence(reference, features, *outputs)
    worth = column_worth(reference, features)
    correlations, waves = _together(reference, rows)
    learned = Learned(
        estimator=replace(estimator, reference_revision=""),
        influence=replace(influence, reference_revision=""),
        worth={name: round(each, 4) for name, each in worth.items() if each < 1.0},
        runs=longest_runs(features, MINIMUM_ROWS // 2),
        correlations=correlations,
        waves=waves,
    )
    complete = replace(reference, learned=learned)
    return replace(complete, revision=revision_of(complete))


def _together(reference: Reference, rows: Rows) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Correlations and random features of the numeric columns."""
    step = max(1, len(rows) // CORRELATED_ROWS)
    features: dict[str, Column] = {name: np.asarray(column)[::step] for name, column in rows.features.items()}
    profile = Profile.empty(reference)
    profile.fold(features, None, None)
    found = profile.correlation()
    if found is None or len(found) < 2:
        return (), ()
    below = np.nan_to_num(found[np.tril_indices(len(found), -1)])
    waves = profile.random_features()
    return tuple(round(float(each), 4) for each in below), tuple(round(float(each), 5) for each in waves)
