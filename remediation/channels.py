"""Where people are told beside the place where they decide: what the policy file says about each channel.

A secret never stands in the file: it names the environment variable that holds it.
"""

from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

import msgspec

from remediation.values import Incident

Event = Literal[
    "approval_requested",
    "approval_decided",
    "reminder",
    "escalation",
    "incident_resolved",
    "incident_escalated",
    "incident_ended",
    "overdue",
    "notice",
]
Severity = Literal["warning", "critical"]
Kind = Literal[
    "approval_requested",
    "approval_changed",
    "approval_decided",
    "approval_reminded",
    "incident_closed",
    "noticed",
]
"""What the outbox sends; an event is the same as people choose by it."""

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
Variable = Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Url = Annotated[str, msgspec.Meta(pattern="^https?://[^\\s]+$", max_length=2_000)]
Address = Annotated[str, msgspec.Meta(pattern="^[^\\s@,<>]+@[^\\s@,<>]+$", max_length=320)]


class Sending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`events` of incidents of these `severities` and `models` (a shell pattern); what is not given is not asked."""

    events: tuple[Event, ...] = ()
    severities: tuple[Severity, ...] = ()
    models: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "*"

    def covers(self, event: Event, severity: Severity, model: str) -> bool:
        """Whether this is one of them."""
        return (
            (not self.events or event in self.events)
            and (not self.severities or severity in self.severities)
            and fnmatchcase(model, self.models)
        )

    @property
    def told(self) -> str:
        """The same for people."""
        events = ", ".join(self.events) or "everything"
        severities = f" of {' and '.join(self.severities)} incidents" if self.severities else ""
        return f"{events}{severities}" + ("" if self.models == "*" else f" of {self.models}")


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One channel. What any entry of `send` covers goes there; without entries what its kind is for."""

    _usual: ClassVar[Sending] = Sending()
    _always: ClassVar[tuple[Event, ...]] = ()
    name: Name
    send: tuple[Sending, ...] = ()

    def wants(self, event: Event, severity: Severity, model: str) -> bool:
        """Whether this is told here; `model` is empty where it is about none."""
        if event in self._always:
            return True
        return any(each.covers(event, severity, model) for each in self.sends)

    @property
    def sends(self) -> tuple[Sending, ...]:
        """What goes there."""
        return self.send or (self._usual,)

    @property
    def kind(self) -> str:
        """As the file calls it."""
        return str(self.__struct_config__.tag)


class EmailChannel(Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="email"):
    """Mail `to` these addresses, through the server of HOMEOSTAT_SMTP_URL; whom a reminder names gets it too."""

    to: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1, max_length=50)]


class WebhookChannel(Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="webhook"):
    """JSON to `url`, signed with the secret that the variable `secret_env` holds."""

    url: Url
    secret_env: Variable


class TeamsChannel(Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="teams"):
    """A card in Microsoft Teams. `url_env` holds the address of a workflow, which is a secret."""

    url_env: Variable


class PagerDutyChannel(Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="pagerduty"):
    """PagerDuty's Events API v2; `key_env` holds the integration key. Who was called is always called off."""

    _usual: ClassVar[Sending] = Sending(events=("escalation", "incident_escalated", "overdue"))
    _always: ClassVar[tuple[Event, ...]] = ("approval_decided", "incident_resolved", "incident_ended")
    key_env: Variable
    url: Url = "https://events.pagerduty.com/v2/enqueue"


AnyChannel = EmailChannel | WebhookChannel | TeamsChannel | PagerDutyChannel
"""The kinds there are; `kind` in the file says which."""


def ending(incident: Incident) -> Event:
    """What the end of an incident is called."""
    ends: dict[str, Event] = {"resolved": "incident_resolved", "escalated": "incident_escalated"}
    return ends.get(incident.state, "incident_ended")


def channel_problems(channels: tuple[AnyChannel, ...]) -> list[str]:
    """What is wrong with them together."""
    names = [each.name for each in channels]
    twice = sorted({each for each in names if names.count(each) > 1})
    return [f"channels: two have the name {each!r}; what was told is kept by name" for each in twice]
