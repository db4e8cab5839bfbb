"""Estimates against the labels that come later: a correction while it is small, silence while it is large.

An estimate assumes that what an output is worth has not changed. Labels, late and few, test that. For each measure a
running mean of (realized less estimated) is kept, on the same rows, with the variance that chance gives it. Chance
alone: nothing happens. More than chance: later estimates are moved by the mean, shrunk by how sure it is. More
than a person can use: the estimate is withdrawn until the errors are small again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from detectors.estimation.values import Estimate
from detectors.values import Value

HALF_LIFE: Final = 8.0
"""Reconciled windows after which an error counts half."""
WITHDRAWN: Final = 0.10
"""Mean error, as a share of the room the measure has (see `room`), beyond which nothing is said."""
RETURNED: Final = 0.07
"""And below which estimates come back: less, so that they do not flicker."""
SURE: Final = 3.0
"""Standard errors that the mean error must be away from 0 to withdraw an estimate."""


class Record(Value, frozen=True, kw_only=True):
    """Of one measure: discounted weight of the windows that were reconciled, their mean error (realized less
    estimated), the variance of that mean by chance, the mean squared error, and whether it is withdrawn."""

    weight: float = 0.0
    mean: float = 0.0
    variance: float = 0.0
    square: float = 0.0
    windows: int = 0
    withdrawn: bool = False


class Trust(Value, frozen=True, kw_only=True):
    """What deciding remembers about the estimates of one series; plain JSON. `drifting`: an incident of concept drift
    is open, so that nothing is said."""

    records: dict[str, Record] = msgspec.field(default_factory=dict[str, Record])
    drifting: bool = False


class Lesson(Value, frozen=True, kw_only=True):
    """The trust in the estimates of a reference once the labels of a window that ends at `end_us` were known."""

    end_us: int
    reference_revision: str
    trust: Trust


def reconcile(trust: Trust, estimates: Sequence[Estimate], realized: Mapping[str, float | None]) -> Trust:
    """Learn from a window whose labels have come.

    estimates: as `estimate` gave them for the labelled rows, uncorrected. realized: the measures on the same rows.
    Where a part of the rows is labelled, estimate from the profile of that part: a mix that differs must not count as
    an error.
    """
    keep = 0.5 ** (1 / HALF_LIFE)
    records = dict(trust.records)
    for one in estimates:
        truth = realized.get(one.measure)
        if one.value is None or truth is None:
            continue
        old = records.get(one.measure, Record())
        weight = keep * old.weight + 1
        share, error = 1 / weight, truth - one.value
        mean = (1 - share) * old.mean + share * error
        variance = (1 - share) ** 2 * old.variance + share**2 * one.sampling**2
        square = (1 - share) * old.square + share * error * error
        limit = (RETURNED if old.withdrawn else WITHDRAWN) * room(one)
        sure = old.withdrawn or abs(mean) > SURE * math.sqrt(variance)
        records[one.measure] = Record(
            weight=weight,
            mean=mean,
            variance=variance,
            square=square,
            windows=old.windows + 1,
            withdrawn=sure and abs(mean) > limit,
        )
    return Trust(records=records)


def reconciled(trust: Trust, estimates: Sequence[Estimate]) -> list[Estimate]:
    """The estimates in the light of the labels so far: corrected, wider where they have erred, or withdrawn."""
    if trust.drifting:
        because = "the labels show concept drift, an incident is open: what an output is worth has changed"
        return [
            Estimate(
                measure=one.measure,
                rows=one.rows,
                reference=one.reference,
                undefined=one.undefined or because,
            )
            for one in estimates
        ]
    return [_corrected(trust.records.get(one.measure), one) for one in estimates]


def _corrected(record: Record | None, one: Estimate) -> Estimate:
    if record is None or one.value is None or one.low is None or one.high is None:
        return one
    if record.withdrawn:
        return Estimate(
            measure=one.measure,
            rows=one.rows,
            reference=one.reference,
            undefined=(
                f"the labels that came contradict it: over the last {record.windows} labelled windows they were "
                f"{abs(record.mean):.3g} {'below' if record.mean < 0 else 'above'} what was estimated; what an output "
                "is worth has changed (concept drift)"
            ),
        )
    beyond = max(record.mean**2 - record.variance, 0.0)
    correction = record.mean * beyond / record.mean**2 if record.mean else 0.0
    spread = max(record.square - record.mean**2 - one.sampling**2, 0.0)
    more = 2 * math.sqrt(spread + min(record.variance, record.mean**2))
    low, high = one.value - one.low, one.high - one.value
    bounded = one.low >= 0.0 and one.high <= 1.0
    value = one.value + correction
    lowest, highest = value - math.hypot(low, more), value + math.hypot(high, more)
    return replace(
        one,
        value=min(max(value, 0.0), 1.0) if bounded else value,
        low=max(lowest, 0.0) if bounded else lowest,
        high=min(highest, 1.0) if bounded else highest,
        error=math.hypot(one.error, more / 2),
        correction=correction,
    )


def room(one: Estimate) -> float:
    """What an error is compared with: 1 for shares, the reference's own value for errors and losses."""
    if one.measure in ("mae", "rmse", "bias", "log_loss"):
        return 5 * max(abs(one.reference or 0.0), abs(one.value or 0.0), 1e-300)
    return 1.0
