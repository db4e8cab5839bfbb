"""Value types of remediation: incidents, plans, approvals, actions, versions."""

import hashlib
from typing import Any, Literal

import msgspec

from detectors.values import Value

IncidentState = Literal[
    "open",
    "diagnosed",
    "awaiting_approval",
    "executing",
    "verifying",
    "resolved",
    "escalated",
    "rejected",
    "expired",
]
Cause = Literal[
    "bad_release",
    "upstream_data_break",
    "population_shift",
    "concept_shift",
    "label_problem",
    "serving_problem",
    "traffic_change",
    "unknown",
]
ActionKind = Literal[
    "rollback",
    "retrain",
    "promote",
    "shift_traffic",
    "shadow",
    "fall_back",
    "quarantine_feature",
    "pause_model",
    "raise_log_detail",
    "refresh_reference",
    "scale_replicas",
    "open_issue",
    "http_call",
    "run_command",
]
ApprovalState = Literal["pending", "approved", "rejected", "expired", "void"]
ActionState = Literal["intended", "executing", "awaiting_ack", "verifying", "succeeded", "failed", "reverted"]

CLOSED_INCIDENTS: frozenset[IncidentState] = frozenset({"resolved", "escalated", "rejected", "expired"})


class Hypothesis(Value, frozen=True, kw_only=True):
    """One possible cause with a confidence in [0, 1] and the sentences that speak for and against it."""

    cause: Cause
    confidence: float
    reasons: tuple[str, ...] = ()


class Kin(Value, frozen=True, kw_only=True):
    """An incident of another model that is treated with this one."""

    incident_id: str
    model: str
    version: str


class Incident(Value, frozen=True, kw_only=True):
    """One illness of one model, from the first alert to its end. Times in microseconds since the epoch, UTC.

    `parent_id`: the incident of another model that is ill of the same, with which this one is treated; `family`: those
    that are treated with this one (`remediation.families`).
    """

    id: str
    model: str
    version: str
    state: IncidentState = "open"
    severity: Literal["warning", "critical"] = "warning"
    cause: Cause = "unknown"
    confidence: float = 0.0
    summary: str = ""
    hypotheses: tuple[Hypothesis, ...] = ()
    change_us: int
    opened_us: int
    diagnosed_us: int | None = None
    approved_us: int | None = None
    acted_us: int | None = None
    closed_us: int | None = None
    outcome: str = ""
    parent_id: str = ""
    family: tuple[Kin, ...] = ()


