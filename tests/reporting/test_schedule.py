"""Regular reports: when they are due, and what happens then."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from apscheduler.triggers.interval import IntervalTrigger

from remediation.crontab import cron_trigger
from remediation.errors import ScheduleError
from reporting.schedule import keep_schedule, period_s, run_trigger
from tests.patience import PATIENCE_S

SATURDAY = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def due(expression: str, count: int) -> list[str]:
    """The next times after Saturday noon."""
    trigger, now, found = cron_trigger(expression), SATURDAY, list[str]()
    previous: datetime | None = None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        assert previous is not None
        assert previous.utcoffset() == timedelta(0)
        found.append(f"{previous:%a %d %H:%M}")
        now = previous + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("0 7 * * 1", ["Mon 23 07:00", "Mon 30 07:00"]),
        ("0 7 * * 0", ["Sun 22 07:00", "Sun 29 07:00"]),
        ("0 7 * * 7", ["Sun 22 07:00", "Sun 29 07:00"]),
        (
            "30 6 * * 1-5",
            ["Mon 23 06:30", "Tue 24 06:30", "Wed 25 06:30", "Thu 26 06:30", "Fri 27 06:30", "Mon 30 06:30"],
        ),
        ("0 0 * * 5-7", ["Sun 22 00:00", "Fri 27 00:00", "Sat 28 00:00", "Sun 29 00:00"]),
        ("0 0 * * mon,Thu", ["Mon 23 00:00", "Thu 26 00:00"]),
        ("0 0 * * */3", ["Sun 22 00:00", "Wed 25 00:00", "Sat 28 00:00"]),
        ("*/20 * * * *", ["Sat 21 12:00", "Sat 21 12:20", "Sat 21 12:40", "Sat 21 13:00"]),
        ("0 8 1 * *", ["Tue 01 08:00", "Fri 01 08:00"]),
        ("@daily", ["Sun 22 00:00", "Mon 23 00:00"]),
        ("@weekly", ["Sun 22 00:00"]),
    ],
)
def test_times_are_those_of_crontab(expression: str, times: list[str]) -> None:
    assert due(expression, len(times)) == times


@pytest.mark.parametrize(
    ("expression", "hours"), [("@hourly", 1), ("0 7 * * *", 24), ("0 7 * * 1", 168), ("0 0 1 * *", 31 * 24)]
)
def test_a_report_covers_the_time_between_two(expression: str, hours: int) -> None:
    assert period_s(expression, SATURDAY) == hours * 3_600


def test_a_day_that_never_comes_is_told() -> None:
    with pytest.raises(ScheduleError, match="at most once"):
        period_s("0 0 30 2 *", SATURDAY)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("0 7 * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("61 7 * * *", "61"),
        ("0 7 * * 8", "'8' is no weekday"),
        ("0 7 * * funday", "'funday' is no weekday"),
        ("0 7 * * 5-1", "run backwards"),
        ("0 7 * * 1-5/x", "step"),
        ("0 7 1 * 1", "leave one of them"),
    ],
)
def test_wrong_schedules_are_told(expression: str, told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        cron_trigger(expression)


async def test_a_wrong_schedule_fails_at_once() -> None:
    with pytest.raises(ScheduleError):
        await keep_schedule("never", asyncio.Event().wait)


async def test_the_job_runs_again_after_a_failure_and_ends_with_the_schedule() -> None:
    calls: list[int] = []
    stuck, cancelled = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("no disk")
        stuck.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(run_trigger(IntervalTrigger(seconds=0.02), job))
        async with asyncio.timeout(PATIENCE_S):
            await stuck.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await cancelled.wait()
    assert calls == [0, 1]
    assert logs[0]["event"].startswith("A scheduled report was not made")
