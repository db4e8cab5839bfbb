"""One break upstream makes several models ill: people are asked once, and not once per model.

The first of such incidents is the root of a family; what it shares with a later one is a broken feature (the same name,
broken in the same way) or one recorded change upstream that both onsets lie near. A member keeps its alerts, is not
diagnosed and asks nobody; it is well when its own alerts clear. Where the root ends without a cure and the member still
fires, that is left to people; where the root was cured and the member goes on firing, its illness is one of its own: it
is let go, and treated as any other.
"""

from collections.abc import Iterable

import msgspec

from detectors.values import Alert
from remediation import incidents
from remediation.changes import UPSTREAM, Change, near
from remediation.clock import seconds
from remediation.config import AgentConfig
from remediation.evidence import ARRIVALS, BREAK_MEASURES, CERTAIN_BREAKS
from remediation.notices import Notice
from remediation.ports import Journal, Reader, Unit
from remediation.routing import still_firing
from remediation.values import CLOSED_INCIDENTS, Incident, Kin

_BREAKS = (BREAK_MEASURES | CERTAIN_BREAKS) - ARRIVALS
_MINUTE_S = 60.0
_MOST = 1_000

Break = tuple[str, str]
"""A feature, and the measure that says how it is broken."""


def breaks(alerts: Iterable[Alert]) -> frozenset[Break]:
    """Which features these alerts say are broken, and how."""
    return frozenset(
        (found.feature, found.measure)
        for alert in alerts
        if alert.kind == "data_quality"
        for found in alert.evidence
        if found.feature is not None and found.measure in _BREAKS
    )


def attend(journal: Journal, incident: Incident, *, now_us: int, config: AgentConfig) -> bool:
    """Take the next step of an incident in the state `open` as a member of a family, where it is one or becomes one
    now. False: it is none, and is diagnosed by itself."""
    if incident.parent_id:
        return _follow(journal, incident, now_us, config)
    if not config.policy.grouping.families or incident.family:
        return False
    with journal.reading() as unit:
        found = _root(unit, incident, config)
    return found is not None and _join(journal, incident.id, *found, now_us=now_us)


def _root(unit: Reader, incident: Incident, config: AgentConfig) -> tuple[str, str] | None:
    """The incident that this one belongs to, and what they share, in words."""
    firing = still_firing(unit.alerts(incident.id), incident.version)
    if not any(alert.kind == "data_quality" for alert in firing):
        return None
    near_us = seconds(config.policy.grouping.near_min * _MINUTE_S)
    own, change = breaks(firing), _upstream(unit, incident, config)
    for other in sorted(unit.incidents(states=incidents.OPEN_STATES, limit=_MOST), key=_age):
        if not _may_lead(other, incident) or abs(other.change_us - incident.change_us) > near_us:
            continue
        told = still_firing(unit.alerts(other.id), other.version)
        shared = sorted(own & breaks(told))
        if shared:
            return other.id, " and ".join(
                f"{measure.replace('_', ' ')} of {feature}" for feature, measure in shared
            )
        if change is None or not any(alert.kind == "data_quality" for alert in told):
            continue
        if (theirs := _upstream(unit, other, config)) is not None and theirs.id == change.id:
            return other.id, f"{change.kind} {change.title!r}"
    return None


def _may_lead(other: Incident, incident: Incident) -> bool:
    """Of two that nobody was asked about yet the older one leads; one that is further leads anyway."""
    if other.model == incident.model or other.parent_id:
        return False
    return other.state != "open" or _age(other) < _age(incident)


def _age(incident: Incident) -> tuple[int, str]:
    return incident.opened_us, incident.id


def _upstream(unit: Reader, incident: Incident, config: AgentConfig) -> Change | None:
    """The change upstream that is nearest to the onset."""
    onset_us, near_s = incident.change_us, config.diagnosis.near_change_s
    known = unit.changes(since_us=onset_us - seconds(near_s), until_us=onset_us + seconds(near_s))
    found = near((each for each in known if each.kind in UPSTREAM), incident.model, onset_us, near_s)
    return found[0] if found else None


