"""The long faults: `uv run pytest -m soak tests/streams/test_stream_faults_soak.py`, about a quarter of an hour."""

import asyncio
import itertools
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.streams.batch_truth import LABELS, PREDICTIONS
from tests.streams.fault_checks import STEADY, assert_right, traffic, with_repeats
from tests.streams.fault_load import Load, Plan
from tests.streams.fault_roles import PARTITIONS, ROLES
from tests.streams.fault_world import Outcome, World, undisturbed, world_fixture

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_800)]

world = world_fixture


async def test_fifty_kills_at_random_moments(world: World) -> None:
    load = with_repeats(traffic("kills", 10_000), every=7)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    sending = asyncio.create_task(world.send(load.sends, over_s=240))
    rng = np.random.default_rng(50)
    order = [str(role) for _ in range(10) for role in rng.permutation(ROLES)]
    for roles in zip(order[::2], order[1::2], strict=True):
        await asyncio.sleep(float(rng.uniform(0, 2)))
        await world.kill(*dict.fromkeys(roles))
    await sending
    await assert_right(world, load, expected)


async def test_a_broker_that_stands_still_for_half_a_minute_or_is_killed_again_and_again(
    world: World,
) -> None:
    loads = [with_repeats(traffic(f"outage{number}", 2_000)) for number in range(4)]
    await world.start()
    for number, load in enumerate(loads):
        expected = undisturbed(load)
        await world.configure(load)
        sending = asyncio.create_task(world.send(load.sends, over_s=8))
        await asyncio.sleep(3)
        if number:
            await asyncio.to_thread(world.broker.kill)
            await asyncio.sleep(5 * number)
            world.broker.start(180)
        else:
            await world.freeze_broker(30)
        await sending
        await assert_right(world, load, expected)


async def test_three_workers_that_rebalance_every_few_seconds(world: World) -> None:
    load = with_repeats(traffic("rounds", 6_000), every=4)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    sending = asyncio.create_task(world.send(load.sends, over_s=120))
    for number in range(10):
        role, instance = ("profile", "judge")[number % 2], f"{1 + number // 2 % 2}"
        process = world.process(role, instance)
        if process.alive:
            process.send((signal.SIGTERM, signal.SIGKILL)[number % 4 // 2])
            await process.ended()
        process.start()
        await process.ready()
        await asyncio.sleep(3)
    await sending
    await assert_right(world, load, expected)
    for role, instance in itertools.product(("profile", "judge"), "12"):
        if world.process(role, instance).alive:
            await world.process(role, instance).stop()
        world.forget(role, instance)


@pytest.mark.parametrize("workers", [1, 2])
async def test_neither_the_size_of_the_batches_nor_the_number_of_workers_shows(
    world: World, workers: int
) -> None:
    plans = [
        Plan(
            model=f"cut{workers}-{rows}",
            seed=5,
            requests=3_000,
            rate=200.0,
            delay_s=25.0,
            batch_rows=rows,
            **STEADY,
        )
        for rows in (1, 100, 2_000)
    ]
    load = Load.of(plans, PARTITIONS)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    for role in ("profile", "judge") if workers == 2 else ():
        world.process(role, "1").start()
        await world.process(role, "1").ready()
    await world.send(load.sends)
    found = await assert_right(world, load, expected, windows=10)
    results = [comparable(found, plan.model) for plan in plans]
    assert results[0] == results[1] == results[2]
    for role in ("profile", "judge") if workers == 2 else ():
        await world.process(role, "1").stop()
        world.forget(role, "1")


def comparable(found: Outcome, model: str) -> dict[tuple[object, ...], object]:
    """Points by what they measure, without the name of the model and what is made of it."""
    return {
        (one.version, one.segment, one.axis, one.window, one.measure, one.feature): (
            one.rows,
            one.value,
            one.verdict,
        )
        for one in found.points.values()
        if one.model == model
    }


@pytest.mark.parametrize("spread", [2, 4])
async def test_a_model_on_several_partitions_is_measured_as_on_one(world: World, spread: int) -> None:
    plan = Plan(
        model=f"spread{spread}",
        seed=6,
        requests=4_000,
        rate=200.0,
        delay_s=12.0,
        spread=spread,
        batch_s=0.5,
        **STEADY,
    )
    load = Load.of([plan], PARTITIONS)
    alone = undisturbed(Load.of([replace(plan, spread=1)], PARTITIONS))
    await world.start()
    await world.configure(load)
    await world.send(load.sends, over_s=4)
    found = await assert_right(world, load, undisturbed(load, flush_every=1), windows=8, points=100)
    assert comparable(found, plan.model) == comparable(alone, plan.model)
    assert totals(found) == totals(alone)


def totals(found: Outcome) -> Counter[str]:
    """The counts of all partitions together."""
    sums = Counter[str]()
    for account in found.profiled.values():
        sums.update({name: getattr(account, name) for name in (*PREDICTIONS, *LABELS)})
    return sums
