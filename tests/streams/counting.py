"""A small stage for tests of the driver: it counts numbers, keeps them in deltas, and says so with every record.

Its state tells when something was lost or doubled: a restore whose deltas do not add up raises.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from streams.control.configuration import Configuration
from streams.stages import Delta, Flush, InputRecord, OffsetRange, OutputRecord, Snapshot
from streams.worker.role import Role


class CountingStage:
    """Records are JSON lists of numbers; the numbers in `poison` make it raise when half of the record is in."""

    def __init__(
        self, partition: int, prefix: str, poison: frozenset[int] = frozenset(), padding_bytes: int = 0
    ) -> None:
        self.offset = -1
        self.partition = partition
        self.prefix = prefix
        self.poison = poison
        self.count = 0
        self.total = 0
        self.rejected = 0
        self.padding = b"%d" % partition * padding_bytes
        self._new: list[int] = []
        self._said: list[int] = []
        self._places: list[int] = []
        self._flushed = -1
        self._pending: tuple[str, int] | None = None

    def unconfigured(self, record: InputRecord) -> tuple[str, str] | None:
        return None

    def process(self, record: InputRecord) -> None:
        self.offset = record.offset
        for number in json.loads(record.value or b"[]"):
            self.count += 1
            self.total += number
            self._new.append(number)
            if number in self.poison:
                raise ZeroDivisionError(f"number {number} is not to my taste")
        self._said.append(self.count)

    def reject(self, record: InputRecord, rows: int) -> None:
        self.rejected += rows

    def tick(self, now_us: int, caught_up: bool) -> None:
        pass

    def flush(self, final: bool = False) -> Flush | None:
        if self.offset == self._flushed:
            return None
        self._flushed = self.offset
        outputs = [
            OutputRecord(f"{self.prefix}.out", self.partition, None, b"%d" % count) for count in self._said
        ]
        deltas = [Delta(b"d", json.dumps(self._new).encode())] if self._new else []
        self._new, self._said = [], []
        self._pending = json.dumps([self.count, self.total, self.rejected]), len(deltas)
        return Flush(outputs, {f"{self.prefix}.deltas": deltas})

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        assert self._pending is not None
        state, deltas = self._pending
        offsets = list(written.get(f"{self.prefix}.deltas", ()))
        assert len(offsets) == deltas
        self._places += offsets
        needed: list[OffsetRange] = [(self._places[0], self._places[-1])] if self._places else []
        return Snapshot(state.encode() + b"\0" + self.padding, {f"{self.prefix}.deltas": needed})

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        self.offset = self._flushed = offset
        numbers, self.padding = state.split(b"\0", 1)
        self.count, self.total, self.rejected = json.loads(numbers)
        records = log.get(f"{self.prefix}.deltas", ())
        self._places = [record.offset for record in records]
        known = [number for record in records for number in json.loads(record.value or b"[]")]
        if (len(known), sum(known)) != (self.count, self.total):
            raise AssertionError(f"{len(known)} numbers in the log, {self.count} in the state")


class JsonRows:
    """How its records are taken apart."""

    def rows(self, record: InputRecord) -> int:
        return len(json.loads(record.value or b"[]"))

    def part(self, record: InputRecord, rows: Sequence[int]) -> InputRecord:
        numbers = json.loads(record.value or b"[]")
        return dataclasses.replace(record, value=json.dumps([numbers[row] for row in rows]).encode())


def counting_role(prefix: str, poison: frozenset[int] = frozenset(), padding_bytes: int = 0) -> Role:
    """Input `{prefix}.in`, outputs `{prefix}.out`, deltas and checkpoints."""

    def make(partition: int, configuration: Configuration) -> CountingStage:
        return CountingStage(partition, prefix, poison, padding_bytes)

    return Role(prefix, f"{prefix}.in", f"{prefix}.checkpoints", make, (f"{prefix}.deltas",), JsonRows())


def counting_topics(prefix: str, partitions: int) -> dict[str, int]:
    """What the role needs, for `tests.streams.parts.make_topics`."""
    return {f"{prefix}.{name}": partitions for name in ("in", "out", "deltas", "checkpoints")}
