"""What a measure says about one window."""

import msgspec

from detectors.values import Value

MINIMUM_ROWS = 30
"""Below so many rows a measure is undefined, and repeats of a subject are never taken for less than this."""


class Measurement(Value, frozen=True, kw_only=True):
    """One measure of one window; says nothing about whether that is bad.

    `value`: in the window; `low`, `high`: an interval of 95 % for it, where one is told; `reference`: the same in the
    reference (None for distances, which are 0 there). `naive`: what the best answer that looks at nothing would score.
    `size`, `reference_size`: independent rows that the two rest on. `error`, `reference_error`: standard
    errors, for measures that are not shares. `unit`: what the least change worth an alarm is told in. `groups`:
    groups that a psi was summed over. `tests`: candidates that were looked at to find this one. `detail`: what a
    person should know besides ("the value 0"). `confusion`: see `MetricPoint`. `undefined`: why there is no value.
    """

    measure: str
    feature: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    naive: float | None = None
    reference: float | None = None
    rows: int = 0
    size: float = 0.0
    reference_size: float = 0.0
    error: float = 0.0
    reference_error: float = 0.0
    unit: float = 1.0
    groups: int = 0
    tests: int = 1
    detail: str = ""
    confusion: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    undefined: str | None = None


def undefined(measure: str, feature: str | None, rows: int, because: str) -> Measurement:
    """A measure without a value, and the reason."""
    return Measurement(measure=measure, feature=feature, rows=rows, undefined=because)
