"""Facts about an ill version as values, for what decides from values alone."""

from typing import Any

from msgspec.structs import replace

from detectors.values import Alert, Evidence, MetricPoint
from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.playbooks.files import parse_playbooks
from remediation.values import Cause, Desired, Hypothesis, Incident, ModelVersion

S = 1_000_000
MODEL = "cancer"
PERFORMANCE = Evidence(measure="accuracy", value=0.7, reference=0.95, threshold=0.92, rows=500, effect=8)
FEATURES = ("x", "y", "chol")


def version(name: str, **more: Any) -> ModelVersion:
    """A registered version."""
    given = {"model": MODEL, "version": name, "digest": f"d{name}", "features": FEATURES, **more}
    return ModelVersion(**given)


VERSIONS = {each: version(each, created_us=int(each) * S) for each in "1234"}


def broken(feature: str, measure: str = "point_mass", value: float = 0.98) -> Evidence:
    """What a data-quality alert says of a feature."""
    return Evidence(
        measure=measure, feature=feature, value=value, reference=0.0, threshold=0.02, rows=900, effect=40
    )


def fired(kind: str = "performance", *evidence: Evidence, **more: Any) -> Alert:
    """An alert of the ill version 3."""
    given = {
        "id": f"{kind}/{more.get('segment', 'all')}",
        "model": MODEL,
        "version": "3",
        "kind": kind,
        "state": "firing",
        "axis": "label" if kind == "performance" else "event",
        "window": "w58",
        "start_us": 53 * S,
        "end_us": 58 * S,
        "change_us": 50 * S,
        "rows": 500,
        "reason": f"{kind} left its reference",
        "evidence": evidence or (PERFORMANCE,),
        **more,
    }
    return Alert(**given)


def points(*healthy: str, axis: Any = "label", rows: int = 500, end_s: int = 40) -> tuple[MetricPoint, ...]:
    """Two windows in order of each version."""
    return tuple(
        MetricPoint(
            id=f"{name}/{axis}/{end_s + n}",
            model=MODEL,
            version=name,
            axis=axis,
            window=f"w{end_s + n}",
            start_us=(end_s + n - 1) * S,
            end_us=(end_s + n) * S,
            rows=rows,
            measure="accuracy" if axis == "label" else "psi",
            value=0.9,
        )
        for name in healthy
        for n in (0, 1)
    )


def facts(cause: Cause = "bad_release", *, alerts: tuple[Alert, ...] = (), **more: Any) -> Facts:
    """Version 3 replaced 2, which replaced 1, and fell ill; 4 is registered and never served."""
    deployments = tuple(
        Desired(
            model=MODEL,
            version=name,
            digest=f"d{name}",
            epoch=n + 1,
            decided_by="ada",
            reason="r",
            at_us=n * S,
        )
        for n, name in enumerate("123")
    )
    hypothesis = Hypothesis(cause=cause, confidence=0.9, reasons=("because",))
    incident = Incident(
        id="inc-x",
        model=MODEL,
        version="3",
        state="diagnosed",
        cause=cause,
        confidence=0.9,
        hypotheses=(hypothesis,),
        change_us=50 * S,
        opened_us=60 * S,
    )
    given = {
        "incident": incident,
        "alerts": alerts or (fired(),),
        "points": points("1", "2"),
        "deployments": deployments,
        "desired": deployments[-1],
        "blamed": frozenset[str](),
        "now_us": 70 * S,
        **more,
    }
    return Facts(**given)


def of_incident(known: Facts, **more: Any) -> Facts:
    """The same with another incident."""
    return replace(known, incident=replace(known.incident, **more))


def config(playbooks: str = "", **more: Any) -> AgentConfig:
    """An agent with the playbooks of a YAML text, in whose environment only ISSUES is set."""
    given: dict[str, Any] = {"configured": lambda name: name == "ISSUES", **more}
    return AgentConfig(
        alerts_topic="a",
        acknowledgements_topic="b",
        desired_topic="c",
        playbooks=parse_playbooks(playbooks.encode(), "test.yaml"),
        **given,
    )
