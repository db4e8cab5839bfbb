"""What was decided must become known: a process that died between the two leaves work to the agent."""

import asyncio
from collections.abc import Mapping

import msgspec
import structlog

from remediation.bus import Bus
from remediation.config import AgentConfig
from remediation.ports import Actuator, Clock, Journal, Publisher, Registry
from remediation.values import Desired

log = structlog.get_logger()


class Reconciliation:
    """Compares the authority (the row in the journal) with its projections: the desired-state topic, which is
    published again where it is behind; whoever serves a model elsewhere, who is told again; and the registry's alias,
    which is set where it points elsewhere. A model that cannot be reconciled keeps no other one from it.

    actuators: by name, for the models that `config.actuator` gives to one of them.
    """

    def __init__(
        self,
        journal: Journal,
        bus: Bus,
        registry: Registry,
        publisher: Publisher,
        config: AgentConfig,
        *,
        actuators: Mapping[str, Actuator],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._bus = bus
        self._registry = registry
        self._publisher = publisher
        self._config = config
        self._actuators = actuators
        self._clock = clock

    async def reconcile(self) -> None:
        """One round over all models that were ever deployed."""
        published = await self._published()
        for desired in await asyncio.to_thread(self._decided):
            try:
                await self._reconcile(desired, published)
            except Exception:
                log.exception("A model could not be reconciled and will be tried again", model=desired.model)

    async def _reconcile(self, desired: Desired, published: Mapping[str, int]) -> None:
        """What was decided meanwhile is made known by whoever decides it. Where that happened between a look and a
        repair, the repair has put back what was decided before, and is done again by the new decision."""
        if await self._newest(desired.model) != desired:
            return
        while await self._repaired(desired, published):
            newest = await self._newest(desired.model)
            if newest is None or newest == desired:
                return
            desired = newest

    async def _repaired(self, desired: Desired, published: Mapping[str, int]) -> bool:
        """Whether anything was not as it was decided."""
        elsewhere = self._actuators.get(self._config.actuator(desired.model))
        applied = False
        if elsewhere is not None:
            now_us = self._clock.now_us()
            standing = await elsewhere.observe(desired, asked_us=desired.at_us, now_us=now_us)
            if standing.state != "loaded":
                log.warning("A decided state is not in force", model=desired.model, why=standing.sentence)
                await elsewhere.apply(desired)
                applied = True
        elif published.get(desired.model, 0) < desired.epoch:
            log.warning("A decided version was not known yet", model=desired.model, version=desired.version)
            await self._publisher.publish_desired(desired)
            return True
        return await asyncio.to_thread(self._align_alias, desired) or applied

    async def _newest(self, model: str) -> Desired | None:
        def read() -> Desired | None:
            with self._journal.reading() as unit:
                return unit.desired(model)

        return await asyncio.to_thread(read)

    async def _published(self) -> dict[str, int]:
        epochs: dict[str, int] = {}
        for message in await self._bus.read_all(self._config.desired_topic):
            if message.value is not None:
                desired = msgspec.json.decode(message.value, type=Desired)
                epochs[desired.model] = max(desired.epoch, epochs.get(desired.model, 0))
        return epochs

    def _decided(self) -> list[Desired]:
        with self._journal.reading() as unit:
            found = [unit.desired(model) for model in unit.deployed_models()]
        return [each for each in found if each is not None]

    def _align_alias(self, desired: Desired) -> bool:
        pointed = self._registry.champion(desired.model)
        if pointed == desired.version:
            return False
        log.warning(
            "The registry's alias pointed elsewhere and was set",
            model=desired.model,
            was=pointed,
            now=desired.version,
        )
        self._registry.set_champion(desired.model, desired.version)
        return True
