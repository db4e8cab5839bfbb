"""Models whose servers follow the registry's alias by themselves."""

import asyncio

from remediation.acknowledgements import Standing
from remediation.ports import Registry
from remediation.values import Arrangement, Desired
from serving.actuators.progress import Patience, loaded, refused, waiting
from serving.actuators.values import MlflowAliasReach
from serving.model_errors import ServingError


class MlflowAlias:
    """Sets the alias `champion`, and reads it back (fulfils `remediation.ports.Actuator`)."""

    proves = (
        "The alias `champion` in the registry names the version; whether any server has loaded it, and which bytes, is "
        "not known."
    )

    def __init__(self, registry: Registry, reach: MlflowAliasReach) -> None:
        self._registry = registry
        self._reach = reach

    def refusal(self, desired: Desired) -> str | None:
        """An alias names one version, and nothing else."""
        if desired.arrangement != Arrangement():
            return (
                "an alias names one version that answers every request; it knows no arrangement beside that"
            )
        return None

    async def apply(self, desired: Desired) -> None:
        """Raises `ServingError`."""
        await asyncio.to_thread(self._registry.set_champion, desired.model, desired.version)

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        """Where the alias points, and whether the version still has the decided digest."""
        patience: Patience = {"asked_us": asked_us, "now_us": now_us, "patience_s": self._reach.patience_s}
        try:
            card = await asyncio.to_thread(self._registry.version, desired.model, desired.version)
            pointed = await asyncio.to_thread(self._registry.champion, desired.model)
        except ServingError as error:
            return waiting(str(error), **patience)
        if card is None or card.digest != desired.digest:
            has = "is not registered any more" if card is None else f"is registered with {card.digest}"
            return refused(f"version {desired.version} {has}; decided was {desired.digest}")
        if pointed != desired.version:
            return waiting(f"the alias champion names {pointed}, not {desired.version}", **patience)
        return loaded(f"the alias champion names version {desired.version}", now_us=now_us)
