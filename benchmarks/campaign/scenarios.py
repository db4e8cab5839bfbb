"""Scenarios from a seed: which fault, when, how large, and what harmless things happen beside it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from remediation.changes import ChangeKind
from remediation.values import Cause

Fault = Literal[
    "wrong_model",
    "turned_answers",
    "misread_feature",
    "slow_release",
    "failing_release",
    "unit",
    "rotation",
    "missing",
    "constant",
    "shift_without_loss",
    "shift_with_loss",
    "turned_concept",
    "raised_concept",
    "labels_flipped",
    "labels_one_class",
    "labels_late",
    "latency",
    "errors",
    "silence",
    "surge",
]
CAUSE_OF: dict[Fault, Cause] = {
    "wrong_model": "bad_release",
    "turned_answers": "bad_release",
    "misread_feature": "bad_release",
    "slow_release": "bad_release",
    "failing_release": "bad_release",
    "unit": "upstream_data_break",
    "rotation": "upstream_data_break",
    "missing": "upstream_data_break",
    "constant": "upstream_data_break",
    "shift_without_loss": "population_shift",
    "shift_with_loss": "population_shift",
    "turned_concept": "concept_shift",
    "raised_concept": "concept_shift",
    "labels_flipped": "label_problem",
    "labels_one_class": "label_problem",
    "labels_late": "label_problem",
    "latency": "serving_problem",
    "errors": "serving_problem",
    "silence": "traffic_change",
    "surge": "traffic_change",
}
RELEASES: frozenset[Fault] = frozenset(name for name, cause in CAUSE_OF.items() if cause == "bad_release")
_CHANGES: tuple[tuple[ChangeKind, str], ...] = (
    ("pipeline", "nightly job moved by an hour"),
    ("campaign", "spring mailing"),
    ("holiday", "bank holiday"),
    ("schema", "a column was documented"),
    ("other", "office party"),
)
_WARM = 22.0
"""Windows before anything happens: the service's usual behaviour takes 16."""
_WEEK = 112.0
"""The same where the usual volume of an hour of the week has to be known, at its pace."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One run. Moments in windows of events since the start; `pace` in events per second; `size` in [0, 1], from what
    is hard to see to what is plain. `label_delay`: the mean time to a label, in windows. `first`: an illness that is
    there when the one that counts begins. `release`: a harmless one. `changes`: recorded, harmless."""

    seed: int
    fault: Fault | None
    size: float
    onset: float
    pace: float
    label_delay: float
    release: float | None = None
    first: tuple[Fault, float] | None = None
    changes: tuple[tuple[ChangeKind, str, float], ...] = ()
    wobble: float = 0.0

    @property
    def cause(self) -> Cause | None:
        """What a diagnosis should say; None for a control."""
        return CAUSE_OF[self.fault] if self.fault else None

    @property
    def kind(self) -> str:
        """For people."""
        beside = [name for name, there in self._beside if there]
        return (self.fault or "control") + (f" ({', '.join(beside)})" if beside else "")

    @property
    def _beside(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("harmless release", self.release is not None),
            ("changes", bool(self.changes)),
            ("wobble", self.wobble > 0),
            (f"during {self.first[0]}" if self.first else "", self.first is not None),
        )


def scenarios(count: int, seed: int) -> list[Scenario]:
    """A quarter are controls, the rest has each fault as often as any other."""
    return [_scenario(number, seed + number) for number in range(count)]


def _scenario(number: int, seed: int) -> Scenario:
    rng = np.random.default_rng([seed, 4_711])
    faults = list(CAUSE_OF)
    turn, place = divmod(number, 4)
    fault = None if place == 3 else faults[(turn * 3 + place) % len(faults)]
    onset = (_WEEK if fault == "surge" else _WARM) + _moment(rng)
    release, first = _beside(rng, fault, onset)
    return Scenario(
        seed=seed,
        fault=fault,
        size=float(rng.random()),
        onset=onset,
        pace=_pace(rng, fault),
        label_delay=float(rng.uniform(0.1, 1.2)),
        release=release,
        first=first,
        changes=_changes(rng, onset),
        wobble=float(rng.choice([0.0, 0.3])),
    )


def _pace(rng: np.random.Generator, fault: Fault | None) -> float:
    """Volumes are judged by hours of the week, and silences in minutes."""
    if fault == "surge":
        return 0.07
    return float(np.exp(rng.uniform(np.log(0.6), np.log(2.0 if fault == "silence" else 15.0))))


def _moment(rng: np.random.Generator) -> float:
    """Just before, at or just after the edge of a window, or anywhere."""
    edge = float(rng.integers(0, 4))
    return edge + float(rng.choice([-0.1, 0.0, 0.1, rng.uniform(0.0, 1.0)]))


def _beside(
    rng: np.random.Generator, fault: Fault | None, onset: float
) -> tuple[float | None, tuple[Fault, float] | None]:
    """A harmless release around the onset, or an illness before it."""
    drawn = rng.random()
    if drawn < 0.15 and fault is not None and CAUSE_OF[fault] not in ("serving_problem", "traffic_change"):
        other: Fault = "latency" if rng.random() < 0.5 else "errors"
        return None, (other, onset - float(rng.uniform(1.0, 4.0)))
    if drawn < 0.6 and fault not in RELEASES and fault != "surge":
        apart = float(rng.choice([rng.uniform(-9.0, -4.0), rng.uniform(-4.0, -1.0), rng.uniform(-1.0, 2.0)]))
        return onset + apart, None
    return None, None


def _changes(rng: np.random.Generator, onset: float) -> tuple[tuple[ChangeKind, str, float], ...]:
    count = int(rng.choice([0, 0, 1, 2]))
    chosen = rng.choice(len(_CHANGES), count, replace=False)
    return tuple((*_CHANGES[one], onset + float(rng.uniform(-6.0, 0.5))) for one in chosen)
