"""When each partition of a worker is due for a checkpoint: in intervals, and at once where somebody waits for what its
stage has to say."""

import asyncio
import time
from collections.abc import Collection
from typing import Any

from streams.broker.group import wait_for_stop
from streams.stages import Outspoken
from streams.worker.checkpoint import CheckpointError
from streams.worker.driver import StageApp
from streams.worker.owned import Owned

_LOOK_S = 1.0
_LEAST_S = 0.05
_SHARE = 3
"""What somebody waits for comes at once, but a partition spends at most a fourth of the time on checkpoints: where
these are slow, or there are very many panes and windows, they go back to the interval by themselves."""
_NEARLY_NOTHING = 100
"""Offsets that may wait to be read all the same: who has more to read has no time for checkpoints between."""


class Rhythm:
    """Wakes the one who writes the checkpoints. interval_s: the longest time between two of a partition."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look again who is due, and whether to stop."""
        self._woken.set()

    def listen(self, owned: Owned, waiting: int | None) -> None:
        """A chunk was taken, and so many offsets behind it wait (None: nobody knows): what its stage has to say now
        goes out at once."""
        if owned.has_news or waiting is None or waiting > _NEARLY_NOTHING:
            return
        if isinstance(owned.stage, Outspoken) and owned.stage.has_news:
            owned.has_news = True
            self.wake()

    async def due(self, owned: Collection[Owned], stop: asyncio.Event) -> list[Owned]:
        """Wait until some of the partitions are due, at most the interval; those that are, none after `stop`, which has
        to be told with `wake`."""
        until_s = time.monotonic() + self._interval_s
        while not stop.is_set():
            self._woken.clear()
            now_s = time.monotonic()
            found = [each for each in owned if self._due_s(each) <= now_s]
            if found or now_s >= until_s:
                return found
            next_s = min([until_s, *map(self._due_s, owned)])
            await wait_for_stop(self._woken, next_s - now_s)
        return []

    def _due_s(self, owned: Owned) -> float:
        pause_s = max(_LEAST_S, _SHARE * owned.beat_s) if owned.has_news else self._interval_s
        return owned.beaten_s + min(pause_s, self._interval_s)


async def while_consuming(app: StageApp, role: str, stop: asyncio.Event, work: asyncio.Future[Any]) -> None:
    """Wait for work that may ask the consumer's thread, which answers nobody any more once it has ended: then the work
    is cancelled. Raises `CheckpointError` for an end before `stop`, and what the work raises."""
    try:
        done: set[asyncio.Future[Any]] = set()
        while not done:
            if app.crashed or (app.should_stop and not stop.is_set()):
                raise CheckpointError(f"The {role} worker's consumer has ended unexpectedly.")
            done, _ = await asyncio.wait({work}, timeout=_LOOK_S)
        work.result()
    finally:
        work.cancel()
