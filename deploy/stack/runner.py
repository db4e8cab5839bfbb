"""Keeping one part alive: start, wait until it is ready, watch, start again when it has died."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

import psutil

from deploy.stack.backoff import Backoff
from deploy.stack.ending import PART_VARIABLE, STACK_VARIABLE, end_processes, marked_processes
from deploy.stack.errors import PortTaken, StackError
from deploy.stack.files import rotate, tail_file
from deploy.stack.part import Part
from deploy.stack.ports import describe_holder, is_free
from deploy.stack.state import EventKind, Health, PartState, ProcessId

_POLL_STARTING_S = 0.1
_POLL_HEALTHY_S = 2.0
_FAILURES_BEFORE_UNHEALTHY = 3
_LEFTOVER_PATIENCE_S = 2.0

Tell = Callable[[EventKind, str | None, str], None]
"""Told of (kind, part, message); also the moment at which the state has changed."""


class PartRunner:
    """The life of one part. `ready` is set while the part is healthy; `run` ends after `stop`."""

    def __init__(self, part: Part, home: Path, tell: Tell) -> None:
        self.part = part
        self.ready = asyncio.Event()
        self.state = PartState(
            name=part.name, log=str(part.log), ports=dict(part.ports), url=part.url, version=part.version
        )
        self._home = home
        self._tell = tell
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._backoff = Backoff()
        self._healthy_since = 0.0

    async def run(self, dependencies: list["PartRunner"]) -> None:
        """Start when the dependencies are ready, and keep alive until `stop`."""
        for dependency in dependencies:
            if not await self._unless_stopping(dependency.ready.wait()):
                return
        while not self._stopping.is_set():
            healthy_s = await self._live_once()
            if self._stopping.is_set():
                return
            wait_s = self._backoff.next_s(healthy_s)
            self._told_dead(wait_s)
            await self._end_leftovers()
            await self._unless_stopping(asyncio.sleep(wait_s))
            self.state.restarts += 1

    async def stop(self) -> None:
        """End the part and everything that it has started: SIGTERM, then SIGKILL after its stop timeout."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), self.part.stop_timeout_s)
            except TimeoutError:
                self._tell(
                    EventKind.SLOW,
                    self.part.name,
                    f"has not ended {self.part.stop_timeout_s:g} s after SIGTERM; it is killed",
                )
                process.kill()
                await process.wait()
        await self._end_leftovers()
        self.state.health = Health.STOPPED
        self.state.process = None

    async def _live_once(self) -> float:
        """One life of the process: seconds that it was healthy."""
        self.ready.clear()
        if not await self._start():
            return 0.0
        process = self._process
        assert process is not None
        watching = asyncio.create_task(self._watch())
        try:
            await process.wait()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        was_healthy = self.ready.is_set()
        self.ready.clear()
        self.state.last_exit = _exit_in_words(process.returncode)
        return time.monotonic() - self._healthy_since if was_healthy else 0.0

    async def _start(self) -> bool:
        self.state.health = Health.STARTING
        self._tell(
            EventKind.STARTING, self.part.name, "starting" if not self.state.restarts else "starting again"
        )
        try:
            await asyncio.to_thread(self._prepare)
            self._process = await self._spawn()
            self.state.process = ProcessId.of(self._process.pid)
        except (StackError, OSError) as error:
            self.state.last_exit = f"could not be started: {error}"
            return False
        except psutil.NoSuchProcess:
            self.state.process = None
        self.state.started_at = datetime.now(UTC)
        if self._stopping.is_set():
            await self.stop()
        return True

    def _prepare(self) -> None:
        """Another program on the part's port would answer its health check."""
        self.part.prepare()
        for name, port in self.part.ports.items():
            if not is_free(port):
                raise PortTaken(f"port {port} ({name}) is used by {describe_holder(port)}")

    async def _spawn(self) -> asyncio.subprocess.Process:
        part = self.part
        part.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(part.log)
        marks = {STACK_VARIABLE: str(self._home.resolve()), PART_VARIABLE: part.name}
        with part.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *part.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**(os.environ if part.env is None else part.env), **marks},
                cwd=part.cwd,
                start_new_session=True,
            )

    async def _watch(self) -> None:
        started = time.monotonic()
        while not await asyncio.to_thread(self.part.ready):
            if (
                time.monotonic() - started > self.part.start_timeout_s
                and self.state.health is Health.STARTING
            ):
                self.state.health = Health.UNHEALTHY
                self._tell(EventKind.SLOW, self.part.name, f"not ready after {self.part.start_timeout_s:g} s")
            await asyncio.sleep(_POLL_STARTING_S)
        self._healthy_since = time.monotonic()
        self.state.health = Health.HEALTHY
        self.ready.set()
        self._tell(EventKind.HEALTHY, self.part.name, f"healthy after {self._healthy_since - started:.1f} s")
        await self._watch_healthy()

    async def _watch_healthy(self) -> None:
        failures = 0
        while True:
            await asyncio.sleep(_POLL_HEALTHY_S)
            failures = 0 if await asyncio.to_thread(self.part.ready) else failures + 1
            if failures == _FAILURES_BEFORE_UNHEALTHY:
                self.state.health = Health.UNHEALTHY
                self._tell(EventKind.UNHEALTHY, self.part.name, "runs, but does not answer its health check")
            if failures == 0 and self.state.health is not Health.HEALTHY:
                self.state.health = Health.HEALTHY
                self._tell(EventKind.HEALTHY, self.part.name, "healthy again")

    def _told_dead(self, wait_s: float) -> None:
        self.state.health = Health.DOWN
        self.state.process = None
        last_lines = tail_file(self.part.log, 3)
        self._tell(
            EventKind.DIED,
            self.part.name,
            f"{self.state.last_exit}; starting again in {wait_s:g} s. Log {self.part.log} ends: {last_lines}",
        )

    async def _end_leftovers(self) -> None:
        """Children outlive a killed parent, and would hold its port."""
        left = await asyncio.to_thread(marked_processes, self._home, self.part.name)
        if left:
            await asyncio.to_thread(end_processes, left, _LEFTOVER_PATIENCE_S)

    async def _unless_stopping(self, awaitable: Coroutine[object, object, object]) -> bool:
        """Await; False as soon as the part is to stop."""
        wanted = asyncio.create_task(awaitable)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({wanted, stopping}, return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()
        stopping.cancel()
        return not self._stopping.is_set()


def _exit_in_words(code: int | None) -> str:
    if code is not None and code < 0:
        return f"died by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
