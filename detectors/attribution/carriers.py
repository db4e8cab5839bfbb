"""Which features carry the change of a window, and which of them matter to the model."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.attribution.influence import Influence
from detectors.columns import Floats
from detectors.errors import ProfileInvalid
from detectors.estimation.groups import Groups, groups_of
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Value

SURE: Final = 4.0
"""Standard errors beyond which a change is named."""
LEAST_MOVED: Final = 0.02
"""Total variation below which a feature is not named, however many rows prove it."""


class Carrier(Value, frozen=True, kw_only=True):
    """A feature's part in a change.

    `moved`: total variation between window and reference over groups of its bins (missing is one), less what
    chance gives; `surprise`: chi-squared of that as a normal deviate. `spread`: standard deviation, in the reference,
    of its effect on the output; `importance`: the same, or what a person says. `output_change`, `success_change`: by
    how much the mean output and the success moved because of it (None: not known). `named`: whether it carries the
    change beyond doubt.
    """

    feature: str
    moved: float
    surprise: float
    spread: float | None = None
    importance: float | None = None
    output_change: float | None = None
    success_change: float | None = None
    named: bool = False


def carriers(
    profile: Profile, influence: Influence, importance: Mapping[str, float] | None = None
) -> list[Carrier]:
    """The features, those first that carry most: importance times effect, and among features that mean nothing to the
    model those that moved most. Nothing below 30 rows.

    importance: of features, by name, in any one unit, instead of the estimates; of those that it does not name 0.

    Raises `ProfileInvalid` when the profile was counted against another reference.
    """
    reference = profile.reference
    if reference is None or reference.revision != influence.reference_revision:
        raise ProfileInvalid(
            f"the profile was counted against reference {reference and reference.revision}, the influence learned from "
            f"{influence.reference_revision}"
        )
    if profile.rows < MINIMUM_ROWS:
        return []
    effective = min(profile.effective_rows, float(profile.rows))
    placed = {one.slots.name: one for one in groups_of(profile.layout, reference, influence.columns)}
    found = [
        _of(one, placed.get(one.slots.name), profile, reference, influence, effective)
        for one in groups_of(profile.layout, reference)
    ]
    if importance:
        found = [replace(one, importance=importance.get(one.feature, 0.0)) for one in found]
    most = max((one.importance or 0.0 for one in found), default=0.0)
    return sorted(found, key=lambda one: -_weight(one, most))


def _weight(one: Carrier, most: float) -> float:
    """Importance times effect; a feature without importance counts for a hundredth of the most important one."""
    importance = max((one.importance or 0.0) / most, 0.01) if most > 0 else 1.0
    return one.moved * importance + (1.0 if one.named else 0.0)


def _of(
    group: Groups,
    place: Groups | None,
    profile: Profile,
    reference: Reference,
    influence: Influence,
    effective: float,
) -> Carrier:
    part = reference.feature(group.slots.name)
    known = np.zeros(group.width) if part is None else group.of_reference(part)
    before, now = known / max(float(known.sum()), 1.0), group.of_window(profile.counters) / profile.rows
    change = now - before
    noise, surprise = _chance(before, now, effective, float(reference.effective_rows))
    moved = max(float(np.abs(change).sum()) / 2 - noise, 0.0)
    output, success = _effects(influence.output, place), _effects(influence.success, place)
    spread = None if output is None else math.sqrt(max(float(before @ np.square(output)), 0.0))
    return Carrier(
        feature=group.slots.name,
        moved=moved,
        surprise=surprise,
        spread=spread,
        importance=spread,
        output_change=None if output is None else float(change @ output),
        success_change=None if success is None else float(change @ success),
        named=surprise > SURE and moved > LEAST_MOVED,
    )


def _effects(effects: tuple[float, ...], place: Groups | None) -> Floats | None:
    if not effects or place is None:
        return None
    return np.array(effects[place.first : place.first + place.width])


def _chance(before: Floats, now: Floats, size: float, reference_size: float) -> tuple[float, float]:
    """The total variation that chance gives, and the chi-squared of the change as a standard normal deviate (Wilson
    and Hilferty 1931)."""
    pooled = (now * size + before * reference_size) / (size + reference_size)
    there = pooled > 0
    variance = pooled * (1 - pooled) * (1 / size + 1 / reference_size)
    noise = float(np.sqrt(variance).sum()) * math.sqrt(2 / math.pi) / 2
    harmonic = 1 / (1 / size + 1 / reference_size)
    chi_squared = harmonic * float((np.square(now - before)[there] / pooled[there]).sum())
    freedom = max(int(there.sum()) - 1, 1)
    cube = (chi_squared / freedom) ** (1 / 3)
    return noise, (cube - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom))