class Arrangement(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How a model answers, beside which version serves: the empty one is "the decided version answers every request".

    `shares`: other versions and the share of the requests, in (0, 1], that each answers; the rest stays with the
    decided version. `shadows`: versions that score every request without answering. `digests` of every version that
    `shares` and `shadows` name. `constant`: the score that is answered instead of a model's. `imputed`: features whose
    values are replaced by this one before scoring (None: as if missing). `paused`: requests are refused with 503.
    `detailed`: every request is logged in full. `replicas`: how many servers shall run (None: as many as now).
    """

    shares: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    shadows: tuple[str, ...] = ()
    digests: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    constant: float | None = None
    imputed: dict[str, float | None] = msgspec.field(default_factory=dict[str, float | None])
    paused: bool = False
    detailed: bool = False
    replicas: int | None = None

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON; empty for the empty arrangement."""
        if self == Arrangement():
            return ""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Plan(Value, frozen=True, kw_only=True):
    """What shall be done, exactly. Approvals are bound to `hash`; when any field would differ, it is another plan.

    `arrangement` shall be in force afterwards, `from_arrangement` was before and comes back on undo. `actuator` names
    what reaches the model's servers. `playbook` and `step` (counted from 0) say which line of which playbook this is,
    `risky` whether it takes people's consent. What an action needs beside that stands in `parameters`.
    """

    id: str
    incident_id: str
    action: ActionKind
    model: str
    from_version: str
    from_digest: str
    to_version: str | None
    to_digest: str | None
    epoch: int
    parameters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    evidence: tuple[str, ...] = ()
    blast_radius: str = ""
    undo: str = ""
    created_us: int = 0
    arrangement: Arrangement = Arrangement()
    from_arrangement: Arrangement = Arrangement()
    actuator: str = "homeostat"
    playbook: str = ""
    step: int = 0
    risky: bool = True

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON of the plan (keys sorted)."""
        canonical = msgspec.json.encode(msgspec.to_builtins(self), order="sorted")
        return hashlib.sha256(canonical).hexdigest()

    @property
    def new_shadows(self) -> tuple[str, ...]:
        """The versions that score every request from now on."""
        before = self.from_arrangement.shadows
        return tuple(each for each in self.arrangement.shadows if each not in before)


class Vote(Value, frozen=True, kw_only=True):
    """One person's consent to a plan."""

    by: str
    channel: str
    at_us: int
    reason: str | None = None


class Approval(Value, frozen=True, kw_only=True):
    """The ticket in which people decide about one plan. It takes `quorum` of them, each with one of `roles` (none:
    anybody); one rejection is enough. `broken_glass`: one person acted alone, against the rules, and said why."""

    id: str
    plan_id: str
    plan_hash: str
    incident_id: str
    model: str
    state: ApprovalState = "pending"
    requested_us: int
    expires_us: int
    decided_us: int | None = None
    decided_by: str | None = None
    reason: str | None = None
    channel: str | None = None
    slack_ts: str | None = None
    quorum: int = 1
    roles: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    broken_glass: bool = False
    snoozed_until_us: int | None = None
    snoozed_by: str | None = None


class Step(Value, frozen=True, kw_only=True):
    """One step of an action: intent recorded before the effect, outcome after it. `attempts` counts those that
    failed."""

    name: str
    state: Literal["intended", "done", "failed"]
    at_us: int
    detail: str = ""
    attempts: int = 0


class Action(Value, frozen=True, kw_only=True):
    """The execution of an approved plan. `id` is derived from the plan, so a second attempt is the same action."""

    id: str
    plan_id: str
    incident_id: str
    kind: ActionKind
    model: str
    state: ActionState = "intended"
    steps: tuple[Step, ...] = ()
    started_us: int
    finished_us: int | None = None
    to_version: str | None = None
    to_digest: str | None = None
    outcome: str = ""
    lease_until_us: int = 0
    lease_by: str = ""


class Signed(Value, frozen=True, kw_only=True):
    """What the signature of a version is worth, as the registry judged it when it was asked: nobody looked, valid, none
    there, no keys to check it with, or wrong. `refused`: the version must not serve, because of `why`."""

    state: Literal["unasked", "valid", "unsigned", "unchecked", "wrong"] = "unasked"
    key: str = ""
    refused: bool = False
    why: str = ""
    signed_us: int = 0

    @property
    def told(self) -> str:
        """For people; empty where nobody looked."""
        words = {
            "unasked": "",
            "valid": f"signed by the key {self.key}",
            "unsigned": "not signed",
            "unchecked": "signed, and there are no keys to check it with",
            "wrong": "signed wrongly",
        }
        return words[self.state]


class ModelVersion(Value, frozen=True, kw_only=True):
    """A registered version: what it is, where it came from and how good it was when it was trained."""

    model: str
    version: str
    digest: str
    algorithm: str = ""
    metrics: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    features: tuple[str, ...] = ()
    reference_revision: str = ""
    created_us: int = 0
    rows: int = 0
    run_id: str = ""
    tags: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """As given to `Registry.register`; an action finds by them what it registered before it was killed."""
    signature: Signed = Signed()


class Desired(Value, frozen=True, kw_only=True):
    """The version that shall serve, decided by one writer; a higher epoch wins (invariant 11)."""

    model: str
    version: str
    digest: str
    epoch: int
    previous_version: str | None = None
    decided_by: str
    reason: str
    at_us: int
    arrangement: Arrangement = Arrangement()


class Acknowledgement(Value, frozen=True, kw_only=True):
    """What an inference server did with a desired state. `arrangement` is the hash of the one that is in force."""

    model: str
    version: str
    digest: str
    epoch: int
    server: str
    loaded: bool
    detail: str = ""
    at_us: int
    arrangement: str = ""


class AuditEntry(Value, frozen=True, kw_only=True):
    """One line of the audit log: who did what to what, and why."""

    index: int | None = None
    id: str
    at_us: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    leaf_hash: str = ""
