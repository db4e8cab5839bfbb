"""How often a proof of recovery errs, and how long it takes, beside "two windows in order".

    uv run python -m benchmarks.verification --json

A model had 95 % right, fell to 70 %, and something was done. What is true afterwards is known here: well again (95 %),
still ill (70 %), nearly as ill (80 %), or on the line between the two (82.5 %), where errors are most frequent. One
looks after every window, 200 times at most. The peer takes two windows in a row that do not breach the threshold of
a single window, which is what the judge shows, for a recovery.
"""

import sys
from typing import NamedTuple

import numpy as np

from benchmarks.report import Scenario, parser, say, show
from detectors.measurement import Measurement
from detectors.thresholds import threshold
from remediation.config import VerificationConfig
from remediation.outcomes import Period, Tally
from remediation.verification import Observed, Segment, verify

HEALTHY, ILL, NEARLY = 0.95, 0.70, 0.80
LINE = (HEALTHY + ILL) / 2
BEFORE, DURING, LOOKS, TRIALS = 5_000, 1_500, 200, 1_000
CHANCE = 1 / 1_000 / 3 / 6
"""Of a false breach of one window: one false incident in 1,000 windows, three kinds of alert, six measures of one."""
CONFIG = VerificationConfig()


class Trial(NamedTuple):
    """What was said first, after how many windows, and after how many the peer says that it is well."""

    outcome: str
    windows: int
    peer: int | None


def main() -> int:
    """Run all."""
    options = parser(__doc__ or "").parse_args()
    scenarios: list[Scenario] = []
    for size in (30, 100, 500):
        generator = np.random.default_rng(options.seed + size)
        found = {
            name: [_trial(generator, rate, size) for _ in range(TRIALS)]
            for name, rate in (("healed", HEALTHY), ("ill", ILL), ("nearly", NEARLY), ("line", LINE))
        }
        say(
            f"windows of {size} rows: "
            + ", ".join(f"{name} {_told(trials)}" for name, trials in found.items())
        )
        scenarios += _scenarios(size, found)
    return show(scenarios, as_json=options.json)


def _scenarios(size: int, found: dict[str, list[Trial]]) -> list[Scenario]:
    healed = found["healed"]
    peer = [trial.peer for trial in healed if trial.peer is not None]
    return [
        Scenario(
            id=f"verification.false_pass.line.{size}",
            value=_share(found["line"], "pass"),
            unit="share of trials",
            higher_is_better=False,
            target=CONFIG.false_pass,
            peers={"two windows in order": _peer_share(found["line"])},
        ),
        Scenario(
            id=f"verification.false_pass.nearly_as_ill.{size}",
            value=_share(found["nearly"], "pass"),
            unit="share of trials",
            higher_is_better=False,
            target=CONFIG.false_pass,
            peers={"two windows in order": _peer_share(found["nearly"])},
        ),
        Scenario(
            id=f"verification.false_fail.line.{size}",
            value=_share(found["line"], "fail"),
            unit="share of trials",
            higher_is_better=False,
            target=CONFIG.false_fail,
        ),
        Scenario(
            id=f"verification.found_ill.{size}",
            value=_share(found["ill"], "fail"),
            unit="share of trials",
            higher_is_better=True,
            target=0.99,
        ),
        Scenario(
            id=f"verification.windows_to_pass.healed.{size}",
            value=float(np.median([trial.windows for trial in healed if trial.outcome == "pass"])),
            unit="windows, median",
            higher_is_better=False,
            peers={"two windows in order": float(np.median(peer))},
        ),
    ]


def _trial(generator: np.random.Generator, rate: float, size: int) -> Trial:
    limit = threshold(
        Measurement(
            measure="accuracy", value=HEALTHY, reference=HEALTHY, rows=size, size=size, reference_size=BEFORE
        ),
        CHANCE,
    )
    rights = generator.binomial(size, rate, size=LOOKS)
    in_order = rights / size >= (limit or 0.0)
    twice = np.flatnonzero(in_order[1:] & in_order[:-1])
    peer = int(twice[0]) + 2 if len(twice) else None
    for looks, right in enumerate(rights.cumsum(), start=1):
        outcome = _outcome(looks, looks * size, int(right))
        if outcome != "inconclusive":
            return Trial(outcome, looks, peer)
    return Trial("inconclusive", LOOKS, peer)


def _outcome(windows: int, rows: int, right: int) -> str:
    segment = Segment(
        name="all",
        before=_period(10, BEFORE, HEALTHY * BEFORE),
        ill=_period(3, DURING, ILL * DURING),
        since=_period(windows, rows, right),
    )
    known = Observed(version="2", ill_version="1", since_us=0, segments=(segment,), signals=(), alerts=())
    return verify(known, CONFIG).outcome


def _period(windows: int, rows: int, right: float) -> Period:
    tally = Tally(rows=rows, total=right, squares=right)
    return Period(windows=windows, tallies={"accuracy": tally}, expected={})


def _share(trials: list[Trial], outcome: str) -> float:
    return sum(trial.outcome == outcome for trial in trials) / len(trials)


def _peer_share(trials: list[Trial]) -> float:
    return sum(trial.peer is not None for trial in trials) / len(trials)


def _told(trials: list[Trial]) -> str:
    counts = {
        name: sum(trial.outcome == name for trial in trials) for name in ("pass", "fail", "inconclusive")
    }
    return "/".join(str(count) for count in counts.values())


if __name__ == "__main__":
    sys.exit(main())
