"""The checksums of what a broker sends, taken by the processor's own instruction: a table, as aiokafka uses it, takes
fourteen times as long, which was a twelfth of all the work of a stage.

A batch of format 2 begins with its first offset (8 bytes), the length of all behind that (4), 4 bytes more, the
format (1) and the CRC-32C (4) of the rest. Source: Kafka's protocol guide, "Record batch".
"""

import asyncio
import struct
from typing import Any

import google_crc32c
import numpy as np
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest

from streams.broker.frames import receive_whole

_log = structlog.get_logger()

_ASK_AGAIN_S = 0.1
"""A damaged batch is asked for no more often."""

_OVERHEAD_BYTES = 12
_LENGTH_AT, _FORMAT_AT, _CRC_AT, _CHECKED_FROM = 8, 16, 17, 21
_FORMAT = 2
"""That of every broker that knows transactions, without which there are no checkpoints."""
_OFFSET, _LENGTH, _CRC = struct.Struct(">q"), struct.Struct(">i"), struct.Struct(">I")


def intact_bytes(batches: bytes) -> int:
    """How many bytes come before the first batch that is damaged: all of them where none is. A batch that is cut off
    at the end is none: it comes again, whole."""
    content, at = np.frombuffer(batches, np.uint8), 0
    while at + _CHECKED_FROM <= len(batches):
        end = at + _OVERHEAD_BYTES + _LENGTH.unpack_from(batches, at + _LENGTH_AT)[0]
        if end > len(batches):
            break
        if end < at + _CHECKED_FROM:
            return at
        found = google_crc32c.value(content[at + _CHECKED_FROM : end])
        if batches[at + _FORMAT_AT] != _FORMAT or found != _CRC.unpack_from(batches, at + _CRC_AT)[0]:
            return at
        at = end
    return len(batches)


class _Client(AIOKafkaClient):
    """Hands out what comes before a damaged batch. `damaged`: what is to be raised, now that such a batch is the first
    of a fetch."""

    damaged: CorruptRecordException | None = None

    async def _get_conn(self, node_id: Any, **options: Any) -> AIOKafkaConnection | None:
        connection = await super()._get_conn(node_id, **options)
        if connection is not None:
            receive_whole(connection)
        return connection

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        response = await super().send(node_id, request, group=group)
        if isinstance(request, FetchRequest):
            for topic, partitions in response.topics:
                for place, fields in enumerate(partitions):
                    partitions[place] = self._checked(topic, fields)
            if self.damaged is not None:
                await asyncio.sleep(_ASK_AGAIN_S)
        return response

    def _checked(self, topic: str, fields: tuple[Any, ...]) -> tuple[Any, ...]:
        """The fields of a partition in a response without what is damaged; the last one are the batches."""
        batches: bytes = fields[-1] or b""
        intact = intact_bytes(batches)
        if intact == len(batches):
            return fields
        if not intact:
            place = f"{topic}/{fields[0]} at offset {_OFFSET.unpack_from(batches)[0]}"
            self.damaged = CorruptRecordException(f"{place}: the batch there is not what was written")
        return (*fields[:-1], batches[:intact])


class CheckingConsumer(AIOKafkaConsumer):
    """A consumer that checks every batch, as any other does. Call `raise_damaged` before each fetch."""

    def __init__(
        self, *, bootstrap_servers: str, client_id: str, request_timeout_ms: int, **options: Any
    ) -> None:
        where: dict[str, Any] = {
            "bootstrap_servers": bootstrap_servers,
            "client_id": client_id,
            "request_timeout_ms": request_timeout_ms,
        }
        super().__init__(**where, check_crcs=False, **options)
        self._client = _Client(**where)

    def raise_damaged(self) -> None:
        """Raises `CorruptRecordException` when a damaged batch is what comes next; it is asked for again."""
        damaged, self._client.damaged = self._client.damaged, None
        if damaged is not None:
            _log.error(
                "A batch of records is damaged: its checksum is wrong, on the broker's disk or on the way. Nothing of "
                "it is believed, and the worker ends. When this goes on, bring the topic back from a copy, or delete "
                "its records up to the end of this batch.",
                reason=str(damaged),
            )
            raise damaged
