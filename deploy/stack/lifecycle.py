"""The local stack as a person handles it: `up`, `down`, `status`."""

import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from deploy.stack.ending import (
    PART_VARIABLE,
    STACK_VARIABLE,
    end_orphans,
    end_processes,
    marked_processes,
    recorded_processes,
)
from deploy.stack.errors import AlreadyRunning, PartFailed, StackError, StartTimedOut
from deploy.stack.files import rotate, tail_file
from deploy.stack.ownership import is_owned, owner, ownership
from deploy.stack.part import Part
from deploy.stack.state import (
    EventKind,
    Health,
    PartState,
    ProcessId,
    StackEvent,
    StackState,
    read_state,
    state_file,
    write_state,
)
from deploy.stack.supervisor import OnEvent, Supervisor

MakeParts = Callable[[], Sequence[Part]]

UP_TIMEOUT_S = 120.0
DOWN_TIMEOUT_S = 60.0
_POLL_S = 0.1
_PATIENCE = (
    "The first start compiles for minutes on a busy machine; try `homeostat up --detach --timeout 600`."
)

_detached: list[subprocess.Popen[bytes]] = []
"""Supervisors that this process has started and that shall outlive it: a forgotten `Popen` warns."""


@dataclass(frozen=True, slots=True)
class StackStatus:
    """What runs in a home.

    `running`: a supervisor is alive. `orphans`: processes that a killed supervisor has left (`down` or `up`
    ends them).
    """

    running: bool
    state: StackState | None
    orphans: list[str] = field(default_factory=list[str])

    @property
    def healthy(self) -> bool:
        """Whether the supervisor lives and every part does its work."""
        return self.running and self.state is not None and self.state.healthy

    def part(self, name: str) -> PartState | None:
        """The state of one part."""
        parts = self.state.parts if self.state else []
        return next((part for part in parts if part.name == name), None)


@dataclass(frozen=True, slots=True)
class UpResult:
    """`started` is False when a stack was already running in the home; then nothing was changed."""

    started: bool
    status: StackStatus


def supervise(home: Path, make_parts: MakeParts, on_event: OnEvent | None = None) -> None:
    """Be the supervisor of `home` until SIGINT or SIGTERM.

    `make_parts` is called when the home is this process's own and what an earlier supervisor has left is
    ended, so that it sees free ports. Raises `AlreadyRunning`, or any `StackError` of `make_parts`; `up` in
    another process reports the latter.
    """
    home.mkdir(parents=True, exist_ok=True)
    with ownership(home):
        state = StackState(
            supervisor=ProcessId.of(os.getpid()), versions={"python": platform.python_version()}
        )
        events = _EventLog(home / "logs" / "supervisor.log", on_event)
        ended = end_orphans(home, read_state(home))
        if ended:
            text = f"ended what an earlier supervisor had left: {', '.join(ended)}"
            events(StackEvent(at=datetime.now(UTC), kind=EventKind.ORPHANS_ENDED, part=None, message=text))
        write_state(home, state)
        try:
            parts = make_parts()
            state.versions |= {part.name: part.version for part in parts if part.version}
            asyncio.run(_run(home, parts, state, events))
        except StackError as error:
            state.error = str(error)
            write_state(home, state)
            raise
        finally:
            if state.error is None:
                state_file(home).unlink(missing_ok=True)


def up_attached(home: Path, make_parts: MakeParts, on_event: OnEvent) -> UpResult:
    """Run the stack in this process until Ctrl-C. When one is running already, say so by the result."""
    try:
        supervise(home, make_parts, on_event)
    except AlreadyRunning:
        return UpResult(False, status(home))
    return UpResult(True, status(home))


def up_detached(
    home: Path, on_event: OnEvent, command: Sequence[str] | None = None, timeout_s: float = UP_TIMEOUT_S
) -> UpResult:
    """Start the supervisor as a process of its own and return when every part is healthy.

    `command` is the supervisor's command line (default: `homeostat supervise` of this installation). Raises
    `PartFailed` with the end of the log of what is not healthy after `timeout_s`, `StartTimedOut` where no part
    has ended by itself; what has been started is stopped then.
    """
    home.mkdir(parents=True, exist_ok=True)
    if is_owned(home):
        return UpResult(False, status(home))
    log = home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    argv = command or [sys.executable, "-m", "deploy.cli", "supervise", "--home", str(home.resolve())]
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                **os.environ,
                "HOMEOSTAT_HOME": str(home.resolve()),
                STACK_VARIABLE: str(home.resolve()),
                PART_VARIABLE: "supervisor",
            },
            start_new_session=True,
        )
    try:
        _wait_healthy(home, process, on_event, time.monotonic() + timeout_s)
    except (PartFailed, KeyboardInterrupt):
        process.terminate()
        _wait_or_kill(process)
        down(home)
        raise
    _detached.append(process)
    return UpResult(True, status(home))


