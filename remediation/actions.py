"""Actions as values: their steps in order, which one is next, and what a failure takes back."""

from typing import Literal, NamedTuple

import msgspec

from remediation.clock import seconds
from remediation.identity import action_id
from remediation.playbooks.proposal import controls, is_cleanup
from remediation.values import Action, ActionKind, ActionState, Plan, Step

PREPARE = ("collect", "train", "gate")
"""No effect outside the agent: done again as a whole when the agent dies in between."""

SERVE = ("decide", "publish", "acknowledge")
"""A change of what serves, or of how: one write in the database, made known, and acknowledged by the servers."""

CALL = ("call",)
"""An effect outside: with a key, so that a second attempt is the same call."""

WAITS = "waits for the end of a freeze"
"""How the record of a step begins that does."""

UNDO_SERVE = ("undo.decide", "undo.publish", "undo.acknowledge")
UNDO_CALL = ("undo.call",)
CANCEL = "cancel"


class Rule(NamedTuple):
    """How a kind of action is carried out: its `steps`; whether recovery is `verified` after it (one that is not only
    informs, and its incident goes on); whether a failed verification takes it back (`undone`)."""

    steps: tuple[str, ...]
    verified: bool = True
    undone: bool = False


RULES: dict[ActionKind, Rule] = {
    # Going back to a version that is known to be bad helps nobody: what did not help stays, and people look.
    "rollback": Rule(SERVE),
    "fall_back": Rule(SERVE),
    "pause_model": Rule(SERVE),
    "scale_replicas": Rule(SERVE),
    # What was there before was better known than what replaced it.
    "retrain": Rule((*PREPARE, "register", *SERVE), undone=True),
    "promote": Rule(SERVE, undone=True),
    "shift_traffic": Rule(SERVE, undone=True),
    "quarantine_feature": Rule(SERVE, undone=True),
    # These change no answer.
    "shadow": Rule(SERVE, verified=False, undone=True),
    "raise_log_detail": Rule(SERVE, verified=False),
    "open_issue": Rule(CALL, verified=False),
    "http_call": Rule(CALL, verified=False),
    # What they mend outside has to show in the model; they are taken back where the plan says how.
    "refresh_reference": Rule(CALL, undone=True),
    "run_command": Rule(CALL, undone=True),
}

StepState = Literal["intended", "done", "failed"]
End = Literal["succeeded", "failed", "reverted"]

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


def base(name: str) -> str:
    """What a step does: its name without the number of its stage."""
    head, _, stage = name.rpartition(".")
    return head if stage.isdigit() else name


def stage_of(name: str) -> int:
    """The stage that a step belongs to, from 1."""
    stage = name.rpartition(".")[2]
    return int(stage) if stage.isdigit() else 1


def decisions(action: Action) -> int:
    """How often this action has decided what serves."""
    return sum(step.state == "done" and base(step.name).endswith("decide") for step in action.steps)


def own_epoch(action: Action, plan: Plan) -> int:
    """The epoch that this action decided last; that of its plan while it has decided nothing."""
    return plan.epoch + decisions(action)


def waits(step: Step) -> bool:
    """A step is on record as one that waits for the end of a freeze."""
    return step.state == "intended" and step.detail.startswith(WAITS)


def on_hold(action: Action) -> bool:
    """The action waits for the end of a freeze before it decides anything: nothing of it can be seen from outside."""
    if decisions(action) or cancelled(action) is not None:
        return False
    return any(base(step.name) == "decide" and waits(step) for step in action.steps)


def undoing(action: Action) -> bool:
    """The action has failed and is being taken back."""
    return any(step.name.startswith("undo.") for step in action.steps)


def cancelled(action: Action) -> Step | None:
    """The step in which a person asked to stop the action."""
    return step_of(action, CANCEL)


def forward(plan: Plan) -> tuple[str, ...]:
    """The steps of a plan in order. Traffic is shifted in stages: a share each, watched before the next; the last one
    is verified as a whole. A shadow that has to do well is watched until that is known."""
    steps = RULES[plan.action].steps
    if plan.action == "shadow" and proven(plan):
        return (*steps, "hold")
    if plan.action != "shift_traffic":
        return steps
    stages = range(1, len(controls(plan).shares or (1.0,)) + 1)
    return tuple(f"{name}.{stage}" for stage in stages for name in (*steps, "hold"))[:-1]


def backward(plan: Plan) -> tuple[str, ...]:
    """The steps that take a plan back; none where nothing can."""
    if "decide" in RULES[plan.action].steps:
        return () if is_cleanup(plan) else UNDO_SERVE
    return UNDO_CALL if controls(plan).undo is not None else ()


def next_step(action: Action, plan: Plan) -> str | None:
    """The first step that is not done; None when all are (or when the action is over)."""
    if action.state not in RUNNING:
        return None
    if cancelled(action) is not None and not undoing(action):
        return CANCEL
    order = backward(plan) if undoing(action) else forward(plan)
    return next((name for name in order if not is_done(action, name)), None)


def proven(plan: Plan) -> bool:
    """That it does well has to be proven of what the plan brings about."""
    said = controls(plan).verify
    return RULES[plan.action].verified if said is None else said is not False


def verified(plan: Plan) -> bool:
    """The model's recovery has to be proven after the plan's last step: not after what changes no answer."""
    return proven(plan) and plan.action != "shadow"


def undone_by(plan: Plan, failed_step: str) -> bool:
    """Whether the failure of a step takes back what was done. What servers do not load, and what a person cancels,
    is always taken back."""
    if failed_step != "verify" or controls(plan).on_failure == "undo":
        return True
    return RULES[plan.action].undone


def with_step(
    action: Action, name: str, state: StepState, *, at_us: int, detail: str = "", failures: int = 0
) -> Action:
    """Record a step. A step that is intended again keeps the time of its first intent: its deadline counts
    from there, or from the end of a freeze that it has waited for. `failures` are added to its attempts."""
    known = step_of(action, name)
    begins = known is None or known.state != "intended" or (base(name) == "decide" and waits(known))
    if known is not None and state == "intended" and not begins:
        at_us = known.at_us
    attempts = (known.attempts if known else 0) + failures
    step = Step(name=name, state=state, at_us=at_us, detail=detail, attempts=attempts)
    steps = tuple(step if each.name == name else each for each in action.steps)
    return msgspec.structs.replace(action, steps=steps if known else (*action.steps, step))


def broken_off(action: Action) -> Action:
    """The action without a preparation that is under way: what was not finished has come to nothing."""
    steps = tuple(
        msgspec.structs.replace(step, state="failed", detail="broken off")
        if step.name in PREPARE and step.state == "intended"
        else step
        for step in action.steps
    )
    return msgspec.structs.replace(action, steps=steps)


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
