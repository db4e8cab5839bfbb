"""The first of all faults, in every run of the tests: workers that are killed, asleep, or without a broker. The others,
and longer ones, run with the soak tests (docs/faults.md)."""

import asyncio
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from detectors.sequential.verdicts import EVIDENCE_SUFFIX
from tests.streams.fault_checks import assert_numbers, with_repeats
from tests.streams.fault_load import Load
from tests.streams.fault_outcome import Outcome, assert_same, undisturbed
from tests.streams.fault_plan import Plan
from tests.streams.fault_roles import PARTITIONS, STAGES, until
from tests.streams.fault_world import World, has_given_up, owns, world_fixture

pytestmark = pytest.mark.slow

world = world_fixture


def plan(model: str, jitter_s: float) -> Plan:
    """Half a minute of events in windows by time; each comes up to `jitter_s` late, less than the lateness."""
    return Plan(
        model=model,
        requests=600,
        rate=20.0,
        jitter_s=jitter_s,
        disorder_s=0.0,
        revised=0.0,
        lateness_s=30.0,
        window_s=10.0,
        label_window_s=10.0,
        batch_s=3.0,
        shift=2.0,
    )


def test_a_series_that_begins_late_has_the_same_windows_however_rarely_the_stages_are_flushed() -> None:
    """Its first panes come when sealing has passed them: nothing but the order of the input may decide whether the
    judge hears of them before a later one."""
    load = Load.of([plan("short-kill", 25.0)], PARTITIONS)
    often, rarely = (undisturbed(load, flush_every=records) for records in (3, 64))
    names = [
        {(seal.version, seal.segment, seal.axis, seal.window) for seal in outcome.seals}
        for outcome in (often, rarely)
    ]
    assert names[0] == names[1]
    assert len(often.points) == len(rarely.points)


def test_windows_that_no_pane_follows_end_however_the_stages_are_flushed() -> None:
    """The last labels come long after those before them. That time has passed is told when it has, and not with the
    next correction, which comes or not."""
    load = Load.of([plan("short-broker", 0.2)], PARTITIONS)
    expected = undisturbed(load)
    for records in (1, 6, 17):
        assert_same(undisturbed(load, flush_every=records), expected)


async def test_kills_repeats_and_disorder_change_no_number(world: World) -> None:
    """Monitors and references are told when the workers have already read the control topic."""
    shuffled = plan("short-kill", 25.0)
    load = with_repeats(Load.of([shuffled], PARTITIONS))
    expected = undisturbed(load)
    await world.start(*STAGES)
    await world.configure(load)
    killed = 0
    sending = asyncio.create_task(world.trickle(load.sends, lambda: (killed + 1) / 3))
    rng = np.random.default_rng(1)
    for role in STAGES:
        await asyncio.sleep(float(rng.uniform(0, 0.5)))
        await world.kill(role)
        killed += 1
    await sending
    found = await assert_numbers(world, load, expected, windows=30)
    in_order = undisturbed(Load.of([replace(shuffled, jitter_s=0.1)], PARTITIONS))
    assert measured(found, shuffled) == measured(in_order, shuffled)


async def test_who_sleeps_beyond_its_session_writes_nothing_more(world: World) -> None:
    load = Load.of([plan("short-sleep", 0.2)], PARTITIONS)
    expected = undisturbed(load)
    assert {alert.kind for alert in expected.alerts} >= {"data_drift"}
    await world.start(*STAGES)
    await world.configure(load)
    half = len(load.sends) // 2
    sleeper, other = world.process("profile"), world.process("profile", "1")
    await world.send(load.sends[:half])
    sleeper.send(signal.SIGSTOP)
    await world.send(load.sends[half:])
    other.start()
    await until("the other has everything", partial(owns, other, PARTITIONS))
    sleeper.send(signal.SIGCONT)
    await until("the sleeper knows", partial(has_given_up, sleeper))
    await assert_numbers(world, load, expected, windows=30)
    assert await other.stop() == 0
    world.forget("profile", "1")


async def test_a_broker_that_is_killed_is_waited_for(world: World) -> None:
    load = Load.of([plan("short-broker", 0.2)], PARTITIONS)
    expected = undisturbed(load)
    await world.start(*STAGES)
    await world.configure(load)
    half = len(load.sends) // 2
    await world.send(load.sends[:half])
    await asyncio.to_thread(world.broker.kill)
    world.broker.start(180)  # not in a thread: with the end of who started it a broker of a test ends, too
    await world.send(load.sends[half:])
    await assert_numbers(world, load, expected, windows=30)


def measured(found: Outcome, plan: Plan) -> dict[tuple[object, ...], tuple[int, float | None, str]]:
    """What was measured of rows. Three things tell when rows arrived: how many empty windows come before the end, the
    evidence on which alarms were decided when their windows closed, and how segments differed then."""
    return {
        name: told
        for name, told in found.measured(plan.model).items()
        if told[0] and not str(name[4]).endswith((EVIDENCE_SUFFIX, "_gap")) and "excess_" not in str(name[4])
    }
