"""Whether a mean changed because its parts changed, or because their mix did: segments, versions, groups."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from detectors.errors import ProfileInvalid
from detectors.estimation.labelled import realized
from detectors.outcome_slots import BinarySlots
from detectors.profile import Profile
from detectors.values import Value


class Part(NamedTuple):
    """Rows and mean value of one segment, version or group."""

    rows: float
    value: float


class Contribution(Value, frozen=True, kw_only=True):
    """One part's contribution to a change of the whole's mean: `mix`, because it has become more or less common, and
    `within`, because it changed itself. Over all parts the two sum up to the change."""

    name: str
    rows: float
    share_before: float
    share: float
    value_before: float | None
    value: float | None
    mix: float
    within: float


def decompose(before: Mapping[str, Part], now: Mapping[str, Part]) -> list[Contribution]:
    """Contributions, the greatest first; their sum is the mean now less the mean before.

    Symmetric (Kitagawa 1955): `within` = mean share times change of value; `mix` = change of share times (mean
    value of the part less that of the whole). A part on one side only is all mix.
    Example: accuracy by segment; Part(labelled rows, accuracy).
    Raises `ProfileInvalid` when a side has no rows.
    """
    totals = [sum(part.rows for part in side.values()) for side in (before, now)]
    if min(totals) <= 0:
        raise ProfileInvalid(f"before has {totals[0]:g} rows and now {totals[1]:g}; both must have some")
    means = [
        sum(part.rows * part.value for part in side.values()) / total
        for side, total in zip((before, now), totals, strict=True)
    ]
    centre = sum(means) / 2
    found = [_contribution(name, before, now, totals, centre) for name in sorted({*before, *now})]
    return sorted(found, key=lambda one: (-abs(one.mix + one.within), one.name))


def _contribution(
    name: str, before: Mapping[str, Part], now: Mapping[str, Part], totals: list[float], centre: float
) -> Contribution:
    old, new = before.get(name), now.get(name)
    shares = [part.rows / total if part else 0.0 for part, total in zip((old, new), totals, strict=True)]
    values = [part.value for part in (old, new) if part is not None and part.rows > 0]
    level = sum(values) / len(values) if values else centre
    changed = values[1] - values[0] if len(values) == 2 else 0.0
    return Contribution(
        name=name,
        rows=new.rows if new else 0.0,
        share_before=shares[0],
        share=shares[1],
        value_before=old.value if old and old.rows > 0 else None,
        value=new.value if new and new.rows > 0 else None,
        mix=(shares[1] - shares[0]) * (level - centre),
        within=sum(shares) / 2 * changed,
    )


SPLIT_MEASURES: Final = ("accuracy", "positive_rate", "mean_error", "rows")
"""Means that add up over segments and versions, and `rows`, whose mix alone is of interest."""


def parts_of(profiles: Mapping[str, Profile], measure: str) -> dict[str, Part]:
    """The parts of a mean from the profiles of segments or versions, those without rows left out.

    measure: one of `SPLIT_MEASURES`; accuracy (classifiers) and mean_error (the mean size of a regression's error) are
    over labelled rows, positive_rate (binary) over predictions. Raises `ProfileInvalid` for another measure, or one
    that the task does not have.
    """
    found = {name: _part(profile, measure) for name, profile in profiles.items()}
    return {name: part for name, part in found.items() if part.rows > 0}


def _part(profile: Profile, measure: str) -> Part:
    slots, counters = profile.layout.outcomes, profile.counters
    if measure == "rows":
        return Part(profile.rows, 0.0)
    if measure == "positive_rate" and isinstance(slots, BinarySlots):
        predicted = int(counters[profile.layout.predicted])
        return Part(predicted, int(counters[slots.positive]) / max(predicted, 1))
    name = {"accuracy": "accuracy", "mean_error": "mae"}.get(measure)
    value = realized(profile).get(name or "", None)
    if name is None or (value is None and profile.labelled):
        raise ProfileInvalid(
            f"measure is {measure!r}; of this task's {', '.join(SPLIT_MEASURES)} it must be one that adds up"
        )
    return Part(profile.labelled, value or 0.0)
