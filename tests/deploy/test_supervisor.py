"""The supervisor inside this process: events and state as a foreground `up` sees them."""

import dataclasses
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from deploy.stack.chores import Chores
from deploy.stack.ending import PART_VARIABLE, STACK_VARIABLE, marked_processes
from deploy.stack.errors import PartFailed
from deploy.stack.lifecycle import supervise, up_attached
from deploy.stack.part import Part
from deploy.stack.probe import HeartbeatProbe, TcpProbe, wait_until
from deploy.stack.state import EventKind, Health, StackEvent, read_state, state_file
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

BEATING = "import pathlib, sys, time\nwhile True:\n    pathlib.Path(sys.argv[1]).touch()\n    time.sleep(.05)"
DYING_ONCE = "import pathlib, sys\nif not pathlib.Path(sys.argv[1] + '.seen').exists():\n"
DYING_ONCE += "    pathlib.Path(sys.argv[1] + '.seen').touch()\n    sys.exit('out of luck')\n"
CHORE = """import os, signal, subprocess, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
while os.nice(0) < 19:
    time.sleep(.01)
print("at the lowest priority", flush=True)
os.kill(os.getppid(), signal.SIGINT)
child.wait()
"""
DEAF = "trap '' TERM; while :; do sleep .05; done"


def _part(
    home: Path,
    name: str,
    script: str,
    depends_on: Sequence[str] = (),
    max_age_s: float = 60.0,
) -> Part:
    ready = home / f"{name}.ready"
    return Part(
        name=name,
        argv=[sys.executable, "-S", "-c", script, str(ready)],
        log=home / "logs" / f"{name}.log",
        ready=HeartbeatProbe(ready, max_age_s),
        depends_on=depends_on,
        version="1.0",
    )


class Watcher:
    """Keeps the events, and interrupts this process (Ctrl-C) at the first of `kind` and `part`."""

    def __init__(self, kind: EventKind, part: str | None) -> None:
        self.events: list[StackEvent] = []
        self._until = (kind, part)

    def __call__(self, event: StackEvent) -> None:
        self.events.append(event)
        if (event.kind, event.part) == self._until:
            os.kill(os.getpid(), signal.SIGINT)

    def told(self, part: str | None) -> list[EventKind]:
        return [event.kind for event in self.events if event.part == part]


def test_foreground_run_until_interrupted(tmp_path: Path) -> None:
    seen: list[Health] = []

    class Peeking(Watcher):
        def __call__(self, event: StackEvent) -> None:
            state = read_state(tmp_path)
            assert state is not None
            if event.kind is EventKind.HEALTHY and event.part is None:
                seen.extend(part.health for part in state.parts)
                assert state.versions["first"] == "1.0"
            super().__call__(event)

    watcher = Peeking(EventKind.HEALTHY, None)
    parts = [_part(tmp_path, "second", BEATING, ["first"]), _part(tmp_path, "first", BEATING)]
    assert up_attached(tmp_path, lambda: parts, watcher).started
    assert seen == [Health.HEALTHY, Health.HEALTHY]
    assert watcher.told("first") == [EventKind.STARTING, EventKind.HEALTHY, EventKind.STOPPED]
    assert watcher.told(None) == [EventKind.HEALTHY, EventKind.STOPPING, EventKind.STOPPED]
    stopped = [event.part for event in watcher.events if event.kind is EventKind.STOPPED]
    assert stopped == ["second", "first", None]
    assert not state_file(tmp_path).exists()


def test_part_that_dies_at_its_start_is_started_again(tmp_path: Path) -> None:
    watcher = Watcher(EventKind.HEALTHY, None)
    supervise(tmp_path, lambda: [_part(tmp_path, "first", DYING_ONCE + BEATING)], watcher)
    assert watcher.told("first")[:4] == [
        EventKind.STARTING,
        EventKind.DIED,
        EventKind.STARTING,
        EventKind.HEALTHY,
    ]
    died = next(event for event in watcher.events if event.kind is EventKind.DIED)
    assert "ended with exit code 1; starting again in 0.5 s" in died.message
    assert "out of luck" in died.message


def test_program_that_does_not_exist_is_told_and_tried_again(tmp_path: Path) -> None:
    part = Part(name="first", argv=["/no/such/program"], log=tmp_path / "first.log", ready=lambda: True)
    watcher = Watcher(EventKind.DIED, "first")
    supervise(tmp_path, lambda: [part], watcher)
    died = next(event for event in watcher.events if event.kind is EventKind.DIED)
    assert "could not be started" in died.message
    assert "/no/such/program" in died.message


