"""The measures that ship, and what they say of two profiles."""

import math
from typing import Final, NamedTuple

from detectors.library import columnwise, rowwise
from detectors.library.measure import Found, Measure
from detectors.library.outputs import output_samples
from detectors.library.registry import Register
from detectors.library.samples import ColumnSample, RowsSample, column_samples, rows_sample
from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.profile import Profile

_NUMBERS = ("numeric", "embedding")

STANDARD: Final = (
    Measure(name="psi", column=columnwise.population_stability, of_shares=False),
    Measure(name="ks", column=columnwise.kolmogorov_smirnov, kinds=_NUMBERS, greatest=1.0, symmetric=True),
    Measure(name="jensen_shannon", column=columnwise.jensen_shannon, greatest=1.0, symmetric=True),
    Measure(name="hellinger", column=columnwise.hellinger, greatest=1.0, symmetric=True),
    Measure(name="total_variation", column=columnwise.total_variation, greatest=1.0, symmetric=True),
    Measure(name="l_infinity", column=columnwise.l_infinity, greatest=1.0, symmetric=True),
    Measure(name="chi_squared", column=columnwise.chi_squared, of_shares=False),
    Measure(name="wasserstein", column=columnwise.wasserstein, kinds=_NUMBERS, unit="standard deviations"),
    Measure(
        name="mean_shift",
        column=columnwise.mean_shift,
        kinds=_NUMBERS,
        least=float("-inf"),
        unit="standard deviations",
    ),
    Measure(
        name="variance_ratio",
        column=columnwise.variance_ratio,
        kinds=_NUMBERS,
        least=float("-inf"),
        unit="logarithm",
    ),
    Measure(name="correlation_change", rows=rowwise.correlation_change, greatest=2.0, symmetric=True),
    Measure(name="covariance_change", rows=rowwise.covariance_change),
    Measure(name="reconstruction", rows=rowwise.reconstruction, least=float("-inf"), unit="logarithm"),
    Measure(name="mahalanobis", rows=rowwise.mahalanobis, unit="standard deviations"),
    Measure(name="mean_embedding", rows=rowwise.mean_embedding, of_shares=False),
)


def standard() -> Register:
    """A register of the measures that ship. Their laws are tested, so they are not tried again."""
    return Register({measure.name: measure for measure in STANDARD})


class Seen(NamedTuple):
    """What measures see of a profile; `outputs`: of what the model said. That of a reference may be kept: it does not
    change."""

    columns: list[ColumnSample]
    together: RowsSample | str
    rows: int
    outputs: tuple[ColumnSample, ...] = ()


def seen(profile: Profile) -> Seen:
    """What measures see of a profile."""
    return Seen(column_samples(profile), rows_sample(profile), profile.rows, output_samples(profile))


def compare(before: Seen, now: Seen, register: Register) -> list[Measurement]:
    """Every measure of the register between two profiles on one layout: the reference's own rows (or an earlier
    window, or another version), and a window. Each is undefined "because ..." where it has no meaning."""
    found: list[Measurement] = []
    for first, second in zip(before.columns, now.columns, strict=True):
        few = _too_few(first.present, second.present)
        for name, column in register.of_columns(first.kind):
            found.append(_measurement(name, first.name, second.present, few or column(first, second)))
    few = _too_few(before.rows, now.rows)
    for name, rows in register.of_rows():
        if isinstance(before.together, str) or isinstance(now.together, str):
            because = before.together if isinstance(before.together, str) else str(now.together)
            found.append(undefined(name, None, now.rows, because))
            continue
        found.append(_measurement(name, None, now.rows, few or rows(before.together, now.together)))
    return found


def compare_outputs(before: Seen, now: Seen, register: Register) -> list[Measurement]:
    """The measures of columns between what the model said in two profiles; `score_hellinger` is that of the scores."""
    return [
        _measurement(
            f"{first.name}_{name}",
            None,
            second.present,
            _too_few(first.present, second.present) or column(first, second),
        )
        for first, second in zip(before.outputs, now.outputs, strict=True)
        for name, column in register.of_columns(first.kind)
    ]


def _too_few(before: int, now: int) -> Found | None:
    if min(before, now) >= MINIMUM_ROWS:
        return None
    which, rows = ("the reference", before) if before < MINIMUM_ROWS else ("the window", now)
    return Found(None, because=f"{which} has only {rows} rows with a value; it takes {MINIMUM_ROWS}")


def _measurement(name: str, feature: str | None, rows: int, found: Found) -> Measurement:
    if found.value is None:
        return undefined(name, feature, rows, found.because or "it has no value")
    if not math.isfinite(found.value):
        return undefined(name, feature, rows, f"it gives {found.value}")
    return Measurement(
        measure=name, feature=feature, value=found.value, rows=rows, error=found.error, detail=found.detail
    )
