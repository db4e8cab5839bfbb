"""How many windows it takes until a change of a known size is told, at one budget and another, on rows of the
reference."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import Integers
from detectors.reference import Reference
from detectors.sequential.blocks import Rows
from detectors.sequential.plan import plan_of
from detectors.sequential.step import step
from detectors.sequential.values import Memory
from detectors.values import Budget

CLEAN: Final = 10
"""Windows without a change that come first."""
LONGEST: Final = 40
"""Windows after the change; what takes longer counts as not told."""
_COLUMNS: Final = 3
_LEAST: Final = 30

Column = npt.NDArray[Any]


class Delay(NamedTuple):
    """How a change was told at a budget. `windows`: median number until it was, the first after the change being 1
    (None: less than half of the trials told it within 40); `told`: share of the trials."""

    change: str
    budget: Budget
    windows: float | None
    told: float
    trials: int


def delays(
    reference: Reference,
    rows: Rows,
    budgets: Sequence[Budget],
    *,
    window_rows: int,
    window_s: float = 0.0,
    trials: int = 3,
    seed: int = 0,
) -> Iterator[Delay]:
    """Changes of known size in single columns of `rows`, the rows of the reference in their order.

    Each trial draws windows of neighbouring rows, 10 as they are and up to 40 with the change, for up to three
    columns. window_s: how long a window is, where budgets are told in time. Nothing is found where the reference
    has fewer rows than a window, or no columns to change.
    """
    size = min(window_rows, len(rows))
    for name, kind, change in _CHANGES:
        specs = [one.spec for one in reference.features if one.spec.kind == kind]
        columns = [spec.name for spec in specs if _varies(rows, spec.name)][:_COLUMNS]
        found: list[list[int | None]] = []
        for column in columns:
            for trial in range(trials):
                rng = np.random.default_rng([seed, trial, len(found)])
                windows = _windows(reference, rows, size, rng, column, change)
                found.append(_trial(reference, windows, budgets, window_s))
        for place, budget in enumerate(budgets if found else ()):
            mine = [one[place] for one in found]
            known = sorted(one if one is not None else LONGEST + 1 for one in mine)
            middle = float(np.median(known))
            told = sum(one is not None for one in mine) / len(mine)
            yield Delay(name, budget, middle if middle <= LONGEST else None, told, len(mine))


def _trial(
    reference: Reference, windows: Iterator[Integers], budgets: Sequence[Budget], window_s: float
) -> list[int | None]:
    """Windows after the change until the first alarm, by budget; None where none came, or one too soon."""
    baseline, plan = reference.baseline, plan_of(reference, "event")
    memories = [Memory() for _ in budgets]
    told: list[int | None] = [None] * len(budgets)
    left = set(range(len(budgets)))
    length_us = round(window_s * 1e6) or 1_000_000
    for number, counters in enumerate(windows):
        for place in sorted(left):
            memories[place], steps = step(
                plan,
                memories[place],
                [counters],
                number * length_us,
                (number + 1) * length_us,
                budgets[place],
                calibration=baseline.calibration if baseline is not None else None,
                labels=reference.labelled > 0,
            )
            if any(one.opened is not None for one in steps):
                left.discard(place)
                told[place] = number - CLEAN + 1 if number >= CLEAN else None
        if not left:
            break
    return told


def _windows(
    reference: Reference,
    rows: Rows,
    size: int,
    rng: np.random.Generator,
    column: str,
    change: Callable[[Column, np.random.Generator], Column],
) -> Iterator[Integers]:
    for number in range(CLEAN + LONGEST):
        start = int(rng.integers(0, len(rows) - size + 1))
        part = rows.part(slice(start, start + size))
        if number >= CLEAN:
            features = dict(part.features)
            features[column] = change(np.array(features[column]), rng)
            part = Rows(features, part.predictions, part.scores)
        yield Rows(part.features, part.predictions, part.scores).profile(reference).counters


def _varies(rows: Rows, name: str) -> bool:
    column = np.asarray(rows.features[name])
    if column.dtype == object:
        return len({one for one in column.tolist() if one is not None}) > 1
    known = column[np.isfinite(column)]
    return len(known) >= _LEAST and float(np.ptp(known)) > 0


def _moved(deviations: float) -> Callable[[Column, np.random.Generator], Column]:
    return lambda column, _: column + deviations * float(np.nanstd(column))


def _wider(column: Column, _: np.random.Generator) -> Column:
    middle = float(np.nanmean(column))
    return middle + (column - middle) * 1.2**0.5


def _missing(column: Column, rng: np.random.Generator) -> Column:
    column[rng.random(len(column)) < 0.02] = np.nan
    return column


def _new(column: Column, rng: np.random.Generator) -> Column:
    new = "a new category" if column.dtype == object else float(np.nanmax(column)) + 1
    column[rng.random(len(column)) < 0.02] = new
    return column


_CHANGES: Final[tuple[tuple[str, str, Callable[[Column, np.random.Generator], Column]], ...]] = (
    ("mean + 0.05 sd", "numeric", _moved(0.05)),
    ("mean + 0.1 sd", "numeric", _moved(0.1)),
    ("mean + 0.2 sd", "numeric", _moved(0.2)),
    ("variance x 1.2", "numeric", _wider),
    ("2 % missing", "numeric", _missing),
    ("2 % new category", "categorical", _new),
)
