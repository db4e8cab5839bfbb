"""One budget of false incidents for all models together."""

from pathlib import Path

import pytest

from detectors.values import Budget, Monitor
from streams.control.fleet import check_fleet, fleet_budget, fleet_words, per_second
from streams.control.monitor_publish import apply_monitor, published_monitors
from streams.files.monitor import MonitorFileInvalid, read_monitor_file
from tests.streams.test_monitor_file import Bus, written

DAY_S = 86_400.0
FLEET = fleet_budget("4 per 90d")


def monitor(model: str, incidents: float, days: float = 90) -> Monitor:
    return Monitor(model=model, budget=Budget(incidents=incidents, every_s=days * DAY_S))


def by_windows(model: str, window_s: float = 0.0) -> Monitor:
    return Monitor(model=model, window_s=window_s, budget=Budget(incidents=1, windows=1_000))


def test_budgets_in_time_and_in_windows_by_time_are_rates_and_windows_of_rows_have_none() -> None:
    assert per_second(monitor("a", 3)) == pytest.approx(3 / (90 * DAY_S))
    assert per_second(by_windows("a", 3_600.0)) == pytest.approx(1 / 3_600_000)
    assert per_second(by_windows("a")) is None


def test_models_that_fill_the_budget_to_its_end_fit() -> None:
    check_fleet(FLEET, monitor("a", 1), [monitor("b", 1, 30), by_windows("c")])


def test_what_goes_beyond_it_is_refused_with_what_would_fit() -> None:
    with pytest.raises(MonitorFileInvalid) as beyond:
        check_fleet(FLEET, monitor("a", 1, 30), [monitor("b", 2), monitor("c", 0.5)])
    assert str(beyond.value) == (
        "monitor of 'a': alarms.budget is '1 per 30d', 3 in 90d. HOMEOSTAT_BUDGET allows 4 per 90d for all models "
        "together, 2 others have 2.5 of it, and `1.5 per 90d` fits"
    )
    check_fleet(FLEET, monitor("a", 1.5), [monitor("b", 2), monitor("c", 0.5)])
    with pytest.raises(MonitorFileInvalid, match="nothing is left: lower those of other models first"):
        check_fleet(FLEET, monitor("a", 1), [monitor("b", 1, 20)])


def test_a_budget_in_windows_of_rows_is_refused_beside_one_of_all_models() -> None:
    with pytest.raises(MonitorFileInvalid, match=r"'1 per 1000 windows', .* such as `1 per 90d`"):
        check_fleet(FLEET, by_windows("a"), [])


@pytest.mark.parametrize("text", ["4", "4 per 1000 windows", "0 per 90d", "1 per 0d", ""])
def test_a_budget_of_all_models_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(MonitorFileInvalid, match=r"HOMEOSTAT_BUDGET is .*: 4 per 90d"):
        fleet_budget(text)


def test_the_words_say_who_is_not_counted() -> None:
    told = fleet_words(FLEET, [monitor("a", 1, 30), monitor("b", 0.5), by_windows("c")])
    assert told == (
        "All models together: 3.5 of 4 per 90d (HOMEOSTAT_BUDGET). "
        "Not counted, because told in windows of rows: c."
    )


async def test_models_that_have_too_much_can_be_lowered_one_after_the_other(tmp_path: Path) -> None:
    bus = Bus()

    async def publish(model: str, budget: str, fleet: Budget | None = FLEET, more: str = "") -> bool:
        text = f"model: {model}\nreference: {{registered: true}}\nalarms: {{budget: {budget}}}\n{more}"
        file = read_monitor_file(written(tmp_path, text))
        return (await apply_monitor(bus, file, 10.0, fleet=fleet)).published

    for model in ("a", "b", "c"):
        assert await publish(model, "1 per 10d", None)
    assert await publish("a", "1 per 10d", more="lateness: 5m\n")
    with pytest.raises(MonitorFileInvalid, match="lower those of other models first"):
        await publish("a", "2 per 10d")
    for model in ("a", "b", "c"):
        assert await publish(model, "1 per 90d")
    with pytest.raises(MonitorFileInvalid, match="`2 per 90d` fits"):
        await publish("a", "1 per 10d")


async def test_nothing_is_published_beyond_it_and_a_model_may_lower_its_own(tmp_path: Path) -> None:
    bus = Bus()

    async def publish(model: str, budget: str, *, dry_run: bool = False) -> bool:
        text = f"model: {model}\nreference: {{registered: true}}\nalarms: {{budget: {budget}}}\n"
        file = read_monitor_file(written(tmp_path, text))
        return (await apply_monitor(bus, file, 10.0, fleet=FLEET, dry_run=dry_run)).published

    assert await publish("a", "3 per 90d")
    for dry_run in (False, True):
        with pytest.raises(MonitorFileInvalid, match="`1 per 90d` fits"):
            await publish("b", "2 per 90d", dry_run=dry_run)
    assert len(bus.messages) == 1
    assert await publish("a", "2 per 90d")
    assert await publish("b", "2 per 90d")
    assert [one.row()["budget"] for one in await published_monitors(bus)] == ["2 per 90d", "2 per 90d"]
