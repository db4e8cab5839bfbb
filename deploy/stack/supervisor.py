"""Starts parts in the order of what they need, keeps them alive, and stops them in the reverse order.

It knows nothing of what the parts are. All that it knows of itself is in two files of the home:
`supervisor.pid` and `state.json`.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from deploy.stack.chores import Chores
from deploy.stack.part import Part, start_levels
from deploy.stack.runner import PartRunner
from deploy.stack.state import EventKind, StackEvent, StackState, write_state
from deploy.stack.stopping import hearing

OnEvent = Callable[[StackEvent], None]


class Supervisor:
    """One run of a stack; `run` returns when all is stopped again.

    `state` is written to the home at every event; `on_event` is called with each event in the thread of the
    event loop.
    """

    def __init__(self, home: Path, parts: Sequence[Part], state: StackState, on_event: OnEvent) -> None:
        self._home = home
        self._levels = start_levels(parts)
        self._on_event = on_event
        self._state = state
        self._stop_wanted = asyncio.Event()
        self._runners = {part.name: PartRunner(part, home, self._tell) for part in parts}
        self._told_healthy = False
        self._chores = Chores(home, parts)
        state.parts = [runner.state for runner in self._runners.values()]

    def request_stop(self) -> None:
        """Begin to stop; may be called more than once, from the thread of the event loop."""
        self._stop_wanted.set()

    async def run(self) -> None:
        """Start everything, and keep it alive until `request_stop` or a signal to stop."""
        with hearing(lambda _: self.request_stop()):
            lives = [asyncio.create_task(self._live(runner)) for runner in self._runners.values()]
            stop_wanted = asyncio.create_task(self._stop_wanted.wait())
            try:
                await asyncio.wait({stop_wanted, *lives}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop_wanted.cancel()
                await self._stop_all()
                await asyncio.gather(*lives)

    async def _live(self, runner: PartRunner) -> None:
        await runner.run([self._runners[name] for name in runner.part.depends_on])

    async def _stop_all(self) -> None:
        self._state.stopping = True
        self._tell(EventKind.STOPPING, None, "stopping")
        await asyncio.to_thread(self._chores.stop)
        for level in reversed(self._levels):
            await asyncio.gather(*(self._runners[part.name].stop() for part in level))
            for part in level:
                self._tell(EventKind.STOPPED, part.name, "stopped")
        self._tell(EventKind.STOPPED, None, "everything is stopped")

    def _tell(self, kind: EventKind, part: str | None, message: str) -> None:
        try:
            write_state(self._home, self._state)
        except OSError as error:
            message = f"{message} (the state could not be written: {error})"
        self._on_event(StackEvent(at=datetime.now(UTC), kind=kind, part=part, message=message))
        if kind is EventKind.HEALTHY and not self._told_healthy and self._state.healthy:
            self._told_healthy = True
            self._tell(EventKind.HEALTHY, None, "everything is healthy")
            if not self._state.stopping:
                self._chores.start()
