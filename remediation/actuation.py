"""The actuator of models that our own inference servers serve."""

from remediation import actions
from remediation.acknowledgements import Acknowledgements, Standing
from remediation.config import AgentConfig, ExecutionConfig
from remediation.playbooks.proposal import controls
from remediation.ports import Publisher
from remediation.values import Desired, Plan

HOMEOSTAT = "homeostat"


_SERVERS = ("publish", "acknowledge", "undo.publish", "undo.acknowledge")


def allowed_s(name: str, plan: Plan, config: AgentConfig) -> float:
    """How long a step may take in all: as the plan says, else as any step; one that waits for servers elsewhere as long
    as their actuator is patient."""
    said, usual = controls(plan).timeout_s, config.execution.step_s
    if said is None and actions.base(name) in _SERVERS:
        return max(usual, config.patience_s.get(plan.actuator, 0.0))
    return usual if said is None else said


class OwnServing:
    """Publishes the desired state, and reads what the inference servers acknowledge."""

    proves = (
        "Every inference server that is alive has the bytes with this digest in memory and answers as arranged; "
        "of one that fell silent nothing is known."
    )

    def __init__(
        self, publisher: Publisher, acknowledgements: Acknowledgements, config: ExecutionConfig
    ) -> None:
        self._publisher = publisher
        self._acknowledgements = acknowledgements
        self._config = config

    def refusal(self, desired: Desired) -> str | None:
        """It starts and stops no servers."""
        if desired.arrangement.replicas is not None:
            return "inference servers are started and stopped by whoever runs them, not from here"
        return None

    async def apply(self, desired: Desired) -> None:
        """Make the state known to the servers."""
        await self._publisher.publish_desired(desired)

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        """What the servers have said so far."""
        return self._acknowledgements.standing(desired, asked_us=asked_us, now_us=now_us, config=self._config)
