"""Incidents on record as the planner would have seen them: for dry runs, and for playbooks that are not in force."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from detectors.values import Value
from remediation.config import AgentConfig
from remediation.evidence import Facts, gather, with_points
from remediation.incidents import OPEN_STATES
from remediation.playbooks.planner import Consideration, consider
from remediation.playbooks.proposal import Proposal, Tried, is_cleanup
from remediation.playbooks.scene import References
from remediation.ports import Reader
from remediation.questions import is_question
from remediation.values import Action, Approval, Desired, Incident, ModelVersion, Plan


class Weighed(Value, frozen=True, kw_only=True):
    """What playbooks would do about a recorded incident, and what was done. `action`: of the first step that would be
    proposed (None: people are told); `by`: whose consent it takes; `did`: the first plan on record and what became of
    it; `same`: both are the same kind of action."""

    incident_id: str
    model: str
    version: str
    cause: str
    opened_us: int
    playbook: str | None
    action: str | None
    by: str
    why: str
    did: str
    outcome: str
    same: bool


def recall(reader: Reader, incident: Incident, *, config: AgentConfig, now_us: int) -> Facts:
    """What was known about the incident at its last diagnosis; of one that is open, what is known now."""
    near_s = config.diagnosis.near_change_s
    if incident.state in OPEN_STATES:
        return with_points(reader, gather(reader, incident, now_us=now_us, near_s=near_s), config.diagnosis)
    then_us = incident.diagnosed_us or incident.closed_us or now_us
    found = gather(reader, incident, now_us=then_us, near_s=near_s)
    deployments = tuple(each for each in found.deployments if each.at_us <= then_us)
    earlier = replace(
        found,
        alerts=tuple(each for each in found.alerts if each.end_us <= then_us),
        deployments=deployments,
        desired=deployments[-1] if deployments else None,
        blamed=_blamed(reader, incident, then_us),
    )
    known = with_points(reader, earlier, config.diagnosis)
    return replace(known, points=tuple(each for each in known.points if each.end_us <= then_us))


def weigh(
    reader: Reader,
    incident: Incident,
    versions: Mapping[str, ModelVersion],
    *,
    config: AgentConfig,
    now_us: int,
    references: References | None = None,
) -> Consideration:
    """What the playbooks of `config` would do about the incident next; of one that is over, what they would have done
    first. Nothing is written."""
    past = tried(reader, incident.id) if incident.state in OPEN_STATES else []
    known = recall(reader, incident, config=config, now_us=now_us)
    return consider(known, past, versions, config=config, references=references)


def tried(reader: Reader, incident_id: str) -> list[Tried]:
    """What was planned for an incident before, oldest first."""
    tickets = {each.plan_id: each for each in reader.approvals(incident_id=incident_id)}
    done = {each.plan_id: each for each in reader.actions(incident_id=incident_id)}
    asked = [each for each in reader.plans(incident_id) if not (is_question(each) or is_cleanup(each))]
    plans = sorted(asked, key=lambda plan: (plan.created_us, plan.id))
    return [Tried(plan=each, approval=tickets.get(each.id), action=done.get(each.id)) for each in plans]


def compared(incident: Incident, found: Consideration, past: Sequence[Tried]) -> Weighed:
    """What would have been done beside what was done."""
    proposal = found.proposal
    action = proposal.plan.action if proposal else None
    first = past[0] if past else None
    return Weighed(
        incident_id=incident.id,
        model=incident.model,
        version=incident.version,
        cause=incident.cause,
        opened_us=incident.opened_us,
        playbook=found.playbook,
        action=action,
        by=consent_told(found),
        why="" if isinstance(found.answer, Proposal) else found.answer.reason,
        did=_did(first),
        outcome=incident.state,
        same=action == (first.plan.action if first else None),
    )


def consent_told(found: Consideration) -> str:
    """Whose consent the next step takes, in words."""
    proposal = found.proposal
    if proposal is None:
        return "people are told"
    if not isinstance(found.answer, Proposal):
        return "people are told (observed only)"
    if not proposal.approval_needed:
        return "nobody is asked" + (" (autonomy)" if proposal.plan.risky else " (safe)")
    who = f" with one of the roles {', '.join(proposal.roles)}" if proposal.roles else ""
    people = "1 person" if (proposal.quorum or 1) == 1 else f"{proposal.quorum} people"
    until = f", within {proposal.ttl_s / 60:g} min" if proposal.ttl_s else ""
    return f"{people}{who} must approve{until}"


def known_versions(deployments: Iterable[Desired]) -> dict[str, ModelVersion]:
    """Versions by what the record of what served tells of them, where no registry can be asked: no features."""
    return {
        each.version: ModelVersion(model=each.model, version=each.version, digest=each.digest)
        for each in deployments
    }


def _did(first: Tried | None) -> str:
    if first is None:
        return "people were told"
    plan: Plan = first.plan
    action: Action | None = first.action
    approval: Approval | None = first.approval
    if action is not None:
        return f"{plan.action}: {action.state.replace('_', ' ')}"
    return f"{plan.action}: {approval.state if approval else 'planned'}"


def _blamed(reader: Reader, incident: Incident, then_us: int) -> frozenset[str]:
    past = reader.incidents(model=incident.model, cause="bad_release")
    return frozenset(
        each.version
        for each in past
        if each.id != incident.id and each.state == "resolved" and (each.closed_us or then_us) < then_us
    )
