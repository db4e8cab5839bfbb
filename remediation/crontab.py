"""Times by a cron expression: of reports, and of maintenance windows."""

from apscheduler.triggers.cron import CronTrigger

from remediation.errors import ScheduleError

EXAMPLE = "five fields, minute hour day month weekday, such as `0 7 * * 1` for Mondays at 07:00 UTC"
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}


def cron_trigger(expression: str) -> CronTrigger:
    """The times of a cron expression in UTC, as crontab(5) reads it: weekday 0 and 7 are Sunday.

    APScheduler's own reading counts weekdays from Monday, so weekdays are handed to it by name. A day of the
    month together with a weekday is refused: cron joins them by "or", APScheduler by "and". Raises
    `ScheduleError`.
    """
    fields = _NICKNAMES.get(expression.strip(), expression).split()
    if len(fields) != 5:
        raise ScheduleError(f"The schedule {expression!r} has {len(fields)} fields; it needs {EXAMPLE}.")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ScheduleError(
            f"The schedule {expression!r} names a day of the month and a weekday: leave one of them `*`."
        )
    try:
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone="UTC"
        )
    except ValueError as error:
        raise ScheduleError(f"The schedule {expression!r} is wrong ({error}); it needs {EXAMPLE}.") from error


def _weekdays(field: str) -> str:
    """Numbers and ranges of crontab as a list of names; what it does not know is left to APScheduler."""
    if field == "*":
        return field
    days: list[int] = []
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = 0 if span == "*" else _day(first)
        end = 6 if span == "*" or (step and not last) else _day(last or first)
        if end < start:
            raise ValueError(f"the weekdays {part!r} run backwards")
        if step and not (step.isdigit() and int(step) > 0):
            raise ValueError(f"the step of the weekdays {part!r} is not a number above 0")
        days += [each % 7 for each in range(start, end + 1, int(step or 1))]
    return ",".join(_DAYS[each] for each in sorted(set(days)))


def _day(name: str) -> int:
    if name[:3] in _DAYS and name.isalpha():
        return _DAYS.index(name[:3])
    if name.isdigit() and int(name) <= 7:
        return int(name)
    raise ValueError(f"{name!r} is no weekday; use 0 to 7 (0 and 7: Sunday) or sun to sat")
