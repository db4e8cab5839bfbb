"""The incidents of a period, each with its plan, its ticket, its actions and its times."""

from collections.abc import Sequence

from detectors.values import MetricPoint
from remediation.ports import Reader
from remediation.values import CLOSED_INCIDENTS, Approval, Incident, IncidentState
from reporting.measures import mean
from reporting.values import IncidentStory, Phase, Sample, Waiting

PAGE = 500
LONGEST_US = 90 * 86_400 * 1_000_000
"""An incident that was opened longer ago than this before the period, and is closed, is not looked for."""
_OPEN: tuple[IncidentState, ...] = ("open", "diagnosed", "awaiting_approval", "executing", "verifying")
_BEFORE = 5
"""Windows before the change that tell how good the model was."""


def of_period(reader: Reader, since_us: int, until_us: int) -> list[Incident]:
    """Incidents that were open at some time of the period, oldest first."""
    found = {one.id: one for one in reader.incidents(states=_OPEN, limit=PAGE) if one.opened_us < until_us}
    before: str | None = None
    while page := reader.incidents(before=before, limit=PAGE):
        before = page[-1].id
        for one in page:
            if one.opened_us < until_us and (one.closed_us is None or one.closed_us >= since_us):
                found[one.id] = one
        if len(page) < PAGE or page[-1].opened_us < since_us - LONGEST_US:
            break
    return sorted(found.values(), key=lambda one: (one.opened_us, one.id))


def stories(
    reader: Reader, found: Sequence[Incident], points: dict[str, list[MetricPoint]]
) -> tuple[IncidentStory, ...]:
    """The story of each incident. `points`: by model. The time after an incident ends where the next begins."""
    told: list[IncidentStory] = []
    for index, incident in enumerate(found):
        later = (one.change_us for one in found[index + 1 :] if one.model == incident.model)
        told.append(_story(reader, incident, points.get(incident.model, []), next(later, None)))
    return tuple(told)


def _story(
    reader: Reader, incident: Incident, points: Sequence[MetricPoint], next_us: int | None
) -> IncidentStory:
    approvals = reader.approvals(incident_id=incident.id, limit=PAGE)
    decided = next((one for one in approvals if one.state == "approved"), None)
    approval = decided or (approvals[0] if approvals else None)
    plans = reader.plans(incident.id)
    plan = next((one for one in plans if approval and one.id == approval.plan_id), None)
    before, during, after = _phases(incident, points, next_us)
    return IncidentStory(
        incident=incident,
        plan=plan,
        approval=approval,
        actions=tuple(reversed(reader.actions(incident_id=incident.id, limit=PAGE))),
        detect_s=_between(incident.change_us, incident.opened_us),
        approve_s=_approve_s(approval),
        act_s=_between(approval.decided_us if approval else incident.approved_us, incident.acted_us),
        recover_s=_between(incident.acted_us, incident.closed_us) if incident.state == "resolved" else None,
        before=before,
        during=during,
        after=after,
    )


def waiting(reader: Reader) -> list[Waiting]:
    """The tickets that wait for a person now, oldest first."""
    found: list[Waiting] = []
    for approval in reversed(reader.approvals(state="pending", limit=PAGE)):
        plan, incident = reader.plan(approval.plan_id), reader.incident(approval.incident_id)
        if plan is not None and incident is not None and incident.state not in CLOSED_INCIDENTS:
            found.append(Waiting(approval=approval, plan=plan, incident=incident))
    return found


def _approve_s(approval: Approval | None) -> float | None:
    return _between(approval.requested_us, approval.decided_us) if approval else None


def _between(start_us: int | None, end_us: int | None) -> float | None:
    """None also where the steps came in another order: an action may be done before it is acknowledged."""
    if start_us is None or end_us is None or end_us < start_us:
        return None
    return (end_us - start_us) / 1e6


def _phases(
    incident: Incident, points: Sequence[MetricPoint], next_us: int | None
) -> tuple[Phase | None, Phase | None, Phase | None]:
    """Accuracy before the change, while the model was ill, and of what served after the action.

    Windows on both sides of a border belong to neither.
    """
    windows = sorted(
        (
            one
            for one in points
            if one.measure == "accuracy" and one.segment == "all" and one.value is not None
        ),
        key=lambda one: one.end_us,
    )
    acted_us = incident.acted_us
    before = [one for one in windows if one.end_us <= incident.change_us][-_BEFORE:]
    during = [
        one
        for one in windows
        if one.start_us >= incident.change_us
        and one.version == incident.version
        and (acted_us is None or one.end_us <= acted_us)
    ]
    after = [
        one
        for one in windows
        if acted_us is not None
        and one.end_us > acted_us
        and one.version != incident.version
        and (next_us is None or one.end_us <= next_us)
    ]
    return _phase(before), _phase(during), _phase(after)


def _phase(windows: Sequence[MetricPoint]) -> Phase | None:
    samples = [
        Sample(at_us=one.end_us, value=one.value, threshold=None, reference=None, rows=one.rows, breach=False)
        for one in windows
        if one.value is not None
    ]
    return Phase(accuracy=mean(samples), rows=sum(one.rows for one in samples)) if samples else None
