"""What shall be done? Pure: facts and registered versions in, one exact plan out, or the reason why there is
none."""

from collections.abc import Mapping

from detectors.values import Value
from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.identity import plan_id, seed
from remediation.targets import rollback_target
from remediation.values import ActionKind, Hypothesis, ModelVersion, Plan


class NoPlan(Value, frozen=True, kw_only=True):
    """Nothing can be proposed, and why: people have to look."""

    reason: str


def make_plan(
    facts: Facts,
    cause: Hypothesis,
    versions: Mapping[str, ModelVersion],
    *,
    attempt: int,
    config: AgentConfig,
) -> Plan | NoPlan:
    """Propose the action for `cause`, the `attempt`-th of this incident. `versions` are the registered ones
    by name."""
    if facts.desired is None:
        return NoPlan(
            reason=f"no served version of {facts.incident.model} is kept here, so none can be replaced"
        )
    current = versions.get(facts.version)
    if current is None or not current.digest:
        return NoPlan(
            reason=f"version {facts.version} of {facts.incident.model} is not registered with a digest"
        )
    match cause.cause:
        case "bad_release":
            return _rollback(facts, cause, current, versions, attempt)
        case "upstream_data_break" if _only_arrivals(facts):
            return NoPlan(reason="no other version mends how events arrive: " + "; ".join(cause.reasons))
        case "population_shift" | "concept_shift" | "upstream_data_break":
            return _retrain(facts, cause, current, attempt, config)
        case "label_problem" | "serving_problem" | "traffic_change":
            return NoPlan(reason="no other version mends it: " + "; ".join(cause.reasons))
        case "unknown":
            return NoPlan(reason="the cause is unknown: " + "; ".join(facts_told(facts)))


def _only_arrivals(facts: Facts) -> bool:
    arrivals = facts.arrivals()
    return bool(arrivals) and arrivals == facts.firing("data_quality")


def facts_told(facts: Facts) -> list[str]:
    """The reasons of the firing alerts, for a person who has to find the cause."""
    return [alert.reason for alert in facts.firing()] or ["no alert fires any more"]


def _rollback(
    facts: Facts,
    cause: Hypothesis,
    current: ModelVersion,
    versions: Mapping[str, ModelVersion],
    attempt: int,
) -> Plan | NoPlan:
    target, reasons = rollback_target(facts, current, versions)
    if target is None:
        return NoPlan(reason="no version is safe to go back to: " + "; ".join(reasons))
    return _plan(
        facts,
        current,
        attempt,
        action="rollback",
        to_version=target.version,
        to_digest=target.digest,
        evidence=(*cause.reasons, *reasons),
        blast_radius=(
            f"Every prediction of {current.model} comes from version {target.version} instead of "
            f"{current.version}, on all inference servers, within seconds and without a dropped request."
        ),
        undo=f"Promote version {current.version} again; its artifact stays registered.",
        parameters={},
    )


def _retrain(
    facts: Facts, cause: Hypothesis, current: ModelVersion, attempt: int, config: AgentConfig
) -> Plan:
    since_us = surely_changed_us(facts)
    identity = plan_id(facts.incident.id, attempt)
    margin = config.retraining.margin
    return _plan(
        facts,
        current,
        attempt,
        action="retrain",
        to_version=None,
        to_digest=None,
        evidence=cause.reasons,
        blast_radius=(
            f"A candidate is trained on archived, labelled events of {current.model}. Only if it beats "
            f"version {current.version} on recent cases that it never saw, every prediction comes from it."
        ),
        undo=(
            f"Version {current.version} serves again; it stays registered, and comes back by itself if the "
            "candidate fails."
        ),
        parameters={
            "since_us": since_us,
            "until_us": facts.now_us,
            "with_past": cause.cause != "concept_shift",
            "seed": seed(identity),
            "gate": f"balanced accuracy and F1 on held-out groups above the champion's, by over {margin:g}",
        },
    )


def surely_changed_us(facts: Facts) -> int:
    """Since when every row is of the new world. The first window that breached may hold the change itself; the
    one after it, in which an alert fires that needs two, does not. Where performance alone changed, its windows
    count."""
    alerts = facts.firing("data_drift", "data_quality", "prediction_drift") or facts.firing()
    after = (each.start_us if each.start_us > each.change_us else each.end_us for each in alerts)
    return max(after, default=facts.incident.change_us)


def _plan(
    facts: Facts,
    current: ModelVersion,
    attempt: int,
    *,
    action: ActionKind,
    to_version: str | None,
    to_digest: str | None,
    evidence: tuple[str, ...],
    blast_radius: str,
    undo: str,
    parameters: dict[str, int | bool | str],
) -> Plan:
    return Plan(
        id=plan_id(facts.incident.id, attempt),
        incident_id=facts.incident.id,
        action=action,
        model=current.model,
        from_version=current.version,
        from_digest=current.digest,
        to_version=to_version,
        to_digest=to_digest,
        epoch=facts.desired.epoch if facts.desired else 0,
        parameters=dict(parameters),
        evidence=evidence,
        blast_radius=blast_radius,
        undo=undo,
        created_us=facts.now_us,
    )
