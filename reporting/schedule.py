"""Regular reports by a cron expression."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from reporting.errors import ScheduleError

MISFIRE_S = 3_600
"""A report that was due while the process was busy or asleep is made up to an hour late, and once."""

_EXAMPLE = "five fields, minute hour day month weekday, such as `0 7 * * 1` for Mondays at 07:00 UTC"
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}
_log = structlog.get_logger()


def cron_trigger(expression: str) -> CronTrigger:
    """The times of a cron expression in UTC, as crontab(5) reads it: weekday 0 and 7 are Sunday.

    APScheduler's own reading counts weekdays from Monday, so weekdays are handed to it by name. A day of the
    month together with a weekday is refused: cron joins them by "or", APScheduler by "and". Raises
    `ScheduleError`.
    """
    fields = _NICKNAMES.get(expression.strip(), expression).split()
    if len(fields) != 5:
        raise ScheduleError(f"The schedule {expression!r} has {len(fields)} fields; it needs {_EXAMPLE}.")
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
        raise ScheduleError(
            f"The schedule {expression!r} is wrong ({error}); it needs {_EXAMPLE}."
        ) from error


def period_s(expression: str, now: datetime) -> float:
    """How long a time one report covers: from one to the other of the next two times. Raises `ScheduleError`."""
    trigger = cron_trigger(expression)
    first = trigger.get_next_fire_time(None, now)
    second = trigger.get_next_fire_time(first, first + timedelta(microseconds=1)) if first else None
    if first is None or second is None:
        raise ScheduleError(f"The schedule {expression!r} comes at most once; it needs {_EXAMPLE}.")
    return (second - first).total_seconds()


async def keep_schedule(expression: str, job: Callable[[], Awaitable[object]]) -> None:
    """Call `job` at every time of the cron expression until this is cancelled.

    A job that fails is logged and called again the next time; a job still running when it is due again is
    not started twice. On cancellation a running job is cancelled too. Raises `ScheduleError` at once.
    """
    await run_trigger(cron_trigger(expression), job)


async def run_trigger(trigger: BaseTrigger, job: Callable[[], Awaitable[object]]) -> None:
    """`keep_schedule` for any trigger of APScheduler."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    scheduler.add_job(
        _guarded, trigger, args=[job], coalesce=True, max_instances=1, misfire_grace_time=MISFIRE_S
    )
    scheduler.start()
    try:
        await asyncio.Event().wait()
    finally:
        scheduler.shutdown(wait=False)


async def _guarded(job: Callable[[], Awaitable[object]]) -> None:
    try:
        await job()
    except Exception:  # noqa: BLE001 (one failed report must not end the schedule)
        _log.exception("A scheduled report was not made; the next one is tried at its time.")


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
