"""What a monitor names a time zone by, and the table of changes that is made of it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from detectors import localtime
from detectors.localtime import local_one
from streams.files.timezones import check_timezone, clocks_of

ODD = ("Africa/Casablanca", "Africa/Cairo", "America/Caracas", "Asia/Pyongyang", "Australia/Lord_Howe")
"""Where clocks were changed by half an hour, or for a month."""


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("Europe/Berlim", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_a_timezone_that_there_is_not_is_named_with_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"timezone is '{wrong}'.*did you mean {meant}"):
        check_timezone(wrong)


@pytest.mark.parametrize("name", ODD)
def test_every_change_is_in_the_table(name: str) -> None:
    zone, clocks = ZoneInfo(name), clocks_of(name)
    assert len(clocks.since) >= 2
    days = range(round(datetime(1975, 1, 2, tzinfo=UTC).timestamp()), 4_000_000_000, 5 * 86_400)
    changes = [step * localtime.STEP_S + by for step in clocks.since for by in (-1, 0)]
    for moment in (*days, *changes):
        ahead = datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()
        assert ahead is not None
        assert local_one(clocks, moment * 1_000_000) == (moment + ahead.total_seconds()) * 1_000_000


def test_utc_has_no_changes() -> None:
    assert clocks_of("UTC") == localtime.UTC
    assert local_one(localtime.UTC, 123) == 123
