"""What the steps of every action work with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from remediation import actions
from remediation.config import AgentConfig
from remediation.errors import StepFailed
from remediation.ledger import Ledger
from remediation.looks import Looks
from remediation.observed import Remembered
from remediation.playbooks.proposal import controls
from remediation.ports import Actuator, Caller, Clock, Journal, Reader, Registry
from remediation.training_run import TrainingRuns
from remediation.values import Action, Desired, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The ports, the record and the configuration."""

    journal: Journal
    ledger: Ledger
    registry: Registry
    looks: Looks
    runs: TrainingRuns
    actuators: Mapping[str, Actuator]
    caller: Caller | None
    clock: Clock
    config: AgentConfig
    remembered: Remembered = field(default_factory=Remembered)
    """How segments did before the actions under way."""

    def actuator(self, plan: Plan) -> Actuator:
        """What reaches the servers of the plan's model. Raises `StepFailed` where there is none of that name."""
        found = self.actuators.get(plan.actuator)
        if found is None:
            known = ", ".join(sorted(self.actuators))
            raise StepFailed(f"no actuator is called {plan.actuator!r}; this agent knows: {known}")
        return found

    def attempt_s(self, plan: Plan) -> float:
        """How long one attempt at an effect may take."""
        said = controls(plan).timeout_s
        return self.config.execution.step_s if said is None else said


def own_desired(unit: Reader, action: Action, plan: Plan) -> Desired:
    """The state that this action decided last. Raises `StepFailed` when somebody decided another one since: that is
    theirs to bring about."""
    desired = unit.desired(plan.model)
    if desired is None or desired.epoch != actions.own_epoch(action, plan):
        raise StepFailed(superseded(desired))
    return desired


def superseded(desired: Desired | None) -> str:
    """That somebody else has decided since, in words."""
    if desired is None:
        return "superseded: no version is decided any more"
    who = f"{desired.decided_by} made version {desired.version} serve"
    return f"superseded: {who} (epoch {desired.epoch}): {desired.reason}"
