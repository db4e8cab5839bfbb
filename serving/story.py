"""What happened, as lines for people: the audit log and the alerts told together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detectors.values import Alert
from remediation.ports import Reader
from remediation.values import Action, Approval, AuditEntry, Incident, Plan
from serving import words

_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a timeline. `key` is the same whenever it is told; `index` its place in the audit log."""

    key: str
    at_us: int
    actor: str
    subject: str
    text: str
    status: words.Status
    index: int | None = None


def entries(
    unit: Reader,
    incident: Incident,
    plans: Iterable[Plan],
    approvals: Iterable[Approval],
    actions: Iterable[Action],
) -> list[AuditEntry]:
    """What the audit log has about an incident and what belongs to it; messages to people go by the bare id."""
    approvals = list(approvals)
    kinds = (("incident", [incident]), ("plan", plans), ("approval", approvals), ("action", actions))
    subjects = [f"{kind}/{each.id}" for kind, values in kinds for each in values]
    subjects += [incident.id, *(each.id for each in approvals)]
    return [
        entry
        for subject in subjects
        for entry in unit.audit_entries(subject=subject, limit=_ENTRIES, newest_first=False)
    ]


def told(entries: Sequence[AuditEntry], alerts: Sequence[Alert]) -> list[Moment]:
    """Newest first. That an alert was linked is left out, for the alert itself is told; so are intents, for what
    became of them is told."""
    found = [_of_entry(each) for each in entries if each.action != "alert.linked" and not _is_intent(each)]
    found += [_of_alert(each) for each in alerts]
    return sorted(found, key=lambda each: (each.at_us, each.index or 0), reverse=True)


def _is_intent(entry: AuditEntry) -> bool:
    if entry.action.endswith("_intended"):
        return True
    step = entry.detail.get("step")
    return entry.action == "action.updated" and isinstance(step, dict) and step.get("state") == "intended"


def _of_entry(entry: AuditEntry) -> Moment:
    text, status = words.told(entry)
    return Moment(f"a{entry.index}", entry.at_us, entry.actor, entry.subject, text, status, entry.index)


def _of_alert(alert: Alert) -> Moment:
    text = f"{alert.model} version {alert.version}: {alert.reason}"
    status = words.status(alert.state) if alert.state == "firing" else words.toned("", "good")
    return Moment(
        f"l{alert.id}", alert.end_us, "judge", f"{alert.kind} alert".replace("_", " "), text, status
    )
