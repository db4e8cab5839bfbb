"""False alarms at equal power: every detector at the threshold at which it finds a change as often as ours does.

    uv run python -m benchmarks.equal_power --json
    uv run python -m benchmarks.equal_power --tool nannyml=PYTHON --tool evidently=PYTHON --tool alibi=PYTHON

PYTHON is the interpreter of an environment that has the tool and msgspec. Scenarios `detection.equal_power.CASE` for
the five changes of `benchmarks.equal_power_data`. The power is ours at the default budget. Then each
detector, ours too, has the highest threshold at which it finds the change in as many of the same streams, set by
hindsight; the value is our false incidents per 1,000 clean windows there, beside the clean windows in which each
peer alarms. The target is half of the best peer. The names tell the 95 % interval.

Where a threshold is so high that no clean window of any number that can be counted reaches it,
`detection.equal_power.CASE.promised` tells what each promises there: our budget over how many times its threshold ours
has, and the p-value that a test alarms at times its columns (Bonferroni). Tools that give no p-value promise nothing.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.detection import BUDGET, Bench, interval
from benchmarks.detection_counts import GaussianCounters
from benchmarks.equal_power_data import CASES, CLEAN, WINDOW_ROWS, Case
from benchmarks.equal_power_tests import BONFERRONI, Tests, river_alarms
from benchmarks.report import Scenario, parser, say, show
from detectors.sequential.values import Calibration, Memory, Track

SIMULATED: Final = 1_000
_NEVER: Final = 1e30
_KINDS: Final = ("data_drift", "data_quality", "prediction_drift")

Found = dict[str, tuple[list[list[float]], list[list[float]]]]
"""By method the scores of the windows of each changed stream, and of each clean one."""


def _bench(case: Case, rng: np.random.Generator, known: Calibration | None) -> Bench:
    return Bench.of(case.source, rng, case.reference_rows, WINDOW_ROWS, SIMULATED, known)


def _cautious(bench: Bench, caution: float) -> None:
    """With thresholds so many times as high."""
    tracks = {kind: Track(caution=caution) for kind in _KINDS}
    bench.memory = Memory(plan=bench.plan.name, tracks=tracks)


class Ours:
    """Our detectors, with the calibration of the first reference for all."""

    def __init__(self, case: Case, seed: int) -> None:
        self._case, self._seed = case, seed
        self._known: Calibration | None = None

    def reached(self, number: int) -> float:
        """How many times the threshold the statistic reaches in time after a change, whichever kind it is."""
        rng = np.random.default_rng([self._seed, 5, number])
        bench = _bench(self._case, rng, self._known)
        self._known = bench.baseline.calibration
        _cautious(bench, _NEVER)
        most = 0.0
        for _ in range(self._case.within):
            bench.window(self._case.source.after(rng, WINDOW_ROWS))
            most = max(most, bench.reached * _NEVER)
        return most

    def false(self, references: int, caution: float) -> tuple[int, int]:
        """False incidents, and in how many clean windows."""
        incidents = 0
        for number in range(references):
            rng = np.random.default_rng([self._seed, 6, number])
            bench = _bench(self._case, rng, self._known)
            _cautious(bench, caution)
            counters = GaussianCounters(bench.reference) if self._case.source.independent else None
            for _ in range(CLEAN):
                if counters is not None:
                    bench.counted(counters.draw(rng, WINDOW_ROWS))
                else:
                    bench.window(self._case.source.draw(rng, WINDOW_ROWS))
            incidents += bench.opened
        return incidents, references * CLEAN


def _tests(case: Case, seed: int, seeds: int, references: int) -> Found:
    """SciPy's tests, on the first of these seeds and references."""
    changed = (case.changed(seed, number) for number in range(seeds))
    clean = (case.clean(seed, number) for number in range(references))
    found: Found = {}
    for place, streams in enumerate((changed, clean)):
        for reference, windows in streams:
            tests = Tests(reference)
            told = [tests.scores(window) for window in windows]
            for name in told[0]:
                found.setdefault(name, ([], []))[place].append([one[name] for one in told])
    return found


