"""When people are asked again, and who else is: a ticket that nobody decides must not expire in silence."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from detectors.values import Value
from remediation.clock import US_PER_S, seconds
from remediation.values import Approval

Minutes = Annotated[float, msgspec.Meta(gt=0, le=527_040)]
_MINUTE_S = 60.0


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is on call: `people` in turn, each for `every_h` hours, the first from `starts`."""

    people: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    starts: Annotated[datetime, msgspec.Meta(tz=True)]
    every_h: Annotated[float, msgspec.Meta(gt=0, le=8_784)] = 168.0

    def at(self, now_us: int) -> str:
        """The one on call at this time; before `starts` the first."""
        passed_s = now_us / US_PER_S - self.starts.astimezone(UTC).timestamp()
        return self.people[max(0, int(passed_s // (self.every_h * 3_600))) % len(self.people)]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After `after_min` minutes without a decision: tell `to` (a channel; none given: where the question stands) and
    name `people`, or whoever is on call."""

    after_min: Minutes
    to: str | None = None
    people: tuple[str, ...] = ()
    on_call: bool = False


class Reminder(Value, frozen=True, kw_only=True):
    """One message that is due. `name` is the same whenever it is worked out; `people` are names of the policy."""

    name: str
    kind: Literal["reminder", "escalation", "snooze_over"]
    waited_s: float
    to: str | None = None
    people: tuple[str, ...] = ()


def due(
    approval: Approval,
    *,
    every_min: float | None,
    steps: tuple[Step, ...],
    on_call: Rotation | None,
    now_us: int,
) -> list[Reminder]:
    """What people have to be told by now about a ticket that waits, the oldest first.

    Of the reminders that `every_min` asks for only the latest is due: who was away gets one, not ten. While a ticket is
    snoozed nothing is due; when the snooze is over one reminder is, and the steps that it held back.
    """
    if approval.state != "pending" or now_us >= approval.expires_us:
        return []
    if approval.snoozed_until_us is not None and now_us < approval.snoozed_until_us:
        return []
    waited_s = (now_us - approval.requested_us) / US_PER_S
    found: list[Reminder] = []
    for position, step in enumerate(steps):
        if waited_s >= step.after_min * _MINUTE_S:
            called = (on_call.at(now_us),) if step.on_call and on_call is not None else ()
            people = tuple(dict.fromkeys((*step.people, *called)))
            found.append(
                Reminder(
                    name=f"escalation-{position}",
                    kind="escalation",
                    waited_s=waited_s,
                    to=step.to,
                    people=people,
                )
            )
    if approval.snoozed_until_us is not None:
        name = f"snooze-{approval.snoozed_until_us}"
        found.append(Reminder(name=name, kind="snooze_over", waited_s=waited_s))
    number = int(waited_s // (every_min * _MINUTE_S)) if every_min else 0
    since_snooze_us = now_us - (approval.snoozed_until_us or 0)
    if every_min and number and since_snooze_us >= seconds(every_min * _MINUTE_S):
        found.append(Reminder(name=f"reminder-{number}", kind="reminder", waited_s=waited_s))
    return found
