"""Everything that a plan is made from, and the questions that steps ask of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from detectors.reference import FeatureReference, Reference
from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.targets import rollback_target
from remediation.values import Arrangement, Hypothesis, ModelVersion

References = Callable[[str, str], Reference]
"""The reference of a version of a model, as `Registry.reference` gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`serving` is the registered version that answers now, `before` how it does."""

    facts: Facts
    serving: ModelVersion
    before: Arrangement
    versions: Mapping[str, ModelVersion]
    config: AgentConfig
    references: References | None = None

    @property
    def cause(self) -> Hypothesis:
        """The hypothesis that the incident was diagnosed with."""
        incident = self.facts.incident
        found = [each for each in incident.hypotheses if each.cause == incident.cause]
        return found[0] if found else Hypothesis(cause=incident.cause, confidence=incident.confidence)

    @property
    def is_canary(self) -> bool:
        """The ill version answers only a share of the requests."""
        return self.facts.version in self.before.shares

    def last_good(self) -> tuple[ModelVersion | None, list[str]]:
        """The version that is safe to go back to, and why it or why none."""
        ill = self.versions.get(self.facts.version, self.serving)
        target, reasons = rollback_target(self.facts, ill, self.versions)
        if target is not None and target.version == self.serving.version and not self.is_canary:
            return None, [*reasons, f"version {target.version} serves already"]
        return target, reasons

    def no_target(self) -> str | None:
        """Why no version is safe to go back to; None where one is."""
        target, reasons = self.last_good()
        return None if target is not None else "; ".join(reasons)

    def version(self, name: str | int) -> tuple[ModelVersion | None, list[str]]:
        """The version that a step names, and why it or why not."""
        if name == "last_good":
            return self.last_good()
        if name == "newest":
            others = [each for each in self.versions.values() if each.version != self.serving.version]
            found = max(others, key=lambda each: (each.created_us, each.version), default=None)
            if found is None:
                return None, [f"no other version of {self.serving.model} is registered"]
        else:
            found = self.versions.get(str(name))
            if found is None:
                return None, [f"version {name} of {self.serving.model} is not registered"]
        why = self._unfit(found)
        return (None, [why]) if why else (found, [f"version {found.version} is named by the playbook"])

    def median(self, feature: str) -> float | None:
        """The usual value of a numeric feature of the version that serves; None where there is none."""
        if self.references is None:
            return None
        column = self.references(self.serving.model, self.serving.version).feature(feature)
        return None if column is None else median(column)

    def _unfit(self, found: ModelVersion) -> str | None:
        if found.version == self.serving.version:
            return f"version {found.version} serves already"
        if found.version in (self.facts.version, *self.facts.blamed):
            return f"version {found.version} is ill itself, or was found to be a bad release"
        if not found.digest:
            return f"version {found.version} is registered without a digest"
        if found.signature.refused:
            return f"version {found.version} must not serve: {found.signature.why}"
        lacking = sorted(set(found.features) - set(self.serving.features))
        if lacking:
            return f"version {found.version} needs {', '.join(lacking)}, which today's traffic does not carry"
        return None


def median(column: FeatureReference) -> float | None:
    """The edge of the quantile bin that holds the middle row; None for a column that is not numeric."""
    if column.spec.kind != "numeric" or not column.edges:
        return None
    middle, seen = sum(column.counts) / 2, 0
    for edge, count in zip(column.edges, column.counts, strict=False):
        seen += count
        if seen >= middle:
            return edge
    return column.maximum
