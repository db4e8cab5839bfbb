"""Responses come in pieces of any size and are handed on whole."""

import asyncio
from collections import deque
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest_v4, FetchResponse_v4
from aiokafka.protocol.metadata import MetadataRequest_v0

from streams.broker.frames import Frames


class Connection:
    def __init__(self, request: Any = (None, None, None)) -> None:
        self.responses: list[bytes] = []
        self.requests = self._requests = deque[Any]([request])

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


NUMBER = 77
FETCHED = FetchResponse_v4(
    0, [("events", [(0, 0, 9, 9, [(4, 2)], b"batches" * 50), (1, 0, 5, 5, None, None)])]
)


def waited_for(request: Any) -> tuple[Connection, asyncio.Future[Any], Frames]:
    waiting = asyncio.get_running_loop().create_future()
    connection = Connection((NUMBER, request, waiting))
    return connection, waiting, Frames(connection, Before())


def framed(number: int) -> bytes:
    content = number.to_bytes(4, "big") + FETCHED.encode()
    return len(content).to_bytes(4, "big") + content


async def test_what_was_fetched_is_read_where_it_lies() -> None:
    connection, waiting, frames = waited_for(FetchRequest_v4(-1, 0, 1, 1, 0, []))
    feed(frames, framed(NUMBER))
    assert waiting.result().encode() == FETCHED.encode()
    assert not connection.requests
    assert not connection.responses


async def test_what_is_out_of_order_or_no_fetch_is_for_the_connection() -> None:
    for number, request, given_up in (
        (NUMBER + 1, FetchRequest_v4(-1, 0, 1, 1, 0, []), False),
        (NUMBER, FetchRequest_v4(-1, 0, 1, 1, 0, []), True),
        (NUMBER, MetadataRequest_v0([]), False),
    ):
        connection, waiting, frames = waited_for(request)
        if given_up:
            waiting.cancel()
        feed(frames, framed(number))
        assert connection.responses == [framed(number)[4:]]
        assert len(connection.requests) == 1


async def test_a_response_that_is_cut_off_is_an_error() -> None:
    _, waiting, frames = waited_for(FetchRequest_v4(-1, 0, 1, 1, 0, []))
    with pytest.raises(ValueError, match=r"decoding|unpack|buffer"):
        feed(frames, (len(framed(NUMBER)) - 100).to_bytes(4, "big") + framed(NUMBER)[4:-96])
    assert not waiting.done()
