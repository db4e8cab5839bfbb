"""References by season: a daily cycle alarms nobody, and a change within an hour of the day is found."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.decide import decide
from detectors.errors import ReferenceInvalid
from detectors.judgement import SeriesState, Transition, Window
from detectors.measures import measure
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.season import SEASONS, expected, season_named, season_of, window_of
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.values import Clocks, FeatureSpec, Monitor
from streams.files.timezones import clocks_of

HOUR_US = 3_600_000_000
SPECS = tuple(FeatureSpec(name=name) for name in ("x", "y"))
MONITOR = Monitor(model="m", features=SPECS)
DAYS = SEASONS["hour_of_day"]
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca")


def moment_us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def table(
    rng: np.random.Generator, days: int, moved: float = 0.0
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sixty rows an hour; `x` follows the hour of the day, by night and by day. `moved`: at nine o'clock."""
    hours = np.repeat(np.arange(24 * days), 60)
    cycle = np.where(hours % 24 < 12, -1.0, 1.0)
    x = rng.normal(0, 1, len(hours)) + cycle + moved * (hours % 24 == 9)
    return hours * HOUR_US + 1, {"x": x, "y": rng.normal(0, 1, len(hours))}


@pytest.fixture(scope="module")
def reference() -> Reference:
    times_us, columns = table(np.random.default_rng(1), 7)
    bare = build_reference("m", "1", columns, SPECS)
    rows = Rows(columns, phases=DAYS.phases_of(times_us))
    return with_baseline(bare, rows, phases=DAYS.phases)


def windows(reference: Reference, days: int, moved: float = 0.0, seed: int = 2) -> list[Profile]:
    """Of four hours each, in panes of an hour."""
    times_us, columns = table(np.random.default_rng(seed), days, moved)
    found: list[Profile] = []
    for start in range(0, len(times_us), 240):
        panes: list[tuple[int, Profile]] = []
        for place in range(start, start + 240, 60):
            pane = Profile.empty(reference)
            pane.fold({name: column[place : place + 60] for name, column in columns.items()}, None, None)
            panes.append((int(times_us[place]), pane))
        found.append(window_of(reference, panes))
    return found


def told(reference: Reference, profiles: list[Profile]) -> list[Transition]:
    state, found = SeriesState(), list[Transition]()
    for number, profile in enumerate(profiles):
        place = Window(
            model="m",
            version="1",
            axis="event",
            window=str(number),
            start_us=number,
            end_us=number + 1,
            rows=240,
        )
        judged = decide(
            place, measure(profile, expected(reference, profile), MONITOR), MONITOR, reference, state, profile
        )
        state = judged.state
        found += judged.transitions
    return found


def test_a_daily_cycle_is_no_drift(reference: Reference) -> None:
    profiles = windows(reference, 20)
    assert told(reference, profiles) == []
    (night,) = [
        one
        for one in measure(profiles[0], expected(reference, profiles[0]), MONITOR)
        if one.feature == "x" and one.measure == "ks"
    ]
    (unaware,) = [
        one for one in measure(profiles[0], reference, MONITOR) if one.feature == "x" and one.measure == "ks"
    ]
    assert night.value is not None
    assert unaware.value is not None
    assert night.value < 0.12 < unaware.value


def test_a_change_at_nine_oclock_is_found(reference: Reference) -> None:
    found = told(reference, windows(reference, 6, moved=1.5))
    assert (found[0].kind, found[0].state) == ("data_drift", "firing")
    assert found[0].decisions[0].feature == "x"


def test_the_parts_of_a_window_are_all_of_it(reference: Reference) -> None:
    (profile, *_) = windows(reference, 1)
    assert season_of(reference) == DAYS
    assert [int(each[profile.layout.rows]) for each in profile.phases][:5] == [60, 60, 60, 60, 0]
    assert (np.sum(profile.phases, axis=0) == profile.counters).all()