def test_program_on_the_port_of_a_part_does_not_pass_for_it(tmp_path: Path) -> None:
    watcher = Watcher(EventKind.DIED, "first")
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        part = Part(
            name="first",
            argv=["sleep", "60"],
            log=tmp_path / "first.log",
            ready=TcpProbe(host, port),
            ports={"api": port},
        )
        supervise(tmp_path, lambda: [part], watcher)
    died = next(event for event in watcher.events if event.kind is EventKind.DIED)
    assert f"port {port} (api) is used by " in died.message
    assert f"(process {os.getpid()})" in died.message


def test_preparation_that_fails_is_told(tmp_path: Path) -> None:
    def fail() -> None:
        raise PartFailed("the folder is full")

    part = Part(name="first", argv=["true"], log=tmp_path / "first.log", ready=lambda: True, prepare=fail)
    watcher = Watcher(EventKind.DIED, "first")
    supervise(tmp_path, lambda: [part], watcher)
    assert any("the folder is full" in event.message for event in watcher.events)


def test_slow_and_deaf_part_is_told_and_killed(tmp_path: Path) -> None:
    watcher = Watcher(EventKind.SLOW, "first")
    part = Part(
        name="first",
        argv=["sh", "-c", DEAF],
        log=tmp_path / "first.log",
        ready=lambda: False,
        stop_timeout_s=0.3,
        start_timeout_s=1.0,
    )
    supervise(tmp_path, lambda: [part], watcher)
    messages = [event.message for event in watcher.events if event.kind is EventKind.SLOW]
    assert messages == ["not ready after 1 s", "has not ended 0.3 s after SIGTERM; it is killed"]
    assert marked_processes(tmp_path) == []


def test_silence_of_a_part_and_its_end_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.stack.runner._POLL_HEALTHY_S", 0.05)
    part = _part(tmp_path, "first", BEATING, max_age_s=2.0)
    frozen: list[psutil.Process] = []

    class Freezing(Watcher):
        def __call__(self, event: StackEvent) -> None:
            if event.kind is EventKind.HEALTHY and event.part == "first" and not frozen:
                frozen.extend(marked_processes(tmp_path, "first"))
                frozen[0].suspend()
            if event.kind is EventKind.UNHEALTHY:
                frozen[0].resume()
            if event.message == "healthy again":
                os.kill(os.getpid(), signal.SIGINT)
            super().__call__(event)

    watcher = Freezing(EventKind.STOPPED, "nobody")
    supervise(tmp_path, lambda: [part], watcher)
    assert watcher.told("first") == [
        EventKind.STARTING,
        EventKind.HEALTHY,
        EventKind.UNHEALTHY,
        EventKind.HEALTHY,
        EventKind.STOPPED,
    ]


def test_every_process_carries_the_mark_of_its_home_and_part(tmp_path: Path) -> None:
    marks: list[dict[str, str]] = []

    class Reading(Watcher):
        def __call__(self, event: StackEvent) -> None:
            if event.kind is EventKind.HEALTHY and event.part == "first":
                marks.extend(process.environ() for process in marked_processes(tmp_path))
            super().__call__(event)

    supervise(tmp_path, lambda: [_part(tmp_path, "first", BEATING)], Reading(EventKind.HEALTHY, None))
    assert [mark[PART_VARIABLE] for mark in marks] == ["first"]
    assert marks[0][STACK_VARIABLE] == str(tmp_path)


def test_a_chore_begins_when_all_is_healthy_and_ends_with_the_stack(tmp_path: Path) -> None:
    chore = [sys.executable, "-S", "-c", CHORE]
    parts = [
        dataclasses.replace(_part(tmp_path, "first", BEATING), chore=chore),
        dataclasses.replace(_part(tmp_path, "second", BEATING), chore=["/no/such/program"]),
    ]
    watcher = Watcher(EventKind.DIED, "nobody")
    supervise(tmp_path, lambda: parts, watcher)
    assert watcher.told(None) == [EventKind.HEALTHY, EventKind.STOPPING, EventKind.STOPPED]
    assert parts[0].log.read_text() == "at the lowest priority\n"
    assert "/no/such/program" in parts[1].log.read_text()
    assert marked_processes(tmp_path) == []


def test_a_chore_that_is_done_leaves_no_zombie(tmp_path: Path) -> None:
    part = dataclasses.replace(_part(tmp_path, "first", BEATING), chore=[sys.executable, "-S", "-c", ""])
    part.log.parent.mkdir()
    chores, others = Chores(tmp_path, [part]), psutil.Process().children()
    chores.start()
    try:
        assert wait_until(lambda: set(psutil.Process().children()) <= set(others), PATIENCE_S)
    finally:
        chores.stop()
