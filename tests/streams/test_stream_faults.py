"""Faults on a real broker: whatever is killed, stopped, sent twice or sent broken, the final numbers are those of a run
without faults and of pandas on the same events."""

import asyncio
import signal
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.streams.batch_truth import assert_points
from tests.streams.fault_alarms import events_ahead, events_late
from tests.streams.fault_checks import STEADY, assert_right, traffic, with_repeats
from tests.streams.fault_load import Load
from tests.streams.fault_oddities import broken, lies, odd_rows, shifted
from tests.streams.fault_outcome import assert_same, undisturbed
from tests.streams.fault_plan import Plan
from tests.streams.fault_roles import OWNED, PARTITIONS, ROLES, STAGES, until
from tests.streams.fault_world import World, has_given_up, owns, world_fixture

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

world = world_fixture


async def test_kill_9_of_every_role_changes_no_final_number(world: World) -> None:
    load = with_repeats(traffic("kill", 1_500), every=5)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    sending = asyncio.create_task(world.send(load.sends, over_s=8))
    rng = np.random.default_rng(8)
    for roles in (("profile", "gate"), ("judge", "record"), ("profile", "archive")):
        await asyncio.sleep(float(rng.uniform(0.2, 1.5)))
        await world.kill(*roles)
    await sending
    await assert_right(world, load, expected)


async def test_workers_come_go_and_oversleep_and_nothing_is_lost_or_doubled(world: World) -> None:
    """Profile and judge sleep beyond their sessions; others take over; then they wake up and would write last."""
    load = with_repeats(traffic("rebalance", 1_500))
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    third = len(load.sends) // 3
    sending = asyncio.create_task(world.send(load.sends[:third], over_s=4))
    await world.add("1", *STAGES)
    await sending
    for role in STAGES:
        world.process(role).send(signal.SIGSTOP)
    await world.send(load.sends[third : 2 * third])
    for role in STAGES:
        other, sleeper = world.process(role, "1"), world.process(role)
        await until(f"the other {role} has everything", partial(owns, other, PARTITIONS))
        sleeper.send(signal.SIGCONT)
        await until(f"the sleeping {role} knows", partial(has_given_up, sleeper))
    sending = asyncio.create_task(world.send(load.sends[2 * third :], over_s=4))
    for role in STAGES:
        await world.process(role, "1").kill()
        world.forget(role, "1")
    await sending
    await assert_right(world, load, expected)


async def test_every_role_oversleeps_and_nothing_is_lost_or_doubled(world: World) -> None:
    """Under traffic all five fall asleep one after the other, each longer than its session, and wake up to others."""
    load = with_repeats(traffic("asleep", 1_500), every=3)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    slept = 0
    sending = asyncio.create_task(world.trickle(load.sends, lambda: (slept + 1) / (len(ROLES) + 1)))
    for role in ROLES:
        sleeper, other = world.process(role), world.process(role, "other")
        sleeper.send(signal.SIGSTOP)
        slept += 1
        other.start()
        await until(f"the other {role} has everything", partial(owns, other, OWNED[role]))
        sleeper.send(signal.SIGCONT)
        await until(f"the sleeping {role} knows", partial(has_given_up, sleeper))
        world.revive()
        assert await other.stop() == 0
        world.forget(role, "other")
    await sending
    await assert_right(world, load, expected)