def down(home: Path, timeout_s: float = DOWN_TIMEOUT_S) -> list[str]:
    """Stop the stack of `home`, also one whose supervisor was killed.

    Returns what was stopped, in words; empty if nothing ran. After `timeout_s` what is left is killed.
    """
    state = read_state(home)
    stopped = _running_parts(state)
    supervisor = owner(home)
    if supervisor is not None:
        stopped += end_processes([supervisor], timeout_s)
    stopped += [name for name in end_orphans(home, state) if name not in stopped]
    state_file(home).unlink(missing_ok=True)
    return stopped


def status(home: Path) -> StackStatus:
    """What runs in `home` now."""
    state = read_state(home)
    running = is_owned(home)
    if running:
        return StackStatus(True, state)
    left = {process.pid: process for process in [*recorded_processes(state), *marked_processes(home)]}
    if state is not None:
        for part in state.parts:
            if part.process is None or part.process.pid not in left:
                part.health = Health.STOPPED
    return StackStatus(False, state, [f"process {pid}" for pid in sorted(left)])


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(DOWN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _run(home: Path, parts: Sequence[Part], state: StackState, events: OnEvent) -> None:
    await Supervisor(home, parts, state, events).run()


class _EventLog:
    """Every event as a line of the supervisor's log, and to the caller."""

    def __init__(self, path: Path, on_event: OnEvent | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rotate(path)
        self._path = path
        self._on_event = on_event

    def __call__(self, event: StackEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{event}\n")
        except OSError as error:
            print(f"{event} (not written to {self._path}: {error})", file=sys.stderr)


def _running_parts(state: StackState | None) -> list[str]:
    parts = state.parts if state else []
    return [f"{p.name} (process {p.process.pid})" for p in parts if p.process and p.process.process()]


def _wait_healthy(home: Path, process: subprocess.Popen[bytes], on_event: OnEvent, deadline: float) -> None:
    """Follow the new supervisor's state, telling each change, until all is healthy."""
    seen: dict[str, Health] = {}
    while True:
        state = read_state(home)
        ours = state is not None and state.supervisor.pid == process.pid
        if ours and state is not None:
            _tell_changes(state, seen, on_event)
            if state.error:
                raise PartFailed(state.error)
            if state.healthy:
                return
        if process.poll() is not None:
            raise PartFailed(_supervisor_ended(home, process.returncode))
        if time.monotonic() > deadline:
            raise _not_healthy(state if ours else None)
        time.sleep(_POLL_S)


def _tell_changes(state: StackState, seen: dict[str, Health], on_event: OnEvent) -> None:
    kinds = {
        Health.STARTING: EventKind.STARTING,
        Health.HEALTHY: EventKind.HEALTHY,
        Health.UNHEALTHY: EventKind.UNHEALTHY,
        Health.DOWN: EventKind.DIED,
    }
    for part in state.parts:
        if seen.get(part.name) is not part.health and part.health in kinds:
            kind, message = kinds[part.health], _in_words(part)
            on_event(StackEvent(at=datetime.now(UTC), kind=kind, part=part.name, message=message))
        seen[part.name] = part.health


def _in_words(part: PartState) -> str:
    if part.health is Health.DOWN:
        return f"{part.last_exit or 'ended'}; it is started again"
    if part.health is Health.UNHEALTHY:
        return "runs, but does not answer its health check"
    return str(part.health)


def _supervisor_ended(home: Path, code: int | None) -> str:
    end = tail_file(home / "logs" / "supervisor.log")
    return f"The supervisor ended with exit code {code}. Its log ends:\n{end}"


def _not_healthy(state: StackState | None) -> PartFailed:
    if state is None:
        return StartTimedOut(f"The supervisor has not begun its work in time.\n{_PATIENCE}")
    late = [part for part in state.parts if part.health is not Health.HEALTHY]
    told = [
        f"{part.name} is {part.health}. The end of {part.log}:\n{tail_file(Path(part.log))}" for part in late
    ]
    text = "Not everything became healthy in time.\n" + "\n".join(told)
    ended = any(part.last_exit is not None for part in late)
    return PartFailed(text) if ended else StartTimedOut(f"{text}\n{_PATIENCE}")
