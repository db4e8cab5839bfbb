"""What a person says about an incident: into the baseline and the threshold, told and to be taken back."""

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace

from detectors.sequential.plan import Plan, TrackPlan
from detectors.sequential.track import Candidates
from detectors.sequential.values import Feedback, Memory, Track

Said = Literal["false alarm", "expected", "new normal"]
KEPT: Final = 8
"""Statements that can be taken back."""
CAUTION: Final = 1.5
"""By which a false alarm multiplies the threshold of its kind."""


EFFECTS_IN_WORDS: Final[dict[str, str]] = {
    "false alarm": "the incident has ended, its windows joined the baseline, and the threshold grew by half",
    "expected": "silent until the stream is like the baseline again",
    "new normal": "the incident has ended, and the windows since the change are the baseline from now on",
}


def say(plan: Plan, memory: Memory, kind: str, said: Said, name: str = "") -> Memory:
    """The memory after a person has spoken about the incident of a kind that is open.

    "false alarm": nothing was wrong. The incident ends, its windows join the baseline, and the threshold of the kind
    grows by half. "expected": the change was known and will pass. The incident stays open in silence until the
    stream is like the baseline again; nothing else changes. "new normal": the windows since the change are the
    baseline from now on, in place of the reference, and the incident ends.

    Nothing changes where no incident of the kind is open. Each statement keeps the track as it was; see `take_back`.
    name: names the statement.
    """
    track = memory.tracks.get(kind)
    mine = next((one for one in plan.tracks if one.kind == kind), None)
    if track is None or track.opened is None or mine is None or memory.plan != plan.name:
        return memory
    after = say_on_track(mine, track, said)
    entry = Feedback(kind=kind, said=said, window=memory.windows, before=track, id=name)
    return replace(
        memory,
        tracks=memory.tracks | {kind: after},
        feedback=(*memory.feedback, entry)[-KEPT:],
    )


def say_on_track(plan: TrackPlan, track: Track, said: Said) -> Track:
    """The track of one kind after a person has spoken about its incident."""
    return _EFFECTS[said](plan, track)


def take_back(memory: Memory, place: int = -1) -> Memory:
    """The memory as if a statement had not been made: its kind is as it was before it, and has not seen the windows
    since. Later statements about the same kind fall with it. place: in `memory.feedback`, the last one by default.

    Raises `IndexError` where there is no such statement.
    """
    entry = memory.feedback[place]
    where = memory.feedback.index(entry)
    kept = tuple(
        one for i, one in enumerate(memory.feedback) if i < where or (i > where and one.kind != entry.kind)
    )
    before = replace(entry.before, windows=memory.tracks[entry.kind].windows)
    return replace(memory, tracks=memory.tracks | {entry.kind: before}, feedback=kept)


def _false_alarm(plan: TrackPlan, track: Track) -> Track:
    found = Candidates.of(track, plan)
    found.restart(0)
    return found.packed(replace(track, opened=None, caution=track.caution * CAUTION))


def _expected(_: TrackPlan, track: Track) -> Track:
    opened = track.opened
    return track if opened is None else replace(track, opened=replace(opened, expected=True))


def _new_normal(plan: TrackPlan, track: Track) -> Track:
    found = Candidates.of(track, plan)
    found.base_sums, found.base_rows = np.zeros_like(found.base_sums), np.zeros_like(found.base_rows)
    found.restart(0)
    return found.packed(replace(track, opened=None, has_reference=False))


_EFFECTS: Final[dict[Said, Callable[[TrackPlan, Track], Track]]] = {
    "false alarm": _false_alarm,
    "expected": _expected,
    "new normal": _new_normal,
}
