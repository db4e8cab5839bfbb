"""The long faults: `uv run pytest -m soak tests/streams/test_stream_faults_soak.py`, about half an hour."""

import asyncio
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.streams.batch_truth import LABELS, PREDICTIONS
from tests.streams.fault_checks import STEADY, assert_right, traffic, with_repeats
from tests.streams.fault_load import Load
from tests.streams.fault_outcome import Outcome, undisturbed
from tests.streams.fault_plan import Plan
from tests.streams.fault_roles import PARTITIONS, ROLES, STAGES, until
from tests.streams.fault_world import World, has_part, world_fixture

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_800)]

world = world_fixture

KILLS, ROUNDS = 50, 10


async def test_fifty_kills_of_every_role_at_random_moments(world: World) -> None:
    """Each role by itself, at moments of its own: 250 kills, under traffic from the first to the last."""
    load = with_repeats(traffic("kills", 8_000), every=7)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    kills = Counter[str]()

    async def kill_again_and_again(role: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while kills[role] < KILLS:
            await asyncio.sleep(float(rng.uniform(0, 2)))
            await world.kill(role)
            kills[role] += 1

    sending = asyncio.create_task(
        world.trickle(load.sends, lambda: (kills.total() + 1) / (KILLS * len(ROLES) + 1))
    )
    await asyncio.gather(*(kill_again_and_again(role, seed) for seed, role in enumerate(ROLES)))
    await sending
    assert kills == dict.fromkeys(ROLES, KILLS)
    await assert_right(world, load, expected)


@pytest.mark.parametrize(
    ("fault", "away_s"), [("frozen", 30), ("stopped", 30), ("killed", 5), ("killed", 30)]
)
async def test_a_broker_that_is_away(world: World, fault: str, away_s: float) -> None:
    load = with_repeats(traffic(f"broker-{fault}-{away_s:g}", 2_000))
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    half = len(load.sends) // 2
    await world.send(load.sends[:half])
    sending = asyncio.create_task(world.send(load.sends[half:], over_s=away_s / 2))
    if fault == "frozen":
        await world.freeze_broker(away_s)
    else:
        await asyncio.to_thread(world.broker.kill if fault == "killed" else world.broker.stop)
        await asyncio.sleep(away_s)
        world.broker.start(180)
    await sending
    await assert_right(world, load, expected)


async def test_two_and_three_workers_that_rebalance_every_few_seconds(world: World) -> None:
    """One comes under a new name, then one goes, in order or killed: every round moves partitions twice."""
    load = with_repeats(traffic("rounds", 6_000), every=4)
    expected = undisturbed(load)
    await world.start()
    await world.configure(load)
    come = 0
    sending = asyncio.create_task(world.trickle(load.sends, lambda: (come + 1) / (ROUNDS + 1)))
    for number in range(1, ROUNDS + 1):
        await world.add(f"{number}", *STAGES)
        for role in STAGES:
            await until("the newcomer has a part", partial(has_part, world.process(role, f"{number}")))
        come = number
        for role in STAGES if number > 1 else ():
            leaver = world.process(role, f"{number - 1}")
            await (leaver.kill() if number % 2 else leaver.stop())
            world.forget(role, f"{number - 1}")
        world.revive()
    await sending
    await assert_right(world, load, expected)
    for role in STAGES:
        await world.process(role, f"{ROUNDS}").stop()
        world.forget(role, f"{ROUNDS}")


@pytest.mark.parametrize("workers", [1, 2, 4])
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
    others = [(role, str(number)) for number in range(1, workers) for role in ("profile", "judge")]
    for role, name in others:
        world.process(role, name).start()
        await world.process(role, name).ready()
    await world.send(load.sends)
    found = await assert_right(world, load, expected, windows=10)
    results = [found.measured(plan.model) for plan in plans]
    assert results[0] == results[1] == results[2]
    for role, name in others:
        await world.process(role, name).stop()
        world.forget(role, name)


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
    assert found.measured(plan.model) == alone.measured(plan.model)
    assert totals(found) == totals(alone)


def totals(found: Outcome) -> Counter[str]:
    """The counts of all partitions together."""
    sums = Counter[str]()
    for account in found.profiled.values():
        sums.update({name: getattr(account, name) for name in (*PREDICTIONS, *LABELS)})
    return sums
