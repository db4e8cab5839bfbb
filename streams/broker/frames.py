"""Responses of a broker are received where they are to lie, in one piece.

asyncio's stream reader, which aiokafka uses, gets a response of megabytes in pieces: each is a block of its own, is
copied behind the ones before, whose block grows and moves, and wakes the reading task. Here the system writes all
pieces of a response into one block, which is used for the next response again. What was fetched is copied from there
once: aiokafka itself copies a response before it reads it.
"""

import asyncio
import struct
import time
import weakref
from typing import Any, cast

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest

_SIZE = struct.Struct(">i")
_FIRST_BYTES = 64 * 1024
_LARGEST_KEPT_BYTES = 16 * 1024 * 1024


def receive_whole(connection: AIOKafkaConnection) -> None:
    """From now on this connection, which waits for no response, receives them whole. A closed one stays as it is."""
    writer = cast(Any, connection)._writer
    if writer is not None and not isinstance(before := writer.transport.get_protocol(), Frames):
        writer.transport.set_protocol(Frames(connection, before))


class Frames(asyncio.BufferedProtocol):
    """Hands each response of a connection to it, and everything else to the protocol that it had before. A response
    begins with its size, 4 bytes."""

    def __init__(self, connection: Any, before: asyncio.Protocol) -> None:
        self._connection = weakref.ref(connection)
        self._before = before
        self._block = bytearray(_FIRST_BYTES)
        self._size: int | None = None
        self._got = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes belong: no more than those of one response, or of its size."""
        wanted = _SIZE.size if self._size is None else self._size
        return memoryview(self._block)[self._got : wanted]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self._got += nbytes
        if self._size is None:
            if self._got == _SIZE.size:
                self._begin(_SIZE.unpack_from(self._block)[0])
        elif self._got == self._size:
            self._end(self._size)

    def _begin(self, size: int) -> None:
        if size <= 0:
            raise KafkaConnectionError(
                f"The broker announces a response of {size} bytes; 1 or more are right."
            )
        self._size, self._got = size, 0
        if size > len(self._block):
            self._block = bytearray(size)

    def _end(self, size: int) -> None:
        self._size, self._got = None, 0
        connection = self._connection()
        if connection is not None:
            _hand_over(connection, memoryview(self._block)[:size])
        if len(self._block) > _LARGEST_KEPT_BYTES:
            self._block = bytearray(_FIRST_BYTES)

    def eof_received(self) -> bool | None:
        """The broker has closed the connection."""
        return self._before.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """Requests are not taken as fast as they are sent."""
        self._before.pause_writing()

    def resume_writing(self) -> None:
        """They are again."""
        self._before.resume_writing()


class _Reader:
    """Reads a response where it lies; what is read is a copy."""

    def __init__(self, response: memoryview) -> None:
        self._response = response
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes; fewer where there are not so many."""
        start = self._at
        self._at = min(start + size, len(self._response))
        return bytes(self._response[start : self._at])


def _hand_over(connection: Any, response: memoryview) -> None:
    """Do as the connection does, for what was fetched and is still waited for; all else it does itself."""
    number, request, waiting = connection._requests[0]
    if number is None or request.RESPONSE_TYPE.API_KEY != FetchRequest.API_KEY or waiting.done():
        connection._handle_frame(response)
        return
    reader = _Reader(response)
    if request.parse_response_header(reader).correlation_id != number:
        connection._handle_frame(response)
        return
    waiting.set_result(request.RESPONSE_TYPE.decode(reader))
    connection._last_action = time.monotonic()
    connection._requests.popleft()
