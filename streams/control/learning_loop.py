"""The references that are to be learned: what is ordered on the control topic is built and published."""

import asyncio
import time
from typing import Final

import structlog

from detectors.errors import DetectorError
from streams.broker.group import KAFKA_TROUBLE
from streams.broker.log import LogReader
from streams.bus import KafkaBus
from streams.control.bus import Publishing, publish_reference
from streams.control.configuration import Configuration
from streams.control.feed import ControlFeed
from streams.control.learning import LearningOrder
from streams.times import in_words
from streams.topics import EVENTS

_log = structlog.get_logger()

_LOOK_EVERY_S: Final = 1.0
_AGAIN_S: Final = 5.0
_CHUNK: Final = 256
"""Records of events in memory at a time."""


def learn_for_ever(broker: str) -> None:
    """Build what is ordered, in a thread of its own. Any number of processes may do it: all come to the same."""
    while True:
        try:
            asyncio.run(_learn(broker))
        except Exception:  # noqa: BLE001  (a thread of its own: nobody else would tell)
            _log.exception("References are not learned for the moment; trying again.", again_in_s=_AGAIN_S)
        time.sleep(_AGAIN_S)


async def _learn(broker: str) -> None:
    failed: set[LearningOrder] = set()
    async with LogReader(broker, "homeostat-learner") as reader, KafkaBus(broker, "homeostat-learner") as bus:
        configuration = Configuration()
        feed = ControlFeed(reader, configuration)
        while True:
            try:
                await feed.refresh()
                for order in configuration.orders():
                    if order not in failed and not await _fulfil(order, configuration, reader, bus):
                        failed.add(order)
            except KAFKA_TROUBLE as error:
                _log.info("The topics could not be read this time.", reason=repr(error))
            await asyncio.sleep(_LOOK_EVERY_S)


async def _fulfil(
    order: LearningOrder, configuration: Configuration, reader: LogReader, bus: Publishing
) -> bool:
    # What builds references is not for the memory of a judge that has none to build.
    from streams.control.learner import Gathered

    monitor = configuration.monitor_revision(order.model, order.monitor_revision)
    gathered = Gathered(order, monitor, configuration.schema(order.model, order.version))
    for partition, first, last in order.stretches:
        for start in range(first, last + 1, _CHUNK):
            for record in await reader.read(EVENTS, partition, start, min(start + _CHUNK - 1, last)):
                gathered.take(record)
    try:
        reference = await asyncio.to_thread(gathered.reference)
    except DetectorError as error:
        _log.error(
            "The reference of a version cannot be learned from its first rows. Publish one from a file "
            "(`homeostat monitors apply`).",
            model=order.model,
            version=order.version,
            reason=str(error),
        )
        return False
    await publish_reference(bus, reference, order.effective_us)
    _log.info(
        "A version has learned its reference.",
        model=order.model,
        version=order.version,
        rows=reference.rows,
        revision=reference.revision,
        in_force_from=in_words(order.effective_us),
        note="" if reference.baseline is None else reference.baseline.note,
    )
    return True
