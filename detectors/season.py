"""Seasons: each row is compared with rows of the reference from the same hour of the day or day of the week, as the
clocks of a place show it."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from detectors.columns import Integers
from detectors.errors import ReferenceInvalid
from detectors.layout import Layout, layout_of
from detectors.localtime import UTC, grain_us, local, local_one
from detectors.outcome_slots import RegressionSlots
from detectors.profile import Profile
from detectors.recounted import columns_of, said_of
from detectors.reference_values import Reference
from detectors.sequential.values import Stratum
from detectors.values import Clocks, Learning

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FIRST_DAY: Final = 3
"""The epoch began on a Thursday."""
_PARTS: Final = 16
"""Windows mix phases in whole parts of so many, so that few mixtures come up."""
_MEMO_SIZE: Final = 256


class Season(NamedTuple):
    """A cycle of phases of equal length by the clocks of a place, the first of which began in 1970."""

    name: str
    phase_us: int
    phases: tuple[str, ...]
    first: int = 0
    clocks: Clocks = UTC

    def phases_of(self, times_us: npt.ArrayLike) -> Integers:
        """The number of the phase of each moment, microseconds since the epoch."""
        shown = local(self.clocks, np.asarray(times_us, dtype=np.int64))
        return (shown // self.phase_us + self.first) % len(self.phases)

    def phase_of(self, time_us: int) -> int:
        """The same of one."""
        return (self.stretch_of(time_us) + self.first) % len(self.phases)

    def stretch_of(self, time_us: int) -> int:
        """A number that is the same for all moments of an unbroken stretch of one phase, and for no others near by."""
        return local_one(self.clocks, time_us) // self.phase_us

    @property
    def pane_us(self) -> int:
        """What a pane's length must go into without a rest, so that no pane lies in two phases."""
        return math.gcd(self.phase_us, grain_us(self.clocks))


_HOURS: Final = tuple(f"{hour:02}:00" for hour in range(24))
_WEEK: Final = tuple(f"{day} {hour}" for day in _DAYS for hour in _HOURS)
SEASONS: Final = {
    season.name: season
    for season in (
        Season("hour_of_day", _HOUR_US, _HOURS),
        Season("day_of_week", _DAY_US, _DAYS, _FIRST_DAY),
        Season("hour_of_week", _HOUR_US, _WEEK, 24 * _FIRST_DAY),
    )
}
"""Those that can be asked for, by name."""
_BY_PHASES: Final = {season.phases: name for name, season in SEASONS.items()}


def season_named(name: str, clocks: Clocks = UTC) -> Season:
    """Raises `ReferenceInvalid` for names that there are not."""
    if name not in SEASONS:
        raise ReferenceInvalid(f"season is {name!r}; it must be one of {', '.join(SEASONS)}")
    return SEASONS[name]._replace(clocks=clocks)


def season_learned(learning: Learning | None) -> Season | None:
    """The season of a reference that is learned as events come, if it is to have one."""
    if learning is None or not learning.season:
        return None
    return season_named(learning.season, learning.clocks)


def season_of(reference: Reference) -> Season | None:
    """The season by which a reference compares, if by any."""
    baseline = reference.baseline
    if baseline is None or not baseline.strata:
        return None
    name = _BY_PHASES.get(tuple(one.name for one in baseline.strata))
    clocks = UTC if isinstance(baseline.clocks, msgspec.UnsetType) else baseline.clocks
    return None if name is None else season_named(name, clocks)


def window_of(reference: Reference | None, panes: Iterable[tuple[int, Profile]]) -> Profile:
    """The profile of a window, from its panes and when they begin; where the reference has a season, with its
    phases. Panes are shorter than a phase and aligned, so each lies in one."""
    season = None if reference is None else season_of(reference)
    if season is None:
        found = [pane for _, pane in panes]
        return found[0] if len(found) == 1 else Profile.merged(reference, found)
    groups: dict[int, list[Profile]] = {}
    for start_us, pane in panes:
        groups.setdefault(season.phase_of(start_us), []).append(pane)
    parts = {phase: Profile.merged(reference, inside) for phase, inside in sorted(groups.items())}
    whole = Profile.merged(reference, parts.values())
    nothing = np.zeros_like(whole.counters)
    whole.phases = tuple(
        parts[phase].counters if phase in parts else nothing for phase in range(len(season.phases))
    )
    return whole


class _Mixture(NamedTuple):
    """Phases mixed: as a reference, and as the counters of its rows."""

    reference: Reference
    counters: Integers


_memo: dict[tuple[str, tuple[int, ...]], _Mixture] = {}


def expected(reference: Reference, profile: Profile) -> Reference:
    """What the reference expects of a window: its phases mixed as the window mixes them.

    Under a revision of its own, because it is another sample. Fewer rows of the reference stand behind it than behind
    all of it, and so many it has. For what is shown of a window; sequential deciding compares phase by phase.
    """
    found = _mixture(reference, profile)
    return reference if found is None else found.reference


def expected_profile(reference: Reference, profile: Profile) -> Profile | None:
    """The same as a profile; None where the reference has no season, or the window no rows."""
    found = _mixture(reference, profile)
    return None if found is None else Profile(reference, profile.layout, found.counters, profile.registers)


def _mixture(reference: Reference, profile: Profile) -> _Mixture | None:
    rows = [int(counters[profile.layout.rows]) for counters in profile.phases]
    total = sum(rows)
    if reference.baseline is None or total == 0:
        return None
    parts = tuple(round(_PARTS * one / total) for one in rows)
    if not any(parts):
        parts = tuple(int(one > 0) for one in rows)
    key = reference.revision, parts
    found = _memo.get(key)
    if found is None:
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        found = _memo[key] = _mixed(reference, reference.baseline.strata, parts)
    return found


def _mixed(reference: Reference, strata: Sequence[Stratum], parts: tuple[int, ...]) -> _Mixture:
    layout, shares = layout_of(reference), np.array(parts) / sum(parts)
    worth = 1.0 / sum(
        share * share / one.rows for share, one in zip(shares, strata, strict=True) if share > 0
    )
    counters = np.zeros(layout.size)
    for share, one in zip(shares, strata, strict=True):
        counters += one.counters(layout.size) * (share * worth / one.rows)
    whole = np.rint(counters).astype(np.int64)
    cells = layout.repeats.stop - layout.repeats.start
    whole[layout.repeats] = np.bincount(np.arange(round(worth)) % cells, minlength=cells)
    named = "".join(f"{part:x}" if part < _PARTS else "g" for part in parts)
    rows = max(1, round(worth))
    mixed = replace(
        reference,
        revision=f"{reference.revision}-{named}",
        rows=rows,
        effective_rows=max(1, round(reference.effective_rows * rows / reference.rows)),
        features=columns_of(reference, layout, whole),
        **said_of(reference, layout, whole),
    )
    return _Mixture(mixed, whole)


def has_outcomes(layout: Layout, counters: Integers) -> bool:
    """Whether labels were counted."""
    slots = layout.outcomes
    return bool(counters[slots.errors if isinstance(slots, RegressionSlots) else slots.confusion].any())
