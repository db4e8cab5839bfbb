"""The report as the commands and the demo ask for it, on a migrated database."""

import asyncio
from pathlib import Path

import pytest
import structlog
import time_machine
from report_world import at, lived_world

from deploy.reports import keep_reports, make_report
from deploy.settings import Settings
from tests.patience import PATIENCE_S


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    lived_world(tmp_path)
    return Settings(home=tmp_path, api_url="http://127.0.0.1:1/", smtp_url=None, mail_to=None)


async def test_a_report_of_the_last_hour_lies_in_the_home(settings: Settings) -> None:
    with time_machine.travel(at(2_405) / 1e6, tick=False):
        files = await make_report(settings, period_s=3_600, mail=False)
    assert files.html.parent == settings.reports_path
    assert (files.message, files.mailed) == (None, None)
    assert files.pdf is not None
    assert files.pdf.read_bytes().startswith(b"%PDF-")
    page = files.html.read_text()
    assert "Bad release in breast-cancer" in page
    assert 'href="http://127.0.0.1:1/incidents/inc-0001"' in page


async def test_a_report_that_cannot_be_sent_is_on_the_disk(
    settings: Settings, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reporting.render.make_pdf", lambda *_: (None, None))
    unset = await make_report(settings, period_s=60, mail=True)
    assert unset.mailed is False
    assert unset.message is not None
    assert unset.message.endswith("The report was not sent: set HOMEOSTAT_SMTP_URL and HOMEOSTAT_MAIL_TO")
    url = f"smtp://mira:hunter2@127.0.0.1:{unused_tcp_port}"
    absent = Settings(home=settings.home, smtp_url=url, mail_to="mira@example.org")  # pyright: ignore
    files = await make_report(absent, period_s=60, mail=True)
    assert files.mailed is False
    assert files.html.exists()
    assert files.message is not None
    assert "cannot be reached" in files.message
    assert "hunter2" not in files.message


async def test_a_wrong_schedule_is_told_and_ends_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, report_cron="every monday")
    with structlog.testing.capture_logs() as logs:
        keeping = asyncio.create_task(keep_reports(settings))
        async with asyncio.timeout(PATIENCE_S):
            while not logs and not keeping.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        done, _ = await asyncio.wait([keeping], timeout=0.1)
        assert not done
        keeping.cancel()
    assert "'every monday' has 2 fields" in logs[0]["event"]
    assert "HOMEOSTAT_REPORT_CRON" in logs[0]["event"]