def test_hours_and_days_are_those_of_utc() -> None:
    monday_us = 1_760_313_600_000_000  # 2025-10-13T00:00Z
    week = SEASONS["hour_of_week"]
    assert week.phases[week.phase_of(monday_us + 25 * HOUR_US)] == "Tuesday 01:00"
    assert SEASONS["day_of_week"].phase_of(monday_us - 1) == 6
    assert DAYS.phases_of([monday_us, monday_us + 13 * HOUR_US]).tolist() == [0, 13]
    with pytest.raises(ReferenceInvalid, match="'month'; it must be one of hour_of_day, day_of_week"):
        season_named("month")


def test_the_clocks_of_a_place_tell_the_phase_summer_time_included() -> None:
    hours, days = (season_named(name, clocks_of("Europe/Berlin")) for name in ("hour_of_day", "day_of_week"))
    summer, winter = moment_us("2026-10-24T22:30Z"), moment_us("2026-10-25T22:30Z")
    assert hours.phases_of([summer, winter]).tolist() == [0, 23]
    assert [days.phases[days.phase_of(one)] for one in (summer, winter)] == ["Sunday", "Sunday"]
    twice = [moment_us(f"2026-10-25T{hour:02}:30Z") for hour in range(3)]
    assert [hours.phases[hours.phase_of(one)] for one in twice] == ["02:00", "02:00", "03:00"]
    assert [hours.stretch_of(one) - hours.stretch_of(twice[0]) for one in twice] == [0, 0, 1]
    skipped = [moment_us(f"2026-03-29T{hour:02}:30Z") for hour in range(2)]
    assert [hours.phases[hours.phase_of(one)] for one in skipped] == ["01:00", "03:00"]


def test_panes_are_short_enough_for_the_clocks() -> None:
    asked = {
        "UTC": 24 * HOUR_US,
        "Europe/Berlin": HOUR_US,
        "Asia/Kolkata": HOUR_US // 2,
        "Asia/Kathmandu": HOUR_US // 4,
    }
    assert {zone: season_named("day_of_week", clocks_of(zone)).pane_us for zone in asked} == asked


@settings(deadline=None, derandomize=True)
@given(st.integers(moment_us("1980-01-01T00:00Z"), moment_us("2060-01-01T00:00Z")), st.sampled_from(ZONES))
def test_one_moment_and_many_are_told_alike_and_as_the_library_does(time_us: int, zone: str) -> None:
    season = season_named("hour_of_week", clocks_of(zone))
    shown = datetime.fromtimestamp(time_us // 1_000_000, UTC).astimezone(ZoneInfo(zone))
    assert season.phases[season.phase_of(time_us)] == f"{shown:%A %H}:00"
    assert season.phases_of([time_us, time_us]).tolist() == [season.phase_of(time_us)] * 2


@pytest.mark.parametrize("since", [(8, 4), (4, 4), (4,)])
def test_clocks_whose_changes_are_out_of_order_or_lack_a_difference_are_refused(
    since: tuple[int, ...],
) -> None:
    with pytest.raises(ReferenceInvalid, match=f"'here' have {len(since)} changes and 3 differences"):
        Clocks(name="here", since=since, ahead_s=(0, 3_600, 0))


def test_a_reference_keeps_its_clocks_and_one_in_utc_reads_as_before() -> None:
    times_us, columns = table(np.random.default_rng(1), 4)
    for season in (season_named("hour_of_day", clocks_of("Europe/Lisbon")), DAYS):
        rows = Rows(columns, phases=season.phases_of(times_us))
        plain = build_reference("m", "1", columns, SPECS)
        found = with_baseline(plain, rows, phases=season.phases, clocks=season.clocks)
        assert season_of(Reference.from_json(found.to_json())) == season
        assert (b'"clocks"' in found.to_json()) == (season is not DAYS)


def test_an_hour_without_rows_is_named() -> None:
    times_us, columns = table(np.random.default_rng(1), 2)
    bare = build_reference("m", "1", columns, SPECS)
    kept = DAYS.phases_of(times_us) != 3
    short = {name: column[kept] for name, column in columns.items()}
    rows = Rows(short, phases=DAYS.phases_of(times_us)[kept])
    with pytest.raises(
        ReferenceInvalid, match="phase '03:00' has 0 rows in the reference; it takes 50: use a longer"
    ):
        with_baseline(build_reference("m", "1", short, SPECS), rows, phases=DAYS.phases)
    assert bare.rows == 2_880
