"""What a window's performance will turn out to be, and how sure that is."""

import math
from typing import Final

from detectors.errors import ProfileInvalid
from detectors.estimation.binary import expect_binary
from detectors.estimation.expected import MEASURES, Expected, Replicated
from detectors.estimation.groups import BLOCKS, groups_of
from detectors.estimation.kernels import spreads
from detectors.estimation.multiclass import MULTICLASS_MEASURES, expect_multiclass
from detectors.estimation.regression import REGRESSION_MEASURES, expect_regression
from detectors.estimation.support import unknown_share, unsupported
from detectors.estimation.values import BinaryCells, Estimate, Estimator, MulticlassCells
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Task

MEASURES_OF: Final[dict[Task, tuple[str, ...]]] = {
    "binary": MEASURES,
    "multiclass": MULTICLASS_MEASURES,
    "regression": REGRESSION_MEASURES,
}
NORMAL: Final = 1.96
STUDENT: Final = 2.365
"""97.5 % quantile of Student's t with 7 degrees of freedom: eight blocks were left out in turn."""
DOUBT: Final = 0.5
"""A change from the reference that is only estimated is believed to within this share of itself (two standard
errors): that scores keep their worth while their mix moves is an assumption, and moves are what tests it."""
UNKNOWN_DOUBT: Final = 0.05
"""Standard error, in units of the measure (of an error or loss: of its value), of what is said about rows on ground
that the reference does not know."""
_UNBOUNDED = frozenset({"log_loss", "mae", "rmse", "bias"})


def estimate(profile: Profile, estimator: Estimator, *, withhold: bool = True) -> list[Estimate]:
    """The measures of a window by the task of the reference, each with an interval that is meant to hold what the
    labels will show in 95 of 100 windows; undefined "because ..." where nothing can be said.

    The interval adds up five errors: the reference is a sample (a jackknife over its eight blocks, and no less than
    what its labels vary by chance), the estimator erred on blocks that it had not seen by more than chance
    (`Estimator.excess`), a change is believed by halves (`DOUBT`), rows on unknown ground are doubted
    (`UNKNOWN_DOUBT`), and the labels of a window are a sample.

    Binary: `expected.MEASURES`; multiclass: accuracy, balanced_accuracy, macro_f1; regression: mae, rmse, bias. What
    a profile cannot know is not in the list. withhold: say nothing where the reference cannot speak for the window
    (`support`); without it the estimate is given all the same, for comparisons.
    Raises `ProfileInvalid` when the profile was counted against another reference.
    """
    reference = profile.reference
    if reference is None or reference.revision != estimator.reference_revision:
        raise ProfileInvalid(
            f"the profile was counted against reference {reference and reference.revision}, the estimator learned from "
            f"{estimator.reference_revision}"
        )
    rows, cells, names = profile.rows, estimator.cells, MEASURES_OF[estimator.task]
    unknown = None if cells is None or estimator.undefined else unknown_share(profile, estimator)
    because = estimator.undefined or unsupported(profile, estimator, unknown, withhold=withhold)
    if rows < MINIMUM_ROWS:
        because = because or f"there are only {rows} rows; it takes {MINIMUM_ROWS}"
    if cells is None or because:
        return [Estimate(measure=name, rows=rows, undefined=because) for name in names]
    groups = groups_of(profile.layout, reference, estimator.columns)
    marginals = estimator.marginals
    if isinstance(cells, BinaryCells):
        found = expect_binary(marginals, cells, profile, groups)
    elif isinstance(cells, MulticlassCells):
        found = Replicated.of(expect_multiclass(marginals, cells, profile, groups), names)
    else:
        found = Replicated.of(expect_regression(marginals, cells, profile, groups), names)
    repeats = _repeats(profile, reference)
    return [
        _told(name, rows, found.first, spread, estimator, unknown or 0.0, repeats)
        for name, spread in zip(names, spreads(found.others).tolist(), strict=True)
    ]


def _repeats(profile: Profile, reference: Reference) -> tuple[float, float]:
    """By how much repeats of a subject make a variance greater: in the reference, and in the window."""
    effective = max(profile.effective_rows, min(profile.rows, MINIMUM_ROWS))
    return reference.rows / reference.effective_rows, profile.rows / effective


def _told(
    name: str,
    rows: int,
    found: Expected,
    spread: float,
    estimator: Estimator,
    unknown: float,
    repeats: tuple[float, float],
) -> Estimate:
    value = found.values[name]
    if value is None:
        return Estimate(measure=name, rows=rows, undefined="nothing is expected that it could be a share of")
    before = estimator.expected.get(name)
    doubt = DOUBT * abs(value - before) / 2 if before is not None else 0.0
    strange = UNKNOWN_DOUBT * unknown * (1.0 if name not in _UNBOUNDED else abs(value))
    least = found.sampling[name] ** 2 * rows / estimator.rows
    learned = repeats[0] * max(spread * (BLOCKS - 1) / BLOCKS, least) + estimator.excess.get(name, 0.0)
    error = math.sqrt(learned + doubt * doubt + strange * strange)
    sampling = found.sampling[name] * math.sqrt(repeats[1])
    reach = math.hypot(STUDENT * error, NORMAL * sampling)
    bounded = name not in _UNBOUNDED
    return Estimate(
        measure=name,
        rows=rows,
        value=value,
        low=max(value - reach, 0.0) if name != "bias" else value - reach,
        high=min(value + reach, 1.0) if bounded else value + reach,
        error=error,
        sampling=sampling,
        mix=found.mix[name] * math.sqrt(repeats[1]),
        reference=before,
    )
