"""Which scores there are, what share of the budget each has, and what change of it is worth a person's time."""

from typing import Final

LOCATION, SCALE, SKEW, TAILS = "location", "scale", "skewness", "tails"
SHAPES: Final = (LOCATION, SCALE, SKEW, TAILS)
"""Families of the four Hermite scores, in order of degree."""
SHAPE_SHARES: Final = (0.35 / 0.85, 0.25 / 0.85, 0.125 / 0.85, 0.125 / 0.85)
PAIR: Final = "correlation"
CATEGORY: Final = "category"
PAIRS_SHARE: Final = 0.25
"""Of the budget of data drift, where there are pairs; the columns share the rest equally."""

MISSING, OUTSIDE, MASS, NEW = "missing_rate", "out_of_range_rate", "point_mass", "new_category_rate"
RATE, CLASS = "positive_rate", "predicted_class"
ERROR, MISS, FALSE_ALARM, LOSS = "error_rate", "miss_rate", "false_positive_share", "brier_loss"
LOWER, HIGHER = "scores_of_positives", "scores_of_negatives"
ABSOLUTE, BIAS = "absolute_error", "error_location"

SCORE, PREDICTION = "the scores", "the predictions"
"""Names that stand for a column where a score is of the model's output."""

FLOORS: Final[dict[str, float]] = {
    LOCATION: 0.02,
    SCALE: 0.02,
    SKEW: 0.03,
    TAILS: 0.03,
    PAIR: 0.03,
    ABSOLUTE: 0.05,
    BIAS: 0.05,
    LOWER: 0.05,
    HIGHER: 0.05,
    LOSS: 0.05,
}
"""The least change of a mean that is told, in standard deviations of the score."""
RATE_FLOORS: Final[dict[str, float]] = {
    CATEGORY: 0.01,
    MISSING: 0.01,
    OUTSIDE: 0.01,
    MASS: 0.02,
    NEW: 0.01,
    RATE: 0.02,
    CLASS: 0.02,
    ERROR: 0.01,
    MISS: 0.02,
    FALSE_ALARM: 0.02,
}
"""The same of a rate, as a share of the rows."""
RARE: Final = 0.1
"""Rates below it, and above one less it, are judged as counts, the others by their normal approximation."""
OUTPUT_FLOOR: Final = 0.1
"""The least change of the shape of scores or predictions, in standard deviations: references may hold scores of models
of a cross-validation, which are near those of the model that serves, not equal."""
