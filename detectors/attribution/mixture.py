"""Whether a mean changed because its parts changed, or because their mix did: segments, versions, groups."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from detectors.errors import ProfileInvalid
from detectors.judgement import Transition
from detectors.measurement import MINIMUM_ROWS
from detectors.slices.values import Loss, Tally
from detectors.values import Contribution

KEPT: Final = 10
_CARRIES: Final = 0.5
_BEYOND_SHARE: Final = 0.2
"""A part is named in words when it carries so much of a change, and so much more of it than of the rows: that a part
with most of the rows carries most of the change is no news."""


class Part(NamedTuple):
    """Rows and mean value of one segment, version or group."""

    rows: float
    value: float


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


def with_parts(transition: Transition, splits: Mapping[str, Mapping[str, Tally]]) -> Transition:
    """The beginning of an alert about labels with what segments and versions carry of the change of the mean loss.

    splits: what the rows are split by ("version", or the column of segments), each with the tallies of its parts.
    Compared are windows that ended before the change with recent ones after it. A split into one part says nothing,
    and neither does one without 30 labelled rows on both sides.
    """
    if transition.state != "firing":
        return transition
    found: list[Contribution] = []
    words: list[str] = []
    for split, tallies in splits.items():
        before = _parts({name: one.before(transition.change_us) for name, one in tallies.items()})
        now = _parts({name: one.after(transition.change_us) for name, one in tallies.items()})
        if len({*before, *now}) < 2 or min(_rows(before), _rows(now)) < MINIMUM_ROWS:
            continue
        mine = decompose(before, now)
        words += _words(split, mine)
        found += [replace(one, name=f"{split}={one.name}") for one in mine]
    found.sort(key=lambda one: (-abs(one.mix + one.within), one.name))
    return replace(
        transition, reason=" ".join((transition.reason, *words)), parts=(*transition.parts, *found[:KEPT])
    )


def _parts(losses: Mapping[str, Loss]) -> dict[str, Part]:
    return {name: Part(one.rows, one.total / one.rows) for name, one in losses.items() if one.rows > 0}


def _rows(parts: Mapping[str, Part]) -> float:
    return sum(part.rows for part in parts.values())


def _words(split: str, parts: list[Contribution]) -> list[str]:
    """One sentence: about a part that is new and worse, or the greatest, where it is one of few that carry a rise of
    the loss."""
    before = sum(one.share_before * (one.value_before or 0.0) for one in parts)
    for one in parts:
        new = one.value_before is None and one.share >= _BEYOND_SHARE
        if new and one.value is not None and one.value > before:
            told = f"{one.name} is new, has {one.share:.0%} of the rows and a mean loss of {one.value:.3g}"
            return [f"By {split}, {told}, which was {before:.3g} before."]
    total, first = sum(one.mix + one.within for one in parts), parts[0]
    carried = (first.mix + first.within) / total if total > 0 else 0.0
    if carried < max(_CARRIES, (first.share_before + first.share) / 2 + _BEYOND_SHARE):
        return []
    if first.value_before is not None and first.value is not None and abs(first.within) >= abs(first.mix):
        how = f"the mean loss there went from {first.value_before:.3g} to {first.value:.3g}"
    else:
        how = f"its share of the rows went from {first.share_before:.0%} to {first.share:.0%}"
    return [f"By {split}, {first.name} carries {min(carried, 1.0):.0%} of the rise in errors: {how}."]
