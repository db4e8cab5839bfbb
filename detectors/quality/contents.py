"""Columns that stopped saying anything, and categories that stopped coming."""

import math
from typing import Final

from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.values import Finding
from detectors.reference import Reference

SURPRISE: Final = math.log(1e6)
"""A category is missed when its absence has a chance below one in a million (over all categories together)."""
_FLAT = 1e-12
"""Variance, in units of the reference's, that rounding leaves in a constant column."""


def constant_columns(profile: Profile, reference: Reference) -> list[Finding]:
    """Columns with one value throughout the window that vary in the reference."""
    found: list[Finding] = []
    for slots in profile.layout.numeric:
        part, now = reference.feature(slots.name), profile.moments(slots.name)
        if part is None or now is None or not part.variance or now.rows < MINIMUM_ROWS:
            continue
        if now.variance <= _FLAT * part.variance and profile.distinct(slots.name) < 1.5:
            found.append(_constant(slots.name, f"the value {now.mean:.6g}", now.rows))
    for slots in profile.layout.categorical:
        counts = profile.counters[slots.categories]
        rows = int(counts.sum() + profile.counters[slots.other])
        part = reference.feature(slots.name)
        if part is None or rows < MINIMUM_ROWS or sum(1 for _, count in part.categories if count) < 2:
            continue
        share = max((count for _, count in part.categories), default=0) / max(part.present, 1)
        if counts.max(initial=0) == rows and -rows * math.log(max(share, 1e-300)) > SURPRISE:
            name = next(name for name, place in slots.index.items() if counts[place] == rows)
            found.append(_constant(slots.name, f"the category {name!r}", rows))
    return found


def vanished_categories(profile: Profile, reference: Reference) -> list[Finding]:
    """Categories of the reference that the window lacks although it should have had them many times.

    With m reference rows of which a held the category, the chance that n rows have none is, with the share
    unknown (Jeffreys' prior), about ((m + 1) / (m + n + 1)) ** (a + 1/2); it is charged for the number of categories.
    """
    found: list[Finding] = []
    for slots in profile.layout.categorical:
        part = reference.feature(slots.name)
        counts = profile.counters[slots.categories]
        rows = int(counts.sum() + profile.counters[slots.other])
        if part is None or rows < MINIMUM_ROWS:
            continue
        known = max(part.present * reference.effective_rows / reference.rows, 1.0)
        for (name, before), now in zip(part.categories, counts, strict=True):
            held = before * known / part.present
            surprise = (held + 0.5) * math.log1p(rows / (known + 1)) - math.log(len(part.categories))
            if now == 0 and surprise > SURPRISE:
                expected = before / part.present * rows
                found.append(
                    Finding(
                        kind="vanished_category",
                        columns=(slots.name,),
                        value=expected,
                        threshold=SURPRISE,
                        rows=rows,
                        message=(
                            f"{slots.name} never has {name!r} in {rows} rows, where the reference would have "
                            f"it about {expected:.0f} times"
                        ),
                    )
                )
    return found


def _constant(name: str, what: str, rows: int) -> Finding:
    return Finding(
        kind="constant_column",
        columns=(name,),
        value=1.0,
        threshold=1.0,
        rows=rows,
        message=f"{name} has {what} in all {rows} rows, and varies in the reference",
    )
