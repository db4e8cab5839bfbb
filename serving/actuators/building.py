"""From the file to actuators, and the publisher that sends each model's decisions to its own."""

from collections.abc import Awaitable, Callable, Mapping

from remediation.acknowledgements import Standing
from remediation.ports import Actuator, Publisher, Registry
from remediation.values import Desired
from serving.actuators.kserve import KServe
from serving.actuators.mlflow_alias import MlflowAlias
from serving.actuators.sagemaker import SageMaker
from serving.actuators.values import (
    HOMEOSTAT,
    AnyReach,
    KServeReach,
    MlflowAliasReach,
    Reaches,
    SageMakerReach,
    WebhookReach,
)
from serving.actuators.webhook import Webhook

Announce = Callable[[Desired], Awaitable[None]]
"""Makes the references of the versions known to whoever measures them."""


class Announced:
    """An actuator that makes references known before a version answers its first request."""

    def __init__(self, actuator: Actuator, announce: Announce) -> None:
        self._actuator = actuator
        self._announce = announce

    @property
    def proves(self) -> str:
        """As the actuator says."""
        return self._actuator.proves

    def refusal(self, desired: Desired) -> str | None:
        """As the actuator says."""
        return self._actuator.refusal(desired)

    async def apply(self, desired: Desired) -> None:
        """Announce, then apply."""
        await self._announce(desired)
        await self._actuator.apply(desired)

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        """As the actuator says."""
        return await self._actuator.observe(desired, asked_us=asked_us, now_us=now_us)


class RoutedPublisher:
    """Makes a decision known to whoever serves its model (fulfils `remediation.ports.Publisher`)."""

    def __init__(self, own: Publisher, reaches: Reaches, actuators: Mapping[str, Actuator]) -> None:
        self._own = own
        self._reaches = reaches
        self._actuators = actuators

    async def publish_desired(self, desired: Desired) -> None:
        """Raises what the actuator raises."""
        name = self._reaches.name_for(desired.model)
        if name == HOMEOSTAT:
            await self._own.publish_desired(desired)
        else:
            await self._actuators[name].apply(desired)


def build_actuators(reaches: Reaches, registry: Registry, announce: Announce) -> dict[str, Actuator]:
    """By name, those that the file describes; our own servers are not among them."""
    return {each.name: Announced(_built(each, registry), announce) for each in reaches.elsewhere}


def _built(reach: AnyReach, registry: Registry) -> Actuator:
    match reach:
        case MlflowAliasReach():
            return MlflowAlias(registry, reach)
        case KServeReach():
            return KServe(reach)
        case SageMakerReach():
            return SageMaker(reach)
        case WebhookReach():
            return Webhook(reach)
        case _:
            raise TypeError(f"{reach.name} are our own servers")
