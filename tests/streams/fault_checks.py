"""What the fault tests send, and everything that must hold afterwards."""

from dataclasses import replace
from typing import Any

from tests.streams.batch_truth import assert_accounting, assert_histograms, assert_points
from tests.streams.fault_load import Load, Plan, Send, again
from tests.streams.fault_roles import PARTITIONS
from tests.streams.fault_world import Outcome, World

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
    found = await world.settled(load, expected)
    truth = load.truth()
    agreement = assert_points(truth, found.seals, found.points.values())
    assert agreement.windows >= windows
    assert agreement.points >= points
    assert_accounting(truth, found.profiled)
    assert (
        assert_histograms(truth, found.snapshots.values(), load.references(), load.end_us)
        > 10 * load.events / 3
    )
    await world.assert_closed(load, found)
    await world.assert_recorded(found)
    assert await world.assert_archived(load) >= load.events
    return found
