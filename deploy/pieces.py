"""What the roles are made of: addresses, the database, the bus, people, heartbeats."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING

import structlog

from deploy.errors import UserError
from deploy.settings import Settings
from deploy.stack.parts import part_name, ready_file

if TYPE_CHECKING:
    # What a role does not need it does not import: ten processes start at once on a small machine.
    from fastapi import APIRouter
    from sqlalchemy import Engine

    from db.audit.verify import VerifyReport
    from remediation.playbooks.values import Playbooks
    from remediation.policy import Policy
    from serving.registry import MlflowRegistry
    from serving.signatures import Signatures
    from streams.archive.upkeep import UpkeepConfig
    from streams.bus import KafkaBus
    from streams.control.configuration import Configuration
    from streams.gate.mapping import IngestMap
    from streams.telemetry import Telemetry

_log = structlog.get_logger()

_BROKER_WAIT_S = 120.0


def broker(settings: Settings) -> str:
    """The broker's address; a worker cannot do without."""
    return _set(settings.broker, "HOMEOSTAT_BROKER", "the address of a Kafka broker, host:port")


def mlflow(settings: Settings) -> str:
    """The registry's address."""
    return _set(settings.mlflow_tracking_uri, "MLFLOW_TRACKING_URI", "the address of an MLflow server")


def registry(settings: Settings) -> "MlflowRegistry":
    """The registry, with the keys that sign and judge what is in it."""
    return registry_at(mlflow(settings), settings)


def registry_at(address: str, settings: Settings) -> "MlflowRegistry":
    """The registry at an address that is known otherwise."""
    from serving.registry import MlflowRegistry

    return MlflowRegistry(address, signatures(settings))


def signatures(settings: Settings) -> "Signatures":
    """Who vouches for model versions, and what is done where nobody does."""
    from serving.keyring import Keyring
    from serving.signatures import Signatures

    return Signatures(Keyring(settings.signing_path), settings.signatures)


def _set(value: str | None, name: str, what: str) -> str:
    if value is None:
        raise UserError(
            f"{name} is not set: a worker needs {what}. `homeostat up` sets it for the local stack."
        )
    return value


def database(settings: Settings) -> "Engine":
    """The database, its schema brought up to date."""
    from db.engine import connect
    from db.migrate import upgrade

    upgrade(settings.database)
    return connect(settings.database)


async def prepare_topics(settings: Settings) -> None:
    """Wait for the broker, and create the topics that are missing."""
    from streams.broker.admin import ensure_topics, wait_for_broker
    from streams.topics import all_topics

    await wait_for_broker(broker(settings), _BROKER_WAIT_S)
    await ensure_topics(broker(settings), all_topics(settings.partitions))


@contextlib.asynccontextmanager
async def open_bus(settings: Settings, name: str) -> "AsyncGenerator[KafkaBus]":
    """A bus for as long as the block lasts."""
    from streams.bus import KafkaBus

    bus = KafkaBus(broker(settings), f"homeostat-{name}")
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


def ingest_map(settings: Settings) -> "IngestMap":
    """Which topics the gate reads, and how foreign payloads become events."""
    from streams.gate.mapping import MappingError, load_map

    try:
        return load_map(settings.ingest_file, settings.ingest_topics)
    except MappingError as error:
        raise UserError(str(error)) from error


def ingest_routes(settings: Settings, bus: "KafkaBus", registered: "Configuration") -> "APIRouter":
    """Events over HTTP, put on the topic that the gate reads, and held against what is registered at once."""
    from serving.ingest import ingest_router
    from serving.ingest_body import IngestLimits
    from streams.gate.intake import Intake

    limits = IngestLimits(in_flight_bytes=settings.ingest_in_flight_bytes)
    return ingest_router(Intake(bus.publish, ingest_map(settings), models=registered), limits)


