"""Regular reports by a cron expression."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from remediation.crontab import EXAMPLE, cron_trigger
from remediation.errors import ScheduleError

MISFIRE_S = 3_600
"""A report that was due while the process was busy or asleep is made up to an hour late, and once."""

_log = structlog.get_logger()


def period_s(expression: str, now: datetime) -> float:
    """How long a time one report covers: from one to the other of the next two times. Raises `ScheduleError`."""
    trigger = cron_trigger(expression)
    first = trigger.get_next_fire_time(None, now)
    second = trigger.get_next_fire_time(first, first + timedelta(microseconds=1)) if first else None
    if first is None or second is None:
        raise ScheduleError(f"The schedule {expression!r} comes at most once; it needs {EXAMPLE}.")
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
