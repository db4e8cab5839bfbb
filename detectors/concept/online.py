"""Detectors of concept drift whose steps are compiled, behind one protocol."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from detectors.columns import Floats, Integers
from detectors.concept import run as kernels
from detectors.concept.glr import GLR_SIZE
from detectors.concept.mixture import mixture
from detectors.concept.steps import DRIFT
from detectors.concept.values import LEVELS, ConceptState, ConceptVerdict, Pane
from detectors.concept.watch import MIXTURE_SETTINGS, watch, watch_all
from detectors.errors import ProfileInvalid
from detectors.values import Value

Told = tuple[ConceptState, ConceptVerdict]


class _Compiled(Value, frozen=True, kw_only=True):
    """What they have in common. `binary`: it takes errors (0 or 1) and no other values."""

    name: str
    size: int
    settings: tuple[float, ...]
    binary: bool = True

    def start(self) -> ConceptState:
        """The state before the first pane."""
        return ConceptState(detector=self.name)

    def update(self, state: ConceptState, pane: Pane) -> Told:
        """The state after a pane, and what the pane brought to light. A pane that cannot be is undefined and
        changes nothing. Raises `ProfileInvalid` when the state is another detector's."""
        after, told = self.run(state, (pane,))
        return after, told[0]

    def run(
        self, state: ConceptState, panes: Sequence[Pane]
    ) -> tuple[ConceptState, tuple[ConceptVerdict, ...]]:
        """The same of many panes, in order."""
        if state.detector != self.name:
            raise ProfileInvalid(
                f"the state is one of {state.detector!r}; {self.name!r} cannot go on with it"
            )
        memory, settings = state.numbers(self.size), np.array(self.settings, dtype=np.float64)
        found: list[ConceptVerdict] = []
        for pane in panes:
            because = impossible(pane, self.binary) or self._lacks(pane)
            if because:
                found.append(ConceptVerdict(level="undefined", undefined=because))
                continue
            level = self._step(memory, settings, pane)
            found.append(self._told(level, memory))
            if level == DRIFT:
                memory[:] = 0.0
        return ConceptState.of(self.name, memory), tuple(found)

    def _memory(self, state: ConceptState) -> Floats:
        if state.detector != self.name:
            raise ProfileInvalid(
                f"the state is one of {state.detector!r}; {self.name!r} cannot go on with it"
            )
        return state.numbers(self.size)

    def _lacks(self, pane: Pane) -> str | None:
        return None

    def _step(self, memory: Floats, settings: Floats, pane: Pane) -> int:
        raise AssertionError(f"{self.name} has no step")

    def _told(self, level: int, memory: Floats) -> ConceptVerdict:
        return ConceptVerdict(level=LEVELS[level])


class OnlineDetector(_Compiled, frozen=True, kw_only=True):
    """A detector that sees the count and the sum of a pane. `kernel`: one of `detectors.concept.run`."""

    kernel: int

    def scan(self, state: ConceptState, counts: Floats, totals: Floats) -> tuple[ConceptState, Integers]:
        """The state after n panes of 0s and 1s, shape (n,), and the level of each, an index of `LEVELS`; what `run`
        says, without its words. Panes must be possible."""
        memory = self._memory(state)
        found = kernels.steps(self.kernel, memory, np.array(self.settings), counts, totals, totals)
        return ConceptState.of(self.name, memory), found

    def _step(self, memory: Floats, settings: Floats, pane: Pane) -> int:
        # Whole numbers would compile all steps once more.
        count, total, squares = float(pane.count), float(pane.total), float(pane.squares or pane.total)
        return kernels.step(self.kernel, memory, settings, count, total, squares)

    def _told(self, level: int, memory: Floats) -> ConceptVerdict:
        if self.kernel != kernels.GLR:
            return ConceptVerdict(level=LEVELS[level])
        return _ratio(level, memory, self.settings[1])


