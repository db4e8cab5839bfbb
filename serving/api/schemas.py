"""What the API says, as pydantic models (so that OpenAPI tells it), made from the rooms' value types."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from pydantic import BaseModel, Field, StringConstraints

from detectors.values import Alert, MetricPoint
from remediation.fingerprints import fingerprint
from remediation.values import Action, Approval, AuditEntry, Desired, Incident, ModelVersion, Plan
from serving.words import headline

T = TypeVar("T")

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
]
"""A person's or a version's name as it goes into the audit log: no control characters."""


def moment(time_us: int | None) -> datetime | None:
    """Microseconds since the epoch as a time in UTC."""
    return None if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC)


def microseconds(time: datetime) -> int:
    """A time as microseconds since the epoch."""
    return round(time.timestamp() * 1e6)


class Page(BaseModel, Generic[T]):
    """A page of a list, newest first; `next_cursor` is null on the last page."""

    items: list[T]
    next_cursor: str | None = None


class HypothesisOut(BaseModel):
    """A possible cause."""

    cause: str
    confidence: float
    reasons: list[str]


class KinOut(BaseModel):
    """An incident of another model that is treated with this one."""

    incident_id: str
    model: str
    version: str


class IncidentOut(BaseModel):
    """One illness of one model. `parent_id`: the incident of another model with which it is treated, or empty;
    `family`: those that are treated with it."""

    id: str = Field(examples=["inc-5f1c2a"])
    model: str
    version: str
    state: str
    severity: str
    cause: str
    confidence: float
    summary: str
    hypotheses: list[HypothesisOut]
    change_at: datetime | None
    opened_at: datetime | None
    diagnosed_at: datetime | None
    approved_at: datetime | None
    acted_at: datetime | None
    closed_at: datetime | None
    outcome: str
    parent_id: str
    family: list[KinOut]

    @classmethod
    def of(cls, value: Incident) -> "IncidentOut":
        """From the value."""
        return cls.model_validate(_with_moments(value))


class VoteOut(BaseModel):
    """One person's consent."""

    by: str
    channel: str
    at: datetime | None
    reason: str | None


class ApprovalOut(BaseModel):
    """A ticket in which people decide about one plan. It takes `quorum` of them, each with one of `roles`."""

    id: str
    plan_id: str
    plan_hash: str
    incident_id: str
    model: str
    state: str
    requested_at: datetime | None
    expires_at: datetime | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None
    channel: str | None
    quorum: int
    roles: list[str]
    votes: list[VoteOut]
    broken_glass: bool
    snoozed_until_at: datetime | None
    snoozed_by: str | None

    @classmethod
    def of(cls, value: Approval) -> "ApprovalOut":
        """From the value."""
        votes = [VoteOut.model_validate(_with_moments(each)) for each in value.votes]
        return cls.model_validate(_with_moments(value) | {"votes": votes})


class AskedOut(ApprovalOut):
    """A ticket, and what it `asks`: its plan in a sentence; `waits_for`: what keeps its decision from being done."""

    asks: str
    waits_for: str | None = None

    @classmethod
    def about(cls, value: Approval, plan: Plan | None, waits_for: str | None = None) -> "AskedOut":
        """From the ticket and its plan."""
        asks = "" if plan is None else headline(plan)
        return cls(**ApprovalOut.of(value).model_dump(), asks=asks, waits_for=waits_for)


class PlanOut(BaseModel):
    """What shall be done, exactly; approvals are bound to `hash`."""

    id: str
    hash: str
    incident_id: str
    action: str
    model: str
    from_version: str
    from_digest: str
    to_version: str | None
    to_digest: str | None
    epoch: int
    parameters: dict[str, Any]
    evidence: list[str]
    blast_radius: str
    undo: str
    created_at: datetime | None
    playbook: str = ""
    step: int = 0
    risky: bool = True
    arrangement: dict[str, Any] = {}
    from_arrangement: dict[str, Any] = {}
    actuator: str = ""

    @classmethod
    def of(cls, value: Plan) -> "PlanOut":
        """From the value."""
        return cls.model_validate(_with_moments(value) | {"hash": value.hash})


class StepOut(BaseModel):
    """One step of an action."""

    name: str
    state: str
    at: datetime | None
    detail: str


class ActionOut(BaseModel):
    """The execution of an approved plan."""

    id: str
    plan_id: str
    incident_id: str
    kind: str
    model: str
    state: str
    steps: list[StepOut]
    started_at: datetime | None
    finished_at: datetime | None
    to_version: str | None
    to_digest: str | None
    outcome: str

    @classmethod
    def of(cls, value: Action) -> "ActionOut":
        """From the value."""
        fields = _with_moments(value)
        return cls.model_validate(fields | {"steps": [_with_moments(step) for step in value.steps]})


