"""People pause all actions, let them go on, and reset breakers: who may, and what is recorded."""

from datetime import UTC, datetime

from remediation.clock import US_PER_S
from remediation.entitlement import entitled
from remediation.errors import AlreadyPaused
from remediation.policy import Policy
from remediation.ports import Clock, Journal
from remediation.reasons import stated
from remediation.switches import PAUSE, Switch


def turn(
    journal: Journal,
    clock: Clock,
    name: str,
    *,
    on: bool,
    by: str,
    reason: str,
    policy: Policy,
    channel: str,
) -> Switch:
    """Pause all actions, let them go on, or reset a breaker; on the record, with who and why. To say the same again
    changes nothing. Raises `ReasonMissing`, `NotEntitled` for whom the policy does not let, and `AlreadyPaused`
    where another pause is in force."""
    why = stated(reason)
    by = entitled(policy, by, channel, policy.operators)
    with journal.transaction() as unit:
        known = unit.switch(name)
        if known is not None and known.on == on and name == PAUSE:
            if on and (known.by, known.reason) != (by, why):
                raise AlreadyPaused(_told(known))
            return known
        switch = Switch(name=name, on=on, by=by, reason=why, at_us=clock.now_us())
        unit.set_switch(switch, actor=by)
        return switch


def _told(paused: Switch) -> str:
    since = datetime.fromtimestamp(paused.at_us / US_PER_S, UTC)
    first = f"already paused by {paused.by} since {since:%Y-%m-%d %H:%M} UTC: {paused.reason}"
    return f"{first}; your reason was not recorded"
