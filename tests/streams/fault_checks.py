"""What the fault tests send, and everything that must hold afterwards."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from tests.patience import patient_s
from tests.streams.batch_distances import assert_distances
from tests.streams.batch_truth import Truth, assert_accounting, assert_histograms, assert_points
from tests.streams.fault_load import Load, Send, again
from tests.streams.fault_outcome import Outcome
from tests.streams.fault_plan import Plan
from tests.streams.fault_roles import PARTITIONS
from tests.streams.fault_world import World

STEADY: dict[str, Any] = {"disorder_s": 0.2, "revised": 0.0, "repeated": 0.0}
"""What may be cut into other batches: all disorder between kinds and versions stays within the watermark's delay."""


def traffic(name: str, requests: int = 4_000) -> Load:
    """Two models sent directly, one over the gate."""
    plans = [
        Plan(model=f"{name}-loan", seed=1, requests=requests),
        Plan(model=f"{name}-churn", seed=2, requests=requests, labelled=0.2, window_s=5.0),
        Plan(
            model=f"{name}-gated",
            seed=3,
            requests=requests // 4,
            labelled=1.0,
            early=0.0,
            shadow=0.0,
            delay_s=30.0,
            over_gate=True,
            **STEADY,
        ),
    ]
    return Load.of(plans, PARTITIONS)


def with_repeats(load: Load, every: int = 1) -> Load:
    """Every so many-th batch once more, in turn as the broker would redeliver it and as another producer would send the
    same rows. What goes over the gate is left as it is."""

    def repeated(sends: list[Send]) -> list[Send]:
        found: list[Send] = []
        for send in sends:
            found.append(send)
            rows = send.rows
            if rows is None or rows.model.endswith("-gated") or rows.sequence % every:
                continue
            found.append(again(send, f"another-{rows.model}" if rows.sequence // every % 2 else None))
        return found

    return replace(load, sends=repeated(load.sends), direct=repeated(load.direct))


async def assert_right(
    world: World, load: Load, expected: Outcome, windows: int = 50, points: int = 100
) -> Outcome:
    """As undisturbed, as pandas says, everything accounted for, recorded and archived."""
    found = await assert_numbers(world, load, expected, windows, points)
    await world.assert_recorded(found)
    assert await world.assert_archived(load) >= load.events
    return found


async def assert_numbers(
    world: World, load: Load, expected: Outcome, windows: int = 50, points: int = 100
) -> Outcome:
    """As undisturbed, as pandas says, and everything accounted for."""
    found = await world.settled(load, expected)
    truth = load.truth()
    agreement = assert_points(truth, found.seals, found.points.values())
    assert agreement.windows >= windows
    assert agreement.points >= points
    distances = assert_distances(truth, found.seals, found.points.values(), load.before())
    assert min(distances["psi"], distances["ks"], 10 * distances["auc"]) >= windows, distances
    assert_accounting(truth, found.profiled)
    await world.assert_closed(load, found)
    return await told_all_panes(world, load, truth)


async def told_all_panes(world: World, load: Load, truth: Truth, timeout_s: float = 60) -> Outcome:
    """Wait for the panes that no window holds yet: a sealed one that keeps changing is told every two seconds."""
    deadline_s = time.monotonic() + patient_s(timeout_s)
    references = load.references()
    while True:
        found = (await world.look()).of(load.models)
        try:
            values = assert_histograms(truth, found.snapshots.values(), references, load.end_us)
        except AssertionError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.3)
        else:
            assert values > 10 * load.events / 3
            return found
