"""Whatever is done in which order, the numbers are the same: other batches, other partitions, changes of monitors and
references in the middle, labels before and after their predictions, crashes, workers that are behind each other."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import streams.replay.replay
from detectors.values import Accounting, Alert
from streams.profile.cold_store import FolderSegments
from streams.profile.cold_tier import ColdConfig
from streams.replay.inprocess import InProcess, Results
from streams.replay.replay import Replayed, ReplayRun, Stretch, read_logged
from streams.replay.replay_check import check
from streams.replay.replay_source import read_merged
from streams.topics import EVENTS
from tests.streams.interleaving_changes import configuration, make_changes
from tests.streams.interleaving_plan import PARTITIONS, Plan, Trouble, make_plan
from tests.streams.interleaving_world import Change, Topics, World
from tests.streams.test_stage_properties import final_points, seals

QUIET, HEAVY = Trouble(), Trouble(late=0.06, late_s=2.0, early=0.15, early_s=1.5, delay_s=2.5, twice=0.06)
GAP_S = 120.0
SLOW = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32 - 1)


def undisturbed(plan: Plan, changes: list[Change], spread: int) -> Results:
    process = InProcess(configuration(changes), PARTITIONS)
    process.feed(plan.records(spread, None), 1 << 62)
    process.end()
    return process.results


def accounting(results: Results) -> dict[str, Accounting]:
    """Of each model, over all partitions."""
    found = dict[str, Accounting]()
    for (model, _), one in results.accounting.items():
        known = found.get(model, Accounting(model=model, stage=one.stage, partition=0))
        names = [name for name in one.__struct_fields__ if isinstance(getattr(one, name), int)]
        counts = {name: getattr(known, name) + getattr(one, name) for name in names}
        found[model] = msgspec.structs.replace(known, **(counts | {"partition": 0}))
    return found


def alerts(results: Results) -> dict[str, Alert]:
    return {one.id: one for one in results.alerts}


def same(found: Results, expected: Results) -> None:
    assert accounting(found) == accounting(expected)
    assert final_points(found) == final_points(expected)
    assert seals(found) == seals(expected)
    assert alerts(found) == alerts(expected)


async def replayed(topics: Topics) -> Replayed:
    """What a replay of these topics gives."""
    reader: Any = topics

    async def whole(*_: object) -> list[tuple[int, bool]]:
        return [(0, True)] * PARTITIONS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams.replay.replay, "first_offsets", whole)
        logged, control = await read_logged(reader, "", Stretch())
    run = ReplayRun(logged, Stretch(), control, [True] * PARTITIONS)
    places = [(EVENTS, number) for number in range(PARTITIONS)]
    async for record in read_merged(reader, places, [0] * PARTITIONS):
        run.take(record)
    return run.end()


@SLOW
@example(seed=100, spread=2, work="silence")
@given(seed=SEEDS, spread=st.integers(1, PARTITIONS), work=st.sampled_from(["silence", "in step", "apart"]))
def test_no_order_of_work_shows(seed: int, spread: int, work: str) -> None:
    """Where a model lives on several partitions and was silent, nobody may be behind: who is idle is not waited for."""
    rng, gap_s = np.random.default_rng(seed), GAP_S if work == "silence" else 0.0
    plan = make_plan(seed, QUIET, gap_s)
    expected = undisturbed(plan, make_changes(seed, gap_s, silence_s=30.0), 1)
    told = make_changes(seed, gap_s, silence_s=30.0, spread=spread)
    world = World(plan.records(spread, rng), told, PARTITIONS)
    world.run(rng, in_step=work != "apart")
    assert world.crashes
    same(world.results(), expected)
    again = check(asyncio.run(replayed(world.topics)))
    assert again.points == len(expected.points) > 100
    assert not again.differences


@SLOW
@example(seed=15, spread=1, in_step=True)
@given(seed=SEEDS, spread=st.integers(1, PARTITIONS), in_step=st.booleans())
def test_nor_does_it_where_rows_come_too_late_and_predictions_go_to_disk(
    seed: int, spread: int, in_step: bool
) -> None:
    """Which rows are too late follows from the order of a partition, so the spread is the same."""
    rng, plan = np.random.default_rng(seed), make_plan(seed, HEAVY)
    told = make_changes(seed, 0.0, lateness_s=1.0, hot_horizon_s=1.0, spread=spread)
    expected = undisturbed(plan, told, spread)
    with tempfile.TemporaryDirectory() as folder:

        def cold(partition: int) -> ColdConfig:
            return ColdConfig(FolderSegments(Path(folder) / str(partition)), 0)

        world = World(plan.records(spread, rng), told, PARTITIONS, cold)
        world.run(rng, in_step)
    assert sum(one.late for one in expected.accounting.values())
    same(world.results(), expected)
    again = check(asyncio.run(replayed(world.topics)))
    assert again.points == len(expected.points)
    assert not again.differences
