"""Actions as values: their steps in order, which one is next, and when there is something to undo."""

from typing import Literal

import msgspec

from remediation.clock import seconds
from remediation.identity import action_id
from remediation.values import Action, ActionKind, ActionState, Plan, Step

PREPARE = ("collect", "train", "gate")
"""No effect outside the agent: done again as a whole when the agent dies in between."""

SERVE = ("decide", "publish", "acknowledge")
"""A change of what serves, or of how: one write in the database, made known, and acknowledged by the servers."""

CALL = ("call",)
"""An effect outside: with a key, so that a second attempt is the same call."""

FORWARD: dict[ActionKind, tuple[str, ...]] = {
    "rollback": SERVE,
    "retrain": (*PREPARE, "register", *SERVE),
    "promote": SERVE,
    "shift_traffic": SERVE,
    "shadow": SERVE,
    "fall_back": SERVE,
    "quarantine_feature": SERVE,
    "pause_model": SERVE,
    "raise_log_detail": SERVE,
    "scale_replicas": SERVE,
    "refresh_reference": CALL,
    "open_issue": CALL,
    "http_call": CALL,
    "run_command": CALL,
}
UNDO = ("undo.decide", "undo.publish", "undo.acknowledge")

StepState = Literal["intended", "done", "failed"]

RUNNING: tuple[ActionState, ...] = ("intended", "executing", "awaiting_ack", "verifying")


def new_action(plan: Plan, *, now_us: int) -> Action:
    """The intent, before anything is done."""
    return Action(
        id=action_id(plan),
        plan_id=plan.id,
        incident_id=plan.incident_id,
        kind=plan.action,
        model=plan.model,
        started_us=now_us,
        to_version=plan.to_version,
        to_digest=plan.to_digest,
    )


def step_of(action: Action, name: str) -> Step | None:
    """The record of a step, if it was ever intended."""
    return next((step for step in action.steps if step.name == name), None)


def is_done(action: Action, name: str) -> bool:
    """The step has had its effect, and that is on record."""
    step = step_of(action, name)
    return step is not None and step.state == "done"


def undoing(action: Action) -> bool:
    """The action has failed and is being taken back."""
    return step_of(action, UNDO[0]) is not None


def next_step(action: Action) -> str | None:
    """The first step that is not done; None when all are (or when the action is over)."""
    if action.state not in RUNNING:
        return None
    order = UNDO if undoing(action) else FORWARD[action.kind]
    return next((name for name in order if not is_done(action, name)), None)


def with_step(
    action: Action,
    name: str,
    state: StepState,
    *,
    at_us: int,
    detail: str = "",
) -> Action:
    """Record a step. A step that is intended again keeps the time of its first intent: its deadline counts
    from there."""
    known = step_of(action, name)
    if known is not None and state == "intended" and known.state == "intended":
        at_us = known.at_us
    step = Step(name=name, state=state, at_us=at_us, detail=detail)
    steps = tuple(step if each.name == name else each for each in action.steps)
    return msgspec.structs.replace(action, steps=steps if known else (*action.steps, step))


def prepared_again(action: Action) -> Action:
    """The action without the steps whose results lived in the memory of an agent that is gone."""
    lost = (*PREPARE, "register")
    return msgspec.structs.replace(
        action, steps=tuple(step for step in action.steps if step.name not in lost)
    )


def leased(action: Action, *, by: str, now_us: int, lease_s: float) -> Action:
    """The action with a lease of `lease_s` from now."""
    return msgspec.structs.replace(action, lease_by=by, lease_until_us=now_us + seconds(lease_s))


def free_for(action: Action, *, by: str, now_us: int) -> bool:
    """Nobody else works on it: it was never leased, is leased by `by`, or the lease ran out."""
    return action.lease_by in ("", by) or action.lease_until_us <= now_us


def ended(action: Action, state: ActionState, *, now_us: int, outcome: str) -> Action:
    """The action at its end."""
    return msgspec.structs.replace(
        action, state=state, finished_us=now_us, outcome=outcome, lease_by="", lease_until_us=0
    )