async def test_broken_records_lies_and_wrong_clocks_are_set_aside_and_nothing_else(world: World) -> None:
    """Rare rows, broken records, lies, and clocks that are wrong, among the records of a sound producer."""
    now_us = time.time_ns() // 1_000
    plan = Plan(
        model="bad-loan", seed=4, requests=1_500, start_us=now_us // 60_000_000 * 60_000_000 - 600_000_000
    )
    load = Load.of([plan], PARTITIONS)
    sound = [send for send in load.direct if send.rows is not None and send.rows.version == "1"]
    bad = broken(sound[3])
    clocks = [
        *shifted(plan, -3_600, PARTITIONS, now_us, 2.0),
        *shifted(plan, 3_600, PARTITIONS, now_us, 2.5),
        *shifted(plan, 3_600, PARTITIONS, now_us, 3.0, mixed=True),
    ]
    big = odd_rows(plan, 0, PARTITIONS, bytes_wanted=3_900_000)
    assert 3_500_000 < len(big.value) < 4_100_000
    liar = lies(sound[5])
    liar_rows = liar.rows
    assert liar_rows is not None
    told = [replace(one, rows=None, at_s=0.5 + 0.1 * place) for place, one in enumerate(bad.values())]
    load = load.with_more([*told, *clocks, big, liar])

    expected = undisturbed(load)
    assert len(expected.of(["_unknown"]).letters) == len(bad)
    before = len((await world.look()).of(["_unknown"]).letters) if world.started else 0
    await world.start()
    await world.configure(load)
    await world.send(load.direct, over_s=2)
    found = await assert_right(world, load, expected, windows=10, points=100)
    unknown = (await world.look()).of(["_unknown"]).letters[before:]
    assert Counter(one.reason for one in unknown) == Counter(
        one.reason for one in expected.of(["_unknown"]).letters
    )
    assert [(one.field, one.stage) for one in found.letters] == [
        (one.field, one.stage) for one in expected.of(load.models).letters
    ]
    assert Counter(one.field for one in found.letters)["time"] == 4
    (account,) = found.profiled.values()
    assert (account.late, account.deadlettered, account.label_deadlettered) == (
        200, 200 + 100 + len(liar_rows.frame), 200 + 100,
    )  # fmt: skip


async def test_a_clock_that_is_an_hour_wrong_is_accounted_for_and_alarmed(world: World) -> None:
    """All rows of two producers, and every second one of a third; each rule fires for this model and no other."""
    now_us = time.time_ns() // 1_000
    start_us = now_us // 60_000_000 * 60_000_000 - 600_000_000
    right = Plan(
        model="clock-right",
        seed=7,
        requests=1_200,
        start_us=start_us,
        window_rows=250,
        label_window_rows=150,
    )
    plans = [right, replace(right, model="clock-wrong")]
    load = Load.of(plans, PARTITIONS)
    clocks = [
        *shifted(plans[1], -3_600, PARTITIONS, now_us, 2.0),
        *shifted(plans[1], 3_600, PARTITIONS, now_us, 2.5),
        *shifted(plans[1], 3_600, PARTITIONS, now_us, 3.0, mixed=True),
    ]
    load = load.with_more(clocks)
    expected = undisturbed(load)
    early = sum(send.at_s < 2.0 for send in load.direct)
    await world.start()
    await world.configure(load)
    await world.send(load.direct[:early])
    before = await world.scraped("profile", load.models)
    await world.send(load.direct[early:])
    found = await assert_right(world, load, expected, windows=10)
    after = await world.process("profile").metrics()
    assert events_ahead(before, after) == {"clock-wrong": 2 * (200 + 100)}
    assert events_late(before, after).keys() == {"clock-wrong"}
    accounts = {name[1]: account for name, account in found.profiled.items()}
    assert (accounts["clock-wrong"].late, accounts["clock-right"].late) == (200, 0)
    assert (accounts["clock-wrong"].deadlettered, accounts["clock-wrong"].label_deadlettered) == (300, 300)
    letters = [(one.model, one.field) for one in found.letters]
    assert letters == [("clock-wrong", "time")] * 4


@pytest.mark.parametrize("batch_rows", [1, 2_000])
def test_the_size_of_the_batches_does_not_show(batch_rows: int) -> None:
    plan = Plan(
        model="cut", seed=5, requests=600, rate=60.0, shadow=0.9, window_rows=200, delay_s=25.0, **STEADY
    )
    load = Load.of([replace(plan, batch_rows=100)], PARTITIONS)
    expected = undisturbed(load)
    assert assert_points(load.truth(), expected.seals, expected.points.values()).windows >= 5
    assert_same(
        undisturbed(Load.of([replace(plan, batch_rows=batch_rows)], PARTITIONS), flush_every=7), expected
    )
