"""Reports as they are run: on demand, and by a schedule."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from deploy.pieces import console_url, database, verify_audit
from deploy.settings import Settings

if TYPE_CHECKING:
    from reporting.render import ReportFiles
    from reporting.values import ReportData

_log = structlog.get_logger()


async def make_report(settings: Settings, *, period_s: float, mail: bool) -> "ReportFiles":
    """Write a report on the `period_s` seconds that end now and, if `mail`, send it.

    A mail that cannot be sent is told in `message` and `mailed`: the report lies on the disk all the same.
    """
    from dataclasses import replace

    from reporting.errors import MailError
    from reporting.mail import send_report

    data, files = await asyncio.to_thread(_write_report, settings, period_s)
    if not mail:
        return files
    try:
        if settings.smtp_url is None or settings.mail_to is None:
            raise MailError("set HOMEOSTAT_SMTP_URL and HOMEOSTAT_MAIL_TO")
        url = settings.smtp_url.get_secret_value()
        await send_report(data, files, url, sender=settings.mail_from, to=settings.mail_to)
    except MailError as error:
        told = [*([files.message] if files.message else []), f"The report was not sent: {error}"]
        return replace(files, mailed=False, message="\n".join(told))
    return replace(files, mailed=True)


def _write_report(settings: Settings, period_s: float) -> "tuple[ReportData, ReportFiles]":
    from db.journal import SqlJournal
    from db.points import SqlRecordStore
    from remediation.clock import SystemClock
    from reporting.render import write_report
    from reporting.rollup import collect

    clock = SystemClock()
    engine = database(settings)
    try:
        now_us = clock.now_us()
        data = collect(
            SqlJournal(engine, clock),
            SqlRecordStore(engine),
            verify_audit(settings),
            since_us=now_us - round(period_s * 1e6),
            until_us=now_us,
            now_us=now_us,
            console_url=console_url(settings),
            environment=settings.environment,
        )
    finally:
        engine.dispose()
    return data, write_report(data, settings.reports_path)


async def keep_reports(settings: Settings) -> None:
    """Reports by `report_cron`; without one it only waits."""
    from datetime import UTC, datetime

    from remediation.errors import ScheduleError
    from reporting.schedule import keep_schedule, period_s

    expression = settings.report_cron
    if expression is None:
        await asyncio.Event().wait()
        return

    async def make() -> None:
        wanted = settings.smtp_url is not None
        files = await make_report(settings, period_s=period_s(expression, datetime.now(UTC)), mail=wanted)
        if files.mailed is False:
            _log.error(files.message)

    try:
        await keep_schedule(expression, make)
    except ScheduleError as error:
        _log.error(f"No reports by schedule: {error} It is set by HOMEOSTAT_REPORT_CRON.")
        await asyncio.Event().wait()
