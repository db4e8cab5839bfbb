"""Choosing TCP ports of the loopback address, and saying who holds a taken one."""

import json
import random
import socket
from pathlib import Path

import msgspec
import psutil

from deploy.stack.errors import PortTaken
from deploy.stack.files import write_atomically

LOOPBACK = "127.0.0.1"
_LOWEST = 20_000
_TRIES = 200
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortBook:
    """The ports of a home's servers, kept in a file: addresses stay the same from start to start."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def choose(self, name: str, fixed: int | None = None, setting: str = "") -> int:
        """The port of the server `name`: the one fixed by the user, else the last one if it is free, else a
        new one.

        Raises `PortTaken` where the fixed one (from the environment variable `setting`) is used by another
        program.
        """
        if fixed is not None:
            return require_free(fixed, setting)
        ports = self._read()
        known = ports.get(name)
        if known is not None and is_free(known):
            return known
        ports[name] = pick_free_port(avoid=frozenset(ports.values()))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(ports, indent=2))
        return ports[name]

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `host:port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def pick_free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A free port below the range that the kernel gives to outgoing connections.

    A server that is restarted must find its port again. In the ephemeral range any client's own connection
    may take it meanwhile, even a client that keeps trying to reach the stopped server (TCP's simultaneous
    open connects it to itself).
    """
    highest = _first_ephemeral_port() - 1
    if highest > _LOWEST:
        for _ in range(_TRIES):
            port = random.randint(_LOWEST, highest)
            if port not in avoid and is_free(port):
                return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def require_free(port: int, setting: str) -> int:
    """`port` if nobody holds it; `setting` is the environment variable by which the user chose it.

    Raises `PortTaken` with the program that holds it, where the system tells.
    """
    if is_free(port):
        return port
    raise PortTaken(
        f"Port {port} (from {setting}) is already used by {describe_holder(port)}. Stop that program, or set "
        f"{setting} to another port, or leave {setting} unset and a free port is chosen."
    )


def describe_holder(port: int) -> str:
    """The program that listens on `port`, in words."""
    try:
        for connection in psutil.net_connections("tcp"):
            local_port = connection.laddr.port if connection.laddr else None
            if connection.status == psutil.CONN_LISTEN and local_port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        pass
    return "another program"


def _first_ephemeral_port() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
