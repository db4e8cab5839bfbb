"""The control topic as a running worker follows it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from streams.broker.group import KAFKA_TROUBLE
from streams.broker.log import LogReader
from streams.control.configuration import Configuration
from streams.times import now_us
from streams.topics import CONTROL

_log = structlog.get_logger()

_INTERVAL_S = 1.0
_UNKNOWN_RECHECK_US = 1_000_000


@asynccontextmanager
async def followed(broker: str, client_id: str, topic: str = CONTROL) -> AsyncGenerator[Configuration, None]:
    """Everything that is registered, kept up to date while the block runs. Raises aiokafka's `KafkaError` with no
    broker."""
    configuration = Configuration()
    async with LogReader(broker, client_id) as reader:
        feed = ControlFeed(reader, configuration, topic)
        await feed.refresh()
        watch = asyncio.create_task(feed.watch())
        try:
            yield configuration
        finally:
            watch.cancel()


class ControlFeed:
    """Keeps `configuration` up to date. `topic` differs from the default in tests only."""

    def __init__(self, reader: LogReader, configuration: Configuration, topic: str = CONTROL) -> None:
        self._reader = reader
        self._topic = topic
        self._configuration = configuration
        self._offset = 0
        self._looked_us: dict[tuple[str, str], int] = {}
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the control topic to its end of this moment."""
        async with self._lock:
            _, end = await self._reader.bounds(self._topic, 0)
            if end <= self._offset:
                return
            for record in await self._reader.read(self._topic, 0, self._offset, end - 1):
                self._configuration.apply(record.key, record.value)
            self._offset = end

    async def watch(self) -> None:
        """Follow the topic for ever: a monitor may change while its model runs."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                await self.refresh()
            except KAFKA_TROUBLE as error:
                _log.info("The control topic could not be read this time.", reason=repr(error))

    def is_due(self, unknown: tuple[str, str]) -> bool:
        """Whether to look for this model and version now: at first sight, then once a second."""
        now = now_us()
        if now - self._looked_us.get(unknown, 0) < _UNKNOWN_RECHECK_US:
            return False
        self._looked_us[unknown] = now
        return True
