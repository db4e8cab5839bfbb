"""False incidents of everything that a monitor decides on by default, on both axes, where nothing changes.

20 Gaussian columns, scores of a logistic model and labels that follow them, known at once. The budget is that of
the monitor: all kinds of alert share it, an alert of any kind counts, and a further change of an open one does not.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace

from detectors.decide import decide
from detectors.judgement import SeriesState, Window
from detectors.learning import with_learned
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.reference_values import revision_of
from detectors.sequential.baseline import build_baseline
from detectors.sequential.blocks import Rows
from detectors.sequential.values import Calibration
from detectors.values import Axis, Budget, FeatureSpec, Monitor

COLUMNS = 20
AXES: tuple[Axis, Axis] = ("event", "label")


def drawn(rng: np.random.Generator, rows: int) -> Rows:
    """Columns, scores and labels of a model that is right about its own errors."""
    table: dict[str, Any] = {f"x{i:02d}": rng.normal(size=rows) for i in range(COLUMNS)}
    scores = 1 / (1 + np.exp(-(1.5 * table["x00"] + table["x01"] - 0.5)))
    return Rows(table, None, scores, (rng.random(rows) < scores).astype(float))


@dataclass
class WholeBench:
    """One drawn reference with the monitor that watches a stream of its world. `told`: alerts that began, by kind and
    window."""

    reference: Reference
    monitor: Monitor
    states: dict[Axis, SeriesState] = field(default_factory=lambda: {axis: SeriesState() for axis in AXES})
    windows: int = 0
    open_windows: int = 0
    told: list[str] = field(default_factory=list[str])

    @classmethod
    def of(
        cls,
        rng: np.random.Generator,
        rows: int,
        budget: Budget,
        simulated: int,
        known: Calibration | None,
    ) -> "WholeBench":
        """Draw a reference. known: a calibration from one like it, which saves the simulation."""
        sample = drawn(rng, rows)
        specs = tuple(FeatureSpec(name=name) for name in sample.features)
        plain = build_reference("m", "1", sample.features, specs, scores=sample.scores, labels=sample.labels)
        learned = with_learned(plain, sample)
        baseline = build_baseline(
            learned,
            sample,
            calibration_windows=simulated if known is None else 0,
            seed=int(rng.integers(2**31)),
        )
        if known is not None:
            baseline = replace(baseline, calibration=known)
        complete = replace(learned, baseline=baseline)
        reference = replace(complete, revision=revision_of(complete))
        return cls(reference, Monitor(model="m", revision=1, features=specs, budget=budget))

    def window(self, sample: Rows) -> None:
        """Judge a window on both axes."""
        profile = sample.profile(self.reference)
        for axis in AXES:
            self._judge(axis, profile)
        self.windows += 1
        states = self.states.values()
        self.open_windows += any(kind.firing for state in states for kind in state.kinds.values())

    def _judge(self, axis: Axis, profile: Profile) -> None:
        start_us, before = self.windows * 1_000_000, self.states[axis]
        name = Window(
            model="m",
            version="1",
            axis=axis,
            window=str(self.windows),
            start_us=start_us,
            end_us=start_us + 1_000_000,
            rows=profile.rows,
        )
        reference, monitor = self.reference, self.monitor
        found = measure(profile, reference, monitor) if axis == "event" else performance(profile, reference)
        judged = decide(name, found, monitor, reference, before, profile)
        was = {kind for kind, state in before.kinds.items() if state.firing}
        self.told += [
            f"window {self.windows}: {one.reason}"
            for one in judged.transitions
            if one.state == "firing" and one.kind not in was
        ]
        self.states[axis] = judged.state
