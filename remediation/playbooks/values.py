"""Playbooks as values: which incident is treated how, as a file says it."""

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from detectors.values import AlertKind
from remediation.clock import US_PER_S
from remediation.crontab import cron_trigger
from remediation.playbooks.steps import Step, Text
from remediation.policy import Pattern
from remediation.values import Cause

Autonomy = Literal["observe", "suggest", "act"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class During(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """From each time of `schedule` (crontab, UTC) on, for `lasts_h` hours."""

    schedule: str
    lasts_h: Annotated[float, msgspec.Meta(gt=0, le=8_784)]

    def covers(self, now_us: int) -> bool:
        """Whether the time is in one of these windows."""
        now, lasts = datetime.fromtimestamp(now_us / US_PER_S, UTC), timedelta(hours=self.lasts_h)
        begun = cron_trigger(self.schedule).get_next_fire_time(None, now - lasts + timedelta(microseconds=1))
        return begun is not None and begun <= now


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which incidents; all that is given has to fit. Models, versions, segments and measures are shell patterns.

    `kinds`: an alert of one of them fires. `measures`: all evidence of the firing alerts (of `kinds`, where given) is
    of these measures. `segments`: an alert fires in one of them. `min_confidence`: of the diagnosis. `during`: now is
    in one of these windows.
    """

    models: Pattern = "*"
    versions: Pattern = "*"
    causes: tuple[Cause, ...] = ()
    severity: Literal["warning", "critical"] | None = None
    kinds: tuple[AlertKind, ...] = ()
    measures: tuple[Pattern, ...] = ()
    segments: tuple[Pattern, ...] = ()
    min_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    during: tuple[During, ...] = ()


class Playbook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is done about the incidents that match, step after step, until one helps. `tell`: what people are told when
    none did, such as where the runbook is; then the incident is escalated."""

    name: Name
    match: Match = Match()
    steps: tuple[Step, ...] = ()
    on_end: Literal["escalate"] = "escalate"
    tell: Text | None = None


class Playbooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`playbooks`, the first that matches counts; after them, where `built_in`, those that come with Homeostat.
    `autonomy` by pattern of models, the first that fits counts: `observe` (people are told what would have been asked),
    `suggest` (everything risky asks), `act` (risky steps that say `act: true` do not ask)."""

    playbooks: tuple[Playbook, ...] = ()
    autonomy: dict[Pattern, Autonomy] = {}
    built_in: bool = True

    def autonomy_of(self, model: str) -> Autonomy | None:
        """How freely the agent acts on the model; None where the file says nothing."""
        return next((said for pattern, said in self.autonomy.items() if fnmatchcase(model, pattern)), None)
