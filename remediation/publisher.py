"""Making a decided version known, in an order in which nobody is surprised."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from remediation.bus import Bus
from remediation.ports import Registry
from remediation.values import Desired

log = structlog.get_logger()

Announce = Callable[[Desired], Awaitable[None]]
"""Puts the monitor and the reference of a version on the control topic."""


class BusPublisher:
    """Publishes a desired state: monitor and reference first (so that the judge knows the version before its
    first event), then the desired state (serving follows it and refuses older epochs), then the registry's
    alias.

    Every part may be repeated. The alias is a projection: when the registry is away it is left as it is, and
    the agent's reconciliation sets it later, because a rollback must not wait for a registry.
    """

    def __init__(self, bus: Bus, registry: Registry, *, desired_topic: str, announce: Announce) -> None:
        self._bus = bus
        self._registry = registry
        self._desired_topic = desired_topic
        self._announce = announce

    async def publish_desired(self, desired: Desired) -> None:
        """Returns when the broker has the control records and the desired state."""
        await self._announce(desired)
        await self._bus.publish(
            self._desired_topic, key=desired.model.encode(), value=msgspec.json.encode(desired)
        )
        try:
            await asyncio.to_thread(self._registry.set_champion, desired.model, desired.version)
        except Exception:
            log.exception(
                "The registry's alias could not be moved; it will be set later",
                model=desired.model,
                version=desired.version,
            )
