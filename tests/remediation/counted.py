"""Stand-ins that number every call, and count what really came about."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from remediation.acknowledgements import Standing
from remediation.values import ActionKind, Desired
from tests.remediation.fakes import Faults, ManualClock

Between = Callable[[str], Awaitable[None]]


class CountedActuator:
    """Servers of somebody else: they take the state with the highest epoch, and never two of the same epoch."""

    proves = "What a test has to know."

    def __init__(self, faults: Faults, clock: ManualClock) -> None:
        self.faults = faults
        self._clock = clock
        self.states: dict[int, Desired] = {}
        self.refused: str | None = None
        self.unloadable: set[int] = set()

    @property
    def in_force(self) -> Desired | None:
        """What the servers do now."""
        return self.states[max(self.states)] if self.states else None

    def refusal(self, desired: Desired) -> str | None:
        self.faults("refusal")
        return self.refused

    async def apply(self, desired: Desired) -> None:
        self.faults("before apply")
        known = self.states.setdefault(desired.epoch, desired)
        assert known == desired, f"two states of epoch {desired.epoch}"
        self.faults("after apply")

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        self.faults("before observe")
        known = self.states.get(desired.epoch)
        if known is None:
            return Standing(state="waiting", sentence="nobody told the servers yet")
        if desired.epoch in self.unloadable:
            return Standing(state="refused", sentence="the servers cannot do that")
        self.faults("after observe")
        return Standing(state="loaded", sentence=f"in force: epoch {known.epoch}", at_us=self._clock.now_us())


class CountedCaller:
    """A peer that can be asked what happened. Unless it `knows_keys`, every call is an effect."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.effects: list[str] = []
        self.knows_keys = False

    async def call(self, kind: ActionKind, parameters: Mapping[str, Any], *, key: str) -> str:
        self.faults("before call")
        if not self.knows_keys or key not in self.effects:
            self.effects.append(key)
        self.faults("after call")
        return f"{kind} done"

    async def observe(self, kind: ActionKind, parameters: Mapping[str, Any], *, key: str) -> str | None:
        self.faults("before look")
        found = f"{kind} was done before" if key in self.effects else None
        self.faults("after look")
        return found


class Threads:
    """`asyncio.to_thread` without threads, with a boundary before and after every call that a test can use to let
    somebody else act."""

    def __init__(self) -> None:
        self.between: Between | None = None
        self.passed = 0

    async def to_thread(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        await self._boundary(f"before {getattr(function, '__name__', '')}")
        result = function(*args, **named)
        await self._boundary(f"after {getattr(function, '__name__', '')}")
        return result

    async def _boundary(self, where: str) -> None:
        if self.between is None:
            await asyncio.sleep(0)
            return
        await self.between(where)
