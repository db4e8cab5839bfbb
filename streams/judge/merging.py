"""Panes that can change no more, merged: what keeps the judge's memory and checkpoints small when a window
holds many panes."""

from bisect import bisect_right
from collections.abc import Callable, Mapping

import msgspec

from detectors.profile import Profile
from detectors.reference import Reference
from detectors.season import season_of
from detectors.values import PaneSnapshot
from streams.judge.windows import NEVER_US, Entry, Series

MERGE_AT = 16
"""So many neighbours become one. Writing a merged pane again with every 16 of 10 s costs 4 kB in 160 s."""

ReferenceOf = Callable[[str], Reference | None]


def merge_final(
    series: Series, final_us: Mapping[int, int], reference_of: ReferenceOf, old_us: int = NEVER_US
) -> None:
    """Merge neighbouring panes of one source that end at or before its `final_us`, `MERGE_AT` or more at a
    time (of those that end before `old_us` any number), never across the bound of a window."""
    emptied = False
    for source, entries in _final_entries(series, final_us).items():
        if len(entries) < MERGE_AT and not _has_aged(entries, old_us):
            continue
        cuts = _cuts(series)
        runs: dict[object, list[Entry]] = {}
        for entry in entries:
            phase = _phase(entry, reference_of)
            runs.setdefault((_cell(series, cuts, entry), phase, entry.revisions), []).append(entry)
        for run in runs.values():
            reference = reference_of(run[0].revisions[1])
            if (len(run) < MERGE_AT and not _has_aged(run, old_us)) or (
                reference is None and run[0].revisions[1]
            ):
                continue
            merged = _merged(run, reference)
            for entry in run:
                del series.panes[entry.current.pane_us][source]
            series.put(merged)
            emptied = True
            known_us = series.memory.final_us.get(source, NEVER_US)
            series.memory.final_us[source] = max(known_us, merged.end_us)
    if emptied:
        for pane_us in [start for start, entries in series.panes.items() if not entries]:
            del series.panes[pane_us]


def _has_aged(entries: list[Entry], old_us: int) -> bool:
    """Whether one of them is old and was not merged yet: the record that it needs may hold its neighbours, too."""
    return any(entry.end_us < old_us and not entry.merged for entry in entries)


def _final_entries(series: Series, final_us: Mapping[int, int]) -> dict[int, list[Entry]]:
    """By source, in order of time."""
    found: dict[int, list[Entry]] = {}
    latest_us = max(final_us.values(), default=NEVER_US)
    for pane_us in sorted(start for start in series.panes if start < latest_us):
        for source, entry in series.panes[pane_us].items():
            if entry.end_us <= final_us.get(source, NEVER_US):
                found.setdefault(source, []).append(entry)
    return found


def _cuts(series: Series) -> list[int]:
    """The bounds of closed windows and of hops."""
    memory = series.memory
    bounds = {memory.next_us}
    for one in (*memory.windows, *memory.hops):
        bounds |= {one.after_us, one.end_us}
    return sorted(bounds)


def _cell(series: Series, cuts: list[int], entry: Entry) -> tuple[int, int]:
    """The piece between two bounds, of closed windows and of hops to come, in which a pane lies."""
    spec, start_us = series.spec_at(entry.revisions), entry.current.pane_us
    return bisect_right(cuts, start_us), spec.hop_start(start_us) if spec.by_time else 0


def _phase(entry: Entry, reference_of: ReferenceOf) -> int:
    """Of a season of its reference: panes of two phases stay apart."""
    reference = reference_of(entry.revisions[1])
    season = None if reference is None else season_of(reference)
    return 0 if season is None else season.stretch_of(entry.current.pane_us)


def _merged(run: list[Entry], reference: Reference | None) -> Entry:
    current = _joined([entry.current for entry in run], reference)
    sealed = [entry.sealed for entry in run if entry.sealed is not None]
    if not any(entry.corrected for entry in run):
        return Entry(current, -1, current, -1, merged=True)
    before = _joined(sealed, reference) if sealed else None
    if before is not None:
        before = msgspec.structs.replace(
            before, pane_us=current.pane_us, pane_length_us=current.pane_length_us
        )
    return Entry(before, -1, current, -1, merged=True)


def _joined(snapshots: list[PaneSnapshot], reference: Reference | None) -> PaneSnapshot:
    first, last = snapshots[0], snapshots[-1]
    profile = Profile.merged(reference, (Profile.from_bytes(reference, one.profile) for one in snapshots))
    return msgspec.structs.replace(
        first,
        pane_length_us=last.pane_us + last.pane_length_us - first.pane_us,
        sequence=max(one.sequence for one in snapshots),
        rows=sum(one.rows for one in snapshots),
        sealed_rows=sum(one.sealed_rows or 0 for one in snapshots),
        profile=profile.to_bytes(),
    )
