"""Streams whose concept changes, and a learner that follows them: what detectors of concept drift are tried on.

The streams are those of Gama et al., Learning with drift detection (2004), in the form in which Pesaranghader, Viktor
and Paquet, McDiarmid drift detection methods (2018) use them: balanced classes, a tenth of the labels turned, and
between two concepts a sigmoid transition that begins where the drift is placed. The learner is a naive Bayes
that starts anew after an alarm, so that each detector meets the errors that it deserves.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.compiled import compiled
from detectors.concept.mixture import mixture
from detectors.concept.run import step
from detectors.concept.steps import DRIFT
from detectors.concept.watch import watch

SINE1, MIXED, CIRCLES = 0, 1, 2
NOISE = 0.1
CONFIDENCES = (0.6, 0.75, 0.9)
"""Where the strata of the learner's confidence meet."""
_COLUMNS = (2, 4, 2)
_CENTRES = (0.2, 0.4, 0.6, 0.8)
_RADII = (0.15, 0.2, 0.25, 0.3)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A generator of events; a drift every `every` of them, each `width` long, found in time within `patience`."""

    name: str
    kind: int
    events: int = 100_000
    every: int = 20_000
    width: float = 50.0
    patience: int = 250

    @property
    def drifts(self) -> int:
        """How many drifts there are."""
        return (self.events - 1) // self.every


STREAMS = (
    Stream(name="sine1", kind=SINE1),
    Stream(name="mixed", kind=MIXED),
    Stream(name="circles", kind=CIRCLES, every=25_000, width=500.0, patience=1_000),
)


@compiled
def _says(kind: int, concept: int, x: Any) -> int:
    """The class of a point under a concept, before noise."""
    if kind == CIRCLES:
        place = concept % 4
        apart = (x[0] - _CENTRES[place]) ** 2 + (x[1] - 0.5) ** 2
        return 1 if apart <= _RADII[place] ** 2 else 0
    if kind == SINE1:
        inside = x[1] < math.sin(x[0])
    else:
        inside = x[0] + x[1] + (1.0 if x[3] < 0.5 + 0.3 * math.sin(3 * math.pi * x[2]) else 0.0) >= 2
    return int(inside) if concept % 2 == 0 else 1 - int(inside)


@compiled
def _draw(kind: int, concept: int, wanted: int, x: Any) -> None:
    """A point of the wanted class."""
    while True:
        for i in range(_COLUMNS[kind]):
            x[i] = np.random.random()
        if kind == MIXED:
            x[0], x[1] = np.floor(2 * x[0]), np.floor(2 * x[1])
        if _says(kind, concept, x) == wanted:
            return


@compiled
def _odds(counts: Any, means: Any, squares: Any, x: Any, columns: int) -> float:
    """Logarithm of the odds of the second class by Gaussian naive Bayes; 0 while there is nothing to tell them by."""
    if min(counts[0], counts[1]) < 2:
        return 0.0
    found = math.log(counts[1] / counts[0])
    for i in range(columns):
        for label in range(2):
            variance = squares[label, i] / counts[label] + 1e-3
            part = 0.5 * math.log(variance) + (x[i] - means[label, i]) ** 2 / (2 * variance)
            found += part if label == 0 else -part
    return found


@compiled
def _learn(counts: Any, means: Any, squares: Any, x: Any, columns: int, label: int) -> None:
    counts[label] += 1
    for i in range(columns):
        before = x[i] - means[label, i]
        means[label, i] += before / counts[label]
        squares[label, i] += before * (x[i] - means[label, i])


@compiled
def errors_of(
    kind: int,
    events: int,
    every: int,
    width: float,
    pane: int,
    seed: int,
    detector: int,
    settings: Any,
    memory: Any,
) -> Any:
    """Run learner and detector over one stream. detector: a kernel of `detectors.concept.run`, or a negative number:
    the mixture (-1 over all errors, -2 by strata of the learner's confidence), or both parts
    of `watch` (-3 by strata, -4 over all errors).
    Gives back each error, and the events at which it alarmed."""
    np.random.seed(seed)
    columns = _COLUMNS[kind]
    strata = 1 if detector == -1 or detector == -4 else len(CONFIDENCES) + 1
    x = np.zeros(4)
    counts, means, squares = np.zeros(2), np.zeros((2, 4)), np.zeros((2, 4))
    errors, alarms = np.zeros(events, np.uint8), np.zeros(events, np.uint8)
    seen, wrong, waiting = np.zeros(strata), np.zeros(strata), 0
    for t in range(events):
        concept = t // every
        if concept > 0:
            into = t - concept * every
            if into < 2 * width and np.random.random() >= 1 / (1 + math.exp(-4 * (into - width / 2) / width)):
                concept -= 1
        label = t % 2
        _draw(kind, concept, label, x)
        if np.random.random() < NOISE:
            label = 1 - label
        odds = _odds(counts, means, squares, x, columns)
        errors[t] = int(odds > 0) != label
        _learn(counts, means, squares, x, columns, label)
        sure, place = 1 / (1 + math.exp(-min(abs(odds), 50.0))), 0
        for edge in CONFIDENCES:
            place += int(sure > edge and strata > 1)
        seen[place] += 1
        wrong[place] += errors[t]
        waiting += 1
        if waiting < pane:
            continue
        if detector <= -3:
            verdict = watch(memory, settings, seen, wrong)
        elif detector < 0:
            verdict = mixture(memory, settings, seen, wrong)
        else:
            verdict = step(detector, memory, settings, seen.sum(), wrong.sum(), wrong.sum())
        seen[:], wrong[:], waiting = 0.0, 0.0, 0
        if verdict == DRIFT:
            alarms[t] = 1
            counts[:], means[:], squares[:], memory[:] = 0.0, 0.0, 0.0, 0.0
    return errors, alarms
