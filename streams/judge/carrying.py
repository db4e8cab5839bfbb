"""Which records hold the panes of the judge: snapshots of the profiles topic, or copies in its own state topic.

The profiles topic has a retention. A window of a slow model takes weeks, and a model that is silent keeps the panes
of its last, unfinished window for as long as it likes: so whatever is older than a day is copied, whether it can still
change or not. An entry that was copied once stays copied: when it changes it is written again with the next checkpoint,
because what it was before may be gone from the profiles topic.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from detectors.values import PaneSnapshot
from streams.judge.windows import NEVER_US, Copy, Entry, Series, SeriesName
from streams.stages import Delta
from streams.times import MICROSECONDS

_LOOK_EVERY_US = 3_600 * MICROSECONDS
_OLD_US = 86_400 * MICROSECONDS
_FAR_BEHIND: Final = 2_000
"""Records of the state topic. A copy that lies so far behind the newest is written again, one with each checkpoint that
writes something: so that no model that is silent keeps the topic from being cut."""


class PaneRecord(msgspec.Struct, array_like=True):
    """An entry as the state topic keeps it; `sealed` is None where it is equal to `current`, and `unsealed` where
    nothing of it was there at sealing. `merged`: see `Entry`."""

    name: SeriesName
    sealed: PaneSnapshot | None
    unsealed: bool
    current: PaneSnapshot
    merged: bool = True

    @classmethod
    def of(cls, name: SeriesName, entry: Entry) -> "PaneRecord":
        """The record of an entry."""
        sealed = entry.sealed if entry.corrected else None
        return cls(name, sealed, entry.sealed is None, entry.current, entry.merged)

    def entry(self, offset: int) -> Entry:
        """The entry of a record that stands at `offset`."""
        sealed = None if self.unsealed else self.sealed or self.current
        return Entry(sealed, -1, self.current, -1, self.merged, Copy(self.current, offset))


class Ageing:
    """Tells which panes are old, by the log's time."""

    def __init__(self) -> None:
        self._looked_us = 0

    def old_us(self, clock_us: int) -> int:
        """Panes that end before this are old. Once an hour of the log's time; in between none is."""
        if clock_us - self._looked_us < _LOOK_EVERY_US:
            return NEVER_US
        self._looked_us = clock_us
        return clock_us - _OLD_US


class Carried(msgspec.Struct):
    """Where the panes are after a flush. `offsets`: in the profiles topic, sorted; `copies`: all that are needed of the
    state topic; `made`: those of them that are being written, as `deltas`."""

    offsets: list[int]
    copies: list[Copy]
    made: list[Copy]
    deltas: list[Delta]


def has_aged(series: Iterable[Series], old_us: int) -> bool:
    """Whether an entry is old and in the profiles topic alone."""
    return any(entry.copy is None and entry.end_us < old_us for one in series for entry in one.all_entries())


def carry(series: Sequence[Series], old_us: int, newest: int, writes: bool) -> Carried:
    """Copy what has to be copied. `newest`: the offset of the newest record of the state topic; `writes`: whether other
    records are being written to it."""
    found = Carried([], [], [], [])
    offsets = set[int]()
    oldest: tuple[int, SeriesName, Entry] | None = None
    for one in series:
        for entry in one.all_entries():
            copy = entry.copy
            if copy is not None and copy.current is entry.current:
                found.copies.append(copy)
                if oldest is None or copy.offset < oldest[0]:
                    oldest = copy.offset, one.name, entry
            elif copy is not None or entry.merged or entry.end_us < old_us:
                _write(found, one.name, entry)
            else:
                offsets.update((entry.sealed_offset, entry.current_offset))
    found.offsets = sorted(offsets)
    if oldest is not None and oldest[0] < newest - _FAR_BEHIND and (writes or found.made):
        _, name, entry = oldest
        found.copies = [copy for copy in found.copies if copy is not entry.copy]
        _write(found, name, entry)
    return found


def _write(found: Carried, name: SeriesName, entry: Entry) -> None:
    entry.copy = Copy(entry.current)
    found.copies.append(entry.copy)
    found.made.append(entry.copy)
    found.deltas.append(Delta(name.model.encode(), msgspec.msgpack.encode(PaneRecord.of(name, entry))))


def read_copy(offset: int, value: bytes) -> tuple[SeriesName, Entry]:
    """The entry of a record of the state topic."""
    record = msgspec.msgpack.decode(value, type=PaneRecord)
    return record.name, record.entry(offset)


def placed(copies: Iterable[Copy], offsets: Iterable[int]) -> None:
    """The copies that were made stand at these offsets."""
    for copy, offset in zip(copies, offsets, strict=True):
        copy.offset = offset
