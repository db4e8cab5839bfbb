"""Measures of a window against the reference: how far apart two samples are, never whether that is bad."""

from typing import NamedTuple

import numpy as np

from detectors.before import Before, columns_of
from detectors.columns import Integers
from detectors.distances import grouped_psi, ks, most_deviant
from detectors.layout import CategoricalSlots, NumericSlots
from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.output_measures import CONSTANT, output_measures, too_few
from detectors.profile import Profile
from detectors.reference import FeatureReference, Reference
from detectors.text import watched
from detectors.values import Monitor


def measure(profile: Profile, reference: Reference, monitor: Monitor) -> list[Measurement]:
    """All measures of a window that need no label.

    Per feature (those of the monitor, or all of the reference): missing_rate, out_of_range_rate,
    point_mass, psi and ks for numbers, missing_rate, new_category_rate and psi for categories. Of the
    model's output, see `output_measures`. Each is undefined "because ..." where it has no
    meaning; never NaN. The profile must have been counted against this reference.
    """
    wanted = set(watched(monitor.features)) or set(profile.layout.names)
    worth, known = _worth(profile), columns_of(reference)
    found: list[Measurement] = []
    for slots in (*profile.layout.numeric, *profile.layout.categorical):
        if slots.name in known and slots.name in wanted:
            found += _Column.of(slots, known[slots.name], profile, reference, worth).measures()
    return found + output_measures(profile, reference, worth)


def _worth(profile: Profile) -> float:
    """How many independent rows one row is worth."""
    least = min(profile.rows, MINIMUM_ROWS)
    return max(profile.effective_rows, least) / profile.rows if profile.rows else 0.0


class _Column(NamedTuple):
    """One column in both samples; `present`: rows of the window with a value; `worth`, `reference_worth`: independent
    rows per counted row."""

    slots: NumericSlots | CategoricalSlots
    part: FeatureReference
    counters: Integers
    window: Integers
    before: Before
    rows: int
    present: int
    worth: float
    reference_worth: float

    @classmethod
    def of(
        cls,
        slots: NumericSlots | CategoricalSlots,
        before: Before,
        profile: Profile,
        reference: Reference,
        worth: float,
    ) -> "_Column":
        if isinstance(slots, NumericSlots):
            window = profile.counters[slots.bins]
        else:
            window = np.append(profile.counters[slots.categories], profile.counters[slots.other])
        ratio = reference.effective_rows / reference.rows
        present = int(window.sum())
        return cls(slots, before.part, profile.counters, window, before, profile.rows, present, worth, ratio)

    def measures(self) -> list[Measurement]:
        found = [self._missing_rate()]
        names = ("out_of_range_rate", "point_mass", "psi", "ks")
        if isinstance(self.slots, CategoricalSlots):
            names = ("new_category_rate", "psi")
        because = self._nothing_to_measure()
        if because:
            return found + [undefined(name, self.part.spec.name, self.present, because) for name in names]
        if isinstance(self.slots, CategoricalSlots):
            return [*found, self._new_category_rate(self.slots), self._psi()]
        return [*found, self._out_of_range(self.slots), self._point_mass(self.slots), self._psi(), self._ks()]

    def _nothing_to_measure(self) -> str | None:
        if self.before.present == 0:
            return "the reference has no value of it"
        if self.rows and self.present == 0:
            return "all values are missing"
        return too_few(self.present, "rows with a value")

    def _share(
        self, name: str, value: float, reference: float, tests: int = 1, detail: str = ""
    ) -> Measurement:
        """A share of the present values."""
        return Measurement(
            measure=name,
            feature=self.part.spec.name,
            value=value,
            reference=reference,
            rows=self.present,
            size=self.present * self.worth,
            reference_size=self.before.present * self.reference_worth,
            tests=tests,
            detail=detail,
        )

    def _missing_rate(self) -> Measurement:
        name, before = self.part.spec.name, self.part.missing + self.before.present
        because = too_few(self.rows, "rows")
        if because:
            return undefined("missing_rate", name, self.rows, because)
        return Measurement(
            measure="missing_rate",
            feature=name,
            value=int(self.counters[self.slots.missing]) / self.rows,
            reference=self.part.missing / before,
            rows=self.rows,
            size=self.rows * self.worth,
            reference_size=before * self.reference_worth,
        )

    def _out_of_range(self, slots: NumericSlots) -> Measurement:
        """Outside the reference's minimum and maximum; a sound row is, with probability 2 / (n + 1)."""
        outside = int(self.counters[slots.below] + self.counters[slots.above])
        expected = 2 / (self.before.present * self.reference_worth + 1)
        return self._share("out_of_range_rate", outside / self.present, min(expected, 1.0))

    def _point_mass(self, slots: NumericSlots) -> Measurement:
        """The share of the exactly counted value whose share changed most."""
        tested, before = self.before.masses, self.before.shares
        if not len(tested):
            return undefined("point_mass", slots.name, self.present, "every value of it is known")
        counts, reference_size = self.counters[slots.exact], self.before.present * self.reference_worth
        most = most_deviant(counts, tested, self.present, self.worth, before, reference_size)
        value, share = self.part.top[tested[most]][0], int(counts[tested[most]]) / self.present
        return self._share("point_mass", share, float(before[most]), len(tested), f"the value {value:g}")

    def _new_category_rate(self, slots: CategoricalSlots) -> Measurement:
        other = int(self.counters[slots.other])
        return self._share("new_category_rate", other / self.present, self.part.other / self.before.present)

    def _psi(self) -> Measurement:
        before = self.before.grouped
        if before.occupied < 2:
            return undefined("psi", self.part.spec.name, self.present, CONSTANT)
        return self._distance(
            "psi", grouped_psi(self.window, self.worth, before.group, before.counts), len(before.counts)
        )

    def _ks(self) -> Measurement:
        if not self.before.varied:
            return undefined("ks", self.part.spec.name, self.present, CONSTANT)
        return self._distance("ks", ks(self.window, self.before.counts))

    def _distance(self, name: str, value: float, groups: int = 0) -> Measurement:
        return Measurement(
            measure=name,
            feature=self.part.spec.name,
            value=value,
            rows=self.present,
            size=self.present * self.worth,
            reference_size=self.before.present * self.reference_worth,
            groups=groups,
        )
