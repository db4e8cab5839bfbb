"""Detectors by others, such as river's own, behind the same protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from detectors.concept.online import impossible
from detectors.concept.values import ConceptState, ConceptVerdict, Pane
from detectors.errors import ProfileInvalid

MOST: Final = 2_000
"""Panes that are always remembered; at twice as many the older half is forgotten."""


class Peer(Protocol):
    """What a detector of river can do."""

    @property
    def drift_detected(self) -> bool:
        """Whether the last value was a drift."""
        ...

    def update(self, x: Any) -> Any:
        """Take one value."""
        ...


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A detector whose inner state cannot be written down: the state is what it was shown since its last drift.

    make: a new detector, seeded if it draws. most: panes that are remembered; where it saw more, it goes on from the
    last of them. A pane of several events is shown as so many of its mean (of errors: as so many zeros and ones,
    spread evenly). The living detector is kept for the next pane, which makes it quick and changes no verdict.

    Example: `Replayed(name="river_adwin", make=river.drift.ADWIN)`.
    """

    name: str
    make: Callable[[], Peer]
    most: int = MOST
    binary: bool = True
    _alive: dict[bytes, Peer] = field(default_factory=dict[bytes, Peer], repr=False, compare=False)

    def start(self) -> ConceptState:
        """The state before the first pane."""
        return ConceptState(detector=self.name)

    def update(self, state: ConceptState, pane: Pane) -> tuple[ConceptState, ConceptVerdict]:
        """The state after a pane, and what the pane brought to light."""
        if state.detector != self.name:
            raise ProfileInvalid(
                f"the state is one of {state.detector!r}; {self.name!r} cannot go on with it"
            )
        because = impossible(pane, self.binary)
        if because:
            return state, ConceptVerdict(level="undefined", undefined=because)
        peer = self._alive.pop(state.memory, None) or self._replayed(state)
        if self._show(peer, pane.count, pane.total):
            return self.start(), ConceptVerdict(level="drift")
        told = ConceptVerdict(level="warning" if getattr(peer, "warning_detected", False) else "steady")
        memory = state.memory + np.array([pane.count, pane.total], dtype="<f8").tobytes()
        if len(memory) > 2 * self.most * 16:
            return ConceptState(detector=self.name, memory=memory[-self.most * 16 :]), told
        self._alive.clear()
        self._alive[memory] = peer
        return ConceptState(detector=self.name, memory=memory), told

    def run(
        self, state: ConceptState, panes: Sequence[Pane]
    ) -> tuple[ConceptState, tuple[ConceptVerdict, ...]]:
        """The same of many panes, in order."""
        found: list[ConceptVerdict] = []
        for pane in panes:
            state, told = self.update(state, pane)
            found.append(told)
        return state, tuple(found)

    def _replayed(self, state: ConceptState) -> Peer:
        peer = self.make()
        for count, total in np.frombuffer(state.memory, dtype="<f8").reshape(-1, 2):
            self._show(peer, float(count), float(total))
        return peer

    def _show(self, peer: Peer, count: float, total: float) -> bool:
        """Whether any of a pane's events is a drift; those behind it are not shown."""
        events = max(round(count), 1)
        for event in range(events):
            if self.binary:
                value = int((event + 1) * total / events + 0.5) - int(event * total / events + 0.5)
            else:
                value = total / count
            peer.update(value)
            if peer.drift_detected:
                return True
        return False
