"""What goes in and out of a detector of concept drift."""

from collections.abc import Sequence
from typing import Literal, Protocol, Self

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.values import Value

Level = Literal["steady", "warning", "drift", "undefined"]
LEVELS: tuple[Level, ...] = ("steady", "warning", "drift")


class Pane(Value, frozen=True, kw_only=True):
    """Outcomes of a slice of label time: how many, the sum of their values (an error is 1) and of their squares (0:
    as many as the sum, as it is with errors).

    `counts`, `totals`: the same by stratum, such as how sure the model was; both empty, or of one length.
    """

    count: float
    total: float
    squares: float = 0.0
    counts: tuple[float, ...] = ()
    totals: tuple[float, ...] = ()


class ConceptState(Value, frozen=True, kw_only=True):
    """What a detector remembers between panes; equal histories have equal states.

    `memory`: float64 numbers, lowest byte first, zeros at the end left out.
    """

    detector: str
    memory: bytes = b""

    @classmethod
    def of(cls, detector: str, memory: Floats) -> Self:
        """The state that holds these numbers."""
        filled = np.flatnonzero(memory)
        last = int(filled[-1]) if len(filled) else -1
        return cls(detector=detector, memory=memory[: last + 1].astype("<f8").tobytes())

    def numbers(self, size: int) -> Floats:
        """So many numbers of the memory."""
        found = np.zeros(size, dtype=np.float64)
        known = np.frombuffer(self.memory, dtype="<f8")
        found[: len(known)] = known
        return found


class ConceptVerdict(Value, frozen=True, kw_only=True):
    """What a pane brought to light.

    `statistic` beyond `threshold` is a drift, where the detector has one number to compare. `since`: events after
    the change, as far as it can be placed; `before`, `after`: the mean value on its two sides. `undefined`: why the
    pane says nothing.
    """

    level: Level
    statistic: float | None = None
    threshold: float | None = None
    since: float | None = None
    before: float | None = None
    after: float | None = None
    undefined: str | None = None

    @property
    def drift(self) -> bool:
        """Whether the mean changed."""
        return self.level == "drift"


class OpenDrift(Value, frozen=True, kw_only=True):
    """A drift that goes on: since when, the mean before and after it. `back`: log-likelihood ratio by which the windows
    since `calm_us`, `calm` in a row, are like before rather than like after. `expected`: a person said so."""

    since_us: int
    before: float
    after: float
    back: float = 0.0
    calm: int = 0
    calm_us: int = 0
    expected: bool = False


class ConceptFeedback(Value, frozen=True, kw_only=True):
    """A statement of a person, by its id, and the memory as it was before, so that it can be taken back."""

    id: str
    before: "ConceptMemory"


class ConceptMemory(Value, frozen=True, kw_only=True):
    """What judging concept drift remembers of a series between windows; a function of the windows in order.

    `plan`: what it was made under; under another it begins anew. `states`: of each detector. `windows`, `rows` and
    `span_s`: how many so far, their independent rows, their length in seconds. `seen`, `wrong`: independent
    rows and errors since the baseline began, the reference's included. `marks`: of windows since then, the rows
    before it and its start.
    `recent`: independent rows and errors by stratum, each window counting half as much as the next.
    `caution` multiplies the rows between two false alarms. `feedback`: what people said.
    """

    plan: str = ""
    states: dict[str, ConceptState] = msgspec.field(default_factory=dict[str, ConceptState])
    windows: int = 0
    rows: float = 0.0
    span_s: float = 0.0
    seen: float = 0.0
    wrong: float = 0.0
    marks: tuple[tuple[float, int], ...] = ()
    recent: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    opened: OpenDrift | None = None
    caution: float = 1.0
    feedback: tuple[ConceptFeedback, ...] = ()


class ConceptDetector(Protocol):
    """One way to notice that the values of a stream changed. Pure: what it remembers is handed in and out.

    Laws: equal states and panes give equal states and verdicts; a state survives its encoding; a pane of no event
    changes nothing; after a drift the state is that of `start`.
    """

    @property
    def name(self) -> str:
        """Its name, which its states carry."""
        ...

    def start(self) -> ConceptState:
        """The state before the first pane."""
        ...

    def update(self, state: ConceptState, pane: Pane) -> tuple[ConceptState, ConceptVerdict]:
        """The state after a pane, and what the pane brought to light."""
        ...

    def run(
        self, state: ConceptState, panes: Sequence[Pane]
    ) -> tuple[ConceptState, tuple[ConceptVerdict, ...]]:
        """The same of many panes, in order."""
        ...
