"""Streams for the tests of sequential deciding."""

import msgspec

from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.sequential.blocks import Rows
from detectors.sequential.plan import plan_of
from detectors.sequential.step import step
from detectors.sequential.values import Memory
from detectors.values import Budget, FeatureSpec

SECOND_US = 1_000_000


def gaussian(rng, rows, columns=4):
    return {f"x{i}": rng.standard_normal(rows) for i in range(columns)}


def specs_of(table):
    kinds = {True: "categorical", False: "numeric"}
    return [FeatureSpec(name=name, kind=kinds[column.dtype == object]) for name, column in table.items()]


class Stream:
    """Judges windows of tables against a reference; `seen` holds (window, kind, "opened" or "closed")."""

    def __init__(self, table, baseline=None, budget=None, reference=None, axis="event", **options):
        self.reference = reference or build_reference("m", "1", table, specs_of(table))
        self.plan = plan_of(self.reference, axis, baseline)
        self.budget = budget or Budget()
        self.calibration = baseline.calibration if baseline else None
        self.options = options
        self.memory, self.windows, self.seen, self.changes = Memory(), 0, [], []

    def window(self, table, predictions=None, scores=None, labels=None):
        rows = Rows(table, predictions, scores, labels)
        return self.counted([rows.profile(self.reference).counters])

    def counted(self, counters):
        start_us = self.windows * SECOND_US
        self.memory, steps = step(
            self.plan,
            self.memory,
            counters,
            start_us,
            start_us + SECOND_US,
            self.budget,
            calibration=self.calibration,
            **self.options,
        )
        for one in steps:
            if one.opened is not None:
                self.seen.append((self.windows, one.kind, "opened"))
                self.changes.append(one.opened)
            if one.closed_us is not None:
                self.seen.append((self.windows, one.kind, "closed"))
        self.windows += 1
        return steps

    def forget_nothing(self):
        """The memory as a checkpoint gives it back."""
        self.memory = msgspec.json.decode(msgspec.json.encode(self.memory), type=Memory)


def empty(reference):
    return Profile.empty(reference).counters