def policy(settings: Settings, *, strict: bool = False) -> "Policy":
    """Who may decide, as the file says. `strict`: roles that nobody has are a mistake also in a file that was in force
    before. Raises `UserError`."""
    from deploy.policies import was_in_force
    from remediation.errors import PolicyInvalid
    from remediation.policy import Policy
    from remediation.policy_file import read_policy

    if settings.policy is None:
        return Policy()
    try:
        return read_policy(
            settings.policy, in_force=lambda digest: not strict and was_in_force(settings, digest)
        )
    except PolicyInvalid as error:
        raise UserError(f"HOMEOSTAT_POLICY: {error}") from error


def playbooks(settings: Settings) -> "Playbooks":
    """Which incident is treated how, as the file says."""
    from remediation.errors import PlaybooksInvalid
    from remediation.playbooks.files import read_playbooks
    from remediation.playbooks.values import Playbooks

    if settings.playbooks is None:
        return Playbooks()
    try:
        return read_playbooks(settings.playbooks)
    except PlaybooksInvalid as error:
        raise UserError(f"HOMEOSTAT_PLAYBOOKS: {error}") from error


def archive_upkeep(settings: Settings) -> "UpkeepConfig":
    """How the archive is kept."""
    from streams.archive.upkeep import UpkeepConfig

    return UpkeepConfig(
        retention_days=settings.archive_retention_days, retention_of=settings.archive_retention_of
    )


def telemetry(settings: Settings, role: str) -> "Telemetry":
    """What a stream worker tells Prometheus, answered where the settings say."""
    from streams.telemetry import Telemetry

    found = Telemetry(role)
    if settings.metrics_port is not None:
        try:
            port = found.serve(settings.metrics_port, settings.metrics_host)
        except OSError as error:
            raise UserError(
                f"HOMEOSTAT_METRICS_PORT is {settings.metrics_port}: nobody can listen there on "
                f"{settings.metrics_host} ({error.strerror}); name another port, or 0 for a free one."
            ) from error
        _log.info("Prometheus finds this worker.", url=f"http://{settings.metrics_host}:{port}/metrics")
    return found


def heartbeat(settings: Settings, role: str) -> Callable[[], None]:
    """What a role calls about every second while it works; the supervisor looks at the file's age."""
    path = ready_file(settings.home, part_name(role, settings.instance))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.touch


async def beat(settings: Settings, role: str) -> None:
    """Heartbeat of a role that has no loop of its own."""
    touch = heartbeat(settings, role)
    while True:
        touch()
        await asyncio.sleep(1.0)


async def until_signal(*forever: Coroutine[None, None, None]) -> None:
    """Run all until SIGTERM or SIGINT; the first that fails ends the process with its error."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(each) for each in forever]
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, *tasks):
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        task.result()


def verify_audit(settings: Settings, topic: Sequence[str] | None = None) -> "VerifyReport":
    """Recompute the audit log of the settings' database against the key folder, and the notes in `topic`.

    Changes nothing. Raises `UserError` where there is no database: a log that is not there is not intact.
    """
    from db.audit.verify import verify

    return verify(existing_database(settings), settings.audit_path, topic=topic)


def has_database(settings: Settings) -> bool:
    """Whether there is one: a machine that only builds models has none."""
    return settings.database_url is not None or (settings.home / "homeostat.db").exists()


def existing_database(settings: Settings) -> "Engine":
    """The database, which must be there and be up to date. Changes nothing."""
    from db.engine import connect
    from db.migrate import check

    if not has_database(settings):
        raise UserError(
            f"There is no database in {settings.home}: nothing to verify. Name another home with --home."
        )
    check(settings.database)
    return connect(settings.database)


def console_url(settings: Settings) -> str | None:
    """Where people look: the configured API, or the one of the stack in the home."""
    from deploy.stack.lifecycle import status

    if settings.api_url:
        return settings.api_url
    part = status(settings.home).part("api")
    return part.url if part else None
