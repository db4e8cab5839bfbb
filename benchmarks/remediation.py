"""How fast remediation is: from an alert to the ticket, from the approval to all traffic, and alerts per second.

    uv run python -m benchmarks.remediation --json

The agent is the real one, in this process, over a PostgreSQL of our own with its default settings (fsync on).

`remediation.ticket`: alerts come one by one, each of another model whose new version is bad; bus and registry are in
memory. Until the ticket is committed. The agent waits 0.1 s for alerts of the same window, which is part of it.
`remediation.traffic`: a Kafka broker, an MLflow server and four inference servers (`homeostat worker serving`), each a
process of its own, under load from a further one. From the commit of the approval until the last request was sent that
the bad version still answered; `remediation.failed`: requests of the whole time that failed.
`remediation.grouped`: alerts of 50 models wait in the topic; the agent takes them in, pinned to one core (the database
has the others). Its peer takes them in one by one.

The audit log's own figures (appends, a million entries verified) are those of `benchmarks.audit`.
"""

import asyncio
import contextlib
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine

from benchmarks import remediation_traffic
from benchmarks.remediation_parts import (
    BAD_S,
    GOOD_S,
    ListedRegistry,
    MemoryBus,
    Nobody,
    PastClock,
    TimedJournal,
    database,
    encoded,
    illness,
    past,
)
from benchmarks.report import Scenario, parser, say, show
from db.journal import SqlJournal
from db.points import SqlRecordStore
from deploy.logs import configure_logging
from detectors.values import Alert, AlertKind
from remediation.agent import Agent, Ports
from remediation.approvals import decide
from remediation.clock import SystemClock
from remediation.config import AgentConfig
from remediation.promotion import promote
from remediation.publisher import BusPublisher
from remediation.reception import receive_alerts
from remediation.values import Desired
from serving.runtime import OnnxScorer
from streams.archive.read import ParquetArchive

CONFIG = AgentConfig(
    alerts_topic="alerts", acknowledgements_topic="acks", desired_topic="desired", agent_id="bench"
)
_MODELS = 50
_KINDS: tuple[AlertKind, ...] = ("data_quality", "data_drift", "prediction_drift", "performance")
_TICKET_S = 30.0
_ONE_BY_ONE = 200


def main() -> int:
    """Run the scenarios."""
    options = parser(__doc__ or "")
    options.add_argument("--tickets", type=int, default=200, help="alerts that become tickets (default: 200)")
    options.add_argument("--rollbacks", type=int, default=20, help="approvals, 0: without (default: 20)")
    options.add_argument("--alerts", type=int, default=20_000, help="alerts to group (default: 20,000)")
    given = options.parse_args()
    configure_logging("WARNING")
    scenarios: list[Scenario] = []
    with database() as engine:
        say("From alerts to tickets.")
        took_ms = asyncio.run(_tickets(engine, given.tickets, random.Random(given.seed)))
        scenarios.append(_latency("remediation.ticket", "alert to ticket", took_ms, 500))
    with database() as engine:
        say("Alerts per second.")
        scenarios.append(_grouped(engine, given.alerts))
    if given.rollbacks:
        with database() as engine:
            say("From approvals to all traffic.")
            found = remediation_traffic.measure(engine, given.rollbacks)
        scenarios.append(
            _latency(
                "remediation.traffic",
                "approval to all requests on the good version",
                found.switched_ms,
                2_000,
                {
                    "alert to ticket through Kafka, median (ms)": statistics.median(found.asked_ms),
                    "requests per second": found.requests / found.load_s,
                }
                | {
                    f"{step} after, median (ms)": statistics.median(ms) for step, ms in found.steps_ms.items()
                },
            )
        )
        scenarios.append(
            Scenario(
                id="remediation.failed",
                value=found.failed,
                unit=f"failed requests of {found.requests:,}",
                higher_is_better=False,
                target=0,
            )
        )
    return show(scenarios, as_json=given.json)


def _latency(
    name: str, what: str, took_ms: list[float], target: float, peers: dict[str, float] | None = None
) -> Scenario:
    ordered = sorted(took_ms)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    own = {"median (ms)": statistics.median(ordered), "longest (ms)": ordered[-1]}
    return Scenario(
        id=name,
        value=p99,
        unit=f"ms, {what}, p99 of {len(ordered)}",
        higher_is_better=False,
        peers=own | (peers or {}),
        target=target,
    )


