"""Deletes from the state topics what no checkpoint needs any more.

Deltas are written for ever and needed for a while. Only what lies before the first offset that the last committed
checkpoint names is deleted, and that offset only grows: a former owner that wakes up deletes what was free already.
"""

from collections.abc import Collection, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, PolicyViolationError

from streams.broker.group import close_within

_log = structlog.get_logger()

_REQUEST_TIMEOUT_MS = 10_000
_CLOSE_TIMEOUT_S = 5.0


class StateCleaner:
    """Keeps the state topics of one worker short. `topics` are those that belong to the role alone."""

    def __init__(self, broker: str, topics: Collection[str]) -> None:
        self._broker = broker
        self._topics = set(topics)
        self._wanted: dict[TopicPartition, int] = {}
        self._done: dict[TopicPartition, int] = {}

    def note(self, partition: int, needed_from: Mapping[str, int]) -> None:
        """A committed checkpoint of `partition` needs nothing before these offsets."""
        for topic in self._topics & needed_from.keys():
            self._wanted[TopicPartition(topic, partition)] = needed_from[topic]

    def forget(self, partition: int) -> None:
        """The partition belongs to somebody else now."""
        for place in [place for place in self._wanted if place.partition == partition]:
            del self._wanted[place]

    async def clean(self) -> None:
        """Delete now. Trouble with the broker is told and tried again the next time."""
        due = {place: at for place, at in self._wanted.items() if at > self._done.get(place, 0)}
        if not due:
            return
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._broker,
            client_id="homeostat-state-cleaner",
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        try:
            await admin.start()
            for place, before in due.items():
                await self._delete(admin, place, before)
        except (KafkaError, OSError, TimeoutError) as error:
            _log.info("State that is not needed any more could not be deleted yet.", reason=repr(error))
        finally:
            await close_within(admin.close(), _CLOSE_TIMEOUT_S)

    async def _delete(self, admin: AIOKafkaAdminClient, place: TopicPartition, before: int) -> None:
        try:
            await admin.delete_records({place: RecordsToDelete(before)})
        except PolicyViolationError:
            self._topics.discard(place.topic)
            self._wanted = {one: at for one, at in self._wanted.items() if one.topic != place.topic}
            _log.warning(
                "The broker does not let records of a state topic be deleted; it will grow without end. Its "
                "cleanup.policy must contain `delete`.",
                topic=place.topic,
            )
            return
        self._done[place] = before
