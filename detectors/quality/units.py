"""A column that suddenly comes in another unit: grams for kilograms, cents for euros, Fahrenheit for Celsius."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from detectors.column_pairs import ColumnPair, column_pairs
from detectors.columns import Floats
from detectors.layout import NumericSlots
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.shapes import Shape, bucket_ends
from detectors.quality.values import SURPRISE, Finding
from detectors.reference import FeatureReference, Reference
from detectors.remembered import Remembered

MOVED: Final = 0.30
"""KS distance from the reference below which no unit is doubted."""
FIT: Final = 0.10
"""KS distance to the converted reference up to which a conversion explains a window, however many rows."""
FREE_FACTOR: Final = 5.0
"""A factor this far from 1 is told even where it is no known conversion."""
WANDERING: Final = 10.0
"""The least known factor that is told of a column that comes to other levels by itself, by growth or season."""
GONE: Final = 0.9
"""KS distance from the reference of such a column below which it may have come there by itself."""
CLEARER: Final = 3.0
"""Times that a conversion with a smaller factor must be nearer than none: in few rows much looks like much."""
LONG: Final = 1_000
"""Rows of the reference, in their order, from which it is known whether a column wanders."""
_MOMENT_TOLERANCE = 0.25
"""Standard deviations, and logarithm of their ratio, by which moments may miss where buckets overflow."""
_OVERFLOW = 0.01


class Conversion(NamedTuple):
    """value in the window = offset + factor * value in the reference."""

    factor: float
    offset: float
    name: str

    def of(self, shape: Shape, values: Floats) -> Floats:
        """The converted distribution: the share at or below each value."""
        back = (values - self.offset) / self.factor
        return shape.at(back) if self.factor > 0 else 1.0 - shape.at(np.nextafter(back, -np.inf))


def _known() -> tuple[Conversion, ...]:
    factors = {
        "sign": -1.0,
        "tens": 10.0,
        "hundreds (percent, cents, centimetres)": 100.0,
        "thousands (kilo, milli)": 1_000.0,
        "millions (mega, micro)": 1e6,
        "thousand millions (giga, nano)": 1e9,
        "minutes or seconds (60)": 60.0,
        "hours to seconds (3600)": 3_600.0,
        "days to hours (24)": 24.0,
        "days to seconds (86400)": 86_400.0,
        "years to months, feet to inches (12)": 12.0,
        "dozens to weeks (7)": 7.0,
        "kilograms and pounds": 2.204623,
        "ounces and grams": 28.349523,
        "miles and kilometres": 1.609344,
        "metres and feet": 3.280840,
        "inches and centimetres": 2.54,
        "gallons and litres": 3.785412,
        "metres per second and km/h": 3.6,
        "radians and degrees": 180 / math.pi,
        "calories and joules": 4.184,
        "1024 (binary prefix)": 1_024.0,
    }
    found = [Conversion(factor, 0.0, name) for name, factor in factors.items()]
    found += [Conversion(1 / factor, 0.0, name) for name, factor in factors.items() if factor > 0]
    found += [
        Conversion(1.8, 32.0, "Celsius to Fahrenheit"),
        Conversion(1 / 1.8, -32.0 / 1.8, "Fahrenheit to Celsius"),
        Conversion(1.0, 273.15, "Celsius to Kelvin"),
        Conversion(1.0, -273.15, "Kelvin to Celsius"),
    ]
    return tuple(found)


KNOWN: Final = _known()


def unit_changes(
    profile: Profile,
    reference: Reference,
    worth: Mapping[str, float] | None = None,
    surprise: float = SURPRISE,
    pairs: Sequence[ColumnPair] | None = None,
) -> list[Finding]:
    """Columns that a change of unit explains better than a drift: the window is far from the reference, and the
    reference, converted, is near the window.

    Where the window's values outgrow its buckets mean and standard deviation decide alone. worth: independent rows per
    row, by column (see `dependence.column_worth`). A column whose rows resemble their neighbours by that or by the
    baseline, such as a price or a count that grows, comes to another level by itself, and is told of known factors
    from `WANDERING` on only, and from `GONE`. surprise: minus the logarithm of the chance
    that is taken for none; what few rows may be away by chance is no finding. pairs: the columns, where they have been
    held beside each other already.
    """
    found: list[Finding] = []
    dependent = _DEPENDENT.of(reference)
    for pair in column_pairs(profile, reference) if pairs is None else pairs:
        slots, part, rows, moved = pair.slots, pair.before.part, pair.present, pair.ks
        if rows < MINIMUM_ROWS or not pair.before.present or moved < MOVED:
            continue
        resembles = slots.name in dependent or (worth or {}).get(slots.name, 1.0) < 1.0
        wanders = resembles or (worth is not None and reference.rows < LONG)
        least = max(GONE if wanders else MOVED, _by_chance(rows, pair.before.present, surprise))
        shape = Shape.of(part) if moved >= least else None
        if shape is None or len(shape.points) < 2:
            continue
        best = _best(profile, slots, part, shape, moved, wanders=wanders)
        if best is not None:
            found.append(_finding(slots.name, best, moved, least, rows))
    return found


def _by_chance(rows: int, known: int, surprise: float) -> float:
    """The distance that so many independent rows reach by a chance of e^-surprise: Smirnov's two-sample tail."""
    return math.sqrt((surprise + math.log(2)) / 2 * (1 / rows + 1 / known))


