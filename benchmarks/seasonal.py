"""A daily cycle: false incidents and delays of references by season, beside the same tests without one.

Five columns, three of which follow the hour of the day; references of 10,000 rows over ten days, windows of 200 rows
(nearly five hours).
"""

import sys
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.report import Scenario, parser, say, show
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.season import SEASONS, window_of
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.sequential.plan import plan_of
from detectors.sequential.step import step
from detectors.sequential.values import Memory
from detectors.values import Budget, FeatureSpec

COLUMNS: Final = 5
CYCLIC: Final = 3
REFERENCE_ROWS: Final = 10_000
ROWS_A_DAY: Final = 1_000
WINDOW: Final = 200
QUIET_WINDOWS: Final = 300
SHIFTED_WINDOWS: Final = 40
SHIFT: Final = 0.3
CALIBRATION: Final = 300
NEVER: Final = SHIFTED_WINDOWS + 1
SEASON: Final = SEASONS["hour_of_day"]

Columns = dict[str, npt.NDArray[np.float64]]


class Stream(NamedTuple):
    """Rows in order of time."""

    times_us: npt.NDArray[np.int64]
    columns: Columns


def stream(rng: np.random.Generator, rows: int, first_day: int, swing: float, shift: float = 0.0) -> Stream:
    """`swing`: standard deviations by which a column is higher at six in the morning than on average, as a wave."""
    days = np.sort(rng.uniform(0, rows / ROWS_A_DAY, rows)) + first_day
    wave = swing * np.sin(2 * np.pi * days)
    columns = {f"x{i}": rng.normal(0, 1, rows) + (wave if i < CYCLIC else 0.0) for i in range(COLUMNS)}
    columns["x0"] = columns["x0"] + shift
    return Stream((days * 86_400e6).astype(np.int64), columns)


def reference_of(rows: Stream, seasonal: bool) -> Reference:
    """Of all rows, by hour of the day or as one."""
    bare = build_reference("m", "1", rows.columns, [FeatureSpec(name=name) for name in rows.columns])
    phases = SEASON.phases_of(rows.times_us) if seasonal else None
    known = Rows(rows.columns, phases=phases)
    return with_baseline(
        bare, known, phases=SEASON.phases if seasonal else (), calibration_windows=CALIBRATION
    )


def told_at(reference: Reference, rows: Stream) -> list[int]:
    """The windows in which an incident begins."""
    plan, memory, found = plan_of(reference, "event"), Memory(), list[int]()
    calibration = None if reference.baseline is None else reference.baseline.calibration
    for window in range(len(rows.times_us) // WINDOW):
        inside = np.arange(window * WINDOW, (window + 1) * WINDOW)
        hours = rows.times_us[inside] // SEASON.phase_us
        panes: list[tuple[int, Profile]] = []
        for hour in np.unique(hours):
            pane = Profile.empty(reference)
            places = inside[hours == hour]
            pane.fold({name: column[places] for name, column in rows.columns.items()}, None, None)
            panes.append((int(hour) * SEASON.phase_us, pane))
        profile = window_of(reference, panes)
        start_us, end_us = int(rows.times_us[inside[0]]), int(rows.times_us[inside[-1]])
        counters = list(profile.phases) or [profile.counters]
        memory, steps = step(plan, memory, counters, start_us, end_us, Budget(), calibration=calibration)
        found += [window for one in steps if one.opened is not None and not one.further]
    return found


def trial(seed: int, swing: float, seasonal: bool) -> tuple[int, int]:
    """False incidents of a quiet stream, and the windows until a shift of one of the cyclic columns is told."""
    rng = np.random.default_rng(seed)
    reference = reference_of(stream(rng, REFERENCE_ROWS, 0, swing), seasonal)
    after = REFERENCE_ROWS // ROWS_A_DAY
    quiet = told_at(reference, stream(rng, QUIET_WINDOWS * WINDOW, after, swing))
    moved = told_at(reference, stream(rng, SHIFTED_WINDOWS * WINDOW, after, swing, SHIFT))
    return len(quiet), moved[0] + 1 if moved else NEVER


def scenarios(seed: int, references: int, swing: float) -> list[Scenario]:
    """With a season, and without one beside it."""
    rates: dict[bool, float] = {}
    delays: dict[bool, float] = {}
    for seasonal in (True, False):
        trials = [trial(seed + number, swing, seasonal) for number in range(references)]
        rates[seasonal] = 1_000 * sum(quiet for quiet, _ in trials) / (references * QUIET_WINDOWS)
        delays[seasonal] = float(np.median([delay for _, delay in trials]))
        say(f"swing {swing:g}, {'by hour' if seasonal else 'as one'}: {trials}")
    name = f"detection.seasonal.{swing:g}"
    return [
        Scenario(
            id=f"{name}.false",
            value=rates[True],
            unit="false incidents per 1,000 windows",
            higher_is_better=False,
            peers={"without a season": rates[False]},
            target=1.0,
        ),
        Scenario(
            id=f"{name}.delay",
            value=delays[True],
            unit=f"windows until {SHIFT:g} standard deviations are told ({NEVER}: never)",
            higher_is_better=False,
            peers={"without a season": delays[False]},
        ),
    ]


def main() -> int:
    """Run all scenarios."""
    options = parser(__doc__ or "")
    options.add_argument("--references", type=int, default=10, help="how many are drawn (default: 10)")
    chosen = options.parse_args()
    found = [one for swing in (0.5, 1.0) for one in scenarios(chosen.seed, chosen.references, swing)]
    return show(found, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
