"""Streams without and with a change, for benchmarks of detection: what a reference and windows are drawn from."""

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import signal  # pyright: ignore[reportMissingTypeStubs]

from detectors.values import FeatureSpec

Table = dict[str, npt.NDArray[Any]]
Draw = Callable[[np.random.Generator, int], Table]
"""Generator and number of rows to columns."""

COLUMNS = 20
CHANGED = "x7"
CATEGORIES = ("a", "b", "c", "d", "e")
SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)


@dataclass(frozen=True)
class Source:
    """Columns, and how rows of them are drawn; `after`: the same once it has changed. `independent`: rows and
    columns are independent and standard normal, so that counts can be drawn instead."""

    specs: tuple[FeatureSpec, ...]
    draw: Draw
    after: Draw
    changed: tuple[str, ...] = ()
    independent: bool = False


def names() -> list[str]:
    """Names of the numeric columns."""
    return [f"x{i}" for i in range(COLUMNS)]


def _numeric(drawn: npt.NDArray[np.float64]) -> Table:
    return dict(zip(names(), drawn, strict=True))


def gaussian(rng: np.random.Generator, rows: int) -> Table:
    """Independent standard normal columns."""
    return _numeric(rng.standard_normal((COLUMNS, rows)))


def numeric_source(change: Callable[[Table], None] | None = None) -> Source:
    """20 Gaussian columns; `change` is done to the rows after the change, in place."""

    def after(rng: np.random.Generator, rows: int) -> Table:
        table = gaussian(rng, rows)
        if change is not None:
            change(table)
        return table

    return Source(tuple(FeatureSpec(name=name) for name in names()), gaussian, after, (CHANGED,), True)


def shifted(by: float) -> Callable[[Table], None]:
    """A change of the mean of one column, in standard deviations."""

    def change(table: Table) -> None:
        table[CHANGED] = table[CHANGED] + by

    return change


def widened(variance: float) -> Callable[[Table], None]:
    """A change of the variance of one column."""

    def change(table: Table) -> None:
        table[CHANGED] = table[CHANGED] * variance**0.5

    return change


def correlation_source(correlation: float = 0.5) -> Source:
    """Two of 20 Gaussian columns are correlated; the sign flips, the marginals stay."""

    def correlated(sign: float) -> Draw:
        def draw(rng: np.random.Generator, rows: int) -> Table:
            table = gaussian(rng, rows)
            rest = (1 - correlation**2) ** 0.5
            table[CHANGED] = sign * correlation * table["x3"] + rest * table[CHANGED]
            return table

        return draw

    return Source(
        tuple(FeatureSpec(name=name) for name in names()), correlated(1.0), correlated(-1.0), (CHANGED, "x3")
    )


def category_source(new: float) -> Source:
    """19 Gaussian columns and one of categories, of which a new one takes a share `new` of the rows."""

    def drawn(shares: tuple[float, ...]) -> Draw:
        def draw(rng: np.random.Generator, rows: int) -> Table:
            table = gaussian(rng, rows)
            table[CHANGED] = np.array([*CATEGORIES, "new"], dtype=object)[rng.choice(6, size=rows, p=shares)]
            return table

        return draw

    specs = tuple(
        FeatureSpec(name=name, kind="categorical" if name == CHANGED else "numeric") for name in names()
    )
    before = drawn((*SHARES, 0.0))
    return Source(specs, before, drawn((*(share * (1 - new) for share in SHARES), new)), (CHANGED,))


def autoregressive_source(coefficient: float) -> Source:
    """20 columns in each of which rows depend on the row before: AR(1), marginals standard normal. Each call begins
    anew."""

    def draw(rng: np.random.Generator, rows: int) -> Table:
        steps = rng.standard_normal((COLUMNS, rows)) * (1 - coefficient**2) ** 0.5
        steps[:, 0] = rng.standard_normal(COLUMNS)
        values = signal.lfilter([1.0], [1.0, -coefficient], steps, axis=1)
        return _numeric(np.asarray(values))

    return Source(tuple(FeatureSpec(name=name) for name in names()), draw, draw)


MIXED_NUMERIC = ("age", "campaign", "pdays", "previous", "emp.var.rate", "cons.price.idx", "euribor3m")
MIXED_CATEGORICAL = (
    "job",
    "marital",
    "education",
    "default",
    "housing",
    "loan",
    "contact",
    "month",
    "day_of_week",
    "poutcome",
)


def mixed_source(data: Path) -> Source:
    """17 columns of the bank marketing data, rows drawn at random with replacement: real columns, no drift."""
    path = data / "bank_marketing" / "bank-additional-full.csv.gz"
    with gzip.open(path, "rb") as raw:
        rows = list(csv.DictReader(io.TextIOWrapper(raw, "utf-8"), delimiter=";"))
    table: Table = {name: np.array([float(row[name]) for row in rows]) for name in MIXED_NUMERIC}
    table |= {name: np.array([row[name] for row in rows], dtype=object) for name in MIXED_CATEGORICAL}

    def draw(rng: np.random.Generator, count: int) -> Table:
        places = rng.integers(0, len(rows), count)
        return {name: column[places] for name, column in table.items()}

    specs = [FeatureSpec(name=name) for name in MIXED_NUMERIC]
    specs += [FeatureSpec(name=name, kind="categorical") for name in MIXED_CATEGORICAL]
    return Source(tuple(specs), draw, draw)
