"""Reading the body of a request into bounded memory, gzip included."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request

_GZIP = 16 + zlib.MAX_WBITS
_RETRY_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestLimits:
    """Bytes: of a body as sent, of a body inflated, and of all bodies at work at the same time. `timeout_s` bounds the
    reading of a body and the wait for the broker."""

    body_bytes: int = 8 * 1024 * 1024
    inflated_bytes: int = 16 * 1024 * 1024
    in_flight_bytes: int = 32 * 1024 * 1024
    timeout_s: float = 30.0


class BodyRefused(Exception):
    """Ends the request with `status`; `retry_s` says when to come again."""

    def __init__(self, status: HTTPStatus, detail: str, retry_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_s = retry_s


class BodyReader:
    """Reads bodies; what they hold together never exceeds the limit."""

    def __init__(self, limits: IngestLimits) -> None:
        self.limits = limits
        self.in_flight_bytes = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body, counted until the block ends. Raises `BodyRefused`."""
        held = _Held(self)
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                found = await self._read(request, held)
        except TimeoutError as error:
            held.release()
            seconds = self.limits.timeout_s
            raise BodyRefused(
                HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {seconds:g} s."
            ) from error
        except BaseException:
            held.release()
            raise
        try:
            yield found
        finally:
            held.release()

    async def _read(self, request: Request, held: "_Held") -> bytes:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            detail = f"Content-Encoding is {encoding!r}; gzip and identity are taken."
            raise BodyRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.limits.body_bytes:
            raise self._too_large(int(declared))
        inflate = _Inflater(self.limits.inflated_bytes) if encoding == "gzip" else None
        parts: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self.limits.body_bytes:
                raise self._too_large(size)
            part = chunk if inflate is None else inflate.add(chunk)
            held.take(len(part))
            parts.append(part)
        if inflate is not None:
            inflate.finish()
        return b"".join(parts)

    def _too_large(self, size: int) -> BodyRefused:
        detail = f"The body has {size} bytes or more; {self.limits.body_bytes} are allowed."
        return BodyRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


class _Held:
    """What one request holds of the common limit."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader
        self._bytes = 0

    def take(self, size: int) -> None:
        if self._reader.in_flight_bytes + size > self._reader.limits.in_flight_bytes:
            detail = "Too much is being written at the moment; nothing of this request was taken."
            raise BodyRefused(HTTPStatus.TOO_MANY_REQUESTS, detail, _RETRY_S)
        self._reader.in_flight_bytes += size
        self._bytes += size

    def release(self) -> None:
        self._reader.in_flight_bytes -= self._bytes
        self._bytes = 0


class _Inflater:
    """gzip, one member or several, with a bound that is kept before memory is taken."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def add(self, chunk: bytes) -> bytes:
        found: list[bytes] = []
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._begun = True
            try:
                part = self._member.decompress(chunk, self._most - self._size + 1)
            except zlib.error as error:
                raise BodyRefused(HTTPStatus.BAD_REQUEST, f"The body is not gzip: {error}.") from error
            self._size += len(part)
            if self._size > self._most:
                detail = f"The body inflates to more than the {self._most} bytes that are allowed."
                raise BodyRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            found.append(part)
            chunk = self._member.unconsumed_tail or self._member.unused_data
        return b"".join(found)

    def finish(self) -> None:
        if not (self._begun and self._member.eof):
            raise BodyRefused(HTTPStatus.BAD_REQUEST, "The body is gzip that is cut off.")
