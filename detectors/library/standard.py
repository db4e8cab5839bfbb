"""The measures that ship, and what they say of two profiles."""

from typing import Final

from detectors.library import columnwise, rowwise
from detectors.library.measure import Found, Measure
from detectors.library.registry import Register
from detectors.library.samples import column_samples, rows_sample
from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.profile import Profile

_NUMBERS = ("numeric", "embedding")

STANDARD: Final = (
    Measure(name="psi", column=columnwise.population_stability, of_shares=False),
    Measure(name="ks", column=columnwise.kolmogorov_smirnov, kinds=_NUMBERS, greatest=1.0, symmetric=True),
    Measure(name="jensen_shannon", column=columnwise.jensen_shannon, greatest=1.0),
    Measure(name="hellinger", column=columnwise.hellinger, greatest=1.0),
    Measure(name="total_variation", column=columnwise.total_variation, greatest=1.0),
    Measure(name="l_infinity", column=columnwise.l_infinity, greatest=1.0),
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
"""Grouped distances take their groups from the reference, so they are symmetric in their formula and not in this."""


def standard() -> Register:
    """A register of the measures that ship. Their laws are tested, so they are not tried again."""
    return Register({measure.name: measure for measure in STANDARD})


def compare(before: Profile, now: Profile, register: Register) -> list[Measurement]:
    """Every measure of the register between two profiles on one layout: the reference's own rows (or an earlier
    window, or another version), and a window. Each is undefined "because ..." where it has no meaning."""
    found: list[Measurement] = []
    for first, second in zip(column_samples(before), column_samples(now), strict=True):
        for name, column in register.of_columns(first.kind):
            few = _too_few(first.present, second.present)
            found.append(_measurement(name, first.name, second.present, few or column(first, second)))
    whole, window = rows_sample(before), rows_sample(now)
    for name, rows in register.of_rows():
        few = _too_few(before.rows, now.rows)
        if isinstance(whole, str) or isinstance(window, str):
            because = whole if isinstance(whole, str) else str(window)
            found.append(undefined(name, None, now.rows, because))
            continue
        found.append(_measurement(name, None, now.rows, few or rows(whole, window)))
    return found


def _too_few(before: int, now: int) -> Found | None:
    if min(before, now) >= MINIMUM_ROWS:
        return None
    which, rows = ("the reference", before) if before < MINIMUM_ROWS else ("the window", now)
    return Found(None, because=f"{which} has only {rows} rows with a value; it takes {MINIMUM_ROWS}")


def _measurement(name: str, feature: str | None, rows: int, found: Found) -> Measurement:
    if found.value is None:
        return undefined(name, feature, rows, found.because or "it has no value")
    return Measurement(
        measure=name, feature=feature, value=found.value, rows=rows, error=found.error, detail=found.detail
    )