class AlertOut(BaseModel):
    """What the judge decided about one kind of measure of one version. `fingerprint` is the same for every alert of the
    series."""

    id: str
    fingerprint: str
    model: str
    version: str
    kind: str
    state: str
    axis: str
    window: str
    start_at: datetime | None
    end_at: datetime | None
    change_at: datetime | None
    rows: int
    reason: str
    evidence: list[dict[str, Any]]
    attribution: list[dict[str, Any]]
    explained: dict[str, Any] | None
    parts: list[dict[str, Any]]

    @classmethod
    def of(cls, value: Alert) -> "AlertOut":
        """From the value."""
        return cls.model_validate(_with_moments(value) | {"fingerprint": fingerprint(value)})


class PointOut(BaseModel):
    """One measure of one window."""

    version: str
    axis: str
    window: str
    start_at: datetime | None
    end_at: datetime | None
    rows: int
    measure: str
    feature: str | None
    value: float | None
    low: float | None
    high: float | None
    naive: float | None
    previous: float | None
    reference: float | None
    threshold: float | None
    verdict: str
    undefined: str | None
    detail: str
    revision: int

    @classmethod
    def of(cls, value: MetricPoint) -> "PointOut":
        """From the value."""
        return cls.model_validate(_with_moments(value))


class DeploymentOut(BaseModel):
    """A version that was made to serve."""

    model: str
    version: str
    digest: str
    epoch: int
    previous_version: str | None
    decided_by: str
    reason: str
    at: datetime | None

    @classmethod
    def of(cls, value: Desired) -> "DeploymentOut":
        """From the value."""
        return cls.model_validate(_with_moments(value))


class VersionOut(BaseModel):
    """A registered version. `signature`: who vouches for it, in words; `unusable`: why that forbids to serve it."""

    version: str
    digest: str
    algorithm: str
    metrics: dict[str, float]
    features: list[str]
    rows: int
    created_at: datetime | None
    signature: str
    unusable: str | None

    @classmethod
    def of(cls, value: ModelVersion) -> "VersionOut":
        """From the value."""
        signed = value.signature
        told = {"signature": signed.told, "unusable": signed.why if signed.refused else None}
        return cls.model_validate(_with_moments(value) | told)


class ModelOut(BaseModel):
    """A model and the version that shall serve. `versions`: how many have served; `never_served`: registered ones that
    have not, null while the registry is away. `undefined`: why its newest window is compared with nothing, such as how
    far the reference is that is still being learned."""

    model: str
    version: str | None
    epoch: int
    versions: int
    never_served: list[str] | None
    undefined: str | None


class ModelPage(Page[ModelOut]):
    """All models; `registry` tells why those that were only registered are missing when it is away."""

    registry: str


class ModelDetail(ModelOut):
    """A model with its history; `registry` tells why `registered` is empty when the registry is away."""

    deployments: list[DeploymentOut]
    registered: list[VersionOut]
    registry: str


class TimelineEntry(BaseModel):
    """Something that happened in an incident."""

    at: datetime | None
    actor: str
    what: str
    detail: dict[str, Any]


class IncidentDetail(IncidentOut):
    """An incident with everything that belongs to it."""

    alerts: list[AlertOut]
    plans: list[PlanOut]
    approvals: list[AskedOut]
    actions: list[ActionOut]
    timeline: list[TimelineEntry]


class ApprovalDetail(AskedOut):
    """A ticket with what it is about."""

    plan: PlanOut | None
    incident: IncidentOut | None


class AuditOut(BaseModel):
    """One line of the audit log; `leaf_hash` is its RFC 6962 leaf hash."""

    index: int | None
    id: str
    at: datetime | None
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    leaf_hash: str

    @classmethod
    def of(cls, value: AuditEntry) -> "AuditOut":
        """From the value."""
        return cls.model_validate(_with_moments(value))


Reason = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]
"""A sentence for the record; PostgreSQL cannot keep NUL characters."""


class ProblemOut(BaseModel):
    """What went wrong (RFC 9457); `errors` names each field, what was found and what would be right."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no incident 'inc-1'."])
    instance: str = Field(examples=["/api/v1/incidents/inc-1"])
    request_id: str | None = None
    errors: list[str] | None = None


class Health(BaseModel):
    """`ok` when the database answers; `parts` as the supervisor sees them, where there is one."""

    status: Literal["ok"]
    parts: dict[str, str]


def _with_moments(value: msgspec.Struct) -> dict[str, Any]:
    """The fields, with `x_us` told as time `x_at` (`at_us` as `at`)."""
    fields: dict[str, Any] = msgspec.to_builtins(value)
    moments = {name: fields.pop(name) for name in list(fields) if name.endswith("_us")}
    return fields | {_moment_name(name): moment(time_us) for name, time_us in moments.items()}


def _moment_name(name: str) -> str:
    stem = name.removesuffix("_us")
    return stem if stem == "at" else f"{stem}_at"
