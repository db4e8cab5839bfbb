"""How often findings of data quality are told of clean data: many references and windows, small ones, too, rows that
resemble their neighbours, columns of all kinds.

    uv run python -m benchmarks.findings --json

Beside it slots of arrival whose clocks are right, of which the same share of rows is always late, and comes again.
Nothing changes in any of these streams. The value is incidents of findings per 1,000 windows of all sources together,
with the upper end of its 95 % interval; stderr tells each source and window.
"""

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from scipy import signal  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.detection import interval
from benchmarks.detection_data import Table, mixed_source
from benchmarks.report import Scenario, parser, say, show
from detectors.judgement import Window
from detectors.learning import with_learned
from detectors.profile import Profile
from detectors.quality.arrivals import KNOWN, ArrivalMemory, take
from detectors.quality.judging import judge_quality
from detectors.quality.values import QualityMemory
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.values import ArrivalSlot, FeatureSpec

Draw = Callable[[np.random.Generator, int], Table]

SLOT_US: Final = 300_000_000
WINDOWS_ROWS: Final = (30, 50, 200, 1_000)
CATEGORIES: Final = tuple("abcdefghijkl")


def independent(rng: np.random.Generator, rows: int) -> Table:
    """Columns of many kinds, independent rows: Gaussian, heavy tails, counts, point masses, flags, many categories, of
    which some are rare."""
    shares = 0.6 ** np.arange(len(CATEGORIES))
    return {
        "gaussian": rng.standard_normal(rows),
        "lognormal": rng.lognormal(3, 0.5, rows),
        "wide": rng.lognormal(3, 2.0, rows),
        "tails": rng.standard_t(3, rows),
        "uniform": rng.uniform(10, 30, rows),
        "count": rng.poisson(2.0, rows).astype(np.float64),
        "rare_count": rng.poisson(0.05, rows).astype(np.float64),
        "mostly_zero": np.where(rng.random(rows) < 0.97, 0.0, rng.lognormal(2, 1, rows)),
        "flag": (rng.random(rows) < 0.02).astype(np.float64),
        "mixture": np.where(rng.random(rows) < 0.3, rng.normal(30, 2, rows), rng.normal(3, 0.2, rows)),
        "plan": np.array(CATEGORIES, dtype=object)[
            rng.choice(len(CATEGORIES), rows, p=shares / shares.sum())
        ],
        "country": np.array(CATEGORIES[:3], dtype=object)[rng.choice(3, rows, p=(0.97, 0.02, 0.01))],
    }


