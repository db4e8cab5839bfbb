"""Which version is safe to go back to? Decided from values alone, with the reasons."""

from collections.abc import Mapping

from remediation.evidence import Facts
from remediation.values import ModelVersion

_LAST_WINDOWS = 2


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
    if not candidate.features or not current.features:
        return "its features are not registered, so nobody knows whether it fits today's traffic", ""
    lacking = sorted(set(candidate.features) - set(current.features))
    if lacking:
        return f"it needs {', '.join(lacking)}, which today's traffic does not carry", ""
    if version in facts.blamed:
        return "it was itself found to be a bad release", ""
    labelled = [each for each in facts.windows(version, "label") if each.measured][-_LAST_WINDOWS:]
    seen = labelled or [each for each in facts.windows(version, "event") if each.measured][-_LAST_WINDOWS:]
    if not seen:
        return "no measured window shows that it was in order when it served last", ""
    if any(window.in_breach for window in seen):
        return "it was not in order in its last windows", ""
    kind = "labels" if labelled else "inputs"
    return None, f"version {version} was in order in its last {len(seen)} windows of {kind}"
