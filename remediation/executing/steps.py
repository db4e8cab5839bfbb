"""Which module carries out which step."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from remediation.errors import StepFailed
from remediation.executing.call import Call
from remediation.executing.endings import Endings
from remediation.executing.hold import Hold
from remediation.executing.parts import Parts
from remediation.executing.retrain import Retrain
from remediation.executing.serve import Serve
from remediation.values import Action, Plan

Perform = Callable[[str, Action, Plan], Awaitable[None]]


def steps(parts: Parts, endings: Endings) -> Mapping[str, Perform]:
    """What to do for a step, by its name without the number of its stage. Each is given the step's full name."""
    serve, retrain, call = Serve(parts, endings), Retrain(parts), Call(parts, endings)
    return {
        **dict.fromkeys(("collect", "train", "gate", "register"), retrain.prepare),
        **dict.fromkeys(("publish", "undo.publish"), serve.publish),
        **dict.fromkeys(("acknowledge", "undo.acknowledge"), serve.acknowledge),
        "decide": serve.decide,
        "hold": Hold(parts, endings).hold,
        "undo.decide": serve.undo,
        "call": call.call,
        "undo.call": call.undo,
        "cancel": partial(_cancel, retrain),
    }


async def _cancel(retrain: Retrain, name: str, action: Action, plan: Plan) -> None:
    step = next(each for each in action.steps if each.name == name)
    if plan.action != "retrain":
        raise StepFailed(step.detail)
    raise StepFailed(f"{step.detail}; {await asyncio.to_thread(retrain.left, action, plan)}")
