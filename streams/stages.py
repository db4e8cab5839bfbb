"""What a stage is: a pure, synchronous function of its input partition, with a state that can be carried
over.

The live workers, `replay`, `backtest` and the tests run the same stages; only who feeds them differs. A stage
knows no broker and no clock: records and the time come as arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

Headers = Sequence[tuple[str, bytes]]
OffsetRange = tuple[int, int]
"""First and last offset, both included."""


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A record of the stage's input partition. `timestamp_us`: when the broker (or the producer, as the topic is set)
    dated it; 0 where that is not known."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_us: int = 0


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record for another topic; written in one transaction with the state that it follows from."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A change of a state that is too large to be written whole; goes to a state topic, same partition."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """What a stage wants written since the last flush."""

    outputs: list[OutputRecord] = field(default_factory=list[OutputRecord])
    deltas: dict[str, list[Delta]] = field(default_factory=dict[str, list[Delta]])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after a flush: `state` is the small part, `needed` the ranges of log that hold the rest, by
    topic."""

    state: bytes
    needed: dict[str, list[OffsetRange]]


class Stage(Protocol):
    """The contract of a stage.

    `offset` is the last input offset that the state contains, -1 at the start. The driver skips records at or
    below it, and calls in this order: any number of `process` and `tick`, then `flush`, then `snapshot` with
    the offsets at which the deltas of that flush now stand (in their order). Between `flush` and `snapshot`
    it may call `process` again: the snapshot is the state as it was at the flush.
    """

    offset: int

    def unconfigured(self, record: InputRecord) -> tuple[str, str] | None:
        """Model and version of the record whose monitor or reference is not known here, if any."""
        ...

    def process(self, record: InputRecord) -> None:
        """Take one record into the state."""
        ...

    def tick(self, now_us: int, caught_up: bool) -> None:
        """Let processing time pass; `caught_up` says that the input held nothing more a moment ago."""
        ...

    def flush(self, final: bool = False) -> Flush | None:
        """What to write; None when nothing has changed. `final`: hold nothing back for later."""
        ...

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        """The state at the last flush, whose deltas now stand at the offsets `written`, by topic."""
        ...

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        """Become the stage that gave this snapshot at `offset`; `log` holds the records of its `needed`
        ranges."""
        ...


@runtime_checkable
class Foresighted(Protocol):
    """A stage that reads several records at once faster than one after the other."""

    def look_ahead(self, records: Sequence[InputRecord]) -> None:
        """The next records of the input, in their order. Changes nothing that can be seen: what is wrong with one shows
        when it is its turn. Then `process` may take some of them with the one that it is given: `offset` says how many,
        and these do not come to `process` any more."""
        ...


@runtime_checkable
class Outspoken(Protocol):
    """A stage that knows when it has something to say that somebody waits for."""

    @property
    def has_news(self) -> bool:
        """Whether the next flush brings what later ones do not change: a sealed pane, say, or a window's points."""
        ...


@runtime_checkable
class Filing(Protocol):
    """A stage that keeps something in files, besides its snapshots. Both kinds of work may be done in another thread,
    which the driver waits for: nobody else calls the stage meanwhile."""

    def slow_work(self) -> Callable[[], None] | None:
        """What would keep the next `flush` for long, to be done before it; None where nothing is due. Without it
        `flush` does the work itself."""
        ...

    def committed(self) -> None:
        """The last snapshot is the checkpoint now: what only older ones need may go. May be called while the stage
        takes records."""
        ...
