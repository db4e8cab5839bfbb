"""Scenarios of the fault campaign on the embedded stack, as `homeostat up` starts it: real processes, Kafka, MLflow,
the database; the product's inference server and SDK; a person with a token who approves over REST.

All scenarios share one stack, each with a model and features of its own, a few at a time. A window of 400 events takes
`window_s` seconds instead of up to ten minutes; what came before it is sent as fast as it goes, with its own times.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from benchmarks.campaign.scenarios import CAUSE_OF, Scenario, scenarios
from benchmarks.campaign.score import Outcome
from benchmarks.campaign.stack_people import POLICY, People
from benchmarks.campaign.stack_player import Player
from benchmarks.campaign.stack_score import Judged, broken, judged
from benchmarks.campaign.stack_service import Service
from benchmarks.report import say
from deploy.demo.session import Addresses, Session
from deploy.errors import UserError
from deploy.settings import Settings
from deploy.stack.lifecycle import down, up_detached
from deploy.stack.state import EventKind, StackEvent

_CAMPAIGN = 200
BY_WEEKS = ("surge",)
"""What is usual in an hour of the week takes weeks to know, and half an hour to be told: virtual time only."""
_UP_S = 600.0
_APART_S = 5.0
"""Between the beginnings of two scenarios: what each does first is what costs most."""


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """How to play. `home`: of the stack; None: a folder that is removed at the end. `only`: this fault or `control`."""

    count: int = 20
    seed: int = 7
    at_once: int = 5
    window_s: float = 6.0
    home: Path | None = None
    only: str = ""


@dataclass(frozen=True)
class StackRun:
    """What came of it. `problems`: of the whole stack."""

    judged: list[Judged]
    problems: list[str]
    wall_s: float

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all scenarios."""
        return [each.outcome for each in self.judged]


def chosen(count: int, seed: int, only: str = "") -> list[Scenario]:
    """So many of the campaign's scenarios of this seed: a quarter (one at least) are controls, the rest has as many
    different faults as there can be. `only`: the first ones of this fault, or `control`."""
    pool = scenarios(_CAMPAIGN, seed)
    if only:
        return [each for each in pool if (each.fault or "control") == only][:count]
    rng = np.random.default_rng([seed, 20])
    controls = [each for each in pool if each.fault is None]
    quiet = max(1, count // 4)
    picked = [controls[one] for one in rng.permutation(len(controls))[:quiet]]
    faults = rng.permutation([each for each in CAUSE_OF if each not in BY_WEEKS])
    for number in range(count - quiet):
        ill = [each for each in pool if each.fault == faults[number % len(faults)] and each not in picked]
        picked.append(ill[int(rng.integers(len(ill)))])
    return [picked[one] for one in rng.permutation(len(picked))]


async def play(options: StackOptions) -> StackRun:
    """Start a stack, play, judge, and stop it."""
    began_s = time.monotonic()
    picked = chosen(options.count, options.seed, options.only)
    async with _stack(options.home) as (session, people):
        service = Service()
        async with service.running(session):
            approving = asyncio.create_task(people.approve_all(), name="approver")
            try:
                found = await _all(picked, options, session, service, people)
            finally:
                approving.cancel()
                await asyncio.wait([approving])
        report = await people.get("/audit/verify")
        problems = [f"audit: {each}" for each in report["problems"]]
        if approving.done() and not approving.cancelled() and approving.exception():
            problems.append(f"the approver gave up: {approving.exception()}")
    return StackRun(found, problems, time.monotonic() - began_s)


async def _all(
    picked: Sequence[Scenario], options: StackOptions, session: Session, service: Service, people: People
) -> list[Judged]:
    places = asyncio.Semaphore(options.at_once)
    starting = asyncio.Lock()

    async def one(number: int, scenario: Scenario) -> Judged:
        async with places:
            async with starting:
                await asyncio.sleep(_APART_S)
            say(f"{number + 1:2d} of {len(picked)} begins: seed {scenario.seed} {scenario.kind}")
            began_s = time.monotonic()
            player = Player(scenario, number, options.window_s, session, service, people)
            try:
                found = await judged(await player.play(), people, options.window_s)
            except (UserError, httpx.HTTPError) as error:
                found = broken(scenario, time.monotonic() - began_s, f"{type(error).__name__}: {error}")
            say(f"{number + 1:2d} of {len(picked)} {told(found)}")
            return found

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, scenario)) for number, scenario in enumerate(picked)]
    return [each.result() for each in tasks]


def told(found: Judged) -> str:
    """One line about a scenario."""
    outcome = found.outcome
    right = "wrong" if outcome.is_wrong else "right"
    parts = [
        f"{right} in {found.wall_s:.0f} s: seed {outcome.scenario.seed} {outcome.scenario.kind}: {outcome.found}",
        f"did {', '.join(outcome.acted) or 'nothing'}",
    ]
    parts += [f"harm: {each}" for each in outcome.harm]
    parts += [f"{outcome.endless} without an end"] if outcome.endless else []
    return "; ".join([*parts, *found.problems])


@contextlib.asynccontextmanager
async def _stack(home: Path | None) -> AsyncGenerator[tuple[Session, People]]:
    folder = home or Path(tempfile.mkdtemp(prefix="homeostat-campaign-"))
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    os.environ |= {"HOMEOSTAT_HOME": str(folder), "HOMEOSTAT_POLICY": str(policy)}
    settings = Settings()
    say(f"starting the stack in {folder}")
    try:
        up = await asyncio.to_thread(up_detached, folder, _tell, timeout_s=_UP_S)
        addresses = Addresses.of(up.status, settings)
        session = Session(addresses, settings)
        people = await People.with_tokens(folder, addresses.api, addresses.serving)
        try:
            yield session, people
        finally:
            await people.close()
            await session.close()
    finally:
        say("stopping the stack")
        await asyncio.to_thread(down, folder)
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


def _tell(event: StackEvent) -> None:
    if event.kind in (EventKind.DIED, EventKind.UNHEALTHY):
        say(f"{event.part}: {event.message}")
