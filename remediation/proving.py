"""Whether an action has helped, or a version does well with its share: what is known, judged as its plan says."""

from remediation.config import AgentConfig, VerificationConfig
from remediation.observed import Observer, Remembered
from remediation.playbooks.proposal import controls
from remediation.ports import Reader
from remediation.proof import Proof
from remediation.values import Desired, Incident, Plan
from remediation.verification import Verdict, verify


def required(plan: Plan | None, config: AgentConfig) -> VerificationConfig:
    """How surely it has to be proven: as the approved plan says; without one, as the policy does."""
    if plan is None:
        return config.policy.verification.settled(config.verification)
    said = controls(plan).verify
    return said.settled(config.verification) if isinstance(said, Proof) else config.verification


def judged(
    unit: Reader,
    incident: Incident,
    desired: Desired | None,
    plan: Plan | None,
    *,
    config: AgentConfig,
    remembered: Remembered,
    share_of: str | None = None,
) -> Verdict:
    """The verdict on the version that serves; with `share_of` on a version that answers only a share as yet, or, where
    that is what the plan does, only scores beside it."""
    if desired is None:
        return Verdict(outcome="inconclusive", sentence=f"no version of {incident.model} is decided")
    needed = required(plan, config)
    observer = Observer(config, needed, remembered)
    if share_of is None or plan is None:
        observed = observer.observe(unit, incident, desired)
    elif plan.action == "shadow":
        observed = observer.of_shadow(unit, incident, desired, share_of)
    else:
        observed = observer.of_share(unit, incident, desired, share_of, plan.epoch)
    return verify(observed, needed)
