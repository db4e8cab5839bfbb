"""One budget of false incidents for all models together.

Expected false incidents add up, whatever the models have to do with each other. So a budget of all models holds where
those of the models add up to no more, and each model's threshold stays its own: another model changes no alert.
"""

import math
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from detectors.values import Budget, Monitor
from streams.files.monitor import Alarms, MonitorFileInvalid, duration_of

NAME: Final = "HOMEOSTAT_BUDGET"


def fleet_budget(text: str) -> Budget:
    """The budget of all models, such as `4 per 90d`. Raises `MonitorFileInvalid`."""
    try:
        incidents, _, every_s = Alarms(budget=text).parts()
    except ValidationError:
        incidents, every_s = 0.0, None
    if not incidents or every_s is None:
        raise MonitorFileInvalid(
            f"{NAME} is {text!r}; it must be so many false incidents of all models in a time: 4 per 90d"
        )
    return Budget(incidents=incidents, every_s=every_s)


def per_second(monitor: Monitor) -> float | None:
    """False incidents a second that a monitor may have; None where its windows of rows have no time."""
    budget = monitor.budget
    period_s = budget.every_s or budget.windows * monitor.window_s
    return budget.incidents / period_s if period_s else None


def told(budget: Budget) -> str:
    """As a person writes it."""
    period = duration_of(budget.every_s) if budget.every_s else f"{budget.windows} windows"
    return f"{budget.incidents:g} per {period}"


def check_fleet(
    fleet: Budget, monitor: Monitor, others: Sequence[Monitor], before: Monitor | None = None
) -> None:
    """Whether the monitor fits beside those of the other models. One that asks for no more than `before`, the model's
    last one, does: where too much is given already, each model has to be lowered by itself. Those without a time are
    not counted: whoever sets a budget for all has to change one after the other. Raises `MonitorFileInvalid` with what
    would fit."""
    mine, allowed = per_second(monitor), fleet.incidents / fleet.every_s
    field = f"monitor of {monitor.model!r}: alarms.budget is {told(monitor.budget)!r}"
    if mine is None:
        raise MonitorFileInvalid(
            f"{field}, and windows of rows have no time; {NAME} ({told(fleet)}, all models together) "
            f"needs one in time, such as `1 per {duration_of(fleet.every_s)}`"
        )
    had = per_second(before) if before is not None else None
    if had is not None and mine <= had * (1 + 1e-9):
        return
    known = [rate for rate in map(per_second, others) if rate is not None]
    if math.fsum([mine, *known]) <= allowed * (1 + 1e-9):
        return
    spent, period = math.fsum(known) * fleet.every_s, duration_of(fleet.every_s)
    left = math.floor(1_000 * (fleet.incidents - spent) * (1 + 1e-9)) / 1_000
    right = (
        f"`{left:g} per {period}` fits" if left > 0 else "nothing is left: lower those of other models first"
    )
    raise MonitorFileInvalid(
        f"{field}, {mine * fleet.every_s:.3g} in {period}. {NAME} allows {told(fleet)} for all models together, "
        f"{len(known)} others have {spent:.3g} of it, and {right}"
    )


def fleet_words(fleet: Budget, monitors: Sequence[Monitor]) -> str:
    """How much of the budget of all models is given to them."""
    rates = {one.model: per_second(one) for one in monitors}
    given = math.fsum(rate for rate in rates.values() if rate is not None) * fleet.every_s
    without = [model for model, rate in rates.items() if rate is None]
    words = f"All models together: {given:.3g} of {told(fleet)} ({NAME})."
    return words + (
        f" Not counted, because told in windows of rows: {', '.join(without)}." if without else ""
    )