def _tool(python: str, name: str, case: Case, numbers: tuple[int, int, int, int]) -> Found:
    """Another tool's, from an environment of its own."""
    run = subprocess.run(
        [python, "benchmarks/equal_power_tool.py", name, case.name, *(str(one) for one in numbers)],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        say(f"  {name} could not be run: {run.stderr.strip().splitlines()[-1:]}")
        return {}
    told = json.loads(run.stdout)
    return {method: (told["changed"][method], told["clean"][method]) for method in told["changed"]}


def level_at(scores: Iterable[Iterable[float]], power: float) -> float:
    """The greatest threshold that so great a share of the streams reaches in time."""
    best = np.sort([max(one) for one in scores])[::-1]
    return float(best[min(max(round(power * len(best)), 1), len(best)) - 1])


def _told(name: str, alarms: int, windows: int) -> tuple[str, float]:
    low, high = (1_000 * one for one in interval(alarms, windows))
    return f"{name} ({low:.2f} to {high:.2f})", 1_000 * alarms / windows


def _river(case: Case, seed: int, streams: int, power: float) -> tuple[str, float] | None:
    """ADWIN at the least eager setting that finds the change as often."""
    changed: list[dict[str, npt.NDArray[np.bool_]]] = []
    clean: list[dict[str, npt.NDArray[np.bool_]]] = []
    for number in range(streams):
        changed.append(river_alarms(*case.changed(seed, number)))
        reference, windows = case.clean(seed, number)
        clean.append(river_alarms(reference, list(islice(windows, 2 * case.within))))
    for setting in reversed(changed[0]):
        if np.mean([one[setting].any() for one in changed]) >= power:
            found = np.concatenate([one[setting] for one in clean])
            return _told(f"river ADWIN, delta {setting}", int(found.sum()), len(found))
    return None


def measured(
    case: Case, seed: int, seeds: int, references: int, tools: dict[str, str], few: tuple[int, int, int]
) -> list[Scenario]:
    """What is counted, and what is promised. few: streams with a change, clean references and windows of each that
    tools are shown."""
    ours = Ours(case, seed)
    reached = [ours.reached(number) for number in range(seeds)]
    power = float(np.mean(np.array(reached) >= 1))
    say(f"{case.name}: ours finds {100 * power:.1f} % of {seeds} within {case.within} windows")
    least = max(level_at(([one] for one in reached), power), 1.0)
    name, value = _told(f"ours at {least:.3g} times the budget's threshold", *ours.false(references, least))
    say(f"  {name}: {value:.2f} per 1,000")
    peers, promised = dict[str, float](), dict[str, float]()
    groups = [_tests(case, seed, seeds, references // 2)]
    groups += [_tool(python, tool, case, (seed, *few)) for tool, python in tools.items()]
    for group in groups:
        for method, (changed, clean) in group.items():
            level = level_at(changed, power)
            flat = np.concatenate([np.array(one) for one in clean])
            told, share = _told(method, int((flat >= level).sum()), len(flat))
            peers[told] = share
            say(f"  {told}: {share:.1f}")
            if method.endswith(BONFERRONI):
                promised[method] = 1_000 * len(case.source.specs) * math.exp(-level)
    if few[0] and case.source.independent and case.name.startswith("mean"):
        found = _river(case, seed, min(few[0], 10), power)
        if found is not None:
            peers[found[0]] = found[1]
            say(f"  {found[0]}: {found[1]:.1f}")
    unit = f"false alarms per 1,000 clean windows where {100 * power:.1f} % are found"
    counted = Scenario(
        id=f"detection.equal_power.{case.name}",
        value=value,
        unit=unit,
        higher_is_better=False,
        peers={name: value} | peers,
        target=min(peers.values()) / 2,
    )
    said = Scenario(
        id=f"detection.equal_power.{case.name}.promised",
        value=1_000 * BUDGET.incidents / (BUDGET.windows or 1) / least,
        unit=unit,
        higher_is_better=False,
        peers=promised,
        target=min(promised.values()) / 2,
    )
    return [counted, said]


def main() -> int:
    """Run, print, and tell by the exit code whether a target was missed."""
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=200, help="streams with a change (default: 200)")
    options.add_argument("--references", type=int, default=200, help="clean streams (default: 200)")
    options.add_argument("--few", type=int, default=20, help="streams that tools are shown (default: 20)")
    options.add_argument(
        "--clean", type=int, default=20, help="clean windows of each that tools are shown (default: 20)"
    )
    options.add_argument("--tool", action="append", default=[], help="NAME=PYTHON of another tool")
    options.add_argument("--only", action="append", choices=list(CASES), help="cases to run (default: all)")
    given = options.parse_args()
    tools = dict(one.split("=", 1) for one in given.tool)
    few = (given.few, given.few, given.clean)
    found = [
        one
        for name in given.only or CASES
        for one in measured(CASES[name], given.seed, given.seeds, given.references, tools, few)
    ]
    return show(found, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
