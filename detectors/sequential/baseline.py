"""What a reference must know besides its histograms, from its rows in their order."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from detectors.codec import pack
from detectors.errors import ReferenceInvalid
from detectors.layout import Layout, layout_of
from detectors.localtime import UTC
from detectors.reference import Reference
from detectors.reference_values import revision_of
from detectors.sequential.blocks import BlockSums, Rows, block_size, block_sums
from detectors.sequential.calibrate import calibrate
from detectors.sequential.dependence import dependence_of
from detectors.sequential.lines import watched
from detectors.sequential.pairs import pair_moments
from detectors.sequential.plan import Plan, plan_of
from detectors.sequential.values import Baseline, Dependence, ScoreName, Stratum
from detectors.values import Axis, Clocks

_Counted = dict[tuple[bool, tuple[ScoreName, ...]], BlockSums]
"""The sums of blocks, by whether phases are told apart and by the scores."""
LEAST_BLOCKS: Final = 20
LEAST_STRATUM: Final = 50
"""Rows that a phase of a season must have in the reference."""


def build_baseline(
    reference: Reference,
    rows: Rows,
    *,
    phases: Sequence[str] = (),
    clocks: Clocks = UTC,
    outcomes_by_phase: bool = True,
    ordered: bool = True,
    calibration_windows: int = 0,
    window_rows: int = 1_000,
    seed: int = 0,
) -> Baseline:
    """The baseline of a reference, from the rows that it was built of, in order of time.

    phases: names of the strata of `rows.phases`, for a reference by season (hour of day, day of week): windows are
    then compared with the rows of their own phase. clocks: those that told them. outcomes_by_phase: whether labels are
    known in the phase of their prediction; where not, outcomes are compared with those of all phases. ordered: False
    where neighbours are not those of the stream, such as rows that were repeated by weight: then nothing is read from
    their order.
    calibration_windows: simulated windows of `window_rows` rows by which the threshold is calibrated; 0: the
    guaranteed threshold stays in force.
    The same arguments give the same baseline. Raises `ReferenceInvalid` when the rows are not those of the
    reference, or a phase has too few.
    """
    if len(rows) != reference.rows:
        raise ReferenceInvalid(
            f"the reference of {reference.model!r} has {reference.rows} rows, and {len(rows)} were given; "
            "a baseline is built from the same rows"
        )
    layout = layout_of(reference)
    found = Baseline(pairs=tuple(watched(pair_moments(layout, rows.features))))
    if phases:
        counted = rows if outcomes_by_phase else rows.unlabelled()
        kept = msgspec.UNSET if clocks == UTC else clocks
        found = replace(found, strata=_strata(reference, counted, phases), clocks=kept)
    size = block_size(len(rows))
    if not ordered:
        return replace(found, note="the order of the rows was not looked at; they are taken for independent")
    if len(rows) // size < LEAST_BLOCKS:
        return replace(
            found,
            note=f"with {len(rows)} rows the order of the rows tells nothing; they are taken for independent",
        )
    plans = [plan_of(reference, axis, found) for axis in _axes(rows)]
    sums_of: _Counted = {}
    for by_phase in {bool(plan.strata) for plan in plans}:
        tracks = [track for plan in plans if bool(plan.strata) == by_phase for track in plan.tracks]
        blocks = block_sums(reference, rows if by_phase else rows.as_one(), size, tracks)
        sums_of |= {(by_phase, track.names): sums for track, sums in zip(tracks, blocks, strict=True)}
    known: dict[str, Dependence] = {}
    for plan in plans:
        for track in plan.tracks:
            known |= dependence_of(track, sums_of[bool(plan.strata), track.names], size)
    found = replace(found, dependence=known)
    if calibration_windows:
        found = _calibrated(reference, rows, found, sums_of, (calibration_windows, window_rows, seed))
    return found


def with_baseline(
    reference: Reference,
    rows: Rows,
    *,
    phases: Sequence[str] = (),
    clocks: Clocks = UTC,
    outcomes_by_phase: bool = True,
    ordered: bool = True,
    calibration_windows: int = 0,
    window_rows: int = 1_000,
    seed: int = 0,
) -> Reference:
    """The reference with its baseline, under a revision of its own; see `build_baseline`."""
    found = build_baseline(
        reference,
        rows,
        phases=phases,
        clocks=clocks,
        outcomes_by_phase=outcomes_by_phase,
        ordered=ordered,
        calibration_windows=calibration_windows,
        window_rows=window_rows,
        seed=seed,
    )
    complete = replace(reference, baseline=found)
    return replace(complete, revision=revision_of(complete))


def with_note(reference: Reference, note: str | None) -> Reference:
    """The reference with something more that a person should know of it, under a revision of its own."""
    if reference.baseline is None or not note:
        return reference
    notes = "; ".join(each for each in (reference.baseline.note, note) if each)
    complete = replace(reference, baseline=replace(reference.baseline, note=notes))
    return replace(complete, revision=revision_of(complete))


def _axes(rows: Rows) -> tuple[Axis, ...]:
    return ("event", "label") if rows.labels is not None else ("event",)


def _calibrated(
    reference: Reference,
    rows: Rows,
    baseline: Baseline,
    counted: _Counted,
    simulation: tuple[int, int, int],
) -> Baseline:
    """counted: what is known of the blocks already; scores that are refused for their dependence leave others."""
    windows, window_rows, seed = simulation
    plan, size = plan_of(reference, "event", baseline), block_size(len(rows))
    by_phase = bool(plan.strata)
    blocks = [counted[by_phase, one.names] for one in plan.tracks if (by_phase, one.names) in counted]
    if len(blocks) < len(plan.tracks):
        blocks = block_sums(reference, rows if by_phase else rows.as_one(), size, plan.tracks)
    batch = _batch(plan, len(rows) // size)
    return replace(baseline, calibration=calibrate(plan, blocks, size, batch, window_rows, windows, seed))


def _batch(plan: Plan, blocks: int) -> int:
    """Blocks that are drawn together: enough for the longest dependence that is judged."""
    least = min(
        (freedom for track in plan.tracks for freedom in track.figures[3] if freedom > 0), default=0.0
    )
    return 1 if least == 0 else max(1, round(blocks / (least + 1)))


def _strata(reference: Reference, rows: Rows, phases: Sequence[str]) -> tuple[Stratum, ...]:
    codes = rows.phases
    if codes is None or codes.min() < 0 or codes.max() >= len(phases):
        raise ReferenceInvalid(f"every row of the reference needs one of the phases {list(phases)}")
    found: list[Stratum] = []
    for code, name in enumerate(phases):
        inside = np.flatnonzero(codes == code)
        if len(inside) < LEAST_STRATUM:
            raise ReferenceInvalid(
                f"phase {name!r} has {len(inside)} rows in the reference; it takes {LEAST_STRATUM}: use a longer "
                "reference, or a season with fewer phases"
            )
        found.append(Stratum(name=name, rows=len(inside), packed=packed(reference, rows.part(inside))))
    return tuple(found)


def packed(reference: Reference, rows: Rows, *, moments: bool = False) -> bytes:
    """The counters of some of its rows, without what no window is compared with. moments: with those of the numbers."""
    profile = rows.profile(reference)
    counters = profile.counters
    for room in _unused(profile.layout, moments=moments):
        counters[room] = 0
    return pack(counters)


def _unused(layout: Layout, *, moments: bool) -> list[slice]:
    """What a window is not compared with, of a part of the reference."""
    numeric = [slots.buckets for slots in layout.numeric]
    numeric += [] if moments else [slots.moments for slots in layout.numeric]
    vectors = [slots.waves for slots in layout.embeddings]
    repeats = [layout.repeats, layout.label_repeats]
    return [*numeric, *vectors, *repeats, layout.waves, layout.latencies, layout.statuses]
