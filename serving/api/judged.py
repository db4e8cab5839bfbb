"""What the API says of measures over time, and takes from people about incidents, as pydantic models."""

from collections.abc import Sequence

import msgspec
from pydantic import BaseModel, Field

from detectors.sequential.hearing import Saying, Statement
from detectors.trend import Trend, heading
from detectors.values import MetricPoint
from remediation.values import Cause
from serving.api.given import Given, Why
from serving.api.schemas import Name


class TrendOut(BaseModel):
    """Where one measure of a version is heading over its last windows: improving, stable or degrading; null with the
    reason in `undefined`. `start` and `now`: medians of the first and of the last third of them."""

    version: str
    axis: str
    measure: str
    feature: str | None
    trend: Trend | None
    windows: int
    start: float | None
    now: float | None
    undefined: str | None

    @classmethod
    def of(cls, points: Sequence[MetricPoint]) -> "TrendOut":
        """From the points of one measure, in order of time."""
        last = points[-1]
        told = msgspec.structs.asdict(heading(points))
        return cls(version=last.version, axis=last.axis, measure=last.measure, feature=last.feature, **told)


class FeedbackIn(Given):
    """What a person says about an incident: `false alarm` (nothing was wrong), `expected` (it was known, and will
    pass), `new normal` (this is how it is from now on), or `taken back` (as if the last of these were not said)."""

    said: Saying = Field(examples=["expected"])
    by: Name = Field(examples=["mira"])
    why: Why | None = Field(default=None, examples=["the campaign of this week"])


class CauseIn(Given):
    """What the cause of an incident really was. It is kept, and weighs in the diagnosis of incidents that show the
    same; the last word counts."""

    cause: Cause = Field(examples=["label_problem"])
    by: Name = Field(examples=["mira"])
    why: Why | None = Field(default=None, examples=["the export had the classes swapped"])


class StatementOut(BaseModel):
    """What was told to the judge about one series; it takes effect before its next window, which an alert tells."""

    id: str
    model: str
    version: str
    segment: str
    axis: str
    kind: str
    said: str
    about: str

    @classmethod
    def of(cls, statement: Statement) -> "StatementOut":
        """As the API tells it."""
        values = msgspec.structs.asdict(statement)
        return cls(**{name: values[name] for name in cls.model_fields})
