"""From an approval to all traffic on the good version. Broker, registry, four inference servers and the load are
processes of their own; the agent is in this one."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import httpx
import numpy as np
import pandas as pd
from sqlalchemy import Engine

from benchmarks.broker import running
from benchmarks.remediation_parts import (
    BAD_S,
    GOOD_S,
    Nobody,
    PastClock,
    TimedJournal,
    encoded,
    illness,
    past,
)
from benchmarks.report import say
from db.points import SqlRecordStore
from deploy import actuation, pieces
from deploy.settings import Settings
from remediation.agent import Agent, Ports
from remediation.approvals import decide
from remediation.clock import SystemClock
from remediation.config import AgentConfig
from remediation.promotion import promote
from remediation.training import SklearnTrainer
from remediation.training.candidates import CANDIDATES
from remediation.training_values import TrainedModel, TrainingSet
from serving.registry import MlflowRegistry
from serving.runtime import OnnxScorer
from streams import topics
from streams.archive.read import ParquetArchive
from streams.bus import KafkaBus
from streams.control.feed import followed

SERVERS = 4
_PARTITIONS = 1
_START_S, _STEP_S, _AFTER_S = 240.0, 60.0, 0.5


@dataclass
class Found:
    """`switched_ms`: from the commit of each approval to the last request that the bad version answered; `asked_ms`:
    from each alert to its ticket; `steps_ms`: from each approval to the time of each step in the record."""

    switched_ms: list[float] = field(default_factory=list[float])
    asked_ms: list[float] = field(default_factory=list[float])
    steps_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    requests: int = 0
    failed: int = 0
    load_s: float = 0.0


def measure(engine: Engine, count: int) -> Found:
    """`count` rollbacks, each of a model of its own."""
    with running(_PARTITIONS) as (broker, home), _mlflow(home) as registry_url:
        env = {
            "HOMEOSTAT_BROKER": broker,
            "MLFLOW_TRACKING_URI": registry_url,
            "HOMEOSTAT_PARTITIONS": str(_PARTITIONS),
            "HOMEOSTAT_LOG_LEVEL": "WARNING",
        }
        with contextlib.ExitStack() as stack:
            urls = [stack.enter_context(_server(home, env, number)) for number in range(SERVERS)]
            load = stack.enter_context(_load(urls))
            settings = Settings(broker=broker, home=home, partitions=_PARTITIONS)
            return asyncio.run(_rollbacks(engine, settings, registry_url, urls, load, count))


async def _rollbacks(
    engine: Engine,
    settings: Settings,
    registry_url: str,
    urls: list[str],
    load: "subprocess.Popen[str]",
    count: int,
) -> Found:
    clock, registry, found = SystemClock(), MlflowRegistry(registry_url), Found()
    journal, records = TimedJournal(engine, clock), SqlRecordStore(engine)
    models = [f"rolled-{number}" for number in range(count)]
    say("Registering models.")
    good, bad = await asyncio.to_thread(_trained, False), await asyncio.to_thread(_trained, True)
    for model in models:
        for trained in (good, bad):
            renamed = _renamed(trained, model)
            await asyncio.to_thread(registry.register, renamed, tags={})
    async with (
        pieces.open_bus(settings, "bench") as bus,
        followed(pieces.broker(settings), "bench-control") as registered,
        httpx.AsyncClient() as client,
    ):
        publisher = actuation.publisher(bus, registry, registered)
        for model in models:
            for version, ago_s in (("1", GOOD_S), ("2", BAD_S)):
                await promote(
                    journal,
                    registry,
                    publisher,
                    PastClock(ago_s),
                    model=model,
                    version=version,
                    by="bench",
                    reason="release",
                )
            await _until(lambda each=model: _serve(client, urls, each, "2"), f"servers serve {model}")
        running_agent = asyncio.create_task(_agent(settings, journal, bus, registry, publisher).run())
        for model in models:
            await asyncio.to_thread(past, records, model)
            await _one(found, journal, bus, load, model)
            steps = ", ".join(f"{step} {ms[-1]:.0f}" for step, ms in found.steps_ms.items())
            say(f"{model}: {found.switched_ms[-1]:.0f} ms ({steps}), {found.failed} failed until now")
        running_agent.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running_agent
    return found


async def _one(
    found: Found, journal: TimedJournal, bus: KafkaBus, load: "subprocess.Popen[str]", model: str
) -> None:
    began_s = time.monotonic()
    _tell(load, {"model": model, "bad": "2"})
    await asyncio.sleep(_AFTER_S)
    alert_s = time.perf_counter()
    for key, value in encoded([illness(model, time.time_ns() // 1_000)]):
        await bus.publish(topics.ALERTS, key=key, value=value)
    await _until(lambda: _true(model in journal.asked_s), f"a ticket for {model}")
    found.asked_ms.append(1_000 * (journal.asked_s[model] - alert_s))
    with journal.reading() as unit:
        (ticket,) = [each for each in unit.approvals(state="pending") if each.model == model]
    await asyncio.to_thread(
        decide,
        journal,
        SystemClock(),
        ticket.id,
        "approve",
        by="ada",
        reason="measured",
        channel="cli",
        plan_hash=ticket.plan_hash,
    )
    approved_s = time.monotonic()

    async def acknowledged() -> bool:
        with journal.reading() as unit:
            return any(
                step.name == "acknowledge" and step.state == "done"
                for action in unit.actions(model=model)
                for step in action.steps
            )

    await _until(acknowledged, f"the servers acknowledge {model}")
    await asyncio.sleep(_AFTER_S)
    _tell(load, {})
    seen = json.loads(await asyncio.to_thread(_line, load))
    if seen["failed"]:
        say(f"{model}: {seen['reason']}")
    if not seen["last_bad_s"]:
        raise SystemExit(f"The bad version of {model} answered nothing: there was nothing to switch.")
    with journal.reading() as unit:
        decided, (action,) = unit.approval(ticket.id), unit.actions(model=model)
    approved_us = decided.decided_us if decided and decided.decided_us else action.started_us
    for step, at_us in (("begun", action.started_us), *((each.name, each.at_us) for each in action.steps)):
        found.steps_ms.setdefault(step, []).append((at_us - approved_us) / 1_000)
    found.switched_ms.append(max(0.0, 1_000 * (seen["last_bad_s"] - approved_s)))
    found.requests += seen["requests"]
    found.failed += seen["failed"]
    found.load_s += time.monotonic() - began_s


def _agent(
    settings: Settings, journal: TimedJournal, bus: KafkaBus, registry: MlflowRegistry, publisher: Any
) -> Agent:
    ports = Ports(
        journal=journal,
        bus=bus,
        registry=registry,
        trainer=cast("Any", None),
        archive=ParquetArchive(settings.home / "archive"),
        scorer=OnnxScorer(),
        publisher=publisher,
        notifier=cast("Any", Nobody()),
        clock=SystemClock(),
    )
    config = AgentConfig(
        alerts_topic=topics.ALERTS,
        acknowledgements_topic=topics.ACKNOWLEDGEMENTS,
        desired_topic=topics.DESIRED,
        agent_id="bench",
    )
    return Agent(ports, config)


async def _serve(client: httpx.AsyncClient, urls: list[str], model: str, version: str) -> bool:
    for url in urls:
        answer = await client.get(f"{url}/v1/models", timeout=10)
        served = {each["model"]: str(each["version"]) for each in answer.json()["models"]}
        if served.get(model) != version:
            return False
    return True


async def _true(value: bool) -> bool:
    return value


async def _until(reached: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + _STEP_S
    while not await reached():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"Waited for {_STEP_S:g} s until {what}.")
        await asyncio.sleep(0.02)


def _trained(flipped: bool) -> TrainedModel:
    """A small logistic regression: `b` above 1 means 1, or 0 where it is `flipped`."""
    rng = np.random.default_rng(7)
    features = pd.DataFrame({"b": rng.normal(1, 1, 120), "a": rng.normal(0, 1, 120)})
    labels = pd.Series((features["b"].to_numpy() > 1).astype(int))
    data = TrainingSet(
        model="rolled",
        features=features,
        labels=1 - labels if flipped else labels,
        groups=pd.Series(np.arange(120)),
    )
    return SklearnTrainer(CANDIDATES[:1]).train(data, seed=7)


def _renamed(trained: TrainedModel, model: str) -> TrainedModel:
    from dataclasses import replace

    import msgspec

    reference = msgspec.structs.replace(trained.reference, model=model)
    return replace(trained, model=model, reference=reference)


@contextmanager
def _mlflow(home: Path) -> Generator[str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["-m", "deploy.stack.mlflow_server", "--folder", str(home / "mlflow"), "--port", str(port)]
    with _process(command, {}, home / "mlflow.log"):
        _wait_for(f"{url}/health", home / "mlflow.log")
        yield url


@contextmanager
def _server(home: Path, env: dict[str, str], number: int) -> Generator[str]:
    port = _free_port()
    own = {
        "HOMEOSTAT_SERVING_PORT": str(port),
        "HOMEOSTAT_HOME": str(home / f"serving-{number}"),
        "HOMEOSTAT_INSTANCE": str(number),
    }
    with _process(["-m", "deploy.cli", "worker", "serving"], env | own, home / f"serving-{number}.log"):
        _wait_for(f"http://127.0.0.1:{port}/healthz", home / f"serving-{number}.log")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _load(urls: list[str]) -> "Generator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "benchmarks.remediation_load", *urls]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        cast("IO[str]", process.stdin).close()


@contextmanager
def _process(arguments: list[str], env: dict[str, str], output: Path) -> Generator[None]:
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **env}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for(url: str, output: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).is_success:
                return
        time.sleep(0.2)
    raise SystemExit(f"Nobody answers at {url}:\n{output.read_text()[-2_000:]}")


def _tell(load: "subprocess.Popen[str]", command: dict[str, str]) -> None:
    pipe = cast("IO[str]", load.stdin)
    pipe.write(json.dumps(command) + "\n")
    pipe.flush()


def _line(load: "subprocess.Popen[str]") -> str:
    return cast("IO[str]", load.stdout).readline()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
