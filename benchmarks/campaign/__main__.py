"""Right cause, right action, no harm: generated faults through the whole pipeline in process.

Example: `uv run python -m benchmarks.campaign --scenarios 200 --seed 1000 --json`, and some of the same scenarios on
the embedded stack, in real time: `uv run python -m benchmarks.campaign --stack 20 --seed 1000 --json`
"""

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import Progress

from benchmarks.campaign.plant import play
from benchmarks.campaign.scenarios import CAUSE_OF, Scenario, scenarios
from benchmarks.campaign.score import Outcome, confusion, outcome, wilson
from benchmarks.campaign.stack import BY_WEEKS, StackOptions
from benchmarks.campaign.stack import play as play_on_stack
from benchmarks.report import Scenario as Figure
from benchmarks.report import parser, say, show


def run(scenario: Scenario) -> Outcome:
    """Play and judge one scenario."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return outcome(asyncio.run(play(scenario)))


def outcomes(chosen: Sequence[Scenario], workers: int) -> Iterator[Outcome]:
    """Play scenarios, in order."""
    if workers <= 1:
        yield from map(run, chosen)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(run, chosen)


def figures(found: Sequence[Outcome], name: str = "campaign") -> list[Figure]:
    """The campaign's figures; intervals of 95 % beside them as peers. `name`: begins their ids."""
    ill = [each for each in found if each.scenario.cause is not None]
    controls = [each for each in found if each.scenario.cause is None]
    named = [each for each in ill if each.cause_is_right]
    acted = sum(each.action_is_right for each in named)
    cause, action = wilson(len(named), len(ill)), wilson(acted, len(named))
    return [
        Figure(
            id=f"{name}.cause",
            value=len(named) / max(len(ill), 1),
            unit="share",
            higher_is_better=True,
            target=0.9,
            peers={"low": cause[0], "high": cause[1], "scenarios": len(ill)},
        ),
        Figure(
            id=f"{name}.action",
            value=acted / max(len(named), 1),
            unit="share",
            higher_is_better=True,
            target=0.95,
            peers={"low": action[0], "high": action[1], "scenarios": len(named)},
        ),
        _none(f"{name}.harm", sum(bool(each.harm) for each in found)),
        _none(f"{name}.control_actions", sum(bool(each.acted) for each in controls)),
        Figure(
            id=f"{name}.control_incidents",
            value=sum(each.found != "nothing told" for each in controls),
            unit="scenarios",
            higher_is_better=False,
            peers={"controls": len(controls)},
        ),
        _none(f"{name}.endless", sum(each.endless for each in found)),
    ]


def _none(name: str, value: int) -> Figure:
    return Figure(id=name, value=value, unit="scenarios", higher_is_better=False, target=0.0)


def main() -> int:
    """Run from the command line."""
    options = parser("The fault campaign: generated illnesses, diagnosed and treated in process.")
    options.add_argument("--scenarios", type=int, default=200, help="how many (default: 200)")
    options.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    options.add_argument(
        "--only",
        default="",
        choices=("control", *CAUSE_OF),
        help="only scenarios with this fault, or controls",
    )
    options.add_argument("--stack", type=int, default=0, help="play so many on the embedded stack instead")
    options.add_argument("--at-once", type=int, default=5, help="so many at a time on the stack (default: 5)")
    options.add_argument("--window-s", type=float, default=6.0, help="of a window on the stack (default: 6)")
    options.add_argument("--home", type=Path, help="folder of the stack, which is then kept")
    chosen = options.parse_args()
    if chosen.stack and chosen.only in BY_WEEKS:
        options.error(
            f"argument --only: {chosen.only} is told by hours of the week, and not played on a stack"
        )
    if chosen.stack:
        return on_stack(
            StackOptions(
                count=chosen.stack,
                seed=chosen.seed,
                at_once=chosen.at_once,
                window_s=chosen.window_s,
                home=chosen.home,
                only=chosen.only,
            ),
            as_json=chosen.json,
        )
    wanted = [
        each
        for each in scenarios(chosen.scenarios, chosen.seed)
        if chosen.only in ("", each.fault or "control")
    ]
    found: list[Outcome] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scenarios", total=len(wanted))
        for each in outcomes(wanted, chosen.workers):
            found.append(each)
            progress.advance(task)
            if each.is_wrong:
                harm = f"; harm: {', '.join(each.harm)}" if each.harm else ""
                acted = ", ".join(each.acted) or "nothing"
                say(f"seed {each.scenario.seed} {each.scenario.kind}: {each.found}; did {acted}{harm}")
    say("\n".join(confusion(found)))
    return show(figures(found), as_json=chosen.json)


def on_stack(options: StackOptions, *, as_json: bool) -> int:
    """Play on the embedded stack, and show what came of it."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    found = asyncio.run(play_on_stack(options))
    for problem in found.problems:
        say(problem)
    say("\n".join(confusion(found.outcomes)))
    walls_s = sorted(each.wall_s for each in found.judged)
    wall = Figure(
        id="campaign.stack.wall",
        value=found.wall_s,
        unit="s",
        higher_is_better=False,
        peers={"median_scenario_s": walls_s[len(walls_s) // 2], "longest_scenario_s": walls_s[-1]},
    )
    problems = len(found.problems) + sum(len(each.problems) for each in found.judged)
    books = Figure(
        id="campaign.stack.problems", value=problems, unit="records", higher_is_better=False, target=0.0
    )
    return show([*figures(found.outcomes, "campaign.stack"), books, wall], as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
