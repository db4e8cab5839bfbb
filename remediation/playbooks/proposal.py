"""What the lifecycle of an incident and the planner tell each other."""

from typing import Annotated, Any, Literal

import msgspec

from detectors.values import Value
from remediation.proof import Proof
from remediation.values import Action, Approval, Plan

OnFailure = Literal["next", "stop", "undo"]


class Tried(Value, frozen=True, kw_only=True):
    """One earlier step of an incident: its plan, the ticket, and what was done (None: nothing)."""

    plan: Plan
    approval: Approval | None = None
    action: Action | None = None


class Proposal(Value, frozen=True, kw_only=True):
    """The next step of an incident. With `approval_needed` people decide: `quorum` of them, each with one of `roles`,
    within `ttl_s` seconds (None: what the policy and the configuration say); else the playbook itself has decided.
    """

    plan: Plan
    approval_needed: bool = True
    roles: tuple[str, ...] | None = None
    quorum: int | None = None
    ttl_s: float | None = None


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is carried out; part of `Plan.parameters`, hence of what is approved.

    `timeout_s`: how long one attempt at an effect may take, and how long servers may take to acknowledge. `retries`:
    how often an attempt that failed is repeated (None: until the time of a step is up). `on_failure`: `next` goes on
    with the playbook, `stop` tells people, `undo` takes also back what a failed verification would leave, and stops.
    `verify`: whether recovery must be proven after it (None: as its kind is), or how surely. `hold_s`: how long a share
    of the traffic is watched at least before the next one. `keep`: what it turns on stays when the incident ends.
    `ends`: the action whose effect this plan ends, and nothing else (`remediation.cleanup`).
    """

    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    retries: Annotated[int, msgspec.Meta(ge=0)] | None = None
    on_failure: OnFailure = "stop"
    verify: bool | Proof | None = None
    hold_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    shares: tuple[Annotated[float, msgspec.Meta(gt=0, le=1)], ...] = ()
    undo: dict[str, Any] | None = None
    keep: bool = False
    ends: str = ""


def controls(plan: Plan) -> Controls:
    """The controls of a plan. Raises `msgspec.ValidationError` where one of them is none."""
    return msgspec.convert(plan.parameters, Controls)


def is_cleanup(plan: Plan) -> bool:
    """Whether a plan only ends what another one's action has turned on, and is no step of its own."""
    return "ends" in plan.parameters
