"""Readiness checks: does a part really answer?"""

import http.client
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PROBE_TIMEOUT_S = 2.0
_API_VERSIONS = 18
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Healthy when a GET of `url` answers 200."""

    url: str

    def __call__(self) -> bool:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Healthy when something accepts a connection on `host:port`."""

    host: str
    port: int

    def __call__(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=PROBE_TIMEOUT_S):
                return True
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class KafkaProbe:
    """Healthy when the broker answers an ApiVersions request (version 0) without an error.

    The port opens before the broker has joined its cluster; requests are answered only after. Wire format:
    Kafka protocol guide, https://kafka.apache.org/protocol.html (request header v1; response: size,
    correlation id, error code).
    """

    host: str
    port: int

    def __call__(self) -> bool:
        correlation = 1
        client = b"homeostat-probe"
        request = struct.pack(">hhih", _API_VERSIONS, 0, correlation, len(client)) + client
        try:
            with socket.create_connection((self.host, self.port), timeout=PROBE_TIMEOUT_S) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                header = _receive(connection, 10)
        except OSError:
            return False
        if len(header) < 10:
            return False
        _, answered, error = struct.unpack(">iih", header)
        return answered == correlation and error == 0


@dataclass(frozen=True, slots=True)
class HeartbeatProbe:
    """Healthy while `path` was touched less than `max_age_s` ago."""

    path: Path
    max_age_s: float = 5.0

    def __call__(self) -> bool:
        try:
            return time.time() - self.path.stat().st_mtime < self.max_age_s
        except OSError:
            return False


Probe = Callable[[], bool]


def wait_until(probe: Probe, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> bool:
    """Poll `probe` until it holds; False after `timeout_s` or as soon as `alive` does not hold."""
    deadline = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(_POLL_S)
    return True


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            break
        received += piece
    return received
