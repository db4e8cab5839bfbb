"""What the supervisor writes about itself and its parts, for every other command to read (`state.json`)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec
import psutil

from deploy.stack.files import write_atomically


class Health(StrEnum):
    """How a part is. `waiting`: for what it depends on; `down`: died, and will be started again."""

    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DOWN = "down"
    STOPPED = "stopped"


class EventKind(StrEnum):
    """What can happen to a part, or to the stack as a whole."""

    STARTING = "starting"
    HEALTHY = "healthy"
    SLOW = "slow"
    UNHEALTHY = "unhealthy"
    DIED = "died"
    ORPHANS_ENDED = "orphans ended"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackEvent:
    """Something happened; `part` is None where it concerns the whole stack. `message` is for people."""

    at: datetime
    kind: EventKind
    part: str | None
    message: str

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%dT%H:%M:%S}Z {self.part or 'stack'}: {self.message}"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for certain: the system gives a number again, but not with the same start time."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """The process that has this number now. Raises `psutil.NoSuchProcess`."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process while it lives; None when it has ended (a zombie has), whoever has its number now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(slots=True, kw_only=True)
class PartState:
    """One part as last seen by its supervisor."""

    name: str
    log: str
    health: Health = Health.WAITING
    process: ProcessId | None = None
    restarts: int = 0
    started_at: datetime | None = None
    last_exit: str | None = None
    ports: dict[str, int] = field(default_factory=dict[str, int])
    url: str | None = None
    version: str | None = None


@dataclass(slots=True, kw_only=True)
class StackState:
    """The whole stack. `error` is set when it could not be started."""

    supervisor: ProcessId
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    parts: list[PartState] = field(default_factory=list[PartState])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    stopping: bool = False
    error: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether every part does its work."""
        return bool(self.parts) and all(part.health is Health.HEALTHY for part in self.parts)


def state_file(home: Path) -> Path:
    """Where the state of the stack in `home` is."""
    return home / "state.json"


def write_state(home: Path, state: StackState) -> None:
    """Replace the state file whole."""
    encoded = msgspec.json.format(msgspec.json.encode(state), indent=2)
    write_atomically(state_file(home), encoded.decode())


def read_state(home: Path) -> StackState | None:
    """The last written state; None when there is none that can be read: it is only a memory aid."""
    try:
        return msgspec.json.decode(state_file(home).read_bytes(), type=StackState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
