"""What was it the last time? Incidents of the past with the same fingerprint: what people said of them, what helped.

A fingerprint is what the alerts show: kinds, measures, features; between models only kinds and measures. A person's
verdict about the true cause weighs more than how an incident ended, and either less than evidence at hand.
"""

from collections.abc import Iterable, Mapping, Sequence

from detectors.values import Alert, Value
from remediation.actions import RULES
from remediation.errors import UnknownIncident
from remediation.ports import Journal, Reader
from remediation.values import CLOSED_INCIDENTS, ActionKind, AuditEntry, Cause, Incident
from remediation.vocabulary import ACTIONS, CAUSES

ACTION = "incident.cause"
"""What the audit log calls a person's verdict about the true cause."""
FEEDBACK = "incident.feedback"
_LIKE = 0.6
"""Of what two incidents show together, at least so much is shown by both."""
_ELSEWHERE = 0.7
"""So much less an incident of another model tells."""
_VERDICTS = 100
_ENDED = 20
_SAID_WEIGHT = 0.4
_ENDED_WEIGHT = 0.15

Trait = tuple[str, ...]


class Precedent(Value, frozen=True, kw_only=True):
    """An incident of the past that showed the same. `likeness` in [0, 1]; `by`: who said that this was its cause
    (empty: it was diagnosed so, and ended well); `helped`: the action after which it was over; `called`: what people
    said of it besides, such as `false alarm`."""

    incident_id: str
    model: str
    cause: Cause
    likeness: float
    by: str = ""
    helped: ActionKind | None = None
    called: str = ""

    @property
    def weight(self) -> float:
        """Which part of what a hypothesis lacks to certainty this is worth."""
        return self.likeness * (_SAID_WEIGHT if self.by else _ENDED_WEIGHT)

    @property
    def sentence(self) -> str:
        """For people."""
        where = f"{self.incident_id} of {self.model} showed the same"
        what = f"{self.by} said it was: {CAUSES[self.cause]}" if self.by else "it ended well"
        helped = f"; {ACTIONS[self.helped].noun.lower()} helped then" if self.helped else ""
        called = f"; people called it: {self.called}" if self.called else ""
        return f"{where}, and {what}{helped}{called}"


def fingerprint(alerts: Iterable[Alert]) -> frozenset[Trait]:
    """What firing alerts show: (kind, measure, feature) for each evidence, (kind,) where there is none."""
    found: set[Trait] = set()
    for alert in alerts:
        if alert.state == "firing":
            found |= {(alert.kind, one.measure, one.feature or "") for one in alert.evidence} or {
                (alert.kind,)
            }
    return frozenset(found)


def precedents(unit: Reader, incident: Incident, alerts: Sequence[Alert]) -> tuple[Precedent, ...]:
    """Past incidents with the fingerprint of `alerts`: of any model those whose cause a person has named, of the same
    model also those that were resolved by an action. The most telling first."""
    shown = fingerprint(alerts)
    if not shown:
        return ()
    verdicts = _verdicts(unit)
    said = [found for one in verdicts if one != incident.id and (found := unit.incident(one)) is not None]
    ended = [
        each
        for each in unit.incidents(model=incident.model, states=sorted(CLOSED_INCIDENTS), limit=_ENDED)
        if each.id != incident.id and each.id not in verdicts and each.state == "resolved"
    ]
    found = [_precedent(unit, each, incident, shown, verdicts) for each in (*said, *ended)]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: -one.weight))


def name_cause(journal: Journal, *, incident_id: str, cause: Cause, by: str, why: str = "") -> Incident:
    """Put on record what the cause of an incident really was; the last word counts. Raises `UnknownIncident`."""
    with journal.transaction() as unit:
        incident = unit.incident(incident_id)
        if incident is None:
            raise UnknownIncident(f"There is no incident {incident_id!r}.")
        detail = {"cause": cause, "why": why, "diagnosed": incident.cause}
        unit.audit(actor=by, action=ACTION, subject=f"incident/{incident_id}", detail=detail)
    return incident


def _verdicts(unit: Reader) -> Mapping[str, tuple[Cause, str]]:
    """By incident, the newest verdict: the cause and who named it."""
    found: dict[str, tuple[Cause, str]] = {}
    for entry in sorted(unit.audit_entries(action=ACTION, limit=_VERDICTS), key=_newest_first):
        incident_id, named = entry.subject.removeprefix("incident/"), entry.detail.get("cause")
        for cause in CAUSES:
            if cause == named and incident_id not in found:
                found[incident_id] = (cause, entry.actor)
    return found


def _precedent(
    unit: Reader,
    past: Incident,
    incident: Incident,
    shown: frozenset[Trait],
    verdicts: Mapping[str, tuple[Cause, str]],
) -> Precedent | None:
    same = past.model == incident.model
    likeness = _likeness(shown, fingerprint(unit.alerts(past.id)), same)
    if likeness < _LIKE:
        return None
    cause, by = verdicts.get(past.id, (past.cause, ""))
    succeeded = unit.actions(incident_id=past.id, states=("succeeded",))
    done = [each for each in succeeded if RULES[each.kind].verified]
    helped = done[0].kind if done and past.state == "resolved" else None
    if not by and helped is None:
        return None
    return Precedent(
        incident_id=past.id,
        model=past.model,
        cause=cause,
        likeness=round(likeness * (1.0 if same else _ELSEWHERE), 3),
        by=by,
        helped=helped,
        called=_called(unit, past.id),
    )


def _likeness(shown: frozenset[Trait], past: frozenset[Trait], same_model: bool) -> float:
    """Jaccard's index; of another model, whose features have other names, by kinds and measures."""
    ours, theirs = (shown, past) if same_model else (_without_names(shown), _without_names(past))
    return len(ours & theirs) / max(len(ours | theirs), 1)


def _without_names(traits: frozenset[Trait]) -> frozenset[Trait]:
    return frozenset(each[:2] for each in traits)


def _called(unit: Reader, incident_id: str) -> str:
    entries = unit.audit_entries(action=FEEDBACK, subject=f"incident/{incident_id}")
    said = str(min(entries, key=_newest_first).detail.get("said", "")) if entries else ""
    return "" if said == "taken back" else said


def _newest_first(entry: AuditEntry) -> tuple[int, int]:
    return -entry.at_us, -(entry.index or 0)
