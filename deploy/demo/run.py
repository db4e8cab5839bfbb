"""`homeostat demo`, from an empty folder to the summary."""

import asyncio
import json
import os
import shutil
import time

from rich.markup import escape

from deploy.demo.data import load_scenario
from deploy.demo.entitlement import refuse_policy
from deploy.demo.memory import MemoryMeter
from deploy.demo.options import DemoOptions
from deploy.demo.result import DemoResult, print_summary
from deploy.demo.screen import Screen
from deploy.demo.session import Addresses, Session
from deploy.demo.story import Story
from deploy.errors import UserError
from deploy.pieces import verify_audit
from deploy.preflight import refuse_wrong_files
from deploy.reports import make_report
from deploy.settings import Settings
from deploy.stack.lifecycle import down, status, up_detached
from deploy.stack.state import EventKind, StackEvent
from remediation.training import SklearnTrainer

_UP_TIMEOUT_S = 600.0
_MARK = ".homeostat-demo"
"""Says that the folder is a demo's own, to be emptied by the next one."""


async def run_demo(options: DemoOptions, settings: Settings) -> int:
    """Play the story in `settings.home/demo`; returns the exit code: 0 when the story ended as it should."""
    started_s = time.monotonic()
    if options.json_path is not None and not options.json_path.absolute().parent.is_dir():
        raise UserError(
            f"--json is {options.json_path}: the folder {options.json_path.parent} does not exist."
        )
    refuse_wrong_files(settings)
    scenario = load_scenario(options.data, options.seed)
    refuse_policy(settings, scenario.model, approve=options.approve)
    own = _own_settings(settings)
    result = DemoResult(seed=options.seed, data=scenario.title, faults=options.faults, home=str(own.home))
    with Screen() as screen:
        screen.chapter(f"Homeostat demo: {scenario.title}")
        first = asyncio.create_task(
            asyncio.to_thread(SklearnTrainer().train, scenario.train, seed=options.seed), name="train"
        )
        memory = MemoryMeter(own.home)
        measuring = asyncio.create_task(memory.run())
        ended = False
        try:
            session = await _started(own, screen)
            result.console = session.calls.api_url
            try:
                story = Story(scenario, session, screen, options, first, result)
                await story.play()
                result.problems += [f"Unexpected incident: {each}" for each in await story.unexpected()]
                await _report(own, session, screen, result, time.monotonic() - started_s)
                ended = True
            finally:
                await session.close()
        finally:
            measuring.cancel()
            first.cancel()
            result.peak_memory_mib = memory.peak_mib
            if not (options.keep and ended):
                screen.waiting("stopping the stack")
                await asyncio.to_thread(down, own.home)
        result.duration_s = round(time.monotonic() - started_s, 1)
        screen.step("The stack keeps running." if options.keep else "Everything is stopped.")
    print_summary(result, screen.console, kept=options.keep)
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(result.as_data(), indent=2) + "\n", encoding="utf-8")
    return 0 if _good(result) else 1


def _own_settings(settings: Settings) -> Settings:
    """The demo has a home of its own, empty at the start but for earlier reports."""
    home = settings.home / "demo"
    if status(home).running:
        raise UserError(f"A demo already runs in {home}. Stop it first: `homeostat --home {home} down`")
    down(home)
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()) and not (home / _MARK).exists():
        raise UserError(f"{home} holds something that no demo has left. Name another place: `--home DIR`")
    (home / _MARK).touch()
    for path in home.iterdir():
        if path.name not in ("reports", _MARK):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.environ["HOMEOSTAT_HOME"] = str(home)
    return settings.model_copy(update={"home": home})


async def _started(settings: Settings, screen: Screen) -> Session:
    """Bring the stack up, telling what happens."""

    def tell(event: StackEvent) -> None:
        if event.kind is EventKind.HEALTHY:
            screen.step(f"{event.part} is up.")
        elif event.kind in (EventKind.DIED, EventKind.UNHEALTHY):
            screen.warn(f"{event.part}: {escape(event.message)}.")

    screen.waiting("starting Kafka, MLflow, the workers, the inference server and the API")
    up = asyncio.create_task(asyncio.to_thread(up_detached, settings.home, tell, timeout_s=_UP_TIMEOUT_S))
    try:
        outcome = await asyncio.shield(up)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: end what it starts until it gives up.
        while not up.done():
            await asyncio.to_thread(down, settings.home)
            await asyncio.wait([up], timeout=0.2)
        up.exception()
        raise
    return Session(Addresses.of(outcome.status, settings), settings)


async def _report(
    settings: Settings, session: Session, screen: Screen, result: DemoResult, period_s: float
) -> None:
    """The books of the auditors and of the managers."""
    addressed = settings.model_copy(update={"api_url": session.addresses.api})
    screen.waiting("verifying the audit log")
    verified = await asyncio.to_thread(verify_audit, addressed)
    result.audit_verified, result.audit_entries = verified.ok, verified.entries
    result.problems += [f"Audit: {problem}" for problem in verified.problems]
    screen.step(f"Audit log: {verified.entries} entries, " + ("verified." if verified.ok else "NOT intact."))
    screen.waiting("writing the report")
    files = await make_report(addressed, period_s=period_s + 60, mail=settings.smtp_url is not None)
    result.report, result.report_message = str(files.pdf or files.html), files.message
    screen.step(f"Report: {result.report}")


def _good(result: DemoResult) -> bool:
    """Whether everything that the demo claims was so. An escalation is a good end: people were told."""
    ended = all(each.outcome in ("resolved", "escalated") for each in result.incidents)
    count = len(result.incidents) == (2 if result.faults else 0)
    return ended and count and not result.problems and result.audit_verified and result.failed_requests == 0
