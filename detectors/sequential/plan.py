"""What is judged of a series: its scores as linear maps of a profile's counters, and their shares of the budget."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Final

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.kernels_rows import CROSS_UNIT
from detectors.layout import Layout, layout_of
from detectors.reference import Reference
from detectors.season import has_outcomes
from detectors.sequential import families as f
from detectors.sequential.kernels import COUNT, Bytes, apply_map
from detectors.sequential.line import Line, places_of, worth_of
from detectors.sequential.lines import lines_of, pair_place
from detectors.sequential.packing import rounded
from detectors.sequential.reference_counts import counters_of
from detectors.sequential.values import Baseline, ScoreName
from detectors.values import AlertKind, Axis

_MEMO_SIZE: Final = 256


@dataclass(frozen=True)
class LinearMap:
    """A sparse matrix over the counters of a profile."""

    starts: Integers
    places: Integers
    factors: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[tuple[Integers, Floats]]]) -> "LinearMap":
        """From the terms of each row."""
        sizes = [sum(len(places) for places, _ in row) for row in rows]
        flat = [term for row in rows for term in row]
        return cls(
            np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
            np.concatenate([np.zeros(0), *(places for places, _ in flat)]).astype(np.int64),
            np.concatenate([np.zeros(0), *(factors for _, factors in flat)]).astype(np.float64),
        )

    @classmethod
    def joined(cls, maps: Sequence["LinearMap"]) -> "LinearMap":
        """The rows of all of them."""
        ends = np.cumsum([0, *(one.starts[-1] for one in maps)])
        starts = [one.starts[1:] + end for one, end in zip(maps, ends, strict=False)]
        return cls(
            np.concatenate([[0], *starts]).astype(np.int64),
            np.concatenate([np.zeros(0, dtype=np.int64), *(one.places for one in maps)]),
            np.concatenate([np.zeros(0), *(one.factors for one in maps)]),
        )

    def apply(self, counters: Integers) -> Floats:
        """One number per row."""
        return self.of_each((counters,))[0]

    def of_each(self, counters: Sequence[Integers]) -> Floats:
        """The same of several profiles, by profile and row."""
        out = np.empty((len(counters), len(self.starts) - 1), dtype=np.float64)
        for one, row in zip(counters, out, strict=True):
            apply_map(one, self.starts, self.places, self.factors, row)
        return out


@dataclass(frozen=True, slots=True)
class Sums:
    """A window of one kind: sums of the scores, shape (strata, scores), and rows, shape (strata, groups); and, worked
    out where it is asked for, sums of the squares of the scores."""

    scores: Floats
    rows: Floats
    squares: Callable[[], Floats]


@dataclass(frozen=True)
class TrackPlan:
    """The scores of one kind of alert. Shapes: scores (K,), groups of rows (G,), `variances` (strata, K). `worth`:
    independent rows per row of the reference. `alone`: the reference is no baseline, the windows before are."""

    kind: AlertKind
    names: tuple[ScoreName, ...]
    forms: Bytes
    sides: Bytes
    groups: Integers
    log_weights: Floats
    figures: Floats
    scores: LinearMap
    rows: LinearMap
    base_sums: Floats
    base_rows: Floats
    variances: Floats
    centers: Floats
    units: Floats
    worth: float
    squares: LinearMap
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    alone: bool = False

    @cached_property
    def base_worth(self) -> Floats:
        """Independent rows of the reference, shape (strata, groups)."""
        return self.base_rows * self.worth

    def of_window(self, counters: Integers) -> tuple[Floats, Floats]:
        """Sums of the scores and their rows, of a profile with these counters."""
        return self.scores.apply(counters), self.rows.apply(counters)


@dataclass(frozen=True)
class Plan:
    """All kinds of one series on one axis."""

    reference: Reference
    axis: Axis
    strata: tuple[str, ...]
    tracks: tuple[TrackPlan, ...]

    @cached_property
    def name(self) -> str:
        """Names the content: state that was made under another plan is of no use."""
        digest = hashlib.sha256(f"{self.reference.revision}\x1f{self.axis}\x1f{self.strata}".encode())
        for track in self.tracks:
            for one in track.names:
                digest.update(one.key.encode())
            digest.update(track.figures.tobytes())
            digest.update(track.log_weights.tobytes())
            digest.update(b"alone" if track.alone else b"")
        return digest.hexdigest()[:16]

    @cached_property
    def _whole(self) -> LinearMap:
        """The scores and rows of all kinds."""
        return LinearMap.joined([each for track in self.tracks for each in (track.scores, track.rows)])

    def of_window(self, counters: Sequence[Integers]) -> Iterator[Sums]:
        """The sums of a window by kind. counters: of its profile by stratum."""
        found, place = rounded(self._whole.of_each(counters)), 0
        for track in self.tracks:
            middle = place + len(track.names)
            end = middle + track.base_rows.shape[1]
            yield Sums(found[:, place:middle], found[:, middle:end], partial(track.squares.of_each, counters))
            place = end


def assemble(
    kind: AlertKind,
    lines: Sequence[Line],
    counters: Sequence[Integers],
    baseline: Baseline | None,
    worth: float = 1.0,
) -> TrackPlan | None:
    """Put the lines of a kind together; None where none can be judged. `counters`: of the reference, by stratum."""
    dependence = baseline.dependence if baseline is not None else {}
    refused = {
        one.name.key: dependence[one.name.key].refused
        for one in lines
        if one.name.key in dependence and dependence[one.name.key].refused
    }
    kept = [one for one in lines if one.name.key not in refused and one.weight > 0]
    if not kept:
        return None
    groups = sorted({one.rows for one in kept})
    scores = LinearMap.of([one.terms for one in kept])
    rows = LinearMap.of([[(np.array(group, dtype=np.int64), np.ones(len(group)))] for group in groups])
    place = {group: i for i, group in enumerate(groups)}
    known = [dependence.get(one.name.key) for one in kept]
    figures = np.array(
        [
            [one.skew for one in kept],
            [one.kurtosis for one in kept],
            [1.0 if found is None else found.inflation for found in known],
            [0.0 if found is None else found.freedom for found in known],
            [one.floor for one in kept],
        ]
    )
    weights = np.array([one.weight for one in kept])
    return TrackPlan(
        kind=kind,
        names=tuple(one.name for one in kept),
        forms=np.array([one.form for one in kept], dtype=np.int8),
        sides=np.array([one.side for one in kept], dtype=np.int8),
        groups=np.array([place[one.rows] for one in kept], dtype=np.int64),
        log_weights=np.log(weights / weights.sum()),
        figures=figures,
        scores=scores,
        rows=rows,
        base_sums=np.stack([scores.apply(each) for each in counters])
        + np.array([one.earlier for one in kept]),
        base_rows=np.stack([rows.apply(each) for each in counters]),
        variances=_variances(kept, counters),
        centers=np.array([one.center for one in kept]),
        units=np.array([one.unit for one in kept]),
        worth=worth,
        squares=LinearMap.of([_squared(one) for one in kept]),
        refused=refused,
    )


def _squared(line: Line) -> tuple[tuple[Integers, Floats], ...]:
    """The terms of the squares of a score whose rows are told apart by bins; none for others."""
    places = [place for group, _ in line.terms for place in group.tolist()]
    if line.form == COUNT or len(set(places)) < len(places) or set(places) != set(line.rows):
        return ()
    return tuple((group, factors**2) for group, factors in line.terms)


def _variances(lines: Sequence[Line], counters: Sequence[Integers]) -> Floats:
    """Of each score in each stratum. Scores of bins have variance 1 over the whole reference; within a phase of a
    season they have less."""
    found = np.ones((len(counters), len(lines)))
    if len(counters) == 1:
        return found
    for s, each in enumerate(counters):
        for k, one in enumerate(lines):
            if one.form == COUNT or len(one.terms) != 1:
                continue
            places, factors = one.terms[0]
            size = each[places].sum()
            if size > 1:
                mean = float(each[places] @ factors) / size
                found[s, k] = max(float(each[places] @ factors**2) / size - mean * mean, 0.05)
    return found


_memo: dict[str, Plan] = {}


def plan_of(
    reference: Reference,
    axis: Axis,
    baseline: Baseline | None = None,
    *,
    columns: Sequence[str] = (),
    small: bool = False,
    alone: bool = False,
) -> Plan:
    """The plan of a reference; the last ones are remembered.

    baseline: that of the reference by default. columns: those that are watched (default: all). small: without
    pairs, skewness and tails, for series of which there are many. alone: the stream is compared with itself, and the
    reference says what is looked at.
    """
    key = "\x1f".join((reference.revision, axis, _digest(baseline), str(small), str(alone), *columns))
    found = _memo.get(key)
    if found is not None:
        return found
    baseline = reference.baseline if baseline is None else baseline
    layout = layout_of(reference)
    worth = worth_of(reference)
    strata = baseline.strata if baseline is not None else ()
    counters = [counters_of(reference, layout)]
    _add_products(counters[0], layout, baseline)
    if strata:
        phases = [one.counters(layout.size) for one in strata]
        if axis == "label" and not any(has_outcomes(layout, each) for each in phases):
            strata = ()
        counters = phases if strata else counters
    left_out = {f.PAIR, f.SKEW, f.TAILS} if small else set[str]()
    others = set(layout.names) - set(columns) if columns else set[str]()
    tracks = [
        assemble(
            kind,
            [one for one in lines if one.name.family not in left_out and not _is_of(one.name, others)],
            counters,
            baseline,
            worth,
        )
        for kind, lines in lines_of(reference, layout, axis, baseline).items()
    ]
    known = [_alone(one) if alone else one for one in tracks if one is not None]
    found = Plan(
        reference=reference, axis=axis, strata=tuple(one.name for one in strata), tracks=tuple(known)
    )
    if len(_memo) >= _MEMO_SIZE:
        _memo.pop(next(iter(_memo)))
    _memo[key] = found
    return found


def _alone(track: TrackPlan) -> TrackPlan:
    """The same without the reference as its baseline."""
    return replace(
        track,
        base_sums=np.zeros_like(track.base_sums),
        base_rows=np.zeros_like(track.base_rows),
        alone=True,
    )


def _is_of(name: ScoreName, columns: set[str]) -> bool:
    return name.column in columns or (name.family == f.PAIR and name.item in columns)


def _digest(baseline: Baseline | None) -> str:
    return "" if baseline is None else hashlib.sha256(msgspec.json.encode(baseline)).hexdigest()[:16]


def _add_products(counters: Integers, layout: Layout, baseline: Baseline | None) -> None:
    crossed = places_of(layout.cross)
    index = {slots.name: i for i, slots in enumerate(layout.numeric)}
    for one in baseline.pairs if baseline is not None and len(crossed) else ():
        if one.first in index and one.second in index:
            i, j = sorted((index[one.first], index[one.second]))
            total = one.mean * CROSS_UNIT * CROSS_UNIT * float(counters[layout.rows])
            counters[crossed[pair_place(i, j, len(index))]] = round(total)