async def _tickets(engine: Engine, count: int, rng: random.Random) -> list[float]:
    clock, bus, registry = SystemClock(), MemoryBus(), ListedRegistry()
    journal, records = TimedJournal(engine, clock), SqlRecordStore(engine)
    publisher = BusPublisher(bus, cast("Any", registry), desired_topic="desired", announce=_nothing)
    for number in range(count):
        for version, ago_s in (("1", GOOD_S), ("2", BAD_S)):
            await promote(
                journal,
                cast("Any", registry),
                publisher,
                PastClock(ago_s),
                model=f"model-{number}",
                version=version,
                by="bench",
                reason="release",
            )
    agent = _agent(journal, bus, registry, publisher)
    running = asyncio.create_task(agent.run())
    took_ms: list[float] = []
    for number in range(count):
        model = f"model-{number}"
        await asyncio.to_thread(past, records, model)
        await asyncio.sleep(rng.uniform(0.0, 0.2))
        began_s = time.perf_counter()
        bus.put("alerts", list(encoded([illness(model, clock.now_us())])))
        while model not in journal.asked_s:
            if time.perf_counter() - began_s > _TICKET_S:
                raise SystemExit(f"The alert of {model} became no ticket in {_TICKET_S:g} s.")
            await asyncio.sleep(0.02)
        took_ms.append(1_000 * (journal.asked_s[model] - began_s))
        await asyncio.to_thread(_reject, journal, clock, model)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return took_ms


def _reject(journal: SqlJournal, clock: SystemClock, model: str) -> None:
    """So that it is over, as most are when the next one comes."""
    with journal.reading() as unit:
        (ticket,) = [each for each in unit.approvals(state="pending") if each.model == model]
    decide(
        journal,
        clock,
        ticket.id,
        "reject",
        by="bench",
        reason="measured",
        channel="cli",
        plan_hash=ticket.plan_hash,
    )


def _grouped(engine: Engine, count: int) -> Scenario:
    journal, clock = SqlJournal(engine, SystemClock()), SystemClock()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        single = _mixed(_ONE_BY_ONE, clock.now_us(), "single")
        began_s = time.perf_counter()
        for alert in single:
            receive_alerts(journal, [alert], now_us=clock.now_us(), config=CONFIG)
        one_by_one = _ONE_BY_ONE / (time.perf_counter() - began_s)
        rate, cpu_s = asyncio.run(_batches(journal, _mixed(count, clock.now_us(), "many")))
    finally:
        os.sched_setaffinity(0, cores)
    return Scenario(
        id="remediation.grouped",
        value=rate,
        unit="alerts/s, committed, on one core",
        higher_is_better=True,
        peers={"one by one (alerts/s)": one_by_one, "CPU of the agent (s per 1,000)": cpu_s / count * 1_000},
        target=1_000,
    )


async def _batches(journal: SqlJournal, alerts: list[Alert]) -> tuple[float, float]:
    """Alerts per second from the topic to the last commit, and the CPU seconds of this process."""
    bus, registry = MemoryBus(), ListedRegistry()
    publisher = BusPublisher(bus, cast("Any", registry), desired_topic="desired", announce=_nothing)
    agent = _agent(journal, bus, registry, publisher)
    bus.put("alerts", list(encoded(alerts)))
    last = alerts[-1].id
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    following = asyncio.create_task(agent.take_in_alerts())
    while not await asyncio.to_thread(_known, journal, last):  # noqa: ASYNC110 what is awaited is a commit
        await asyncio.sleep(0.02)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    return len(alerts) / took_s, cpu_s


def _known(journal: SqlJournal, alert_id: str) -> bool:
    with journal.reading() as unit:
        return bool(unit.known_alerts([alert_id]))


def _mixed(count: int, now_us: int, name: str) -> list[Alert]:
    return [
        illness(f"{name}-{number % _MODELS}", now_us + number, _KINDS[number // _MODELS % 4], f"-{number}")
        for number in range(count)
    ]


def _agent(journal: SqlJournal, bus: MemoryBus, registry: ListedRegistry, publisher: BusPublisher) -> Agent:
    ports = Ports(
        journal=journal,
        bus=bus,
        registry=cast("Any", registry),
        trainer=cast("Any", None),
        archive=ParquetArchive(Path(tempfile.gettempdir()) / "homeostat-nothing-archived"),
        scorer=OnnxScorer(),
        publisher=publisher,
        notifier=cast("Any", Nobody()),
        clock=SystemClock(),
    )
    return Agent(ports, CONFIG)


async def _nothing(desired: Desired) -> None:
    del desired


if __name__ == "__main__":
    raise SystemExit(main())
