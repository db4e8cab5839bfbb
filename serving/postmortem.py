"""The post-mortem of an incident, as Markdown: made of the record alone, so that it can be made again at any time."""

from collections.abc import Iterator
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from detectors.values import Axis, MetricPoint
from remediation.durations import cost, phases
from remediation.ports import Journal, Reader
from remediation.values import Incident
from remediation.vocabulary import ACTIONS
from serving import story, words

_PAGE = 20_000
_COUNTED: Final[dict[Axis, tuple[str, ...]]] = {
    "event": ("positive_rate", "class_psi", "prediction_psi", "rows", "reference"),
    "label": ("accuracy", "mae"),
}
"""What the cost is made of. Every window of events has at least one of its five, whatever the task, by rows or by
time, with a reference or without; all the others would be read in vain, one per feature."""
_EVIDENCE = 8
PHASE_NAMES = {
    "detect": "to detect",
    "diagnose": "to diagnose",
    "approve": "to approve",
    "act": "to act",
    "recover": "to prove the recovery",
}


def postmortem(journal: Journal, incident_id: str) -> str | None:
    """What, since when, evidence, decisions, effect, times and cost; None when there is no such incident."""
    with journal.reading() as unit:
        incident = unit.incident(incident_id)
        if incident is None:
            return None
        alerts, plans = unit.alerts(incident_id), unit.plans(incident_id)
        approvals, actions = unit.approvals(incident_id=incident_id), unit.actions(incident_id=incident_id)
        entries = story.entries(unit, incident, plans, approvals, actions)
        costs = cost(incident, _counted(unit, incident))
    evidence = [(alert, found) for alert in alerts for found in alert.evidence]
    return _template().render(
        incident=incident,
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


def _counted(unit: Reader, incident: Incident) -> Iterator[MetricPoint]:
    """All that the cost is made of since the onset, page by page from the newest on."""
    for axis, measures in _COUNTED.items():
        until_us: int | None = None
        known: set[str] = set()
        while True:
            page = unit.points(
                incident.model,
                version=incident.version,
                measures=measures,
                axis=axis,
                since_us=incident.change_us,
                until_us=until_us,
                limit=_PAGE,
            )
            new = [each for each in page if each.id not in known]
            yield from new
            if len(page) < _PAGE or not new:
                break
            # The oldest moment is read again: the page may have ended between two points of it.
            until_us, known = page[0].end_us + 1, {each.id for each in page if each.end_us == page[0].end_us}


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