def autoregressive(coefficient: float) -> Draw:
    """Four columns in which rows depend on the row before, one of them of counts and one lognormal, and a category that
    stays for as long."""

    def draw(rng: np.random.Generator, rows: int) -> Table:
        steps = rng.standard_normal((4, rows)) * (1 - coefficient**2) ** 0.5
        steps[:, 0] = rng.standard_normal(4)
        values = np.asarray(signal.lfilter([1.0], [1.0, -coefficient], steps, axis=1))
        starts = rng.random(rows) < 1 - coefficient
        starts[0] = True
        drawn = rng.choice(4, rows, p=(0.5, 0.3, 0.15, 0.05))
        kept = drawn[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
        return {
            "level": values[0],
            "amount": np.exp(3 + 0.5 * values[1]),
            "wide": np.exp(3 + 2 * values[2]),
            "count": np.floor(np.exp(1 + 0.7 * values[3])),
            "shift": np.array(("early", "late", "night", "free"), dtype=object)[kept],
        }

    return draw


def specs_of(table: Table) -> tuple[FeatureSpec, ...]:
    """By what the columns hold."""
    return tuple(
        FeatureSpec(name=name, kind="categorical" if column.dtype == object else "numeric")
        for name, column in table.items()
    )


def reference_of(table: Table) -> Reference:
    """With what its rows teach."""
    found = build_reference("m", "1", table, specs_of(table))
    return with_learned(found, Rows(table))


def stream(
    draw: Draw, rng: np.random.Generator, reference_rows: int, window_rows: int, windows: int
) -> tuple[int, list[str]]:
    """Incidents that are told, and their words, of one reference and the windows that follow it."""
    table = draw(rng, reference_rows + windows * window_rows)
    reference = reference_of({name: column[:reference_rows] for name, column in table.items()})
    memory, told = QualityMemory(), list[str]()
    for number in range(windows):
        first = reference_rows + number * window_rows
        profile = Profile.empty(reference)
        part = {name: column[first : first + window_rows] for name, column in table.items()}
        profile.fold(part, None, None)
        place = Window(
            model="m", version="1", axis="event", window=str(number), start_us=number, end_us=number + 1,
            rows=profile.rows,
        )  # fmt: skip
        found = judge_quality(place, profile, reference, memory)
        memory = found.memory or QualityMemory()
        if found.transition is not None and found.transition.state == "firing":
            told.append(found.transition.reason)
    return windows, told


def clocks(seed: int, slots: int) -> tuple[int, int]:
    """Slots, and alerts after the first hour of each stream: what is always late, or comes again, is known by then."""
    seen, told = 0, 0
    for share, rows in product((0.0, 0.001, 0.005, 0.02), (20, 300, 5_000)):
        rng, repeats = (np.random.default_rng([seed, n, rows, round(1e4 * share)]) for n in (10, 11))
        memory, found = ArrivalMemory(), 0
        for number in range(slots // 12):
            came = max(int(rng.poisson(rows)), 1)
            late = int(rng.binomial(came, share))
            slot = ArrivalSlot(
                start_us=number * SLOT_US, length_us=SLOT_US, version="1", rows=came, measured=came - late,
                lag_s=float(rng.lognormal(4, 1)), ahead=0, ahead_s=0.0, late=late, late_s=700.0 * (late > 0),
                twice=int(repeats.binomial(came, share)),
            )  # fmt: skip
            memory, said = take(memory, slot, {"ahead": 60.0, "late": 600.0, "stale": 0.0})
            found += sum(one.state == "firing" for one in said) if number >= KNOWN else 0
        say(f"{share:.1%} of {rows} rows always late: {found} in {slots // 12} slots")
        seen, told = seen + slots // 12, told + found
    return seen, told


def sources(data: Path) -> dict[str, tuple[Draw, int]]:
    """Streams by name, and the rows of their references."""
    return {
        "independent": (independent, 10_000),
        "independent, small reference": (independent, 1_000),
        "17 mixed real columns": (mixed_source(data).draw, 10_000),
        "AR(1) 0.5": (autoregressive(0.5), 10_000),
        "AR(1) 0.9": (autoregressive(0.9), 10_000),
        "AR(1) 0.98": (autoregressive(0.98), 10_000),
        "AR(1) 0.9, small reference": (autoregressive(0.9), 1_000),
    }


def main() -> int:
    """Run, print, and tell by the exit code whether a target was missed."""
    options = parser(__doc__ or "")
    options.add_argument("--references", type=int, default=20, help="references of each source and window")
    options.add_argument("--windows", type=int, default=50, help="windows of each reference (default: 50)")
    options.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    given = options.parse_args()
    windows, told = 0, 0
    for name, (draw, rows) in sources(given.data).items():
        for window_rows in WINDOWS_ROWS:
            seen, words = 0, list[str]()
            for number in range(given.references):
                rng = np.random.default_rng([given.seed, 9, number, window_rows, rows])
                more, found = stream(draw, rng, rows, window_rows, given.windows)
                seen, words = seen + more, words + found
            windows, told = windows + seen, told + len(words)
            say(f"{name}, windows of {window_rows}: {len(words)} in {seen} {sorted(words)[:2]}")
    slots, wrong = clocks(given.seed, given.references * 500)
    high = 1_000 * interval(told, windows)[1]
    say(f"all: {told} in {windows} windows, at most {high:.3f} per 1,000 (95 %)")
    return show(
        [
            Scenario(
                id="quality.clean.false_findings",
                value=1_000 * told / windows,
                unit="incidents of findings per 1,000 clean windows",
                higher_is_better=False,
                peers={"upper end of the interval": high, "windows": float(windows)},
                target=0.05,
            ),
            Scenario(
                id="quality.clean.false_clocks",
                value=1_000 * wrong / slots,
                unit="alerts about clocks and late events per 1,000 slots of five minutes",
                higher_is_better=False,
                peers={"upper end of the interval": 1_000 * interval(wrong, slots)[1], "slots": float(slots)},
                target=0.05,
            ),
        ],
        as_json=given.json,
    )


if __name__ == "__main__":
    sys.exit(main())
