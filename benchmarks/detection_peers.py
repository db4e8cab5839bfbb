"""What tests per column and window do on the same rows: the Kolmogorov-Smirnov test of SciPy for numbers, the
chi-squared test for categories."""

import argparse
from typing import Any

import numpy as np
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.detection_data import Source, Table

REFERENCE = 10_000
POWER = 0.8
SEEDS = 40
AT_POWER = f"KS or chi-squared that finds it as often ({100 * POWER:.0f} %) alarms in"


def _p_value(result: Any) -> float:
    """Of a test of SciPy, whose results have no types."""
    return float(result.pvalue)


def smallest_p(reference: Table, window: Table, rows: int = REFERENCE) -> float:
    """Of the tests of all columns."""
    smallest = 1.0
    for name, column in window.items():
        before = reference[name][:rows]
        if column.dtype == object:
            names = sorted({*before.tolist(), *column.tolist()})
            counts = np.array([[(one == each).sum() for each in names] for one in (before, column)])
            p = _p_value(stats.chi2_contingency(counts)) if len(names) > 1 else 1.0
        else:
            p = _p_value(stats.ks_2samp(before, column, method="asymp"))
        smallest = min(smallest, p)
    return smallest


def peer_alarms(reference: Table, window: Table) -> dict[str, bool]:
    """As monitors use them, and with Bonferroni's correction."""
    smallest = smallest_p(reference, window)
    return {
        "KS or chi-squared, any column below .05": smallest < 0.05,
        "the same, Bonferroni, .001 per window": smallest < 0.001 / len(window),
    }


def peer_at_power(source: Source, within: int, reference_rows: int, options: argparse.Namespace) -> float:
    """Of 1,000 clean windows, how many alarm at the level at which the tests find the change within so many windows
    in `POWER` of the seeds."""
    clean: list[float] = []
    changed: list[float] = []
    for number in range(min(options.seeds, SEEDS)):
        rng = np.random.default_rng([options.seed, 4, number])
        table = source.draw(rng, reference_rows)
        clean += [smallest_p(table, source.draw(rng, 1_000), reference_rows) for _ in range(5)]
        found = [smallest_p(table, source.after(rng, 1_000), reference_rows) for _ in range(within)]
        changed.append(min(found))
    level = float(np.quantile(changed, POWER))
    return 1_000 * float(np.mean(np.array(clean) <= level))
