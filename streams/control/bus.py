"""What publishing configuration needs of a bus, and the one way in which a reference is published."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
import structlog

from detectors.reference import Reference
from detectors.sequential.hearing import Statement
from streams.bus import Message
from streams.control.configuration import reference_record, statement_record
from streams.control.learning import InForce
from streams.control.schemas import SchemaInvalid, implied_schema_record, schema_of_reference
from streams.control.shadowing import Shadowing
from streams.topics import CONTROL

_log = structlog.get_logger()


class Publishing(Protocol):
    """A bus that takes records."""

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Returns when the broker has the record."""
        ...


class ControlBus(Publishing, Protocol):
    """A bus that can be read as well."""

    async def read_all(self, topic: str) -> list[Message]:
        """Everything in the topic now."""
        ...


async def publish_statement(bus: Publishing, statement: Statement) -> None:
    """Put what a person said about an alert on the control topic, where the judge hears it."""
    key, value = statement_record(statement)
    await bus.publish(CONTROL, key=key, value=value)


async def publish_shadowing(bus: Publishing, shadowing: Shadowing) -> None:
    """Put on the control topic which versions of a model only score. Before the references of these versions: then
    nobody measures an event of a shadow without knowing that it is one."""
    await bus.publish(CONTROL, key=shadowing.key, value=shadowing.to_json())


async def publish_reference(bus: Publishing, reference: Reference, effective_us: int = 0) -> None:
    """Put a reference on the control topic, and beside it the schema that it implies: who sends events reads
    there what they must look like, without knowing references. effective_us: the event time from which on it counts;
    0: for every pane that begins from now on.

    A schema that a person registered has a key of its own and is left alone. A reference that implies no
    schema is published all the same, and that is told: a rollback does not wait for it.
    """
    if effective_us:
        told = InForce(
            model=reference.model,
            version=reference.version,
            revision=reference.revision,
            effective_us=effective_us,
        )
        await bus.publish(CONTROL, key=told.key, value=msgspec.json.encode(told))
    key, value = reference_record(reference)
    await bus.publish(CONTROL, key=key, value=value)
    try:
        key, value = implied_schema_record(schema_of_reference(reference))
    except SchemaInvalid as error:
        _log.warning("A reference implies no schema; only the reference was published.", reason=str(error))
        return
    await bus.publish(CONTROL, key=key, value=value)
