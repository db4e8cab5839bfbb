"""What a monitor names a time zone by, and the table of changes that is made of it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from structlog.testing import capture_logs

from detectors import localtime
from detectors.errors import ReferenceInvalid
from detectors.localtime import local_one
from detectors.reference import Reference
from detectors.values import Learning, Monitor
from streams.control.configuration import Configuration
from streams.files.timezones import check_timezone, clocks_of
from tests.streams.stream_data import make_reference

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


def _with_a_name(timezone: str) -> bytes:
    """A monitor whose reference is to be learned, as it was written when a name was all that told of the clocks."""
    learning = {"rows": 500, "classes": [], "season": "hour_of_day", "timezone": timezone}
    return msgspec.json.encode({"model": "loan", "revision": 3, "learning": learning})


def test_a_monitor_with_a_name_in_place_of_clocks_is_refused_and_not_read_as_utc() -> None:
    configuration = Configuration()
    configuration.add_monitor(Monitor(model="loan", revision=2))
    with capture_logs() as logs:
        configuration.apply(b"monitor/loan/3", _with_a_name("Europe/Berlin"))
    (told,) = logs
    assert told["log_level"] == "error"
    assert "timezone is 'Europe/Berlin'" in told["reason"]
    assert "publish the monitor again" in told["reason"]
    assert configuration.monitor("loan", 0).revision == 2


def test_a_monitor_that_went_by_utc_then_is_the_same_now() -> None:
    configuration = Configuration()
    configuration.apply(b"monitor/loan/3", _with_a_name("UTC"))
    assert configuration.monitor("loan", 0).learning == Learning(rows=500, season="hour_of_day")


def test_a_reference_with_a_name_in_place_of_clocks_says_what_to_do() -> None:
    old = msgspec.json.decode(make_reference("loan", "1").to_json())
    old["baseline"] = {"timezone": "Europe/Berlin"}
    with pytest.raises(ReferenceInvalid, match=r"timezone is 'Europe/Berlin'.*publish the monitor again"):
        Reference.from_json(msgspec.json.encode(old))
