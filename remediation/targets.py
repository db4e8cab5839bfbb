"""Which version is safe to go back to? Decided from values, with the reasons; what it consists of is looked at once it
is chosen."""

from collections.abc import Mapping

from remediation.causes.telling import count
from remediation.clock import seconds
from remediation.errors import Unusable
from remediation.evidence import Facts
from remediation.looks import Looks
from remediation.ports import Reader, Registry
from remediation.values import ModelVersion, Plan

_LAST_WINDOWS = 2
_TODAY_S = 3_600.0
_GONE = 0.999


def rollback_target(
    facts: Facts, current: ModelVersion, versions: Mapping[str, ModelVersion]
) -> tuple[ModelVersion | None, list[str]]:
    """The version that served last before the ill one and is safe to go back to, and why it, and not the ones
    after it."""
    reasons: list[str] = []
    seen = {facts.version}
    for deployment in reversed(facts.deployments):
        if deployment.version in seen:
            continue
        seen.add(deployment.version)
        refusal, praise = _unsafe(
            facts, deployment.digest, current, versions.get(deployment.version), deployment.version
        )
        if refusal is None:
            return versions[deployment.version], [*reasons, praise]
        reasons.append(f"version {deployment.version}: {refusal}")
    return None, reasons or ["no other version ever served"]


def _unsafe(
    facts: Facts, served_digest: str, current: ModelVersion, candidate: ModelVersion | None, version: str
) -> tuple[str | None, str]:
    """Why a version must not serve again (None: it may), and what speaks for it."""
    if candidate is None:
        return "it is not in the registry any more", ""
    if not candidate.digest or candidate.digest != served_digest:
        return (
            f"its digest in the registry is {candidate.digest or 'missing'}, it served as {served_digest}",
            "",
        )
    if candidate.signature.refused:
        return f"its signature forbids it: {candidate.signature.why}", ""
    if not candidate.features or not current.features:
        return "its features are not registered, so nobody knows whether it fits today's traffic", ""
    lacking = sorted(set(candidate.features) - set(current.features))
    if lacking:
        return f"it needs {', '.join(lacking)}, which today's traffic does not carry", ""
    gone = sorted(set(candidate.features) & facts.gone)
    if gone:
        return f"it needs {', '.join(gone)}, which has no value in today's traffic", ""
    if version in facts.unsound:
        return facts.unsound[version], ""
    if version in facts.blamed:
        return "it was itself found to be a bad release", ""
    labelled = [each for each in facts.windows(version, "label") if each.measured][-_LAST_WINDOWS:]
    seen = labelled or [each for each in facts.windows(version, "event") if each.measured][-_LAST_WINDOWS:]
    if not seen:
        return "no measured window shows that it was in order when it served last", ""
    if any(window.in_breach for window in seen):
        return "it was not in order in its last windows", ""
    kind = "labels" if labelled else "inputs"
    last = "window" if len(seen) == 1 else count(len(seen), "window")
    return None, f"version {version} was in order in its last {last} of {kind}"


def gone_features(unit: Reader, facts: Facts) -> frozenset[str]:
    """The features that have no value in practically any row of the newest window of the ill version. It is the traffic
    of now that a version has to fit, whatever the ill one was trained on."""
    points = unit.points(
        facts.incident.model,
        version=facts.version,
        measures=("missing_rate",),
        axis="event",
        since_us=facts.now_us - seconds(_TODAY_S),
    )
    whole = [point for point in points if point.segment == "all" and point.feature is not None]
    newest_us = max((point.end_us for point in whole), default=0)
    return frozenset(
        point.feature
        for point in whole
        if point.feature and point.end_us == newest_us and (point.value or 0.0) >= _GONE
    )


def flaw(registry: Registry, looks: Looks, plan: Plan) -> str | None:
    """Why the version that a plan makes serve cannot be used: its file is gone or is not the one of the digest, or it
    takes a feature for another kind of value than the version that serves. None when it can, or the plan names none.

    Raises what the registry raises while it is away.
    """
    version, digest = plan.to_version, plan.to_digest
    if version is None or digest is None or version == plan.from_version:
        return None
    if (why := looks.flaw(plan.model, version, digest)) is not None:
        return why
    try:
        now, then = (_kinds(registry, plan.model, each) for each in (plan.from_version, version))
    except Unusable as error:
        return f"what it consists of cannot be used: {error}"
    other = sorted(name for name in now if name in then and now[name] != then[name])
    if other:
        told = ", ".join(f"{name} for {then[name]} (today it is {now[name]})" for name in other)
        return f"it takes {told}"
    return None


def _kinds(registry: Registry, model: str, version: str) -> dict[str, str]:
    reference = registry.reference(model, version)
    return {column.spec.name: column.spec.kind for column in reference.features}
