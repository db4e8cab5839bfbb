"""Measures of a window against the reference: how far apart two samples are, never whether that is bad."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from detectors.before import Before, columns_of
from detectors.column_pairs import ColumnPair, column_pairs, moved_pairs, usually_missing, usually_outside
from detectors.columns import Integers
from detectors.distances import grouped_psi
from detectors.layout import CategoricalSlots
from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.output_measures import CONSTANT, output_measures, too_few
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.text import WATCHED
from detectors.values import Monitor

OF_NUMBERS: Final = ("missing_rate", "out_of_range_rate", "point_mass", "psi", "ks")
"""What is measured of a numeric column."""


def measure(
    profile: Profile, reference: Reference, monitor: Monitor, leave: Callable[[str], bool] | None = None
) -> list[Measurement]:
    """All measures of a window that need no label.

    Per feature (those of the monitor, or all of the reference): missing_rate, out_of_range_rate,
    point_mass, psi and ks for numbers, missing_rate, new_category_rate and psi for categories. Of the
    model's output, see `output_measures`. Each is undefined "because ..." where it has no
    meaning; never NaN. The profile must have been counted against this reference.
    leave: which measures nobody reads (default: none); where that is all of a number, the columns that have moved
    nowhere beyond the floors are left out, but for the first of them.
    """
    wanted = set(WATCHED.of(monitor.features)) or set(profile.layout.names)
    worth, known = _worth(profile), columns_of(reference)
    found: list[Measurement] = []
    if leave is not None and all(map(leave, OF_NUMBERS)):
        pairs = moved_pairs(profile, reference, worth, wanted)
    else:
        pairs = [one for one in column_pairs(profile, reference, worth) if one.slots.name in wanted]
    for pair in pairs:
        found += _Column.of_numbers(pair, profile.rows, reference, worth).numbers(pair)
    for slots in profile.layout.categorical:
        if slots.name in known and slots.name in wanted:
            column = _Column.of_categories(slots, known[slots.name], profile, reference, worth)
            found += column.categories(slots, profile.counters)
    return found + output_measures(profile, reference, worth)


def _worth(profile: Profile) -> float:
    """How many independent rows one row is worth."""
    least = min(profile.rows, MINIMUM_ROWS)
    return max(profile.effective_rows, least) / profile.rows if profile.rows else 0.0


class _Column(NamedTuple):
    """One column in both samples; `rows`, `present`, `missing`: of the window; `worth`: independent rows per counted
    row; `size`, `reference_size`: independent rows with a value; `ratio`: those per row of the reference."""

    name: str
    before: Before
    rows: int
    present: int
    missing: int
    worth: float
    size: float
    reference_size: float
    ratio: float

    @classmethod
    def of_numbers(cls, pair: ColumnPair, rows: int, reference: Reference, worth: float) -> "_Column":
        return cls._of(pair.slots.name, pair.before, (rows, pair.present, pair.missing), reference, worth)

    @classmethod
    def of_categories(
        cls, slots: CategoricalSlots, before: Before, profile: Profile, reference: Reference, worth: float
    ) -> "_Column":
        counters = profile.counters
        present = int(counters[slots.categories].sum() + counters[slots.other])
        rows = profile.rows, present, int(counters[slots.missing])
        return cls._of(slots.name, before, rows, reference, worth)

    @classmethod
    def _of(
        cls, name: str, before: Before, rows: tuple[int, int, int], reference: Reference, worth: float
    ) -> "_Column":
        ratio = reference.effective_rows / reference.rows
        return cls(name, before, *rows, worth, rows[1] * worth, before.present * ratio, ratio)

    def numbers(self, pair: ColumnPair) -> list[Measurement]:
        """Of a numeric column."""
        because = self._nothing_to_measure()
        if because:
            return self._undefined(("out_of_range_rate", "point_mass", "psi", "ks"), because)
        outside = usually_outside(self.reference_size)
        return [
            self._missing_rate(),
            self._share("out_of_range_rate", pair.outside / self.present, outside),
            self._point_mass(pair),
            self._psi(pair.psi),
            self._distance("ks", pair.ks)
            if self.before.varied
            else undefined("ks", self.name, self.present, CONSTANT),
        ]

    def categories(self, slots: CategoricalSlots, counters: Integers) -> list[Measurement]:
        """Of a categorical one."""
        because = self._nothing_to_measure()
        if because:
            return self._undefined(("new_category_rate", "psi"), because)
        other, grouped = int(counters[slots.other]), self.before.grouped
        window = np.append(counters[slots.categories], other)
        return [
            self._missing_rate(),
            self._share(
                "new_category_rate", other / self.present, self.before.part.other / self.before.present
            ),
            self._psi(grouped_psi(window, self.worth, grouped.group, grouped.counts)),
        ]

    def _undefined(self, names: tuple[str, ...], because: str) -> list[Measurement]:
        rest = [undefined(name, self.name, self.present, because) for name in names]
        return [self._missing_rate(), *rest]

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
            feature=self.name,
            value=value,
            reference=reference,
            rows=self.present,
            size=self.size,
            reference_size=self.reference_size,
            tests=tests,
            detail=detail,
        )

    def _missing_rate(self) -> Measurement:
        before = self.before.part.missing + self.before.present
        because = too_few(self.rows, "rows")
        if because:
            return undefined("missing_rate", self.name, self.rows, because)
        return Measurement(
            measure="missing_rate",
            feature=self.name,
            value=self.missing / self.rows,
            reference=usually_missing(self.before),
            rows=self.rows,
            size=self.rows * self.worth,
            reference_size=before * self.ratio,
        )

    def _point_mass(self, pair: ColumnPair) -> Measurement:
        """The share of the exactly counted value whose share changed most."""
        if pair.mass < 0:
            return undefined("point_mass", self.name, self.present, "every value of it is known")
        tested, before = self.before.masses, self.before.shares
        value, share = self.before.part.top[tested[pair.mass]][0], pair.mass_rows / self.present
        detail = f"the value {value:g}"
        return self._share("point_mass", share, float(before[pair.mass]), len(tested), detail)

    def _psi(self, value: float) -> Measurement:
        before = self.before.grouped
        if before.occupied < 2:
            return undefined("psi", self.name, self.present, CONSTANT)
        return self._distance("psi", value, len(before.counts))

    def _distance(self, name: str, value: float, groups: int = 0) -> Measurement:
        return Measurement(
            measure=name,
            feature=self.name,
            value=value,
            rows=self.present,
            size=self.size,
            reference_size=self.reference_size,
            groups=groups,
        )
