"""Bringing the broker's topics into the shape that `streams.topics` names."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from streams.broker.group import close_within
from streams.topics import TopicSpec

_log = structlog.get_logger()

_TOPIC_ALREADY_EXISTS = 36
_BROKERS_CHOICE = -1
"""Replication factor: the broker's own default, 1 for the embedded one and the operator's in production."""
_RETRY_S = 0.2
_CREATE_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0


class BrokerUnreachable(ConnectionError):
    """No broker answered at the given address in time."""


class TopicNotCreated(RuntimeError):
    """The broker refused a topic; the message names it and the broker's reason."""


async def wait_for_broker(broker: str, timeout_s: float) -> None:
    """Return as soon as a broker at `broker` (`host:port[,host:port]`) answers.

    Raises `BrokerUnreachable` after `timeout_s`.
    """
    await close_within((await _connect(broker, timeout_s)).close(), _CLOSE_TIMEOUT_S)


async def ensure_topics(
    broker: str, specs: Iterable[TopicSpec], timeout_s: float = _CREATE_TIMEOUT_S
) -> list[str]:
    """Create the topics of `specs` that do not exist, with the replication that the broker has as its
    default.

    Existing topics are left as they are, and somebody else may create the same ones meanwhile. A topic whose
    number of partitions differs is told as a warning: it cannot be changed without moving keys. Returns the
    names created here. Raises `BrokerUnreachable`, `TopicNotCreated`.
    """
    wanted = list(specs)
    deadline = time.monotonic() + timeout_s
    admin = await _connect(broker, timeout_s)
    try:
        present = await _partition_counts(admin)
        missing = [spec for spec in wanted if spec.name not in present]
        _warn_about_other_counts(wanted, present)
        created = await _create(admin, missing, deadline) if missing else []
        await _wait_for_leaders(admin, wanted, deadline)
        return created
    finally:
        await close_within(admin.close(), _CLOSE_TIMEOUT_S)


async def _connect(broker: str, timeout_s: float) -> AIOKafkaAdminClient:
    deadline = time.monotonic() + timeout_s
    while True:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=broker, request_timeout_ms=5_000, client_id="homeostat-admin"
        )
        try:
            await admin.start()
            return admin
        except (KafkaError, OSError) as error:
            await close_within(admin.close(), _CLOSE_TIMEOUT_S)
            if time.monotonic() > deadline:
                raise BrokerUnreachable(
                    f"No Kafka broker answers at {broker} ({timeout_s:g} s tried)."
                ) from error
        except BaseException:  # cancelled: its connections would stay open
            await close_within(admin.close(), _CLOSE_TIMEOUT_S)
            raise
        await asyncio.sleep(_RETRY_S)


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    topics = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in topics if topic["error_code"] == 0}


def _warn_about_other_counts(wanted: list[TopicSpec], present: dict[str, int]) -> None:
    for spec in wanted:
        count = present.get(spec.name, spec.partitions)
        if count != spec.partitions:
            _log.warning(
                "A topic has another number of partitions than configured; it is used as it is.",
                topic=spec.name,
                partitions=count,
                configured=spec.partitions,
            )


async def _create(admin: AIOKafkaAdminClient, missing: list[TopicSpec], deadline: float) -> list[str]:
    topics = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=_BROKERS_CHOICE,
            # An empty map and not None: the client takes -1 for "the caller assigns replicas".
            replica_assignments={},
            topic_configs=spec.config,
        )
        for spec in missing
    ]
    while True:
        response: Any = await admin.create_topics(topics)
        outcomes = {entry[0]: (int(entry[1]), entry[2]) for entry in response.topic_errors}
        refused = {name: why for name, why in outcomes.items() if why[0] not in (0, _TOPIC_ALREADY_EXISTS)}
        if not refused:
            return [name for name, (code, _) in outcomes.items() if code == 0]
        if time.monotonic() > deadline or not all(for_code(code).retriable for code, _ in refused.values()):
            reasons = "; ".join(
                f"{name}: {message or for_code(code).__name__}" for name, (code, message) in refused.items()
            )
            raise TopicNotCreated(f"Kafka refused to create {reasons}")
        topics = [topic for topic in topics if topic.name in refused]
        await asyncio.sleep(_RETRY_S)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, wanted: list[TopicSpec], deadline: float) -> None:
    """A topic can be listed before its partitions have a leader; clients that come then only see errors."""
    names = [spec.name for spec in wanted]
    while names:
        topics = await admin.describe_topics(names)
        if all(
            topic["error_code"] == 0 and all(part["leader"] >= 0 for part in topic["partitions"])
            for topic in topics
        ):
            return
        if time.monotonic() > deadline:
            raise TopicNotCreated(
                f"Kafka has created the topics {', '.join(names)} but names no leader for them."
            )
        await asyncio.sleep(_RETRY_S)
