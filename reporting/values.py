"""What a report says, as data: everything that the pages, the charts, the mail and the CSV files are made of."""

from typing import Literal

from db.audit.verify import VerifyReport
from detectors.values import MetricPoint, Value
from remediation.values import Action, Approval, Desired, Incident, Plan

Light = Literal["ok", "watch", "act", "none"]
"""A traffic light. It is never shown without its word: see `reporting.words.LIGHTS`."""


class Check(Value, frozen=True, kw_only=True):
    """One line of a model's traffic-light table."""

    area: str
    light: Light
    told: str


class Sample(Value, frozen=True, kw_only=True):
    """One window of a series; `at_us` is the window's end; `low`, `high`: an interval of 95 %, where one is known."""

    at_us: int
    value: float
    threshold: float | None
    reference: float | None
    rows: int
    breach: bool
    low: float | None = None
    high: float | None = None


class Series(Value, frozen=True, kw_only=True):
    """One measure of one version over the period, oldest first."""

    measure: str
    version: str
    samples: tuple[Sample, ...]


class Delta(Value, frozen=True, kw_only=True):
    """A performance measure at both ends of the period (three windows each) and at its worst (one window).
    `low`, `high`: an interval of 95 % for the newest window."""

    measure: str
    start: float
    worst: float
    now: float
    rows_start: int
    rows_now: int
    threshold: float | None
    low: float | None = None
    high: float | None = None


class Drift(Value, frozen=True, kw_only=True):
    """The worst window of a feature. `effect`: distance from the reference in thresholds (1 = the threshold).

    `latest_effect`: the same of the newest window of the version that serves, None where there is none.
    """

    feature: str
    measure: str
    version: str
    value: float
    threshold: float
    effect: float
    at_us: int
    latest_effect: float | None


class Quality(Value, frozen=True, kw_only=True):
    """The worst window of one data-quality measure of one column; breaches are counted over all windows."""

    feature: str
    measure: str
    version: str
    value: float
    reference: float | None
    threshold: float
    at_us: int
    windows: int
    breaches: int


class Accounts(Value, frozen=True, kw_only=True):
    """Where the events of a model went since it is watched (invariant 8); `missing`: on their way, or lost."""

    model: str
    closes: bool
    predictions: dict[str, int]
    labels: dict[str, int]

    @property
    def events(self) -> int:
        """Predictions and labels that were received."""
        return self.predictions["received"] + self.labels["label_received"]

    @property
    def missing(self) -> int:
        """Predictions and labels without an account; more accounts than events count as well."""
        return abs(self.predictions["missing"]) + abs(self.labels["missing"])


class Phase(Value, frozen=True, kw_only=True):
    """Accuracy over the labelled windows of a phase of an incident, weighted by rows."""

    accuracy: float
    rows: int


class IncidentStory(Value, frozen=True, kw_only=True):
    """One incident with what belongs to it. Durations in seconds, None while the step has not happened.

    `detect_s`: change to incident; `approve_s`: question to decision; `act_s`: decision to the serving
    version's acknowledgement; `recover_s`: from there to the proven end, of resolved incidents only.
    """

    incident: Incident
    plan: Plan | None
    approval: Approval | None
    actions: tuple[Action, ...]
    detect_s: float | None
    approve_s: float | None
    act_s: float | None
    recover_s: float | None
    before: Phase | None = None
    during: Phase | None = None
    after: Phase | None = None


class Waiting(Value, frozen=True, kw_only=True):
    """A ticket that waits for a person."""

    approval: Approval
    plan: Plan
    incident: Incident


class ModelHealth(Value, frozen=True, kw_only=True):
    """One model over the period. `undefined`: measures without a value, by reason."""

    model: str
    serving: Desired | None
    light: Light
    checks: tuple[Check, ...]
    deltas: tuple[Delta, ...]
    series: tuple[Series, ...]
    changes: tuple[Desired, ...]
    drifts: tuple[Drift, ...]
    quality: tuple[Quality, ...]
    accounts: Accounts
    windows: int
    undefined: dict[str, int]


class ReportData(Value, frozen=True, kw_only=True):
    """A report on the period from `since_us` to `until_us` (microseconds since the epoch, UTC)."""

    id: str
    since_us: int
    until_us: int
    generated_us: int
    light: Light
    verdict: str
    asks: tuple[str, ...]
    models: tuple[ModelHealth, ...]
    incidents: tuple[IncidentStory, ...]
    actions: tuple[Action, ...]
    waiting: tuple[Waiting, ...]
    audit: VerifyReport
    points: tuple[MetricPoint, ...]
    unnamed: Accounts
    """Of the events that no model could be named for."""
    points_cut: bool = False
    """More points were measured than a report reads; the oldest are left out."""
    console_url: str | None = None
    environment: str = ""
    software: str = ""
