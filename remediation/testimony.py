"""What the rows around a release say of it: would the version before have done better on the same rows, and did the
inputs change with the release, or at another time, or because others came?

Answers are compared on the same labelled rows (McNemar 1947): a version that is no worse than the one before it would
have been there is not what made them wrong. When inputs changed is estimated by maximum likelihood from the feature
that changed most (Hinkley 1970, with its distribution before and after in bins), and is apart from the release where
that is less likely by `APART` on the logarithm.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.values import Value
from remediation.base_rate import outcomes_moved
from remediation.requests import ServiceSaid

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Began = Literal["before", "with", "after"]

APART = 10.0
"""A change at the release that is less likely than the best other moment by so much (logarithm) was not there."""
_PREFIX = "f."
_BINS = 8
_LEAST_ROWS = 60
_LEAST_MOVED = 0.15
"""Kolmogorov's distance from which a feature counts as moved; and 2.2 times what chance brings (1 in 10,000)."""
_CHANCE = 2.2
_REFINED = 3
_EXCESS_Z = 4.0
_EXCESS = 0.03
"""So many more wrong answers are explained, and no fewer."""
_LITTLE, _MOST = 0.35, 0.65
"""Parts of the wrong answers beyond the usual ones that the version before would not have given."""


class Testimony(Value, frozen=True, kw_only=True):
    """`blame`: the part of the new wrong answers that the version before would not have given on the same rows (None:
    not known); `began`: when the inputs changed beside the release (None: they did not, or it is not known);
    `others_came`: the outcomes moved with them. `sentences` say it; `service`: what single requests say."""

    blame: float | None = None
    began: Began | None = None
    moved: bool = False
    others_came: bool = False
    sentences: tuple[str, ...] = ()
    service: ServiceSaid = ServiceSaid()

    @property
    def clears(self) -> bool:
        """Whether the release cannot have done it. Inputs that a release prepares otherwise are its doing, too; and
        what else moved near it explains no answers that the version before would have given right."""
        if self.began in ("before", "after") or self.others_came:
            return self.blame is None or self.blame <= _MOST
        return self.blame is not None and self.blame < _LITTLE and not self.moved

    @property
    def convicts(self) -> bool:
        """Whether only the release can have done it."""
        elsewhere = self.began in ("before", "after") or self.others_came
        return self.blame is not None and self.blame > _MOST and not elsewhere


class Both(NamedTuple):
    """Labelled rows in order of time (as `ports.Archive.labelled` gives them), and whether each was answered by the new
    version. `again`: what the version before says of them now (1 or 0)."""

    rows: pd.DataFrame
    new: Flags
    again: Floats | None


def weigh(both: Both, names: tuple[str, str]) -> Testimony:
    """Weigh rows of two versions, `names` being the older and the newer one. Too few rows say nothing."""
    new = both.new
    if min(int(new.sum()), int((~new).sum())) < _LEAST_ROWS:
        return Testimony()
    found = _most_moved(both.rows, new)
    began, when = _began(both.rows.loc[:, found], new, names[1]) if found is not None else (None, "")
    others = outcomes_moved(both.rows, new, names[1]) if began == "with" else ""
    blame, whose = _blame(both, names)
    said = (whose, f"{when} (by {_bare(found)})" if found and when else "", others)
    return Testimony(
        blame=blame,
        began=began,
        moved=found is not None,
        others_came=bool(others),
        sentences=tuple(each for each in said if each),
    )


