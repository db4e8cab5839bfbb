"""Who may decide about what, how many of them it takes, and when nothing may be changed.

Without a policy everybody who can reach a surface decides alone, as a team of two wants it. With one, people are known
by name, every surface maps its own identities to them, and a rule says whose consent a plan needs.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from remediation.channels import AnyChannel
from remediation.clock import US_PER_S
from remediation.crontab import cron_trigger
from remediation.grouping import Grouping
from remediation.limits import Limits
from remediation.proof import Proof
from remediation.reminders import Minutes, Rotation, Step
from remediation.values import ActionKind, Plan

Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may do, and as whom each surface knows them."""

    roles: Names = ()
    slack: str | None = None
    email: str | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Plans for `models` (a shell pattern) and `actions` (none given: all) need `quorum` people, each with one of
    `roles` (none given: everybody in the file). Without `self_approval` whoever made the version serve that a plan is
    about, or reported its release, is none of them, and nobody promotes alone."""

    models: Pattern = "*"
    actions: tuple[ActionKind, ...] = ()
    roles: Names = ()
    quorum: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    self_approval: bool = True

    @property
    def takes(self) -> int:
        """How many people with the roles there have to be, so that such a plan can always be approved."""
        return self.quorum + (not self.self_approval)


class Freeze(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing risky is done for `models` during `lasts_h` hours from each time of `schedule` (crontab, UTC)."""

    schedule: str
    lasts_h: Annotated[float, msgspec.Meta(gt=0, le=8_784)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    models: Pattern = "*"

    def until(self, now: datetime) -> datetime | None:
        """When the window that covers `now` ends; None outside of all windows."""
        lasts = timedelta(hours=self.lasts_h)
        begun = cron_trigger(self.schedule).get_next_fire_time(None, now - lasts + timedelta(microseconds=1))
        return begun + lasts if begun is not None and begun <= now else None


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`people` by name; of `rules` the first that fits a plan counts; `break_glass`: roles that may act alone and in a
    freeze, loudly; `operators`: roles that may pause and resume all actions and reset breakers (none given: all in the
    file). Tickets that wait are told again `remind_every_min`, and by the steps of `escalation`; what was left
    to people, `repeat_every_min`. `channels` are told beside Slack. `limits`: how much may be done at all; `grouping`:
    how alerts are put together; `verification`: how surely a recovery has to be proven, unless a playbook's step says
    it."""

    people: dict[str, Person] = {}
    rules: tuple[Rule, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    break_glass: Names = ()
    operators: Names = ()
    remind_every_min: Minutes | None = None
    escalation: tuple[Step, ...] = ()
    repeat_every_min: Minutes | None = None
    on_call: Rotation | None = None
    channels: tuple[AnyChannel, ...] = ()
    limits: Limits = Limits()
    grouping: Grouping = Grouping()
    verification: Proof = Proof()

    @property
    def knows_people(self) -> bool:
        """Whether only people in the file decide."""
        return bool(self.people)

    def who(self, identity: str, channel: str) -> str | None:
        """The name of the person whom `channel` calls `identity`: in Slack the user's id, elsewhere the name or the
        address."""
        for name, person in self.people.items():
            known = (person.slack,) if channel == "slack" else (name, person.email)
            if identity in [each for each in known if each]:
                return name
        return None

    def rule(self, plan: Plan) -> Rule:
        """What this plan needs."""
        return self.rule_of(plan.model, plan.action)

    def rule_of(self, model: str, action: ActionKind) -> Rule:
        """What such a plan for the model needs."""
        for rule in self.rules:
            if fnmatchcase(model, rule.models) and (not rule.actions or action in rule.actions):
                return rule
        return Rule()

    def holds(self, name: str, roles: Sequence[str]) -> bool:
        """Whether the person has one of the roles; no role named: whether the person is known."""
        person = self.people.get(name)
        return person is not None and (not roles or bool(set(person.roles) & set(roles)))

    def entitled(self, roles: Sequence[str]) -> list[str]:
        """Everybody who has one of the roles, by name."""
        return sorted(name for name in self.people if self.holds(name, roles))

    def freeze(self, model: str, now_us: int) -> tuple[Freeze, datetime] | None:
        """The freeze in force for the model, and its end."""
        now = datetime.fromtimestamp(now_us / US_PER_S, UTC)
        for freeze in self.freezes:
            until = freeze.until(now) if fnmatchcase(model, freeze.models) else None
            if until is not None:
                return freeze, until
        return None
