"""Which playbook is for which incident."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from remediation.evidence import Facts
from remediation.playbooks.values import Match


def mismatch(match: Match, facts: Facts) -> str | None:
    """Why the incident is none of those that match; None when it is one."""
    incident = facts.incident
    if not fnmatchcase(incident.model, match.models):
        return f"it is for models {match.models}"
    if not fnmatchcase(incident.version, match.versions):
        return f"it is for versions {match.versions}, not {incident.version}"
    if match.causes and incident.cause not in match.causes:
        return f"it is for {', '.join(match.causes)}, not {incident.cause}"
    if match.severity is not None and incident.severity != match.severity:
        return f"it is for {match.severity} incidents, this one is {incident.severity}"
    if incident.confidence < match.min_confidence:
        return (
            f"it wants a confidence of {match.min_confidence:g}, the diagnosis has {incident.confidence:.2f}"
        )
    if match.during and not any(each.covers(facts.now_us) for each in match.during):
        return f"it is for {', '.join(each.schedule for each in match.during)} (UTC)"
    return _mismatch_of_alerts(match, facts)


def _mismatch_of_alerts(match: Match, facts: Facts) -> str | None:
    alerts = facts.firing(*match.kinds)
    if match.kinds and not alerts:
        return f"it wants an alert of {', '.join(match.kinds)}"
    if match.segments and not any(_fits(each.segment, match.segments) for each in facts.firing()):
        return f"it is for segments {', '.join(match.segments)}"
    measures = {one.measure for each in alerts for one in each.evidence}
    others = sorted(each for each in measures if not _fits(each, match.measures))
    if match.measures and (others or not measures):
        return f"it is for {', '.join(match.measures)} alone" + (
            f", not {', '.join(others)}" if others else ""
        )
    return None


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, each) for each in patterns)
