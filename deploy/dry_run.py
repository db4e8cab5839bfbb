"""What playbooks would do about incidents on record. Reads the database and the registry, and writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploy import pieces
from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from remediation.config import AgentConfig
    from remediation.playbooks.planner import Consideration
    from remediation.playbooks.recall import Weighed
    from remediation.playbooks.values import Playbooks
    from remediation.ports import Reader, Registry
    from remediation.values import Incident, ModelVersion
    from serving.registry import MlflowRegistry

_PAGE = 200


def registry(settings: Settings) -> "MlflowRegistry | None":
    """The configured registry, or that of the stack in the home; None where neither is known."""
    from deploy.stack.lifecycle import status

    part = status(settings.home).part("mlflow")
    address = settings.mlflow_tracking_uri or (part.url if part else None)
    if address is None:
        return None
    return pieces.registry_at(address, settings)


@dataclass(slots=True)
class DryRun:
    """`playbooks` against the record that `settings` name. Without a registry versions are known by what served, and
    nothing is known of their features."""

    settings: Settings
    playbooks: "Playbooks"
    registry: "Registry | None" = None
    _versions: "dict[str, Mapping[str, ModelVersion]]" = field(
        default_factory=lambda: dict[str, "Mapping[str, ModelVersion]"]()
    )

    def one(self, incident_id: str) -> "tuple[Incident, Consideration, str | None]":
        """The incident, what would be done about it next, and which limit would hold that up now. Raises `UserError`
        for one that is not on record."""
        with self._reading() as reader:
            incident = reader.incident(incident_id)
            if incident is None:
                raise UserError(f"There is no incident {incident_id}. See: homeostat incidents list")
            found = self._weighed(reader, incident)
            return incident, found, self._held_up(reader, incident, found)

    def all(self, *, model: str | None, since_us: int | None, until_us: int | None) -> "list[Weighed]":
        """What would have been done about each incident that was diagnosed in this time, the oldest first."""
        from remediation.playbooks.recall import compared, tried

        found: list[Weighed] = []
        with self._reading() as reader:
            before: str | None = None
            while True:
                page = reader.incidents(model=model, before=before, limit=_PAGE)
                wanted = [
                    each
                    for each in page
                    if each.diagnosed_us is not None and _within(each, since_us, until_us)
                ]
                found += [
                    compared(each, self._weighed(reader, each), tried(reader, each.id)) for each in wanted
                ]
                if len(page) < _PAGE or (since_us is not None and page[-1].opened_us < since_us):
                    return sorted(found, key=lambda each: (each.opened_us, each.incident_id))
                before = page[-1].id

    def _weighed(self, reader: "Reader", incident: "Incident") -> "Consideration":
        from remediation.clock import SystemClock
        from remediation.playbooks.recall import weigh
        from serving.model_errors import ServingError

        try:
            return weigh(
                reader,
                incident,
                self._known(reader, incident.model),
                config=self._config(),
                now_us=SystemClock().now_us(),
                references=self.registry.reference if self.registry else None,
            )
        except ServingError as error:
            raise UserError(f"The registry has to be asked about {incident.model}: {error}") from error

    def _held_up(self, reader: "Reader", incident: "Incident", found: "Consideration") -> str | None:
        from remediation.clock import SystemClock
        from remediation.incidents import OPEN_STATES
        from remediation.limits import refusal

        if found.proposal is None or incident.state not in OPEN_STATES:
            return None
        limits, now_us = pieces.policy(self.settings).limits, SystemClock().now_us()
        refused = refusal(reader, found.proposal.plan, limits, now_us=now_us)
        return refused.reason if refused else None

    def _known(self, reader: "Reader", model: str) -> "Mapping[str, ModelVersion]":
        from remediation.playbooks.recall import known_versions

        if model not in self._versions:
            self._versions[model] = (
                known_versions(reader.deployments(model))
                if self.registry is None
                else {each.version: each for each in self.registry.versions(model)}
            )
        return self._versions[model]

    def _config(self) -> "AgentConfig":
        from remediation.config import AgentConfig
        from streams import topics

        return AgentConfig(
            alerts_topic=topics.ALERTS,
            acknowledgements_topic=topics.ACKNOWLEDGEMENTS,
            desired_topic=topics.DESIRED,
            policy=pieces.policy(self.settings),
            playbooks=self.playbooks,
        )

    def _reading(self) -> "AbstractContextManager[Reader]":
        from db.journal import SqlJournal
        from remediation.clock import SystemClock

        return SqlJournal(pieces.existing_database(self.settings), SystemClock()).reading()


def _within(incident: "Incident", since_us: int | None, until_us: int | None) -> bool:
    return (since_us is None or incident.opened_us >= since_us) and (
        until_us is None or incident.opened_us < until_us
    )
