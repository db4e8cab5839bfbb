"""What is counted of predictions and labels, in the reference as in the stream."""

from typing import Final

import numpy as np

from detectors.columns import Floats, Integers, Singles, singles
from detectors.kernels_rows import FARTHEST, FRACTION

CLASSES: Final = 32
"""Most classes that are counted by themselves; all others are one more, "other"."""
SUMS: Final = (
    "label",
    "label_squared",
    "absolute_error",
    "error",
    "squared_error",
    "squared_above",
    "fourth_error",
    "label_cubed",
    "label_fourth",
    "squared_error_label",
    "squared_error_label_squared",
    "nonzero",
    "relative",
    "relative_squared",
)
"""What is summed of a regression, in standard deviations of the reference's labels, less their mean. `squared_above`:
of the errors above zero; `nonzero`: labels that are not 0, of which `relative` is the size of the error as a share of
that of the label, both as they came."""
NEAR: Final = 2.0**8
"""Standard deviations at which third and fourth powers are cut off, so that 2^31 of them fit 63 bits."""


def class_codes(values: Singles, classes: int) -> Integers:
    """Indices of classes; what is none of them is the last one, "other"."""
    inside = (values >= 0) & (values < classes - 1) & (values == np.floor(values))
    return np.where(inside, values, classes - 1).astype(np.int64)


def binned(values: Singles, edges: Singles) -> Integers:
    """Counts by bin; bin i holds edges[i-1] < x <= edges[i]."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)


def regression_sums(said: Singles, truth: Floats, center: float, scale: float) -> Integers:
    """The sums of `SUMS`, each as (whole parts, 2^-30ths): exact integers, in any order of rows."""
    label = _cut((truth - center) / scale)
    error = _cut((said.astype(np.float64) - center) / scale - label)
    near, off = _cut(label, NEAR), np.square(_cut(error, NEAR))
    nonzero, relative = truth != 0, np.zeros(len(truth))
    with np.errstate(over="ignore"):
        np.divide(np.abs(said - truth), np.abs(truth), out=relative, where=nonzero & np.isfinite(truth))
    relative = _cut(np.nan_to_num(relative, nan=FARTHEST, posinf=FARTHEST))
    summed = {
        "label": label,
        "label_squared": label * label,
        "absolute_error": np.abs(error),
        "error": error,
        "squared_error": error * error,
        "squared_above": np.where(error > 0, error * error, 0.0),
        "fourth_error": off * off,
        "label_cubed": near * near * near,
        "label_fourth": np.square(near * near),
        "squared_error_label": off * near,
        "squared_error_label_squared": off * near * near,
        "nonzero": nonzero.astype(np.float64),
        "relative": relative,
        "relative_squared": relative * relative,
    }
    values = np.stack([summed[name] for name in SUMS])
    whole = np.floor(values)
    parts = np.rint((values - whole) * FRACTION)
    return np.stack([whole.sum(axis=1), parts.sum(axis=1)], axis=1).reshape(-1).astype(np.int64)


def _cut(values: Floats, most: float = FARTHEST) -> Floats:
    return np.clip(values, -most, most)


def errors_of(said: Singles, truth: Floats) -> Singles:
    """Prediction less label, at single precision; between two infinities of one sign there is none."""
    with np.errstate(invalid="ignore"):
        return singles(np.nan_to_num(said - truth, nan=0.0, posinf=np.inf, neginf=-np.inf))


def usable_scale(center: float, deviation: float) -> float:
    """A standard deviation to divide by; where the values are constant, their size."""
    return deviation if deviation > 1e-12 * max(abs(center), 1e-280) else max(abs(center), 1.0)
