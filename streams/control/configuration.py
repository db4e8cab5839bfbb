"""Configuration as events: monitors and references on a compacted topic, and the view of it that a stage
has."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote

import msgspec
import structlog

from detectors.reference import Reference
from detectors.sequential.hearing import Statement
from detectors.values import UNKNOWN_MODEL, Axis, Monitor
from streams.control.learning import IN_FORCE, ORDERS, InForce, LearningOrder
from streams.control.schemas import Schema, schema_of_reference
from streams.control.shadowing import SHADOWS, Shadowing
from streams.times import MICROSECONDS

_log = structlog.get_logger()

STATEMENTS = "statement/"
_NEWEST_US = 2**62
_FOR_OTHERS = "implied-schema/"
"""Says what the reference beside it says, for those who do not read references."""


def monitor_record(monitor: Monitor) -> tuple[bytes, bytes]:
    """Key and value of the control record that publishes `monitor`. Each revision is kept: what was measured
    under an older one can be measured again."""
    name = f"monitor/{quote(monitor.model, safe='')}/{monitor.revision}"
    return name.encode(), msgspec.json.encode(monitor)


def reference_record(reference: Reference) -> tuple[bytes, bytes]:
    """Key and value of the control record that publishes `reference` for its model and version; each revision
    is kept."""
    version = f"{quote(reference.version, safe='')}/{reference.revision}"
    name = f"reference/{quote(reference.model, safe='')}/{version}"
    return name.encode(), reference.to_json()


def statement_record(statement: Statement) -> tuple[bytes, bytes]:
    """Key and value of the control record that tells what a person said about an alert."""
    name = f"{STATEMENTS}{quote(statement.model, safe='')}/{quote(statement.id, safe='')}"
    return name.encode(), msgspec.json.encode(statement)


class Configuration:
    """Monitors, references and what people said, as far as they have been read. Pure: somebody else reads the topic.

    A stage binds a pane to the revisions that were in force when the pane began, so that what comes later
    does not change what has been measured.
    """

    def __init__(self) -> None:
        self._monitors: dict[str, list[Monitor]] = {}
        self._from_us: dict[str, list[int]] = {}
        self._references: dict[tuple[str, str], list[tuple[int, Reference]]] = {}
        self._in_force: dict[tuple[str, str, str], int] = {}
        self._orders: dict[tuple[str, str], LearningOrder] = {}
        self._revisions: dict[str, Reference] = {}
        self._schemas: dict[tuple[str, str], Schema] = {}
        self._implied: dict[str, Schema] = {}
        self._newest: dict[str, str] = {}
        self._statements: dict[tuple[str, str, str, Axis], dict[str, Statement]] = {}
        self._of_all: dict[str, list[Statement]] = {}
        self._shadowing: dict[str, Shadowing] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record of the control topic. One that cannot be read is told and left out; the last good
        one stays."""
        name = (key or b"").decode(errors="replace")
        if not value:
            return
        try:
            if name.startswith("monitor/"):
                self.add_monitor(msgspec.json.decode(value, type=Monitor))
            elif name.startswith("reference/"):
                self.add_reference(Reference.from_json(value))
            elif name.startswith(STATEMENTS):
                self.add_statement(msgspec.json.decode(value, type=Statement))
            elif name.startswith(IN_FORCE):
                self.add_in_force(msgspec.json.decode(value, type=InForce))
            elif name.startswith(ORDERS):
                self.add_order(LearningOrder.from_json(value))
            elif name.startswith(SHADOWS):
                self.add_shadowing(Shadowing.from_json(value))
            elif name.startswith("schema/"):
                self.add_schema(Schema.from_json(value))
            elif not name.startswith(_FOR_OTHERS):
                _log.warning(
                    "A control record is no monitor, reference, schema, shadow or statement; it is left out.",
                    key=name,
                )
        except (ValueError, RecursionError) as error:
            _log.error(
                "A control record cannot be read; what was in force stays.", key=name, reason=str(error)
            )

    def add_monitor(self, monitor: Monitor) -> None:
        """Add a revision; it replaces what took effect at the same time or later."""
        known = self._monitors.setdefault(monitor.model, [])
        known[:] = [other for other in known if other.effective_us < monitor.effective_us]
        known.append(monitor)
        self._from_us[monitor.model] = _begin_us(known)

    def add_in_force(self, told: InForce) -> None:
        """Note from when on a reference counts that is still to come."""
        self._in_force[told.model, told.version, told.revision] = told.effective_us

    def add_order(self, order: LearningOrder) -> None:
        """Note that the reference of a version is to be learned."""
        self._orders[order.model, order.version] = order

    def orders(self) -> list[LearningOrder]:
        """What is still to be learned."""
        return [order for name, order in self._orders.items() if name not in self._references]

    def add_reference(self, reference: Reference) -> None:
        """Make this the reference of its model and version, from when on it was said to count; it replaces what
        would count from then on or later. All revisions stay known by their name."""
        name = reference.model, reference.version
        effective_us = self._in_force.get((*name, reference.revision), 0)
        known = self._references.setdefault(name, [])
        known[:] = [other for other in known if other[0] < effective_us]
        known.append((effective_us, reference))
        self._revisions[reference.revision] = reference
        self._note_version(reference.model, reference.version)

    def add_schema(self, schema: Schema) -> None:
        """Make this the schema of its model and version."""
        self._schemas[schema.model, schema.version] = schema
        self._note_version(schema.model, schema.version)

    def add_statement(self, statement: Statement) -> None:
        """Note what a person said, in the order of the topic; the same one again changes nothing."""
        series = statement.model, statement.version, statement.segment, statement.axis
        known = self._statements.setdefault(series, {})
        if statement.id not in known and series[2:] == ("all", "event"):
            self._of_all.setdefault(statement.model, []).append(statement)
        known.setdefault(statement.id, statement)

    def add_shadowing(self, shadowing: Shadowing) -> None:
        """Note which versions of a model only score."""
        self._shadowing[shadowing.model] = shadowing

    def shadowing(self, model: str) -> Shadowing:
        """Which versions of a model only scored beside the one that answered, and when."""
        return self._shadowing.get(model) or Shadowing(model=model)

    def statements(self, model: str, version: str, segment: str, axis: Axis) -> Sequence[Statement]:
        """What people said about the alerts of a series, in its order."""
        return tuple(self._statements.get((model, version, segment, axis), {}).values())

    def statements_of(self, model: str) -> Sequence[Statement]:
        """What people said about the alerts of a model that belong to no window: those of all of its events."""
        return self._of_all.get(model, ())

    def schema(self, model: str, version: str | None) -> Schema | None:
        """The schema that was registered for a version, or the one that its reference implies. Without a version,
        as labels come: that of the version that was made known last."""
        name = model, self._newest.get(model, "") if version is None else version
        found = self._schemas.get(name)
        if found is not None or (reference := self.reference(*name)) is None:
            return found
        implied = self._implied.get(reference.revision)
        if implied is None:
            implied = self._implied[reference.revision] = schema_of_reference(reference)
        return implied

    def _note_version(self, model: str, version: str) -> None:
        self._newest[model] = version

    def names(self, model: str) -> bool:
        """Whether anything about the model is here."""
        return model in self._monitors or model in self._newest

    def watches(self, model: str) -> bool:
        """Whether a monitor of the model is here: all that labels need."""
        return model in self._monitors

    def knows(self, model: str, version: str) -> bool:
        """Whether both a monitor of the model and a reference of the version are here."""
        return model in self._monitors and (model, version) in self._references

    def monitor(self, model: str, at_us: int) -> Monitor:
        """The monitor of the pane in which an event of this time lies: the one in force when the pane began. The first
        one before it took effect, defaults where there is none."""
        known = self._monitors.get(model)
        if not known:
            return Monitor(model=model)
        return known[max(0, bisect_right(self._from_us[model], at_us) - 1)]

    def monitors_from_us(self, model: str) -> Sequence[int]:
        """The event times from which on each monitor of a model has its panes, in order."""
        return self._from_us.get(model, ())

    def spread(self, model: str) -> int:
        """On how many partitions the model's events are put from now on."""
        return self.monitor(model, _NEWEST_US).spread

    def shortest_lateness_s(self) -> float:
        """Of all models: those that are watched, and those that are not and have the default."""
        known = [monitors[-1].lateness_s for monitors in self._monitors.values()]
        return min([Monitor(model=UNKNOWN_MODEL).lateness_s, *known])

    def monitor_revision(self, model: str, revision: int) -> Monitor:
        """The monitor of this revision; the newest where it is no longer known."""
        known = self._monitors.get(model)
        if not known:
            return Monitor(model=model)
        return next((monitor for monitor in known if monitor.revision == revision), known[-1])

    def reference(self, model: str, version: str) -> Reference | None:
        """The newest reference of a version, from whenever on it counts."""
        known = self._references.get((model, version))
        return known[-1][1] if known else None

    def pane_reference(
        self, model: str, version: str, segment: str, axis: Axis, source: int, start_us: int
    ) -> Reference | None:
        """The reference that a pane is bound to: of its version the newest that counts from its beginning on,
        whatever its segment, axis and partition. None where none is known: no measure will rest on that pane."""
        del segment, axis, source
        known = self._references.get((model, version), ())
        place = bisect_right(known, start_us, key=lambda each: each[0])
        return known[place - 1][1] if place else None

    def reference_revision(self, revision: str) -> Reference | None:
        """The reference that this revision names."""
        return self._revisions.get(revision)


def _begin_us(monitors: Sequence[Monitor]) -> list[int]:
    """Where the first pane of each monitor begins: where the last pane of the one before it has ended, if the length of
    either's panes divides the other's. Else that last pane may reach beyond it; each row still counts in one."""
    found = [one.effective_us for one in monitors[:1]]
    for pair in pairwise(monitors):
        begins_us = max(found[-1], pair[1].effective_us)
        for one in pair:
            pane_us = max(1, round(one.pane_s * MICROSECONDS))
            begins_us = -(-begins_us // pane_us) * pane_us
        found.append(begins_us)
    return found
