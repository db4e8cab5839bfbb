"""The composition root: one function per role, each reading straight down."""

import asyncio
from typing import TYPE_CHECKING

from deploy import actuation, pieces, policies, second_eyes, telling
from deploy.errors import UserError
from deploy.logs import configure_logging
from deploy.settings import Settings
from detectors.structs import lay_out

if TYPE_CHECKING:
    # What a role does not need it does not import: ten processes start at once on a small machine.
    from fastapi import FastAPI

    from streams.worker.runtime import StreamsConfig


def run_role(role: str, settings: Settings) -> None:
    """Run `role`, one of `ROLES`, until SIGTERM or SIGINT. Raises `UserError` for a missing address."""
    configure_logging(settings.log_level)
    settings.home.mkdir(parents=True, exist_ok=True)
    asyncio.run(pieces.prepare_topics(settings))
    ROLES[role](settings)


def _gate(settings: Settings) -> None:
    from streams.gate.config import GateConfig
    from streams.gate.worker import run_gate

    run_gate(
        GateConfig(
            broker=pieces.broker(settings),
            instance=f"gate-{settings.instance}",
            ready_callback=pieces.heartbeat(settings, "gate"),
            mapping=pieces.ingest_map(settings),
            telemetry=pieces.telemetry(settings, "gate"),
        )
    )


def _profile(settings: Settings) -> None:
    from streams.app import run_profile

    run_profile(_streams_config(settings, "profile"))


def _judge(settings: Settings) -> None:
    from streams.app import run_judge

    run_judge(_streams_config(settings, "judge"))


def _archive(settings: Settings) -> None:
    from deploy.retiring import retiring
    from streams.archive.worker import ArchiveConfig, run_archive

    run_archive(
        ArchiveConfig(
            broker=pieces.broker(settings),
            location=settings.archive_location,
            flush_s=settings.archive_wait_s,
            upkeep=pieces.archive_upkeep(settings),
            upkeep_every_s=settings.archive_upkeep_s,
            retiring=retiring,
            instance=f"archive-{settings.instance}",
            ready_callback=pieces.heartbeat(settings, "archive"),
            telemetry=pieces.telemetry(settings, "archive"),
        )
    )


def _record(settings: Settings) -> None:
    from db.points import SqlRecordStore
    from streams.record import RecordConfig, run_record

    store = SqlRecordStore(pieces.database(settings))
    config = RecordConfig(
        broker=pieces.broker(settings),
        instance=f"record-{settings.instance}",
        ready_callback=pieces.heartbeat(settings, "record"),
        telemetry=pieces.telemetry(settings, "record"),
    )
    run_record(config, store)


def _agent(settings: Settings) -> None:
    asyncio.run(_run_agent(settings))


async def _run_agent(settings: Settings) -> None:
    from dataclasses import replace

    from db.audit.feed import Feed
    from db.audit.sequencer import Sequencer, keep
    from db.audit.witness import Witness
    from db.journal import SqlJournal
    from deploy.reports import keep_reports
    from remediation.agent import Agent, Ports
    from remediation.clock import SystemClock
    from remediation.training_process import SubprocessTrainer
    from serving.runtime import OnnxScorer
    from streams import topics
    from streams.archive.read import ParquetArchive
    from streams.control.feed import followed

    lay_out()
    clock = SystemClock()
    engine = pieces.database(settings)
    journal = SqlJournal(engine, clock)
    policies.put_on_record(settings, journal, "agent", pieces.policy(settings))
    registry = pieces.registry(settings)
    async with (
        pieces.open_bus(settings, "agent") as bus,
        followed(pieces.broker(settings), "homeostat-agent-control") as registered,
    ):
        ports = Ports(
            journal=journal,
            bus=bus,
            registry=registry,
            trainer=SubprocessTrainer(),
            archive=ParquetArchive(settings.archive_location),
            scorer=OnnxScorer(),
            publisher=actuation.publisher(bus, registry, registered),
            notifier=telling.notifier(settings, journal),
            clock=clock,
            channels=telling.channels(settings, journal, clock),
            actuators=actuation.actuators(settings, bus, registry, registered),
            caller=actuation.caller(settings, bus, registered, clock),
        )
        config = replace(
            second_eyes.agent_config(settings),
            autonomy=lambda model: registered.monitor(model, clock.now_us()).autonomy,
        )
        sequencer = Sequencer(engine, settings.audit_path)
        witness = Witness(engine, settings.audit_path)
        feed = Feed(bus, topics.AUDIT_CHECKPOINTS, settings.audit_path)
        await pieces.until_signal(
            Agent(ports, config).run(),
            keep([sequencer, witness], interval_s=0.5),
            feed.keep(interval_s=0.5),
            keep_reports(settings),
            pieces.beat(settings, "agent"),
        )


