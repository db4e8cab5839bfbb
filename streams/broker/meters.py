"""How far a consumer group's worker is, for Prometheus."""

import time
from collections.abc import Iterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.broker.standing import standing
from streams.samples import Sample
from streams.telemetry_names import BEAT, BYTES, LAG_RECORDS, LAG_SECONDS, PARTITIONS, RECORDS

_SECOND_MS = 1_000


class GroupMeters:
    """The numbers of one consumer; of a partition that several topics have, those of all of them together."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._records: dict[TopicPartition, int] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._dated_ms: dict[TopicPartition, int] = {}
        self._caught_up_s: dict[TopicPartition, float] = {}
        self._started_s = time.time()
        self._beat_s = 0.0

    def took(
        self, batches: Mapping[TopicPartition, Sequence[ConsumerRecord[bytes | None, bytes | None]]]
    ) -> None:
        """The handler has worked on these."""
        for place, records in batches.items():
            self._records[place] = self._records.get(place, 0) + len(records)
            size = sum(len(record.value or b"") for record in records)
            self._bytes[place] = self._bytes.get(place, 0) + size
            self._dated_ms[place] = records[-1].timestamp

    def beat(self) -> None:
        """The worker is well."""
        self._beat_s = time.time()

    def samples(self) -> Iterator[Sample]:
        """See `streams.samples.Measured`."""
        assigned = self._consumer.assignment()
        yield Sample(PARTITIONS, (), len(assigned))
        yield Sample(BEAT, (), self._beat_s)
        for place in assigned:
            label = (str(place.partition),)
            yield Sample(RECORDS, label, self._records.get(place, 0))
            yield Sample(BYTES, label, self._bytes.get(place, 0))
            found = standing(self._consumer, place)
            if found is not None:
                yield Sample(LAG_RECORDS, label, found.waiting())
                yield Sample(LAG_SECONDS, label, self._lag_s(place, found.waiting()))

    def _lag_s(self, place: TopicPartition, waiting: int) -> float:
        """What waits is younger than what was worked on last. What was never looked at is as old as this reader."""
        if not waiting:
            self._caught_up_s[place] = time.time()
            return 0.0
        since_s = max(
            self._dated_ms.get(place, 0) / _SECOND_MS, self._caught_up_s.get(place, self._started_s)
        )
        return max(0.0, time.time() - since_s)
