"""Schemas on the control topic: what is there, and registering another one."""

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from detectors.errors import DetectorError
from detectors.reference import Reference
from streams.control.bus import ControlBus
from streams.control.evolution import Change, compare
from streams.control.schema_words import consequence
from streams.control.schemas import Schema, SchemaInvalid, schema_of_reference, schema_record
from streams.topics import CONTROL

Origin = Literal["registered", "reference"]
"""Whether a person registered the schema, or the version's reference implies it."""
Outcome = Literal["registered", "unchanged", "refused", "would register"]


@dataclass(frozen=True, slots=True)
class Known:
    """The schema that is in force for a version, and where it comes from."""

    schema: Schema
    origin: Origin

    def row(self) -> dict[str, Any]:
        """For a table and for JSON."""
        schema = self.schema
        return {
            "model": schema.model,
            "version": schema.version,
            "origin": self.origin,
            "revision": schema.revision,
            "task": schema.task,
            "classes": len(schema.classes),
            "features": len(schema.features),
            "segments": ", ".join(schema.segments),
        }

    def as_dict(self) -> dict[str, Any]:
        """The whole, for JSON."""
        return {"origin": self.origin, **msgspec.to_builtins(self.schema)}


@dataclass
class Catalogue:
    """The schemas in force, in the order in which their versions were last made known. `unreadable`: records that
    are no schema, by key, with the reason."""

    schemas: list[Known] = field(default_factory=list[Known])
    unreadable: dict[str, str] = field(default_factory=dict[str, str])

    def of(self, model: str) -> list[Known]:
        """Those of a model, newest last."""
        return [known for known in self.schemas if known.schema.model == model]

    def find(self, model: str, version: str | None) -> Known | None:
        """That of a version; without one, the newest of the model."""
        found = [known for known in self.of(model) if version in (None, known.schema.version)]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Registration:
    """The outcome of `register_schema`. `before`: what the schema was compared with: that of the same version,
    else the newest of the model."""

    schema: Schema
    before: Known | None
    changes: tuple[Change, ...]
    outcome: Outcome

    @property
    def breaking(self) -> list[Change]:
        """The changes that break."""
        return [change for change in self.changes if change.breaks]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "outcome": self.outcome,
            "model": self.schema.model,
            "version": self.schema.version,
            "revision": self.schema.revision,
            "compared_with": self.before.row() if self.before else None,
            "breaks": bool(self.breaking),
            "changes": changes_as_data(self.changes),
        }


def changes_as_data(changes: tuple[Change, ...] | list[Change]) -> list[dict[str, Any]]:
    """Changes with what they mean for events, for tables and JSON."""
    return [{**msgspec.to_builtins(change), "events": consequence(change)} for change in changes]


async def published_schemas(bus: ControlBus) -> Catalogue:
    """What is on the control topic. As for the workers: what a person registered, else what the newest reference
    of the version implies."""
    registered: dict[tuple[str, str], Schema] = {}
    implied: dict[tuple[str, str], Schema | bytes] = {}
    order: dict[tuple[str, str], None] = {}
    unreadable: dict[str, str] = {}
    for message in await bus.read_all(CONTROL):
        key = (message.key or b"").decode(errors="replace")
        kind, *names = key.split("/")
        if kind not in ("schema", "implied-schema", "reference") or len(names) < 2 or not message.value:
            continue
        version = unquote(names[0]), unquote(names[1])
        try:
            if kind == "schema":
                registered[version] = Schema.from_json(message.value)
            else:
                # A reference is large: it is read only where the schema that follows it is not there.
                implied[version] = message.value if kind == "reference" else Schema.from_json(message.value)
        except SchemaInvalid as error:
            unreadable[key] = str(error)
            continue
        order.pop(version, None)
        order[version] = None
    catalogue = Catalogue(unreadable=unreadable)
    for version in order:
        try:
            catalogue.schemas.append(_in_force(registered.get(version), implied.get(version)))
        except (SchemaInvalid, DetectorError) as error:
            unreadable["reference/{}/{}".format(*version)] = str(error)
    return catalogue


async def register_schema(
    bus: ControlBus, schema: Schema, *, force: bool = False, dry_run: bool = False
) -> Registration:
    """Publish a schema for its version unless the change breaks events (`force`: all the same) or says what is
    registered already. `dry_run`: only say what would become of it."""
    found = decide(schema, await published_schemas(bus), force)
    if found.outcome != "registered":
        return found
    if dry_run:
        return Registration(found.schema, found.before, found.changes, "would register")
    key, value = schema_record(schema)
    await bus.publish(CONTROL, key=key, value=value)
    return found


def decide(schema: Schema, catalogue: Catalogue, force: bool) -> Registration:
    """What shall become of a schema, in the light of those that are there."""
    before = catalogue.find(schema.model, schema.version) or catalogue.find(schema.model, None)
    changes = tuple(compare(before.schema, schema)) if before else ()
    outcome: Outcome = "registered"
    if before is not None and before.origin == "registered" and before.schema == schema:
        outcome = "unchanged"
    elif not force and any(change.breaks for change in changes):
        outcome = "refused"
    return Registration(schema, before, changes, outcome)


def _in_force(registered: Schema | None, implied: Schema | bytes | None) -> Known:
    if registered is not None:
        return Known(registered, "registered")
    if isinstance(implied, Schema):
        return Known(implied, "reference")
    return Known(schema_of_reference(Reference.from_json(implied or b"")), "reference")
