"""How much may be done: limits that hold whatever is proposed, approved or repeated.

They are checked when a step is proposed, so that nobody is asked for what could not be done, and again in the
transaction in which its action starts, where only one agent at a time passes.
"""

from typing import Annotated, Final, Literal

import msgspec

from detectors.values import Value
from remediation import actions
from remediation.clock import seconds
from remediation.playbooks.proposal import is_cleanup
from remediation.ports import Reader, Unit
from remediation.switches import PAUSE, breaker_of
from remediation.values import Action, ActionKind, Plan
from remediation.vocabulary import ACTIONS

_DAY_S: Final = 86_400.0
_MOST: Final = 10_000
"""Actions that a look back may find: far more than the limits let come about in its time."""

Count = Annotated[int, msgspec.Meta(ge=1, le=400)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`actions_per_day`: of one model, in the last 24 hours; an end of what was on for an incident's time does not
    count where others decided first, for it changed nothing. `at_once`: of all models; of one model there is never more
    than one, beside what waits for the end of a freeze. `retrainings` of one model in `retraining_days` days: if it
    still drifts then, another one would not help, and people have to look. `failures`: so many failed actions of one
    kind in a row, all begun in the last `failure_days` days, open the breaker of that kind, until a person resets
    it."""

    actions_per_day: Count = 12
    at_once: Count = 20
    retrainings: Count = 2
    retraining_days: Annotated[float, msgspec.Meta(gt=0, le=366)] = 7.0
    failures: Count = 3
    failure_days: Annotated[float, msgspec.Meta(gt=0, le=366)] = 30.0


class Refusal(Value, frozen=True, kw_only=True):
    """Why an action may not start. `wait`: it may later, by itself; `stop`: people have to look."""

    effect: Literal["wait", "stop"]
    reason: str


def refusal(unit: Reader, plan: Plan, limits: Limits, *, now_us: int) -> Refusal | None:
    """Why the action of a plan may not start now; None when it may."""
    held = held_up(unit, plan.model, limits)
    if held is not None:
        return Refusal(effect="wait", reason=held)
    return (
        _too_many_today(unit, plan, limits, now_us)
        or _trained_in_vain(unit, plan, limits, now_us)
        or _broken(unit, plan.action, limits, now_us)
    )


def held_up(unit: Reader, model: str, limits: Limits) -> str | None:
    """Why no action of a model may start for now, whatever it is; None when one may."""
    if (paused := paused_by(unit)) is not None:
        return paused
    # What waits for the end of a freeze may wait for days, and whoever breaks the glass has to get past it.
    begun = unit.actions(states=actions.RUNNING, limit=_MOST)
    running = [each for each in begun if not actions.on_hold(each)]
    own = next((each for each in running if each.model == model), None)
    if own is not None:
        return f"{own.id} ({own.kind}) of {model} is still under way"
    if len(running) >= limits.at_once:
        return f"{len(running)} actions are under way, and {limits.at_once} may be at once"
    return None


def paused_by(unit: Reader) -> str | None:
    """Who has paused all actions, and why; None where nobody has."""
    paused = unit.switch(PAUSE)
    return (
        f"{paused.by} has paused all actions: {paused.reason}" if paused is not None and paused.on else None
    )


def start(unit: Unit, plan: Plan, action: Action, limits: Limits, *, actor: str) -> Refusal | None:
    """Record the intent of an action, if the limits allow it; only one transaction at a time decides this. None when it
    is on record, also where it was before."""
    unit.alone("actions")
    if unit.action(action.id) is not None:
        return None
    refused = refusal(unit, plan, limits, now_us=action.started_us)
    if refused is None:
        unit.add_action(action, actor=actor)
    return refused


def failures_in_a_row(unit: Reader, kind: ActionKind, *, since_us: int) -> list[Action]:
    """The failed actions of a kind that were begun since then, since its breaker was reset and since one of them
    succeeded, the newest first."""
    reset = unit.switch(breaker_of(kind))
    found: list[Action] = []
    for action in unit.actions(
        states=("succeeded", "failed", "reverted"), kind=kind, since_us=since_us, limit=_MOST
    ):
        if reset is not None and (action.finished_us or 0) <= reset.at_us:
            continue
        if action.state == "succeeded":
            break
        if not _harmless(action):
            found.append(action)
    return found


def open_breakers(unit: Reader, limits: Limits, *, now_us: int) -> dict[ActionKind, str]:
    """The kinds of action that a person has to allow again, each with the reason."""
    found: dict[ActionKind, str] = {}
    for kind in ACTIONS:
        refused = _broken(unit, kind, limits, now_us)
        if refused is not None:
            found[kind] = refused.reason
    return found


def _too_many_today(unit: Reader, plan: Plan, limits: Limits, now_us: int) -> Refusal | None:
    today = unit.actions(model=plan.model, since_us=now_us - seconds(_DAY_S) + 1, limit=_MOST)
    if len(today) < limits.actions_per_day:
        return None
    today = [each for each in today if not _overtaken(unit, each)]
    if len(today) < limits.actions_per_day:
        return None
    return _stop(
        f"{plan.model} has had {len(today)} actions in 24 hours; {limits.actions_per_day} are allowed"
    )


def _overtaken(unit: Reader, action: Action) -> bool:
    """Whether it was to end what was on for an incident's time, and decided nothing."""
    if action.state != "failed" or actions.decisions(action):
        return False
    plan = unit.plan(action.plan_id)
    return plan is not None and is_cleanup(plan)


def _trained_in_vain(unit: Reader, plan: Plan, limits: Limits, now_us: int) -> Refusal | None:
    if plan.action != "retrain":
        return None
    since_us = now_us - seconds(limits.retraining_days * _DAY_S) + 1
    trained = unit.actions(model=plan.model, kind="retrain", since_us=since_us, limit=_MOST)
    if len(trained) < limits.retrainings:
        return None
    return _stop(
        f"drift persists after {len(trained)} retrainings of {plan.model} in {limits.retraining_days:g} days: "
        "another one is not tried"
    )


def _broken(unit: Reader, kind: ActionKind, limits: Limits, now_us: int) -> Refusal | None:
    since_us = now_us - seconds(limits.failure_days * _DAY_S)
    failed = failures_in_a_row(unit, kind, since_us=since_us)
    if len(failed) < limits.failures:
        return None
    return _stop(
        f"the last {len(failed)} actions of the kind {kind} failed, the last one with: {failed[0].outcome}; a person "
        f"has to look, and to reset it (homeostat agent reset-breaker {kind})"
    )


def _harmless(action: Action) -> bool:
    """A candidate that was not good enough, and what a person stopped, say nothing against the kind of action."""
    last = action.steps[-1].name if action.steps else ""
    return last in ("collect", "gate") or actions.step_of(action, actions.CANCEL) is not None


def _stop(reason: str) -> Refusal:
    return Refusal(effect="stop", reason=reason)
