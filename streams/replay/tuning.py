"""What a budget of false incidents costs in delay: a file backtested under one budget and another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from detectors.sequential.delays import Delay, delays
from detectors.values import Budget
from streams.files.monitor import MonitorFile, MonitorFileInvalid, field_errors, seconds
from streams.files.tables import FileInvalid
from streams.replay.backtest import Progress, backtest
from streams.replay.backtest_result import Backtest
from streams.replay.references import learn

BUDGETS = (
    "1 per 100 windows",
    "1 per 300 windows",
    "1 per 1000 windows",
    "1 per 3000 windows",
    "1 per 10000 windows",
)
"""What is tried where nobody says."""


@dataclass(frozen=True)
class Trial:
    """A budget: what it would have alarmed on, and how soon it tells changes of known size."""

    budget: str
    found: Backtest
    delays: tuple[Delay, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON. `expected_false`: false incidents that the budget allows in as many windows."""
        incidents = [one for one in self.found.as_dict()["incidents"] if not one["further"]]
        budget = self.found.monitor.budget
        windows = self.found.results.windows.get("event", 0)
        allowed = budget.incidents / budget.windows * windows
        return {
            "budget": self.budget,
            "windows": windows,
            "expected_false": round(allowed, 3) if not budget.every_s else None,
            "incidents": len(incidents),
            "opened_rows": [one["opened_row"] for one in incidents],
            "kinds": sorted({one["kind"] for one in incidents}),
            "delays": [
                {"change": one.change, "windows": one.windows, "told": one.told, "trials": one.trials}
                for one in self.delays
            ],
        }


def tune(
    data: Path,
    file: MonitorFile,
    labels: Path | None = None,
    budgets: tuple[str, ...] = BUDGETS,
    tell: Callable[[Progress], None] = lambda _: None,
) -> list[Trial]:
    """Try each budget on the file; the changes of known size are made in rows of the reference.

    Raises what `backtest` raises.
    """
    reference, rows = learn(data, file)
    files = [_with(file, budget) for budget in budgets]
    found: list[Backtest] = []
    for number, one in enumerate(files):

        def shared(at: Progress, number: int = number) -> None:
            tell(Progress(at.rows, (number + at.share) / len(files), at.rows_per_s))

        found.append(backtest(data, one, labels, known=reference, tell=shared))
    monitors = [one.monitor for one in found]
    window_s = seconds(file.window.every) if file.window.every else _window_s(found[0])
    told = list(
        delays(
            reference,
            rows,
            [one.budget for one in monitors],
            window_rows=_window_rows(found[0]),
            window_s=window_s,
        )
    )
    return [
        Trial(budget, one, tuple(_of(told, one.monitor.budget)))
        for budget, one in zip(budgets, found, strict=True)
    ]


def _with(file: MonitorFile, budget: str) -> MonitorFile:
    try:
        return MonitorFile.model_validate(file.model_dump() | {"alarms": {"budget": budget}})
    except ValidationError as error:
        raise MonitorFileInvalid("\n".join(field_errors(error))) from error


def _of(told: list[Delay], budget: Budget) -> Iterator[Delay]:
    return (one for one in told if one.budget == budget)


def _window_rows(found: Backtest) -> int:
    windows = found.results.windows.get("event", 0)
    if not windows:
        raise FileInvalid(f"the data have {found.rows:,} rows, too few for one window; nothing can be tuned")
    by_time = found.monitor.window_s > 0
    return max(1, found.rows // windows) if by_time else found.monitor.window_rows


def _window_s(found: Backtest) -> float:
    """How long a window of rows is on average, by the time of the file."""
    starts = found.index.starts_us
    windows = max(1, found.results.windows.get("event", 1))
    return (starts[-1] - starts[0]) / 1e6 / windows if found.timed and len(starts) > 1 else 0.0
