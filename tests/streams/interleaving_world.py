"""The stages on topics in memory, in any order of work: each with a configuration that it reads at its own pace, and
with crashes that leave what was committed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streams.control.configuration import Configuration
from streams.judge.stage import JudgeStage
from streams.profile.cold_tier import ColdConfig
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import Results
from streams.stages import Filing, InputRecord, OffsetRange, Snapshot
from streams.topics import CONTROL, EVENTS, PROFILES

Place = tuple[str, int]
_NEVER_US = 2**62
_AHEAD = 16
_SAVED_US = 300_000
"""A worker that is not behind another saves so often."""
_NOTICE_US, _KNOWN_US = 4_000_000, 2_000_000
"""A change is published, and read by everybody, at the latest so long before it counts."""


@dataclass(frozen=True)
class Change:
    """A record of the control topic, and the first event time that it says anything about."""

    key: bytes
    value: bytes
    effective_us: int = 0


class Topics:
    """What is committed."""

    def __init__(self) -> None:
        self.records: dict[Place, list[InputRecord]] = {}
        self.now_us = 0

    def of(self, topic: str, partition: int) -> list[InputRecord]:
        return self.records.setdefault((topic, partition), [])

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        found = self.of(topic, partition)
        found.append(InputRecord(topic, partition, len(found), key, value, headers, self.now_us))
        return len(found) - 1

    async def bounds(self, topic: str, partition: int) -> OffsetRange:
        """As `LogReader` says it."""
        return 0, len(self.of(topic, partition))

    async def read(self, topic: str, partition: int, first: int, last: int) -> list[InputRecord]:
        """As `LogReader` reads it."""
        return self.of(topic, partition)[first : last + 1]


class Member:
    """A worker of one partition: its stage since the last crash, and its last checkpoint."""

    def __init__(
        self, kind: type[ProfileStage] | type[JudgeStage], partition: int, partitions: int, world: "World"
    ) -> None:
        self._kind, self._partition, self._partitions, self._world = kind, partition, partitions, world
        self._input = EVENTS if kind is ProfileStage else PROFILES
        self._checkpoint: tuple[int, Snapshot] | None = None
        self.crashes = 0
        self.start()

    @property
    def log(self) -> list[InputRecord]:
        return self._world.topics.of(self._input, self._partition)

    @property
    def next(self) -> InputRecord | None:
        at = self.stage.offset + 1
        return self.log[at] if at < len(self.log) else None

    def start(self) -> None:
        """Begin at the last checkpoint, with all of the configuration that there is."""
        self._known, self._read = Configuration(), 0
        self.unsaved_us = _NEVER_US
        self.read_control(None)
        if self._kind is ProfileStage:
            self.stage: ProfileStage | JudgeStage = ProfileStage(
                self._partition, self._partitions, self._known, self._world.cold(self._partition)
            )
        else:
            self.stage = JudgeStage(self._partition, self._partitions, self._known)
        if self._checkpoint is not None:
            offset, found = self._checkpoint
            topics = self._world.topics
            log = {
                topic: [
                    topics.of(topic, self._partition)[at]
                    for first, last in ranges
                    for at in range(first, last + 1)
                ]
                for topic, ranges in found.needed.items()
            }
            self.stage.restore(offset, found.state, log)

    def crash(self) -> None:
        self.crashes += 1
        self.start()

    def read_control(self, most: int | None) -> None:
        """Take the next records of the control topic: `most`, or all."""
        found = self._world.topics.of(CONTROL, 0)
        end = len(found) if most is None else min(len(found), self._read + most)
        for record in found[self._read : end]:
            self._known.apply(record.key, record.value)
        self._read = end

    def work(self, records: int, ahead: bool) -> None:
        """Take some records, as a worker does that decodes them before."""
        part = self.log[self.stage.offset + 1 :][:records]
        if ahead and isinstance(self.stage, ProfileStage):
            self.stage.look_ahead(part[:_AHEAD])
        for record in part:
            if record.offset <= self.stage.offset:
                continue
            self._world.pass_to(record.timestamp_us)
            while any(
                at < record.timestamp_us + _KNOWN_US for at in self._world.counts_from_us[self._read :]
            ):
                self.read_control(1)
            if self.stage.unconfigured(record) is not None:
                self.read_control(None)
                assert self.stage.unconfigured(record) is None
            self.stage.process(record)
            self.unsaved_us = min(self.unsaved_us, record.timestamp_us)

    def save(self, killed: bool = False, final: bool = False) -> None:
        """Write a checkpoint with its outputs in one transaction; `killed` before it is committed."""
        offset, flush = self.stage.offset, self.stage.flush(final)
        self.unsaved_us = _NEVER_US
        if killed:
            self.crash()
            return
        if flush is None:
            return
        topics, written = self._world.topics, dict[str, list[int]]()
        for topic, deltas in flush.deltas.items():
            written[topic] = [topics.append(topic, self._partition, one.key, one.value) for one in deltas]
        for one in flush.outputs:
            topics.append(one.topic, one.partition, one.key, one.value, one.headers)
        self._checkpoint = offset, self.stage.snapshot(written)
        if isinstance(self.stage, Filing):
            self.stage.committed()

    def finish(self) -> None:
        """The end of the input."""
        self.work(1 << 30, ahead=False)
        self.stage.end()
        self.save(final=True)


class World:
    """Events that are all there, and everybody who works on them."""

    def __init__(
        self,
        records: Sequence[InputRecord],
        changes: Sequence[Change],
        partitions: int,
        cold: Callable[[int], ColdConfig | None] = lambda _: None,
    ) -> None:
        self.topics, self.cold = Topics(), cold
        for record in records:
            self.topics.of(EVENTS, record.partition).append(record)
        self._changes, self.counts_from_us = list(changes), list[int]()
        self._publish(before_us=1)
        self.profiles = [Member(ProfileStage, number, partitions, self) for number in range(partitions)]
        self.judges = [Member(JudgeStage, number, partitions, self) for number in range(partitions)]

    def run(self, rng: np.random.Generator, in_step: bool) -> None:
        """Do all of the work in a random order. `in_step`: no worker is behind another."""
        while busy := [one for one in (*self.profiles, *self.judges) if one.next is not None]:
            if in_step:
                first_us = min(one.next.timestamp_us for one in busy if one.next is not None)
                busy = [one for one in busy if one.next is not None and one.next.timestamp_us == first_us]
                overdue = [one for one in self.profiles if first_us - one.unsaved_us > _SAVED_US]
                for one in overdue:
                    one.save()
                if overdue:
                    continue
            one = busy[int(rng.integers(len(busy)))]
            chance = rng.random()
            if chance < 0.05:
                one.crash()
            elif chance < 0.1:
                one.save(killed=True)
            elif chance < 0.35:
                one.save()
            elif chance < 0.4:
                self._publish(most=1)
            elif chance < 0.5:
                one.read_control(1)
            else:
                one.work(int(rng.integers(1, 2 if in_step else 12)), ahead=rng.random() < 0.5)
        self.topics.now_us += _NOTICE_US  # nobody says that all is silent before it has been for some time
        for stages in (self.profiles, self.judges):
            for one in stages:
                one.finish()

    def results(self) -> Results:
        """What is committed."""
        found = Results()
        for (topic, _), stored in self.topics.records.items():
            for record in stored:
                found.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
        return found

    @property
    def crashes(self) -> int:
        """Of all members."""
        return sum(one.crashes for one in (*self.profiles, *self.judges))

    def pass_to(self, now_us: int) -> None:
        """The broker's time goes on; what will count soon is published."""
        self.topics.now_us = max(self.topics.now_us, now_us)
        self._publish(before_us=now_us + _NOTICE_US)

    def _publish(self, before_us: int = 2**62, most: int = 1_000) -> None:
        while self._changes and most and self._changes[0].effective_us < before_us:
            one, most = self._changes.pop(0), most - 1
            self.topics.append(CONTROL, 0, one.key, one.value)
            self.counts_from_us.append(one.effective_us)