class MixtureDetector(_Compiled, frozen=True, kw_only=True):
    """The mixture of Shiryaev-Roberts sums over `strata` of a pane, or (1) over the pane as a whole."""

    strata: int = 1

    def scan(self, state: ConceptState, counts: Floats, totals: Floats) -> tuple[ConceptState, Integers]:
        """The state after n panes, counts and errors of shape (n, strata), with one more column for those without
        strata where there are several; and the level of each, an index of `LEVELS`. What `run` says, without its
        words. Panes must be possible."""
        memory, both = self._memory(state), isinstance(self, WatchDetector)
        found = watch_all(memory, np.array(self.settings), counts, totals, both)
        return ConceptState.of(self.name, memory), found

    def _lacks(self, pane: Pane) -> str | None:
        if self.strata == 1 or (
            len(pane.counts) == len(pane.totals) and len(pane.counts) in (0, self.strata)
        ):
            return None
        return f"the pane has {len(pane.counts)} strata; it takes {self.strata}, or none"

    def _step(self, memory: Floats, settings: Floats, pane: Pane) -> int:
        return mixture(memory, settings, *self._strata(pane))

    def _strata(self, pane: Pane) -> tuple[Floats, Floats]:
        """Counts and sums by stratum, and of panes without strata as one more."""
        if self.strata == 1:
            return np.array([pane.count], dtype=np.float64), np.array([pane.total], dtype=np.float64)
        if pane.counts:
            return np.array([*pane.counts, 0.0]), np.array([*pane.totals, 0.0])
        none = (0.0,) * self.strata
        return np.array([*none, pane.count]), np.array([*none, pane.total])

    def _told(self, level: int, memory: Floats) -> ConceptVerdict:
        return ConceptVerdict(level=LEVELS[level], statistic=float(memory[2]), threshold=self.settings[1])


class WatchDetector(MixtureDetector, frozen=True, kw_only=True):
    """The mixture and the likelihood ratio together; see `detectors.concept.watch`. It tells the statistic of the one
    that is nearer to its threshold, and always when and by how much the mean changed."""

    def _step(self, memory: Floats, settings: Floats, pane: Pane) -> int:
        return watch(memory, settings, *self._strata(pane))

    def _told(self, level: int, memory: Floats) -> ConceptVerdict:
        slow = _ratio(level, memory, self.settings[MIXTURE_SETTINGS + 1])
        quick, most = float(memory[GLR_SIZE + 2]), self.settings[1]
        reached = math.log(max(quick, 1.0)) / math.log(most)
        if slow.statistic is not None and slow.threshold and reached < slow.statistic / slow.threshold:
            return slow
        return replace(slow, statistic=quick, threshold=most)


def _ratio(level: int, memory: Floats, threshold: float) -> ConceptVerdict:
    """What the memory of a likelihood ratio says of the strongest change."""
    events, total, evidence, before, ones = memory[0], memory[1], memory[4], memory[5], memory[6]
    if evidence <= 0:
        return ConceptVerdict(level=LEVELS[level], statistic=0.0, threshold=threshold)
    return ConceptVerdict(
        level=LEVELS[level],
        statistic=float(evidence),
        threshold=threshold,
        since=float(events - before),
        before=float(ones / before),
        after=float((total - ones) / (events - before)),
    )


def impossible(pane: Pane, binary: bool) -> str | None:
    """Why a pane says nothing, or None."""
    numbers = (pane.count, pane.total, pane.squares, *pane.counts, *pane.totals)
    if not all(math.isfinite(number) for number in numbers):
        return "a sum of the pane is not a finite number"
    if pane.count <= 0:
        return "no label arrived"
    pairs = [(pane.count, pane.total), *zip(pane.counts, pane.totals, strict=False)]
    wrong = next((pair for pair in pairs if not 0 <= pair[1] <= pair[0]), None)
    if binary and wrong:
        return f"{wrong[1]:g} errors in {wrong[0]:g} outcomes cannot be"
    return None
