"""The checkpoint protocol in any order of events: what readers see is always what one undisturbed worker would have
written, up to some record, once.

Several workers (the real `Worker`, its Faust app replaced) share one partition. A machine of rules lets them process,
save step by step, lose and double what they fetch, die, sleep through a rebalance and wake up, give the partition up in
the middle of a save, and fail on rows.
"""

# The rules do what Faust does: they call what is the worker's own.
# pyright: reportPrivateUsage=false

import asyncio
import contextlib
import json
import time
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import streams.worker.checkpoint
import streams.worker.runtime
from streams.topics import DEADLETTERS
from streams.worker.driver import Chunk
from tests.patience import PATIENCE_S
from tests.streams.memory_broker import COMMITTED, MemoryBroker, MemoryProducer
from tests.streams.protocol_member import CHECKPOINTS, OUT, PLACE, POISON, SOURCE, Message, Process

FINISH_S = PATIENCE_S
"""Each record that fails is read back and waited for some milliseconds, and there may be dozens."""
WHO = st.sampled_from(["owner", "owner", "owner", "former"])
"""Most happens to the owner; then to the one that was it before, which may not know."""
EVENTS = st.lists(st.lists(st.integers(0, 20), max_size=4), min_size=1, max_size=8)


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.broker = MemoryBroker()
        self.numbers: list[list[int]] = []
        self.started = self.calm = 0
        self.patches = contextlib.ExitStack()
        self._patch(streams.worker.checkpoint, "AIOKafkaProducer", MemoryProducer)
        self._patch(streams.worker.checkpoint, "_VISIBLE_TIMEOUT_S", 20.0)
        self._patch(streams.worker.runtime, "commit_offsets", _nothing)
        self._patch(streams.worker.runtime, "_REVOKE_TIMEOUT_S", 0.002)
        MemoryProducer.broker = self.broker
        self.former: Process | None = None
        self.owner = self._start()
        self._assign(self.owner)

    def _patch(self, module: Any, name: str, value: object) -> None:
        self.patches.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)

    def _start(self) -> Process:
        self.started += 1
        return Process(self.started, self.loop, self.broker)

    def settle(self, seconds: float = 0.0) -> None:
        """Let everybody come to where the gates hold them."""
        for _ in range(25):
            self.loop.run_until_complete(asyncio.sleep(0))
        if seconds:
            self.loop.run_until_complete(asyncio.sleep(seconds))

    def _awake(self, who: str) -> Process | None:
        """The process, if it can do anything."""
        found = self.owner if who == "owner" else self.former
        return None if found is None or found.asleep or found.failed else found

    @rule(
        events=st.lists(st.lists(st.integers(0, 40), max_size=4), min_size=1, max_size=6), gap=st.booleans()
    )
    def events_come(self, events: list[list[int]], gap: bool) -> None:
        """Some numbers are not to the stage's taste; marks of transactions leave gaps in the offsets."""
        for numbers in events:
            self.broker.append(SOURCE, None, json.dumps(numbers).encode(), COMMITTED)
            if gap:
                self.broker.append(SOURCE, None, None, COMMITTED, mark=True)
            self.numbers.append(numbers)

    @rule(who=WHO, most=st.integers(1, 6), lost=st.sampled_from([0, 0, 1, 2]), again=st.integers(0, 3))
    def records_arrive(self, who: str, most: int, lost: int, again: int) -> None:
        """The next ones; or some are lost on the way; or some come a second time."""
        self.calm += 1
        process = self._awake(who)
        if process is None or not process.worker._owned:
            return
        consumer = process.consumer
        ahead = [one for one in self.broker.committed(SOURCE) if one.offset >= consumer.next]
        for entry in ahead[:lost]:
            consumer.next, consumer.previous = entry.offset + 1, entry.offset
        found = ahead[lost : lost + most]
        if not found:
            return
        before = [one for one in self.broker.committed(SOURCE) if one.offset < found[0].offset]
        doubled = before[-again:] if again and not lost else []
        previous = doubled[0].offset - 1 if doubled else consumer.previous
        messages = [Message(one.offset, one.value or b"") for one in [*doubled, *found]]
        consumer.next, consumer.previous = messages[-1].offset + 1, messages[-1].offset
        process.receives(Chunk(previous, messages))
        self.settle()

    @rule(who=WHO)
    def a_save_begins(self, who: str) -> None:
        self.calm += 1
        process = self._awake(who)
        if process is not None and 0 in process.worker._owned:
            process.do(process.worker._checkpoint(process.worker._owned[0]))
            self.settle()

    @rule(who=WHO, steps=st.integers(1, 6))
    def it_goes_on_for_some_steps(self, who: str, steps: int) -> None:
        process = self._awake(who)
        if process is not None:
            process.gate.open(steps)
            self.settle()

    @rule(who=WHO)
    def all_its_work_gets_done(self, who: str) -> None:
        process = self._awake(who)
        if process is not None:
            self._finish(process)

    @rule(events=EVENTS, most=st.integers(1, 6), again=st.integers(0, 3))
    def a_good_second(self, events: list[list[int]], most: int, again: int) -> None:
        """Events come to the owner and are saved, and nothing happens meanwhile."""
        self.events_come(events, False)
        self.records_arrive("owner", most, 0, again)
        self.all_its_work_gets_done("owner")
        self.a_save_begins("owner")
        self.all_its_work_gets_done("owner")

    def _finish(self, process: Process) -> None:
        process.gate.open(1_000_000)
        deadline_s = time.monotonic() + FINISH_S
        while True:
            self.settle()
            self.broker.marks_come()
            if all(task.done() for task in process.tasks):
                break
            assert time.monotonic() < deadline_s, f"in {FINISH_S:g} s: {process.tasks}"
            self.settle(0.001)
        process.gate.steps = 0
        process.tasks = []

    @precondition(lambda self: self.calm > 2)
    @rule()
    def the_partition_moves(self) -> None:
        """Its owner is asked to leave, in the middle of whatever it does; one that sleeps does not hear it."""
        leaving = self._awake("owner")
        if leaving is not None:
            leaving.consumer.assigned = set()
            leaving.do(leaving.worker._on_revoked(None, {PLACE}))
            self.settle(0.004)
        self._succeed(self._start())

    @precondition(lambda self: self.calm > 2)
    @rule()
    def the_former_owner_takes_it_back(self) -> None:
        coming = self._awake("former")
        if coming is None:
            return
        self._finish(coming)
        if coming.failed:
            return
        if coming.worker._owned:  # it had slept and hears now that it lost its partition
            coming.do(coming.worker._on_revoked(None, {PLACE}))
            self._finish(coming)
        leaving = self._awake("owner")
        if leaving is not None:
            leaving.do(leaving.worker._on_revoked(None, {PLACE}))
            self.settle(0.004)
        if not coming.failed:
            self._succeed(coming)

    @precondition(lambda self: self.calm > 2)
    @rule()
    def the_owner_is_killed(self) -> None:
        self._kill(self.owner)
        self._succeed(self._start())

    @precondition(lambda self: self.calm > 2)
    @rule()
    def the_owner_sleeps_through_a_move(self) -> None:
        """It is stopped for longer than a session lasts; nobody can ask it to leave."""
        self.owner.asleep = self.owner.slept = True
        self._succeed(self._start())

    @rule()
    def the_former_owner_wakes_up(self) -> None:
        """It goes on where it was: what it was about to write it writes last of all."""
        if self.former is not None:
            self.former.asleep = False

    def _succeed(self, process: Process) -> None:
        if self.former is not None and self.former is not process:
            self._kill(self.former)
        self.former, self.owner, self.calm = self.owner, process, 0
        self._assign(process)

    def _assign(self, process: Process) -> None:
        process.consumer.assigned = {PLACE}
        process.do(process.worker._on_rebalance_complete(None))
        self._finish(process)
        self.loop.run_until_complete(process.consumer.perform_seek())

    def _kill(self, process: Process) -> None:
        process.asleep = True
        for task in process.tasks:
            task.cancel()
        self.settle()
        process.tasks = []

    @precondition(lambda self: self.calm > 2)
    @rule(events=EVENTS, before=st.booleans(), steps=st.integers(0, 6), work=st.integers(0, 6))
    def a_stale_checkpoint_is_written_last(
        self, events: list[list[int]], before: bool, steps: int, work: int
    ) -> None:
        """The owner falls asleep with records that it has not saved, or in the middle of the save; its successor works;
        then it wakes up and does what it was about to do."""
        self.events_come(events, False)
        self.records_arrive("owner", 4, 0, 0)
        if before:
            self.a_save_begins("owner")
            self.it_goes_on_for_some_steps("owner", steps)
        self.the_owner_sleeps_through_a_move()
        if work:
            self.a_good_second([[1]], work, 0)
        self.the_former_owner_wakes_up()
        self.a_save_begins("former")
        self.all_its_work_gets_done("former")

    @precondition(lambda self: self.calm > 2)
    @rule(events=EVENTS, steps=st.integers(0, 6))
    def it_must_leave_in_the_middle_of_a_save(self, events: list[list[int]], steps: int) -> None:
        """There is no time to wait for it: its successor begins at the checkpoint before."""
        self.events_come(events, False)
        self.records_arrive("owner", 4, 0, 0)
        self.a_save_begins("owner")
        self.it_goes_on_for_some_steps("owner", steps)
        self.the_partition_moves()
        self.all_its_work_gets_done("former")

    @rule(events=EVENTS, steps=st.integers(0, 4))
    def records_come_and_saves_begin_at_once(self, events: list[list[int]], steps: int) -> None:
        """While one save is under way records come and another one begins."""
        self.events_come(events, False)
        process = self._awake("owner")
        if process is None or 0 not in process.worker._owned:
            return
        for _ in range(2):
            process.do(process.worker._checkpoint(process.worker._owned[0]))
            self.records_arrive("owner", 2, 0, 0)
            self.it_goes_on_for_some_steps("owner", steps)

    @rule()
    def commits_come_to_be_seen(self) -> None:
        self.broker.marks_come()

    @rule()
    def the_checkpoints_are_compacted(self) -> None:
        self.broker.compact(CHECKPOINTS)

    @invariant()
    def readers_see_the_beginning_of_the_truth(self) -> None:
        said = [int(entry.value or b"") for entry in self.broker.committed(OUT)]
        assert said == self._truth()[: len(said)]

    @invariant()
    def only_who_slept_fails(self) -> None:
        for process in (self.owner, self.former):
            assert process is None or process.slept or not process.failed, process.worker._failure

    def _truth(self) -> list[int]:
        """What the stage says: after each record that is not bad as a whole, how many good numbers there were."""
        count, truth = 0, []
        for numbers in self.numbers:
            good = [number for number in numbers if number not in POISON]
            count += len(good)
            if good or not numbers:
                truth.append(count)
        return truth

    def teardown(self) -> None:
        try:
            for process in (self.former, self.owner):
                if process is not None:
                    self._kill(process)
            last = self._start()
            self._assign(last)
            messages = [Message(one.offset, one.value or b"") for one in self.broker.committed(SOURCE)]
            if messages:
                last.receives(Chunk(-1, messages))
                self._finish(last)
            last.do(last.worker._checkpoint(last.worker._owned[0]))
            self._finish(last)
            assert not last.failed, last.worker._failure
            said = [int(entry.value or b"") for entry in self.broker.committed(OUT)]
            assert said == self._truth()
            bad = [number for numbers in self.numbers for number in numbers if number in POISON]
            assert len(self.broker.committed(DEADLETTERS)) == len(bad)
        finally:
            self.patches.close()
            self.loop.close()


async def _nothing(*_: object) -> None:
    pass


Protocol.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestProtocol = Protocol.TestCase