def _join(journal: Journal, member_id: str, root_id: str, shared: str, *, now_us: int) -> bool:
    with journal.transaction() as unit:
        # Rows are locked in the order of their ids, as everywhere: nobody waits for somebody who waits for them.
        both = {each: unit.incident(each) for each in sorted((member_id, root_id))}
        member, root = both[member_id], both[root_id]
        if member is None or root is None or not _still_free(member, root):
            return False
        kin = Kin(incident_id=member.id, model=member.model, version=member.version)
        family = (*root.family, kin)
        grown = msgspec.structs.replace(
            root, family=family, summary=incidents.with_family(root.summary, family)
        )
        why = f"{member.model} version {member.version} has the same: {shared}"
        unit.save_incident(grown, expected=root.state, actor=incidents.AGENT, why=why)
        why = f"belongs to {root.id} of {root.model} version {root.version}, which has the same: {shared}"
        joined = msgspec.structs.replace(member, parent_id=root.id)
        unit.save_incident(joined, expected="open", actor=incidents.AGENT, why=why)
        if root.state not in ("open", "diagnosed"):
            unit.add_notice(_grown(root, member, shared, now_us))
    return True


def _still_free(member: Incident, root: Incident) -> bool:
    return (
        member.state == "open"
        and not member.parent_id
        and not member.family
        and root.state in incidents.OPEN_STATES
        and not root.parent_id
    )


def _grown(root: Incident, member: Incident, shared: str, now_us: int) -> Notice:
    text = (
        f"{member.model} version {member.version} is ill of the same as {root.model} version {root.version}: {shared}. "
        f"It belongs to incident {root.id}; nothing else has to be decided about it now."
    )
    return Notice(
        id=f"grown/{root.id}/{member.id}",
        kind="grown",
        model=member.model,
        incident_id=root.id,
        text=text,
        at_us=now_us,
    )


def _follow(journal: Journal, incident: Incident, now_us: int, config: AgentConfig) -> bool:
    with journal.reading() as unit:
        root, desired = unit.incident(incident.parent_id), unit.desired(incident.model)
        firing = still_firing(unit.alerts(incident.id), incident.version)
    if desired is not None and desired.version != incident.version:
        return _let_go(journal, incident, f"version {desired.version} serves in place of {incident.version}")
    if not firing:
        outcome = f"Every alert was cleared; it belonged to {incident.parent_id}."
        return _end(journal, incident, "resolved", outcome, now_us)
    if root is None or not config.policy.grouping.families:
        return _let_go(journal, incident, "it belongs to no family any more")
    if root.state not in CLOSED_INCIDENTS:
        return True
    if root.state != "resolved":
        outcome = (
            f"Still ill ({firing[-1].reason}); it belonged to {root.id} of {root.model}, which ended "
            f"{root.state}: {root.outcome}"
        )
        return _end(journal, incident, "escalated", outcome, now_us)
    settle_s = config.policy.grouping.settle_min * _MINUTE_S
    if now_us - (root.closed_us or now_us) < seconds(settle_s):
        return True
    return _let_go(journal, incident, f"{root.id} was resolved {settle_s:g} s ago, and this still fires")


def _let_go(journal: Journal, incident: Incident, why: str) -> bool:
    """From now on it is treated by itself."""
    with journal.transaction() as unit:
        current = _current(unit, incident)
        if current is not None:
            alone = msgspec.structs.replace(current, parent_id="")
            unit.save_incident(alone, expected="open", actor=incidents.AGENT, why=why)
    return False


def _end(journal: Journal, incident: Incident, to: incidents.Ending, outcome: str, now_us: int) -> bool:
    with journal.transaction() as unit:
        current = _current(unit, incident)
        if current is not None:
            incidents.close(unit, current, to=to, outcome=outcome, now_us=now_us)
    return True


def _current(unit: Unit, incident: Incident) -> Incident | None:
    found = unit.incident(incident.id)
    return found if found is not None and found.state == "open" and found.parent_id else None
