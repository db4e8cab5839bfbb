"""Silences and maintenance windows: alerts that nobody wants to be woken by, for a while and for a reason.

A silence never loses an alert. What it covers is kept without an incident; when it is over and the alert still fires,
the incident is opened then, and says that it was silenced. Matching is Alertmanager's idea (every matcher has to fit),
with shell patterns instead of regular expressions, which a person can read at night and which cannot run for ever.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

from detectors.values import Alert, Value
from remediation.clock import US_PER_S
from remediation.crontab import cron_trigger
from remediation.errors import ScheduleError, SilenceRefused
from remediation.reasons import SAY_WHY

MatchField = Literal["model", "version", "segment", "kind", "axis", "feature"]
MATCH_FIELDS: tuple[MatchField, ...] = get_args(MatchField)

_MATCHER = re.compile(r"\s*(?P<field>\w+)\s*(?P<operator>!?=)\s*(?P<pattern>.*?)\s*")
_LONGEST_S = 366 * 86_400.0


class Matcher(Value, frozen=True, kw_only=True):
    """`field` of an alert fits the shell pattern `pattern` (`*`, `?`, `[ab]`), or does not where `negated`."""

    field: MatchField
    pattern: str
    negated: bool = False

    def fits(self, alert: Alert) -> bool:
        """Whether the alert is covered. An alert names several features, and one of them is enough; one that names
        none has the feature ''."""
        if self.field == "feature":
            values = sorted({each.feature for each in alert.evidence if each.feature is not None}) or [""]
        else:
            values = [str(getattr(alert, self.field))]
        return any(fnmatchcase(value, self.pattern) for value in values) is not self.negated

    def __str__(self) -> str:
        return f"{self.field}{'!=' if self.negated else '='}{self.pattern}"


class Silence(Value, frozen=True, kw_only=True):
    """From `starts_us` to `ends_us` (exclusive), or to `ended_us` where a person ended it before.

    With `schedule` (five fields of crontab(5), UTC) it is a maintenance window: within these limits it is in force
    for `lasts_s` from every time that the schedule names.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_us: int
    ends_us: int
    author: str
    reason: str
    created_us: int
    schedule: str | None = None
    lasts_s: float | None = None
    ended_us: int | None = None
    ended_by: str | None = None

    @property
    def until_us(self) -> int:
        """When it is over for good."""
        return self.ends_us if self.ended_us is None else min(self.ends_us, self.ended_us)

    def in_force(self, now_us: int) -> bool:
        """Whether it covers anything at `now_us`."""
        if not self.starts_us <= now_us < self.until_us:
            return False
        if self.schedule is None or self.lasts_s is None:
            return True
        now = datetime.fromtimestamp(now_us / US_PER_S, UTC)
        just_over = now - timedelta(seconds=self.lasts_s)
        begun = cron_trigger(self.schedule).get_next_fire_time(None, just_over + timedelta(microseconds=1))
        return begun is not None and begun <= now

    def covers(self, alert: Alert) -> bool:
        """Whether every matcher fits."""
        return all(matcher.fits(alert) for matcher in self.matchers)

    def state(self, now_us: int) -> Literal["waiting", "in force", "over"]:
        """In a word."""
        if now_us >= self.until_us:
            return "over"
        return "in force" if self.in_force(now_us) else "waiting"


class Held(Value, frozen=True, kw_only=True):
    """An alert and the silence that holds it."""

    alert: Alert
    silence_id: str


class Link(Value, frozen=True, kw_only=True):
    """An alert, and the incident that it belongs to or the silence that holds it, if any."""

    alert: Alert
    incident_id: str | None = None
    silence_id: str | None = None


def silencing(silences: Iterable[Silence], alert: Alert, now_us: int) -> Silence | None:
    """The silence that covers the alert now, the one that lasts longest where there are several."""
    found = [each for each in silences if each.in_force(now_us) and each.covers(alert)]
    return max(found, key=lambda each: (each.until_us, each.id), default=None)


def parse_matcher(text: str) -> Matcher:
    """`model=churn`, `feature=age*`, `kind!=performance`. Raises `SilenceRefused`."""
    found = _MATCHER.fullmatch(text)
    if found is None or not found["pattern"]:
        raise SilenceRefused(
            f"matcher {text!r} must look like model=churn, feature=age* or kind!=performance"
        )
    try:
        return msgspec.convert(
            {"field": found["field"], "pattern": found["pattern"], "negated": found["operator"] == "!="},
            Matcher,
        )
    except msgspec.ValidationError as error:
        known = ", ".join(MATCH_FIELDS)
        raise SilenceRefused(f"matcher {text!r} names {found['field']!r}; known are {known}") from error


def is_too_long(starts_us: int, ends_us: int) -> bool:
    """Whether no silence may last so long."""
    return (ends_us - starts_us) / US_PER_S > _LONGEST_S


def checked(silence: Silence) -> Silence:
    """The silence, if it can be: it covers something, ends, and says why. Raises `SilenceRefused`."""
    if not silence.matchers:
        raise SilenceRefused(
            "matchers must name at least one, such as model=churn; model=* covers everything"
        )
    if not silence.author.strip():
        raise SilenceRefused("author must say who silences")
    if not silence.reason.strip():
        raise SilenceRefused(SAY_WHY)
    length_s = (silence.ends_us - silence.starts_us) / US_PER_S
    if length_s <= 0 or is_too_long(silence.starts_us, silence.ends_us):
        raise SilenceRefused(f"it lasts {length_s:,.0f} s; it must end after it begins, and within 366 days")
    if (silence.schedule is None) != (silence.lasts_s is None):
        raise SilenceRefused(
            "schedule and lasts_s belong together: when each window begins, and how long it lasts"
        )
    if silence.schedule is not None and silence.lasts_s is not None:
        _heard(silence.schedule)
        if not 0 < silence.lasts_s <= length_s:
            raise SilenceRefused(f"lasts_s is {silence.lasts_s:g}; it must be above 0 and within the silence")
    return silence


def _heard(schedule: str) -> None:
    try:
        cron_trigger(schedule)
    except ScheduleError as error:
        raise SilenceRefused(str(error)) from error


def told(matchers: Sequence[Matcher]) -> str:
    """The matchers as a person wrote them."""
    return " and ".join(str(each) for each in matchers)