def _blame(both: Both, names: tuple[str, str]) -> tuple[float | None, str]:
    if both.again is None:
        return None, ""
    label = both.rows["label"].to_numpy(np.float64)
    said, new = both.rows["prediction"].to_numpy(np.float64), both.new
    known = np.isfinite(said) & np.isfinite(label)
    old_rows, new_rows = known & ~new, known & new
    if min(int(old_rows.sum()), int(new_rows.sum())) < _LEAST_ROWS:
        return None, ""
    if (both.again[old_rows] == said[old_rows]).mean() < 0.98:
        # What was logged is not all that the version answered by: its answers cannot be had again.
        return None, ""
    usual = float((said != label)[old_rows].mean())
    wrong, before = (float(one[new_rows].mean()) for one in (said != label, both.again != label))
    count = int(new_rows.sum())
    error = math.sqrt(max(usual * (1 - usual), 0.01) * (1 / count + 1 / int(old_rows.sum())))
    if wrong - usual < max(_EXCESS, _EXCESS_Z * error):
        return None, ""
    part = (wrong - before) / (wrong - usual)
    told = (
        f"on the same {count:,} labelled rows version {names[1]} is wrong in {wrong:.1%}, and version {names[0]} would "
        f"have been in {before:.1%} (it was in {usual:.1%} before)"
    )
    return round(part, 3), told


def _most_moved(rows: pd.DataFrame, new: Flags) -> str | None:
    """The feature that differs most between the oldest and the newest rows."""
    old_side, new_side = _far(new)
    best, greatest = None, 0.0
    for name in (each for each in rows.columns if each.startswith(_PREFIX)):
        codes = _binned(rows.loc[:, name], old_side)
        p, q = (
            np.bincount(codes[side], minlength=codes.max() + 1) / side.sum() for side in (old_side, new_side)
        )
        distance = float(np.abs(p - q).sum() / 2)
        chance = _CHANCE * math.sqrt(1 / old_side.sum() + 1 / new_side.sum())
        if distance > max(_LEAST_MOVED, chance, greatest):
            best, greatest = name, distance
    return best


def _far(new: Flags) -> tuple[Flags, Flags]:
    """The older half of the rows of the old version, and the newer half of those of the new one."""
    old_places, new_places = np.flatnonzero(~new), np.flatnonzero(new)
    old_side, new_side = np.zeros(len(new), dtype=bool), np.zeros(len(new), dtype=bool)
    old_side[old_places[: len(old_places) // 2]] = True
    new_side[new_places[len(new_places) // 2 :]] = True
    return old_side, new_side


def _binned(column: pd.Series, usual: Flags) -> npt.NDArray[np.int64]:
    """Each value as a bin of the usual ones; what is missing, and each side beyond them, is a bin of its own."""
    if not pd.api.types.is_numeric_dtype(column):
        return pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)
    values = column.to_numpy(np.float64)
    known = values[usual & np.isfinite(values)]
    if not len(known):
        return np.isfinite(values).astype(np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
    places = np.searchsorted(edges, values, side="left").astype(np.int64)
    return np.where(np.isfinite(values), places, len(edges) + 1)


def _began(column: pd.Series, new: Flags, name: str) -> tuple[Began, str]:
    """When a feature changed beside the release."""
    old_side, new_side = _far(new)
    codes = _binned(column, old_side)
    place, ratios = 0, np.zeros(len(codes))
    for _ in range(_REFINED):
        p, q = (_smoothed(codes[side], int(codes.max()) + 1) for side in (old_side, new_side))
        ratios = np.log(q / p)[codes]
        after = np.append(np.cumsum(ratios[::-1])[::-1], 0.0)
        place = int(np.argmax(after))
        margin = max(len(codes) // 50, 1)
        numbers = np.arange(len(codes))
        before, since = numbers < place - margin, numbers >= place + margin
        if min(int(before.sum()), int(since.sum())) < _LEAST_ROWS // 2:
            break
        old_side, new_side = before, since
    apart = float(np.append(np.cumsum(ratios[::-1])[::-1], 0.0)[place] - ratios[new].sum())
    if apart <= APART:
        return "with", f"inputs changed with version {name}"
    first = int(np.flatnonzero(new)[0])
    if place <= first:
        count = int((~new[place:]).sum())
        return "before", f"inputs had changed {count:,} labelled rows before version {name} came"
    count = int(new[:place].sum())
    return "after", f"inputs changed only after {count:,} labelled rows of version {name}"


def _smoothed(codes: npt.NDArray[np.int64], bins: int) -> Floats:
    counts = np.bincount(codes, minlength=bins) + 0.5
    return counts / counts.sum()


def _bare(name: str | None) -> str:
    return (name or "").removeprefix(_PREFIX)
