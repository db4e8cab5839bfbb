"""Tests of SciPy per column and window, and river's detectors on the values of each column.

A window's score grows with what speaks for a change, so that any threshold can be tried afterwards. Of the tests it
is the logarithm of one over the smallest p-value of all columns (Bonferroni), or what Benjamini and Hochberg's
procedure makes of all of them.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.detection_data import Table
from detectors.concept import catalogue
from detectors.concept.online import OnlineDetector
from detectors.concept.run import steps

Scores = dict[str, float]
Floats = npt.NDArray[np.float64]

BONFERRONI: Final = ", Bonferroni"
DELTAS: Final = tuple(10.0**-power for power in range(1, 13))
"""Settings of ADWIN that are tried, from the most to the least eager."""


class Tests:
    """The tests against one reference. Its columns are sorted once; what is said is what `ks_2samp(method="asymp")`,
    `ttest_ind(equal_var=False)` and `chi2_contingency` say."""

    def __init__(self, reference: Table) -> None:
        self._numbers = {
            name: np.sort(column) for name, column in reference.items() if column.dtype != object
        }
        self._names = {name: column for name, column in reference.items() if column.dtype == object}

    def scores(self, window: Table) -> Scores:
        """Of one window."""
        now = np.sort(np.array([window[name] for name in self._numbers]), axis=1)
        before = list(self._numbers.values())
        categories = [_chi_squared(column, window[name]) for name, column in self._names.items()]
        found: Scores = {}
        for test, surprises in (
            ("KS", _ks(before, now)),
            ("t-test", _welch(before, now)),
        ):
            everything = np.array([*surprises, *categories])
            found[f"SciPy {test} and chi-squared{BONFERRONI}"] = float(everything.max())
            ranked = np.sort(everything)[::-1] - np.log(len(everything) / np.arange(1, len(everything) + 1))
            found[f"SciPy {test} and chi-squared, Benjamini-Hochberg"] = float(ranked.max())
        return found


def _ks(before: list[Floats], now: Floats) -> Floats:
    """Logarithms of one over the p-values."""
    rows = now.shape[1]
    apart = np.empty(len(before))
    for place, (one, other) in enumerate(zip(before, now, strict=True)):
        left, right = (np.searchsorted(one, other, side=side) / len(one) for side in ("left", "right"))
        steps_up = np.arange(1, rows + 1) / rows
        apart[place] = max(float((steps_up - right).max()), float((left - steps_up + 1 / rows).max()))
    size = round(len(before[0]) * rows / (len(before[0]) + rows))
    return -np.asarray(stats.kstwo.logsf(apart, size))


def _welch(before: list[Floats], now: Floats) -> Floats:
    rows = now.shape[1]
    first = np.array([(one.mean(), one.var(ddof=1) / len(one)) for one in before])
    parts = np.stack((now.mean(axis=1), now.var(axis=1, ddof=1) / rows), axis=1)
    error = first[:, 1] + parts[:, 1]
    freedom = error**2 / (first[:, 1] ** 2 / (len(before[0]) - 1) + parts[:, 1] ** 2 / (rows - 1))
    z = np.abs(parts[:, 0] - first[:, 0]) / np.sqrt(error)
    return -np.asarray(stats.t.logsf(z, freedom)) - np.log(2)


def _chi_squared(before: Any, now: Any) -> float:
    names, places = np.unique(np.concatenate((before, now)).astype(str), return_inverse=True)
    table = np.array([np.bincount(each, minlength=len(names)) for each in np.split(places, [len(before)])])
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return -float(stats.chi2.logsf(((table - expected) ** 2 / expected).sum(), len(names) - 1))


def river_alarms(reference: Table, windows: list[Table]) -> dict[str, npt.NDArray[np.bool_]]:
    """For each setting of river's ADWIN (a kernel that says what it says, event by event), and of Page-Hinkley, which
    windows have an alarm in any column; each detector has seen the reference first and begins anew after an
    alarm."""
    settings: dict[str, OnlineDetector] = {f"{delta:g}": catalogue.adwin(delta=delta) for delta in DELTAS}
    rows, found = len(next(iter(windows[0].values()))), {}
    for setting, detector in settings.items():
        alarmed = np.zeros(len(windows), dtype=np.bool_)
        for name, before in reference.items():
            values = np.concatenate((before, *(window[name] for window in windows)))
            memory, ones = np.zeros(detector.size), np.ones(len(values))
            told = steps(detector.kernel, memory, np.array(detector.settings), ones, values, values * values)
            alarmed |= (told[len(before) :] == 2).reshape(-1, rows).any(axis=1)
        found[setting] = alarmed
    return found