def _serving(settings: Settings) -> None:
    asyncio.run(_run_serving(settings))


async def _run_serving(settings: Settings) -> None:
    import homeostat
    from serving.inference import create_inference_app
    from streams import topics

    lay_out()
    homeostat.init(pieces.broker(settings))
    async with pieces.open_bus(settings, "serving") as bus:
        app = create_inference_app(
            pieces.registry(settings),
            bus,
            (),
            desired_topic=topics.DESIRED,
            acknowledgements_topic=topics.ACKNOWLEDGEMENTS,
            log_predictions=homeostat.log,
            signatures=pieces.signatures(settings),
        )
        await _serve_http(app, settings.serving_port, "HOMEOSTAT_SERVING_PORT")
    homeostat.close()


def _api(settings: Settings) -> None:
    asyncio.run(_run_api(settings))


async def _run_api(settings: Settings) -> None:
    from functools import partial

    from db.audit.proofs import Proofs
    from db.audit.verify import verify
    from db.journal import SqlJournal
    from db.points import SqlRecordStore
    from remediation.approvals import decide, snooze
    from remediation.cancellation import cancel
    from remediation.changes import record_change
    from remediation.clock import SystemClock
    from remediation.feedback import give_feedback
    from remediation.promotion import promote
    from remediation.silencing import end_silence, set_silence
    from remediation.turning import turn
    from remediation.watchdog import overdue
    from serving.api import ApiServices, create_api
    from serving.console import add_console
    from streams.control.bus import publish_statement
    from streams.control.feed import followed

    lay_out()
    clock = SystemClock()
    engine = pieces.database(settings)
    journal = SqlJournal(engine, clock)
    registry = pieces.registry(settings)
    policy = pieces.policy(settings)
    policies.put_on_record(settings, journal, "api", policy)
    async with (
        pieces.open_bus(settings, "api") as bus,
        followed(pieces.broker(settings), "homeostat-api-control") as registered,
    ):
        services = ApiServices(
            journal=journal,
            records=SqlRecordStore(engine),
            registry=registry,
            verify_audit=partial(verify, engine, settings.audit_path),
            proofs=Proofs(engine, settings.audit_path),
            decide=partial(decide, journal, clock, policy=policy),
            snooze=partial(snooze, journal, clock, policy=policy),
            promote=partial(
                promote,
                journal,
                registry,
                actuation.routed_publisher(settings, bus, registry, registered),
                clock,
                policy=policy,
            ),
            cancel=partial(cancel, journal, clock, policy=policy),
            turn=partial(turn, journal, clock, policy=policy),
            give_feedback=partial(give_feedback, journal, partial(publish_statement, bus), clock),
            set_silence=partial(set_silence, journal, clock),
            end_silence=partial(end_silence, journal, clock),
            record_change=partial(record_change, journal, clock),
            clock=clock,
            playbooks=pieces.playbooks(settings),
            limits=policy.limits,
            policy=policy,
            environment=settings.environment,
            health=partial(_health, settings),
            stuck=partial(overdue, config=second_eyes.agent_config(settings)),
            token=settings.api_token.get_secret_value() if settings.api_token else None,
        )
        app = create_api(services)
        add_console(app, services)
        app.include_router(pieces.ingest_routes(settings, bus, registered))
        async with (
            telling.hearing_clicks(settings, engine, services, app),
            second_eyes.watching(settings, journal, clock),
        ):
            await _serve_http(app, settings.api_port, "HOMEOSTAT_API_PORT")


def _health(settings: Settings) -> dict[str, str]:
    from deploy.stack.lifecycle import status

    state = status(settings.home).state
    return {part.name: str(part.health) for part in state.parts} if state else {}


async def _serve_http(app: "FastAPI", port: int | None, setting: str) -> None:
    from serving.listening import Server

    if port is None:
        raise UserError(f"{setting} is not set: name the port to listen on.")
    await Server(app, port=port).serve()


def _streams_config(settings: Settings, role: str) -> "StreamsConfig":
    from streams.worker.runtime import StreamsConfig

    folder = settings.home / "streams" / role
    folder.mkdir(parents=True, exist_ok=True)
    return StreamsConfig(
        broker=pieces.broker(settings),
        data_dir=folder,
        partitions=settings.partitions,
        checkpoint_interval_s=settings.checkpoint_interval_s,
        instance=settings.instance,
        ready_callback=pieces.heartbeat(settings, role),
        telemetry=pieces.telemetry(settings, role),
        segments=settings.segments,
    )


ROLES = {
    "gate": _gate,
    "profile": _profile,
    "judge": _judge,
    "archive": _archive,
    "record": _record,
    "agent": _agent,
    "serving": _serving,
    "api": _api,
}
