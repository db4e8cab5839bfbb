"""Whether a mean changed because its parts changed, or because their mix did: segments, versions, groups."""

from collections.abc import Mapping
from typing import NamedTuple

from detectors.errors import ProfileInvalid
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
