"""False incidents without drift, and delay with it, of the sequential tests as they are used: from rows to alarms.

`uv run python -m benchmarks.detection --json`; one scenario: `--only budget.gaussian20.w1000`. Figures are told with
their intervals on stderr. Peers see the same rows in the same run: the two-sample Kolmogorov-Smirnov test of SciPy per
column and window, as monitors use it (any column below .05), and the same with Bonferroni's correction.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.detection_counts import GaussianCounters
from benchmarks.detection_data import (
    Source,
    Table,
    autoregressive_source,
    category_source,
    correlation_source,
    mixed_source,
    numeric_source,
    shifted,
    widened,
)
from benchmarks.detection_peers import AT_POWER, peer_alarms, peer_at_power
from benchmarks.detection_segments import segment_power, segments_budget
from benchmarks.detection_whole import WholeBench, drawn
from benchmarks.report import Scenario, parser, say, show
from detectors.columns import Integers
from detectors.layout import layout_of
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.sequential.baseline import build_baseline
from detectors.sequential.blocks import Rows
from detectors.sequential.budget import FINDINGS
from detectors.sequential.explain import sentence
from detectors.sequential.pairs import pair_moments
from detectors.sequential.plan import Plan, plan_of
from detectors.sequential.step import step
from detectors.sequential.values import Baseline, Calibration, Change, Memory
from detectors.values import Budget

BUDGET = Budget(incidents=1.0, windows=1_000)


@dataclass
class Bench:
    """One drawn reference, and the stream that is judged against it. `reached`: the statistic of the last window as a
    share of its threshold, of the kind that is nearest to alarm."""

    reference: Reference
    plan: Plan
    baseline: Baseline
    memory: Memory
    windows: int = 0
    opened: int = 0
    open_windows: int = 0
    told: list[str] = field(default_factory=list[str])
    reached: float = 0.0

    @classmethod
    def of(
        cls,
        source: Source,
        rng: np.random.Generator,
        rows: int,
        window_rows: int,
        simulated: int,
        known: Calibration | None = None,
    ) -> "Bench":
        """Draw a reference and get it ready. known: a calibration from a reference like it, which saves the
        simulation."""
        table = source.draw(rng, rows)
        reference = build_reference("m", "1", table, source.specs)
        if known is not None and source.independent:
            baseline = Baseline(pairs=pair_moments(layout_of(reference), table), calibration=known)
            return cls(reference, plan_of(reference, "event", baseline), baseline, Memory())
        simulated = simulated if known is None else 0
        baseline = build_baseline(
            reference,
            Rows(table),
            calibration_windows=simulated,
            window_rows=window_rows,
            seed=int(rng.integers(2**31)),
        )
        if known is not None:
            baseline = replace(baseline, calibration=known)
        return cls(reference, plan_of(reference, "event", baseline), baseline, Memory())

    def window(self, table: Table) -> list[Change]:
        """Judge a window; the alarms that it raised."""
        profile = Profile.empty(self.reference)
        profile.fold(table, None, None)
        return self.counted(profile.counters)

    def counted(self, counters: Integers) -> list[Change]:
        """Judge a window by its counters."""
        start = self.windows * 1_000_000
        self.memory, steps = step(
            self.plan,
            self.memory,
            [counters],
            start,
            start + 1_000_000,
            BUDGET,
            calibration=self.baseline.calibration,
            besides=(FINDINGS,),
        )
        self.windows += 1
        self.reached = max((one.statistic / one.threshold for one in steps if one.threshold), default=0.0)
        found = [one.opened for one in steps if one.opened is not None]
        self.told += [f"{one.kind}: {sentence(one.moved[0])}" for one in found]
        self.opened += len(found)
        self.open_windows += any(one.opened is not None for one in self.memory.tracks.values())
        return found


def given(options: argparse.Namespace) -> Calibration | None:
    """The calibration that the options name."""
    if not options.factor:
        return None
    return Calibration(factor=options.factor, alarms=0, windows=0, window_rows=0)


def interval(events: int, of: int) -> tuple[float, float]:
    """95 % interval of a rate of rare events (Garwood 1936), per thing they are counted in."""
    low = float(stats.chi2.ppf(0.025, 2 * events)) / 2 if events else 0.0
    return low / of, float(stats.chi2.ppf(0.975, 2 * events + 2)) / 2 / of


def budget(
    name: str, source: Source, window_rows: int, options: argparse.Namespace, reference_rows: int
) -> Scenario:
    """False incidents per 1,000 windows where nothing changes."""
    benches: list[Bench] = []
    each = max(1, options.windows // options.references)
    peers: list[dict[str, bool]] = []
    known = given(options)
    for number in range(options.references):
        rng = np.random.default_rng([options.seed, 1, number, window_rows])
        shared = known if options.share or options.factor else None
        bench = Bench.of(source, rng, reference_rows, window_rows, options.simulated, shared)
        known = bench.baseline.calibration
        counters = GaussianCounters(bench.reference) if source.independent and not options.rows else None
        table = source.draw(rng, reference_rows)
        for _ in range(each):
            peer = len(peers) < options.peer_windows * (number + 1) / options.references
            if counters is not None:
                bench.counted(counters.draw(rng, window_rows))
            if counters is None or peer:
                drawn = source.draw(rng, window_rows)
                if counters is None:
                    bench.window(drawn)
                if peer:
                    peers.append(peer_alarms(table, drawn))
        benches.append(bench)
        for told in bench.told:
            say(f"  reference {number}: {told}")
    windows, alarms = sum(one.windows for one in benches), sum(one.opened for one in benches)
    low, high = interval(alarms, windows)
    inside = sum(one.open_windows for one in benches) / windows
    factors = [one.baseline.calibration.factor for one in benches if one.baseline.calibration is not None]
    factor = float(np.mean(factors)) if factors else 1.0
    rate = 1_000 * alarms / windows
    say(
        f"{name}: {alarms} false incidents in {windows} windows, {rate:.2f} per 1,000 "
        f"(95 % interval {1_000 * low:.2f} to {1_000 * high:.2f}); {100 * inside:.2f} % of the windows inside one; "
        f"threshold {factor:.2f} of the guaranteed one"
    )
    found = {"share of windows inside an incident": inside, "upper end of the interval": 1_000 * high}
    found |= {
        f"{peer}, per 1,000 windows": 1_000 * float(np.mean([one[peer] for one in peers]))
        for peer in (peers[0] if peers else ())
    }
    return Scenario(
        id=f"budget.{name}",
        value=rate,
        unit="false incidents per 1,000 windows",
        higher_is_better=False,
        peers=found,
        target=1.0,
    )


def whole(options: argparse.Namespace, reference_rows: int) -> Scenario:
    """False incidents of all kinds and both axes per 1,000 windows, where nothing changes."""
    benches: list[WholeBench] = []
    known = given(options)
    for number in range(options.references):
        rng = np.random.default_rng([options.seed, 3, number])
        shared = known if options.share or options.factor else None
        bench = WholeBench.of(rng, reference_rows, BUDGET, options.simulated, shared)
        known = bench.reference.baseline.calibration if bench.reference.baseline is not None else None
        for _ in range(max(1, options.windows // options.references)):
            bench.window(drawn(rng, 1_000))
        benches.append(bench)
        for told in bench.told:
            say(f"  reference {number}: {told}")
    windows, alarms = sum(one.windows for one in benches), sum(len(one.told) for one in benches)
    low, high = interval(alarms, windows)
    inside = sum(one.open_windows for one in benches) / windows
    rate = 1_000 * alarms / windows
    say(
        f"everything: {alarms} false incidents in {windows} windows, {rate:.2f} per 1,000 (95 % interval "
        f"{1_000 * low:.2f} to {1_000 * high:.2f}); {100 * inside:.2f} % of the windows inside one"
    )
    return Scenario(
        id="budget.everything",
        value=rate,
        unit="false incidents of any kind per 1,000 windows",
        higher_is_better=False,
        peers={"share of windows inside an incident": inside, "upper end of the interval": 1_000 * high},
        target=1.0,
    )


def power(
    name: str, source: Source, within: int, reference_rows: int, options: argparse.Namespace
) -> Scenario:
    """The share of seeds in which a change is found within so many windows of 1,000 rows, with the right column named
    first, beginning after `--clean` windows. A false incident before the change makes a seed fail."""
    delays: list[int] = []
    named = 0
    known = given(options)
    for number in range(options.seeds):
        rng = np.random.default_rng([options.seed, 2, number])
        shared = known if options.share or options.factor else None
        bench = Bench.of(source, rng, reference_rows, 1_000, options.simulated, shared)
        known = bench.baseline.calibration
        if any(bench.window(source.draw(rng, 1_000)) for _ in range(options.clean)):
            delays.append(10**6)
            continue
        delay, first = _delay(bench, source, rng, 4 * within)
        delays.append(delay)
        named += first
    share = float(np.mean(np.array(delays) <= within))
    peer = peer_at_power(source, within, reference_rows, options)
    say(
        f"power.{name}: found within {within} windows in {100 * share:.1f} % of {len(delays)} seeds, median delay "
        f"{np.median(delays):.0f}, 90th percentile {np.percentile(delays, 90):.0f}; right column first in {named}; "
        f"{AT_POWER} {peer:.0f} of 1,000 clean windows"
    )
    return Scenario(
        id=f"power.{name}",
        value=share,
        unit=f"share of seeds within {within} windows",
        higher_is_better=True,
        peers={
            "median delay, windows": float(np.median(delays)),
            "right column first": named / len(delays),
            f"{AT_POWER}, per 1,000 clean windows": peer,
        },
        target=0.8,
    )


def _delay(bench: Bench, source: Source, rng: np.random.Generator, most: int) -> tuple[int, bool]:
    for delay in range(1, most + 1):
        for change in bench.window(source.after(rng, 1_000)):
            return delay, change.columns[:1] != () and change.columns[0] in source.changed
    return 10**6, False


def scenarios(options: argparse.Namespace) -> dict[str, Callable[[], Scenario]]:
    """All of them by id."""
    small, large = 10_000, 100_000
    gaussian, wide = numeric_source(), numeric_source(widened(1.2))
    autoregressive = autoregressive_source(0.5)
    return {
        "budget.gaussian20.w1000": lambda: budget("gaussian20.w1000", gaussian, 1_000, options, small),
        "budget.gaussian20.w200": lambda: budget("gaussian20.w200", gaussian, 200, options, small),
        "budget.gaussian20.w5000": lambda: budget("gaussian20.w5000", gaussian, 5_000, options, small),
        "budget.mixed17": lambda: budget("mixed17", mixed_source(options.data), 1_000, options, small),
        "budget.mixed17.w200": lambda: budget(
            "mixed17.w200", mixed_source(options.data), 200, options, small
        ),
        "budget.mixed17.w5000": lambda: budget(
            "mixed17.w5000", mixed_source(options.data), 5_000, options, small
        ),
        "budget.ar1": lambda: budget("ar1", autoregressive, 1_000, options, small),
        "budget.ar1.w200": lambda: budget("ar1.w200", autoregressive, 200, options, small),
        "budget.ar1.w5000": lambda: budget("ar1.w5000", autoregressive, 5_000, options, small),
        "budget.everything": lambda: whole(options, small),
        "budget.segments": lambda: segments_budget(options, BUDGET),
        "power.segment": lambda: segment_power(options, BUDGET),
        "power.mean02": lambda: power("mean02", numeric_source(shifted(0.2)), 3, small, options),
        "power.mean005": lambda: power("mean005", numeric_source(shifted(0.05)), 15, large, options),
        "power.variance": lambda: power("variance", wide, 5, small, options),
        "power.category": lambda: power("category", category_source(0.02), 1, small, options),
        "power.correlation": lambda: power("correlation", correlation_source(), 3, small, options),
    }


def main() -> int:
    """Run, print, and tell by the exit code whether a target was missed."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--references", type=int, default=200, help="references drawn (default: 200)")
    arguments.add_argument(
        "--windows", type=int, default=10_000, help="windows without drift (default: 10000)"
    )
    arguments.add_argument("--seeds", type=int, default=200, help="seeds with a change (default: 200)")
    arguments.add_argument("--clean", type=int, default=0, help="windows before the change (default: 0)")
    arguments.add_argument(
        "--simulated",
        type=int,
        default=1_000,
        help="windows that calibrate each reference; 0: guarantee only",
    )
    arguments.add_argument(
        "--factor",
        type=float,
        default=0.0,
        help="take this share of the guaranteed threshold, without calibrating",
    )
    arguments.add_argument(
        "--share", action="store_true", help="calibrate the first reference only, for all of its kind"
    )
    arguments.add_argument(
        "--rows", action="store_true", help="draw rows even where their counts can be drawn directly"
    )
    arguments.add_argument(
        "--peer-windows", type=int, default=200, help="windows that peers see (default: 200)"
    )
    arguments.add_argument("--only", action="append", help="ids to run (default: all)")
    arguments.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the data sets"
    )
    options = arguments.parse_args()
    known = scenarios(options)
    wanted = options.only or list(known)
    unknown = [one for one in wanted if one not in known]
    if unknown:
        say(f"no such scenario: {unknown}; there are {list(known)}")
        return 2
    return show([known[one]() for one in wanted], as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
