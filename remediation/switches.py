"""What people turn for all of the agents: the pause, and breakers."""

from typing import Final

from detectors.values import Value
from remediation.values import ActionKind

PAUSE: Final = "pause"
_BREAKER: Final = "breaker."


class Switch(Value, frozen=True, kw_only=True):
    """Who turned it last, when and why. `pause`: on while no action starts. `breaker.KIND`: reset at that time."""

    name: str
    on: bool
    by: str
    reason: str
    at_us: int


def breaker_of(kind: ActionKind) -> str:
    """The switch that says since when failures of a kind count."""
    return f"{_BREAKER}{kind}"


def verb(switch: Switch) -> str:
    """What the audit log calls it."""
    if switch.name.startswith(_BREAKER):
        return "breaker.reset"
    return "agent.paused" if switch.on else "agent.resumed"
