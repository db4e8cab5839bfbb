"""The post-mortem of an incident, as Markdown: made of the record alone, so that it can be made again at any time."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from remediation.durations import phases
from remediation.ports import Journal
from remediation.vocabulary import ACTIONS
from serving import story, words
from serving.costs import cost_of

_EVIDENCE = 8
PHASE_NAMES = {
    "detect": "to detect",
    "diagnose": "to diagnose",
    "approve": "to approve",
    "act": "to act",
    "recover": "to prove the recovery",
}


def postmortem(journal: Journal, incident_id: str, *, environment: str = "") -> str | None:
    """What, since when, evidence, decisions, effect, times and cost; None when there is no such incident.
    `environment`: the name of the installation, where it has one."""
    with journal.reading() as unit:
        incident = unit.incident(incident_id)
        if incident is None:
            return None
        alerts, plans = unit.alerts(incident_id), unit.plans(incident_id)
        approvals, actions = unit.approvals(incident_id=incident_id), unit.actions(incident_id=incident_id)
        entries = story.entries(unit, incident, plans, approvals, actions)
        costs = cost_of(unit, incident)
    evidence = [(alert, found) for alert in alerts for found in alert.evidence]
    return _template().render(
        incident=incident,
        environment=environment,
        plans=[(plan, [each for each in approvals if each.plan_id == plan.id]) for plan in plans],
        actions=actions,
        alerts=alerts,
        evidence=sorted(evidence, key=lambda pair: -pair[1].effect)[:_EVIDENCE],
        moments=story.told(entries, alerts)[::-1],
        phases=phases(incident, approvals),
        cost=costs,
        names=PHASE_NAMES,
        deeds=ACTIONS,
        words=words,
    )


def _template():
    environment = Environment(
        loader=PackageLoader("serving"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["line"] = _line
    return environment.get_template("postmortem.md.j2")


def _line(text: object) -> str:
    """Text of others as one line of Markdown that cannot be markup: what would be is escaped."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{each}" if each in "\\`*_{}[]<>#|" else each for each in flat)
