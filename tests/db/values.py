"""Values for the tests of this room, each with as little as it needs."""

from dataclasses import dataclass

from detectors.values import Accounting, Alert, Evidence, MetricPoint
from remediation.values import Action, Approval, Desired, Incident, Plan

SECOND_US = 1_000_000


@dataclass
class TickingClock:
    """One second further at every look."""

    at_us: int = 1_790_000_000 * SECOND_US

    def now_us(self) -> int:
        self.at_us += SECOND_US
        return self.at_us


def incident(number: int = 1, **changes: object) -> Incident:
    fields = {
        "model": "churn",
        "version": "2",
        "change_us": number,
        "opened_us": number * SECOND_US,
        **changes,
    }
    return Incident(id=f"i{number}", **fields)  # pyright: ignore[reportArgumentType]


def plan(number: int = 1, incident_id: str = "i1", **changes: object) -> Plan:
    fields = {
        "action": "rollback",
        "model": "churn",
        "from_version": "2",
        "from_digest": "sha256:b",
        "to_version": "1",
        "to_digest": "sha256:a",
        "epoch": 2,
        "parameters": {"rows": 1_000, "ratio": 0.1, "nested": {"b": None, "a": [1.0, 1e22]}},
        **changes,
    }
    return Plan(id=f"p{number}", incident_id=incident_id, **fields)  # pyright: ignore[reportArgumentType]


def approval(of: Plan, number: int = 1, **changes: object) -> Approval:
    fields = {"requested_us": number * SECOND_US, "expires_us": (number + 3_600) * SECOND_US, **changes}
    return Approval(
        id=f"a{number}",
        plan_id=of.id,
        plan_hash=of.hash,
        incident_id=of.incident_id,
        model=of.model,
        **fields,  # pyright: ignore[reportArgumentType]
    )


def action(of: Plan, number: int = 1, **changes: object) -> Action:
    fields = {"kind": of.action, "model": of.model, "started_us": number * SECOND_US, **changes}
    return Action(id=f"x{number}", plan_id=of.id, incident_id=of.incident_id, **fields)  # pyright: ignore


def desired(epoch: int, version: str, model: str = "churn") -> Desired:
    return Desired(
        model=model,
        version=version,
        digest=f"sha256:{version}",
        epoch=epoch,
        decided_by="ann",
        reason="because",
        at_us=epoch * SECOND_US,
    )


def alert(number: int = 1, **changes: object) -> Alert:
    fields = {
        "model": "churn",
        "version": "2",
        "kind": "performance",
        "state": "firing",
        "axis": "label",
        "window": f"w{number}",
        "start_us": number * SECOND_US,
        "end_us": (number + 1) * SECOND_US,
        "change_us": number * SECOND_US,
        "rows": 500,
        "reason": "accuracy fell",
        "evidence": (Evidence(measure="accuracy", value=0.7, threshold=0.8, rows=500, effect=1.3),),
        **changes,
    }
    return Alert(id=f"alert-{number}", **fields)  # pyright: ignore[reportArgumentType]


def point(
    number: int = 1, measure: str = "psi", feature: str | None = "age", **changes: object
) -> MetricPoint:
    fields = {
        "model": "churn",
        "version": "1",
        "axis": "event",
        "window": f"w{number}",
        "start_us": number * SECOND_US,
        "end_us": (number + 1) * SECOND_US,
        "rows": 1_000,
        "value": number / 100,
        **changes,
    }
    name = f"{fields['model']}|{fields['version']}|{fields['axis']}|{fields['window']}|{measure}|{feature}"
    return MetricPoint(id=name, measure=measure, feature=feature, **fields)  # pyright: ignore[reportArgumentType]


def counts(stage: str = "profile", partition: int = 0, model: str = "churn", **changes: int) -> Accounting:
    return Accounting(model=model, stage=stage, partition=partition, **changes)
