"""What the threshold must be: the detector run on data drawn from the reference itself, where nothing changes."""

from functools import partial
from typing import Final

import numpy as np

from detectors.columns import Floats
from detectors.sequential.advance import advance
from detectors.sequential.blocks import BlockSums
from detectors.sequential.budget import part_of, threshold_of
from detectors.sequential.plan import Plan, Sums, TrackPlan
from detectors.sequential.values import Calibration, Track
from detectors.values import Budget

HORIZON: Final = 150
"""Windows after which a simulation begins anew with another reference."""
TRIED: Final = 60
"""The budget that is tried, in windows per false incident: small, so that there are incidents to count. Alarms become
rarer faster than in proportion to the threshold, so what keeps this budget keeps a smaller one."""
SURE: Final = 1.645
LEAST_FACTOR: Final = 0.4


def calibrate(
    plan: Plan, blocks: list[BlockSums], size: int, batch: int, window_rows: int, windows: int, seed: int
) -> Calibration:
    """The factor by which the guaranteed threshold may be multiplied, from `windows` simulated windows.

    Reference and windows are drawn with replacement from batches of `batch` blocks of `size` rows (block
    bootstrap: Kuensch 1989), so dependence inside a batch and the chance of both samples are in it. The factor is
    the upper end of a 95 % interval of the rate of alarms beside the guaranteed one.
    """
    rng = np.random.default_rng(seed)
    joined = [one.joined(batch) for one in blocks]
    count = len(joined[0].sums)
    each = max(1, round(window_rows / (size * batch)))
    alarms = done = 0
    while done < windows:
        horizon = min(HORIZON, windows - done)
        base = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        draws = rng.multinomial(each, np.full(count, 1 / count), size=horizon).astype(np.float64)
        for track, mine in zip(plan.tracks, joined, strict=True):
            alarms += _alarms(plan, track, mine, base, draws)
        done += horizon
    rate = (alarms + SURE * (alarms + 1) ** 0.5) / max(done, 1)
    return Calibration(
        factor=max(rate * TRIED, LEAST_FACTOR),
        alarms=alarms,
        windows=done,
        window_rows=each * size * batch,
    )


def _alarms(plan: Plan, track: TrackPlan, blocks: BlockSums, base: Floats, draws: Floats) -> int:
    kinds = tuple(str(one.kind) for one in plan.tracks)
    part = part_of(str(track.kind), kinds, labels=False, segments=0, is_segment=False)
    limit = threshold_of(Budget(incidents=1.0, windows=TRIED), part, 0.0, None)
    state = Track(
        base_sums=np.tensordot(base, blocks.sums, 1).tobytes(),
        base_rows=np.tensordot(base, blocks.rows, 1).tobytes(),
        sums=np.zeros(blocks.sums.shape[1:]).tobytes(),
        rows=np.zeros(blocks.rows.shape[1:]).tobytes(),
    )
    alarms = 0
    sums, rows = np.tensordot(draws, blocks.sums, 1), np.tensordot(draws, blocks.rows, 1)
    for window in range(len(draws)):
        taken = Sums(sums[window], rows[window], partial(np.zeros_like, sums[window]))
        state, found = advance(track, state, taken, window, limit, 0.0)
        alarms += found.opened is not None and not found.further
    return alarms