def _dependent(reference: Reference) -> frozenset[str]:
    """The columns some score of which depends on its neighbours in the reference."""
    known = reference.baseline.dependence if reference.baseline is not None else {}
    return frozenset(key.split("\x1f")[1] for key in known)


_DEPENDENT: Final = Remembered(_dependent)


def _best(
    profile: Profile,
    slots: NumericSlots,
    part: FeatureReference,
    shape: Shape,
    moved: float,
    *,
    wanders: bool,
) -> Conversion | None:
    counts, ends = profile.counters[slots.buckets], bucket_ends(slots)
    rows = int(profile.counters[slots.bins].sum())
    overflow = int(counts[0] + counts[-1]) / rows
    window = np.cumsum(counts[:-1]) / rows
    limit = max(FIT, 1.6 / math.sqrt(rows))
    best, least = None, math.inf
    free = _free_factor(profile, slots, part)
    for one in (*KNOWN, *((free,) if free else ())):
        if wanders and (one is free or 1 / WANDERING < abs(one.factor) < WANDERING):
            continue
        is_small = 1 / FREE_FACTOR < abs(one.factor) < FREE_FACTOR
        if not _moments_agree(profile, slots, part, one):
            continue
        far = 0.0
        if overflow <= _OVERFLOW:
            far = float(np.abs(window - one.of(shape, ends)).max())
        elif one is free:
            continue
        near = min(limit, moved / CLEARER) if is_small else limit
        if far <= near and far < least - (0.0 if one is not free else limit / 2):
            best, least = one, far
    return best


def _moments_agree(profile: Profile, slots: NumericSlots, part: FeatureReference, one: Conversion) -> bool:
    now = profile.moments(slots.name)
    if now is None or part.mean is None or not part.variance or now.variance <= 0:
        return False
    spread = abs(one.factor) * math.sqrt(part.variance)
    off = abs(now.mean - one.offset - one.factor * part.mean) / spread
    return off < 2 * _MOMENT_TOLERANCE and abs(math.log(math.sqrt(now.variance) / spread)) < _MOMENT_TOLERANCE


def _free_factor(profile: Profile, slots: NumericSlots, part: FeatureReference) -> Conversion | None:
    """The ratio of the standard deviations, where it is far from 1."""
    now = profile.moments(slots.name)
    if now is None or not part.variance or now.variance <= 0:
        return None
    ratio = math.sqrt(now.variance / part.variance)
    if max(ratio, 1 / ratio) < FREE_FACTOR:
        return None
    return Conversion(ratio, 0.0, "no conversion that is known")


def _finding(name: str, best: Conversion, moved: float, least: float, rows: int) -> Finding:
    offset = f" and shifted by {best.offset:.4g}" if best.offset else ""
    return Finding(
        kind="unit_change",
        columns=(name,),
        value=best.factor,
        threshold=least,
        rows=rows,
        message=(
            f"{name} looks as if it came in another unit: its values are {best.factor:.4g} times those of the "
            f"reference{offset} ({best.name}). Unconverted its distribution is a KS distance of {moved:.2f} away "
            f"({rows} rows)"
        ),
    )
