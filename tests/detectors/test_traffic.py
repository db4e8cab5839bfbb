"""The usual traffic: nights and bursts are no silence, an outage is one, volumes are told against their own hour."""

import numpy as np
import pytest

from detectors.quality.traffic import (
    SLOT_US,
    Traffic,
    expected,
    learned,
    missed,
    resumed,
    silence,
    silent_from_us,
)

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MONDAY_US = 4 * DAY_US


def office(slot_us: int) -> float:
    """Events in ten minutes: 300 from 8 to 20 o'clock on working days, none else."""
    day, hour = slot_us // DAY_US % 7, slot_us // HOUR_US % 24
    return 300.0 if 8 <= hour < 20 and (day - 4) % 7 < 5 else 0.0


def run(rate, days: float, seed: int = 0, bursts: float = 0.0, traffic: Traffic | None = None):
    """Feed slots as the judge does; the silences that a clock would have told, and the volumes."""
    rng, told = np.random.default_rng(seed), []
    traffic = traffic or Traffic(since_us=MONDAY_US, next_us=MONDAY_US, last_us=MONDAY_US)
    start_us = traffic.next_us
    open_slots: list[tuple[int, int]] = []
    for slot_us in range(start_us, start_us + int(days * DAY_US), SLOT_US):
        mean = rate(slot_us) * (rng.gamma(1 / bursts, bursts) if bursts else 1.0)
        events = int(rng.poisson(mean))
        open_slots.append((slot_us, events))
        if not events:
            continue
        if slot_us > traffic.last_us:
            from_us = silent_from_us(traffic, None)
            if from_us is not None and slot_us >= from_us:
                traffic, one = silence(traffic, from_us)
                told.append(one)
        traffic, ended = resumed(traffic, slot_us, slot_us + SLOT_US)
        told += [ended] if ended else []
        for each_us, count in open_slots:
            if each_us >= traffic.next_us:
                traffic, one = learned(traffic, count)
                told += [one] if one else []
        open_slots = []
    return traffic, told


def test_steady_traffic_is_silent_after_half_an_hour_and_not_before() -> None:
    traffic, told = run(lambda _: 500.0, 2)
    assert told == []
    assert silent_from_us(traffic, None) == traffic.last_us + 1_800_000_000
    assert silent_from_us(traffic, 600.0) == traffic.last_us + 600_000_000
    assert missed(traffic, traffic.last_us, traffic.last_us + HOUR_US) == pytest.approx(3_000, rel=0.02)


def test_before_a_day_was_seen_a_night_is_awaited() -> None:
    traffic, _ = run(lambda _: 500.0, 0.5)
    assert silent_from_us(traffic, None) == traffic.last_us + 16 * HOUR_US


def test_nights_and_weekends_are_no_silence_once_they_are_known_and_a_working_morning_is() -> None:
    traffic, told = run(office, 28)
    assert [
        one.change_us for one in told if one.state == "firing" and one.change_us > MONDAY_US + 8 * DAY_US
    ] == []
    monday_us = traffic.next_us // (7 * DAY_US) * 7 * DAY_US + MONDAY_US + 8 * HOUR_US
    monday_us += 7 * DAY_US if monday_us < traffic.last_us else 0
    from_us = silent_from_us(traffic, None)
    assert from_us is not None
    assert monday_us < from_us < monday_us + 6 * HOUR_US
    assert expected(traffic, monday_us) > 200
    assert expected(traffic, monday_us - 4 * HOUR_US) < 20


def test_rare_events_and_bursts_have_longer_silences() -> None:
    rare, _ = run(lambda _: 0.05, 20, 1)
    from_us = silent_from_us(rare, None)
    assert from_us is not None
    assert from_us - rare.last_us > DAY_US
    bursty, told = run(lambda _: 500.0, 20, 2, bursts=0.5)
    assert bursty.dispersion > 50
    assert [one for one in told if one.value] == []


def test_half_the_volume_is_told_and_its_end() -> None:
    traffic, told = run(lambda _: 500.0, 14)
    assert told == []
    traffic, told = run(lambda _: 150.0, 0.5, 3, traffic=traffic)
    (first,) = told
    assert first.state == "firing"
    assert "fewer than the usual" in first.reason
    assert first.change_us == MONDAY_US + 14 * DAY_US
    assert first.at_us == first.change_us + 3 * SLOT_US
    traffic, told = run(lambda _: 500.0, 0.5, 4, traffic=traffic)
    assert [one.state for one in told] == ["cleared"]


def test_an_outage_is_told_once_ended_once_and_excuses_no_other() -> None:
    traffic, _ = run(lambda _: 500.0, 14)
    before = traffic
    outage_us = traffic.next_us + DAY_US
    traffic, told = run(lambda slot_us: 0.0 if slot_us < outage_us else 500.0, 2, 5, traffic=traffic)
    assert [one.state for one in told] == ["firing", "cleared"]
    assert told[0].change_us == before.last_us
    assert told[0].at_us == before.last_us + 1_800_000_000
    assert "no event has come for 30 minutes" in told[0].reason
    assert silent_from_us(traffic, None) == traffic.last_us + 1_800_000_000


def test_a_second_outage_within_the_hour_is_told_as_soon_as_the_first() -> None:
    traffic, _ = run(lambda _: 500.0, 14)
    outage_us = traffic.next_us
    traffic, told = run(
        lambda slot_us: 0.0 if slot_us < outage_us + HOUR_US else 500.0, 1.2 / 24, 5, traffic=traffic
    )
    assert [one.state for one in told] == ["firing", "cleared"]
    assert silent_from_us(traffic, None) == traffic.last_us + 1_800_000_000


def test_steady_streams_tell_nothing() -> None:
    told = [one for seed in range(40) for one in run(lambda _: 40.0, 10, seed, bursts=0.1)[1]]
    assert told == []
