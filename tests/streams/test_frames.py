"""Responses come in pieces of any size and are handed on whole."""

import asyncio
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import KafkaConnectionError

from streams.broker.frames import Frames


class Connection:
    def __init__(self) -> None:
        self.responses: list[bytes] = []

    def _handle_frame(self, response: memoryview) -> None:
        self.responses.append(bytes(response))


class Before(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def eof_received(self) -> None:
        self.told.append("end")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)


def feed(frames: Frames, content: bytes) -> None:
    """As the event loop does: as much as fits."""
    while content:
        place = frames.get_buffer(-1)
        size = min(len(place), len(content))
        place[:size] = content[:size]
        frames.buffer_updated(size)
        content = content[size:]


def test_responses_are_whole_whatever_the_pieces() -> None:
    rng = np.random.default_rng(2)
    sizes = [1, 4, 100, 70_000, 3, 300_000, 64 * 1024, 17 * 1024 * 1024, 5]
    responses = [rng.bytes(size) for size in sizes]
    stream = b"".join(len(response).to_bytes(4, "big") + response for response in responses)
    connection = Connection()
    frames = Frames(connection, Before())
    while stream:
        size = int(rng.integers(1, 200_000))
        feed(frames, stream[:size])
        stream = stream[size:]
    assert connection.responses == responses


@pytest.mark.parametrize("size", [0, -1, -(2**31)])
def test_a_response_without_a_size_is_refused(size: int) -> None:
    connection = Connection()
    with pytest.raises(KafkaConnectionError, match="1 or more are right"):
        feed(Frames(connection, Before()), size.to_bytes(4, "big", signed=True))


def test_the_end_is_passed_on() -> None:
    before, lost = Before(), OSError("lost")
    frames = Frames(Connection(), before)
    frames.eof_received()
    frames.connection_lost(lost)
    assert before.told == ["end", lost]


def test_what_nobody_waits_for_any_more_is_dropped() -> None:
    frames = Frames(Connection(), Before())
    feed(frames, (3).to_bytes(4, "big") + b"abc")
    assert len(frames.get_buffer(-1)) == 4
