"""Columns that stopped saying anything, and categories that stopped coming."""

import math
from collections.abc import Mapping, Sequence

from detectors.column_pairs import ColumnPair, column_pairs
from detectors.kernels_rows import FARTHEST
from detectors.layout import NumericSlots
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.values import SURPRISE, Finding
from detectors.reference import FeatureReference, Reference

_FLAT = 1e-8
"""Variance that rounding to 2^-30 leaves in a constant column, in units of the reference's variance, per standard
deviation that the column is away from the reference's mean."""


def constant_columns(
    profile: Profile,
    reference: Reference,
    worth: Mapping[str, float] | None = None,
    runs: Mapping[str, int] | None = None,
    surprise: float = SURPRISE,
    pairs: Sequence[ColumnPair] | None = None,
) -> list[Finding]:
    """Columns with one value throughout the window that vary in the reference.

    worth: independent rows per row, by column; 1 where it is not told (see `dependence.column_worth`). runs: the
    longest rows of one value in the reference (`dependence.longest_runs`), of which it takes twice as many.
    surprise: minus the logarithm of the chance that is taken for none. pairs: the columns, where they have been held
    beside each other already.
    """
    found: list[Finding] = []
    for pair in column_pairs(profile, reference) if pairs is None else pairs:
        slots, part = pair.slots, pair.before.part
        # One value lies in one bin.
        now = profile.moments(slots.name) if pair.greatest == pair.present else None
        if now is None or not part.variance or now.rows <= 2 * (runs or {}).get(slots.name, 0):
            continue
        independent = now.rows * (worth or {}).get(slots.name, 1.0)
        far = 1 + abs(now.mean - slots.center) / slots.scale
        flat = now.variance <= _FLAT * far * part.variance and profile.distinct(slots.name) < 1.5
        if flat and independent >= MINIMUM_ROWS and not _usual(part, now.mean, independent, surprise):
            found.append(_constant(slots.name, _value(now.mean, slots, part.variance), now.rows))
    for slots in profile.layout.categorical:
        counts = profile.counters[slots.categories]
        rows = int(counts.sum() + profile.counters[slots.other])
        part = reference.feature(slots.name)
        least = max(MINIMUM_ROWS, 2 * (runs or {}).get(slots.name, 0) + 1)
        if part is None or rows < least or sum(1 for _, count in part.categories if count) < 2:
            continue
        share = max((count for _, count in part.categories), default=0) / max(part.present, 1)
        odds = -rows * (worth or {}).get(slots.name, 1.0) * math.log(max(share, 1e-300))
        if counts.max(initial=0) == rows and odds > surprise:
            name = next(name for name, place in slots.index.items() if counts[place] == rows)
            found.append(_constant(slots.name, f"the category {name!r}", rows))
    return found


def _value(mean: float, slots: NumericSlots, variance: float) -> str:
    """In words; moments tell no more than `FARTHEST`."""
    away = (mean - slots.center) / slots.scale
    if abs(away) > FARTHEST - 1:
        return f"a value {'above' if away > 0 else 'below'} {mean:.2g}"
    return f"the value {mean if abs(mean) > 1e-6 * math.sqrt(variance) else 0.0:.6g}"


def _usual(part: FeatureReference, value: float, rows: float, surprise: float) -> bool:
    """Whether so many rows of this value, and of no other, may be chance: it is common in the reference."""
    spread = 1e-6 * math.sqrt(part.variance or 0.0)
    share = sum(count for each, count in part.top if abs(each - value) <= spread) / max(part.present, 1)
    return share > 0 and -rows * math.log(min(share, 1 - 1e-12)) < surprise


def vanished_categories(
    profile: Profile,
    reference: Reference,
    worth: Mapping[str, float] | None = None,
    surprise: float = SURPRISE,
) -> list[Finding]:
    """Categories of the reference that the window lacks although it should have had them many times: one finding a
    column. worth, surprise: as for `constant_columns`, in which case the column is left to that.

    With m reference rows of which a held the category, the chance that n rows have none is, with the share
    unknown (Jeffreys' prior), about ((m + 1) / (m + n + 1)) ** (a + 1/2); it is charged for the number of categories.
    """
    found: list[Finding] = []
    for slots in profile.layout.categorical:
        part = reference.feature(slots.name)
        counts = profile.counters[slots.categories]
        rows = int(counts.sum() + profile.counters[slots.other])
        if part is None or rows < MINIMUM_ROWS or counts.max(initial=0) == rows:
            continue
        each = (worth or {}).get(slots.name, 1.0)
        known = max(part.present * each * reference.effective_rows / reference.rows, 1.0)
        gone: list[tuple[str, float]] = []
        for (name, before), now in zip(part.categories, counts, strict=True):
            held = before * known / part.present
            odds = (held + 0.5) * math.log1p(rows * each / (known + 1)) - math.log(len(part.categories))
            if now == 0 and odds > surprise:
                gone.append((name, before / part.present * rows))
        if gone:
            found.append(_vanished(slots.name, gone, rows, surprise))
    return found


def _vanished(column: str, gone: list[tuple[str, float]], rows: int, surprise: float) -> Finding:
    expected = gone[0][1]
    more = f" nor {len(gone) - 1} more of its categories" if len(gone) > 1 else ""
    return Finding(
        kind="vanished_category",
        columns=(column,),
        value=expected,
        threshold=surprise,
        rows=rows,
        message=(
            f"{column} never has {gone[0][0]!r}{more} in {rows:,} rows, where the reference would have that one about "
            f"{expected:,.0f} times"
        ),
    )


def _constant(name: str, what: str, rows: int) -> Finding:
    return Finding(
        kind="constant_column",
        columns=(name,),
        value=1.0,
        threshold=1.0,
        rows=rows,
        message=f"{name} has {what} in all {rows:,} rows, and varies in the reference",
    )
