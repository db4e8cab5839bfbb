"""Topics as Protocols, for rooms that must not know Kafka; `streams` fulfils them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol


class Message(Protocol):
    """One record of a topic. `timestamp_ms` is the broker's."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Mapping[str, bytes]: ...
    @property
    def timestamp_ms(self) -> int: ...


class Bus(Protocol):
    """What is published and followed."""

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Returns when the broker has it; retries while the broker is away."""
        ...

    def follow(self, topic: str, *, group: str | None = None) -> AsyncIterator[Message]:
        """Records in order. Without a group: everything from the start of the topic, and then what comes.
        With a group: from the group's position; a message counts as handled when the next one is asked
        for."""
        ...

    def follow_batches(
        self, topic: str, *, group: str | None = None, at_most: int
    ) -> AsyncIterator[Sequence[Message]]:
        """The same, up to `at_most` records that are there already at a time; they count as handled together."""
        ...

    async def read_all(self, topic: str) -> Sequence[Message]:
        """Everything committed in the topic now (for compacted topics)."""
        ...
