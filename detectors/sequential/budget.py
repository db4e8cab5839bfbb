"""The budget of false incidents as a threshold of the statistic, in windows or in time."""

from typing import Final, Literal, NamedTuple

from detectors.errors import MonitorInvalid
from detectors.sequential.values import Calibration
from detectors.values import Budget

LABEL_SHARE: Final = 0.25
"""Of a model's budget, for what is judged when labels arrive."""
SEGMENTS_SHARE: Final = 0.5
"""Of a model's budget, for all of its segments together, where there are any."""
SEGMENTS: Final = 16
"""Series that the budget of the segments is split among, for each column that they are made of."""
LONGEST_WINDOW: Final = 1 / 20
"""Of the period of a budget: a longer window, such as one after a silence, has no greater share of it."""
SERVICE: Final = "service"
"""What is decided about latencies and failed requests, as an alert of data quality."""
VOLUME: Final = "volume"
FINDINGS: Final = "findings"
"""What a window's data are told to be (`detectors.quality.findings`), as an alert of data quality."""
KIND_SHARES: Final[dict[str, float]] = {
    "data_drift": 0.5,
    "data_quality": 0.25,
    "prediction_drift": 0.25,
    SERVICE: 0.05,
    VOLUME: 0.05,
    FINDINGS: 0.05,
    "performance": 0.9,
    "concept_drift": 0.1,
}
"""Of the budget of an axis by kind; kinds of the event axis that are not there leave theirs to the others."""
_OF_LABELS: Final = {"performance", "concept_drift"}


class Threshold(NamedTuple):
    """The statistic at which a kind of alert alarms, in the units of `share`; `share` of this window: 1 where the
    budget is told in windows, its length in seconds where it is told in time. `whole`: what the threshold were if
    all of the budget were this kind's."""

    value: float
    share: float
    whole: float
    in_force: Literal["simulated", "guaranteed"]


def threshold_of(budget: Budget, part: float, length_s: float, calibration: Calibration | None) -> Threshold:
    """The threshold for a part of the budget. length_s: how long this window is.

    A budget in windows gives each candidate for a change point the share 1, and "1 per W windows" the threshold
    W; one in time gives each the length of its window, and "1 per T" the threshold T: the sum over candidates then
    grows by the time that has passed, however many windows that were. A calibration lowers the threshold to what
    keeps the budget in simulations. Raises `MonitorInvalid` where the budget is none.
    """
    in_time = budget.every_s > 0
    period = budget.every_s if in_time else float(budget.windows)
    if budget.incidents <= 0 or period <= 0 or (not in_time and budget.incidents >= period) or part <= 0:
        raise MonitorInvalid(
            f"the budget is {budget.incidents:g} incidents in "
            f"{f'{budget.every_s:g} s' if in_time else f'{budget.windows} windows'}; "
            "it must be more than none and less than one per window"
        )
    share = min(length_s, period / budget.incidents * LONGEST_WINDOW) if in_time else 1.0
    factor = 1.0 if calibration is None else calibration.factor
    whole = period / budget.incidents * factor
    return Threshold(whole / part, share, whole, "guaranteed" if calibration is None else "simulated")


def part_of(kind: str, kinds: tuple[str, ...], *, labels: bool, segments: int, is_segment: bool) -> float:
    """Which part of a model's budget one kind of alert of one series has. kinds: those of its axis; labels:
    whether the model is judged by labels too (without labels in the reference only for concept drift); segments:
    how many series of segments there are at most."""
    if kind in _OF_LABELS:
        part = KIND_SHARES[kind] * LABEL_SHARE
    else:
        left = 1 - LABEL_SHARE * (1.0 if labels else KIND_SHARES["concept_drift"])
        part = KIND_SHARES[kind] / sum(KIND_SHARES[each] for each in kinds) * left
    if segments:
        part *= SEGMENTS_SHARE / segments if is_segment else 1 - SEGMENTS_SHARE
    return part
