"""The index of the table of ids, which doubles where it lies: what was there is not copied, and only what is added
takes new memory.

What the slots hold, and how they are searched, says `streams.profile.id_kernels`.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.compiled import compiled
from streams.profile.id_kernels import EMPTY
from streams.profile.id_rows import mapped

Slots: TypeAlias = npt.NDArray[np.uint64]

_MAPPED_SLOTS = 128 * 1024
_RESERVE, _MOST_RESERVED = 64, 64 * 1024 * 1024
"""Addresses, not memory; when they are used up the table is copied to others."""
_PAGE_SLOTS = 512


class Index:
    """`slots`: the table as it is, a power of two long. Behind it lies what it may still grow to."""

    def __init__(self, size: int) -> None:
        self._whole = self.slots = np.zeros(size, dtype=np.uint64)

    def clear(self, size: int) -> None:
        """An empty table of this size."""
        if len(self.slots) == size:
            self.slots.fill(EMPTY)  # new memory would have to be cleared, too, and found first
            return
        self._whole = self.slots = np.zeros(0, dtype=np.uint64)
        self._whole = _cleared(size)
        self.slots = self._whole[:size]
        touch_pages(self.slots, 0)

    def grow(self, size: int) -> None:
        """A table of this size with the same entries; those of one key keep their order."""
        while len(self.slots) < size:
            known = len(self.slots)
            if 2 * known > len(self._whole):
                whole = _cleared(max(2 * known, min(_RESERVE * known, _MOST_RESERVED)))
                whole[:known] = self.slots
                self._whole = whole
            self.slots = self._whole[: 2 * known]
            touch_pages(self.slots, known)
            widen(self.slots)


def _cleared(size: int) -> Slots:
    """Empty slots. Where they are many, they take memory only as they are touched."""
    return mapped(8 * size, np.dtype(np.uint64)) if size >= _MAPPED_SLOTS else np.zeros(size, dtype=np.uint64)


@compiled
def touch_pages(slots: Slots, first: int) -> None:
    """Write to each page of empty memory before it is read: otherwise the system brings it twice."""
    for slot in range(first, len(slots), _PAGE_SLOTS):
        slots[slot] = EMPTY


@compiled
def widen(slots: Slots) -> None:
    """Spread the entries of a table over twice its slots: the first half holds them, the second is empty.

    The homes of a run of full slots [a, b] lie in it, and at most as many behind any of its slots as there are slots
    left. So all of the run finds room in [2a, 2b + 1], where nothing else has its home, and runs can be moved one by
    one from the last to the first. The one that goes on from the end to the beginning comes last of all.
    """
    half, size = len(slots) // 2, len(slots)
    shift = np.uint64(64)
    while size > 1:
        size >>= 1
        shift -= np.uint64(1)
    run = np.empty(64, np.uint64)
    first, last, around = 0, half - 1, 0
    if slots[0] != EMPTY and slots[half - 1] != EMPTY:
        while slots[first] != EMPTY:
            first += 1
        while slots[last] != EMPTY:
            last -= 1
        around = half - 1 - last + first
    held = np.empty(around, np.uint64)
    for place in range(around):
        slot = (last + 1 + place) % half
        held[place] = slots[slot]
        slots[slot] = EMPTY
    end = last
    while end >= first:
        if slots[end] == EMPTY:
            end -= 1
            continue
        begin = end
        while begin > first and slots[begin - 1] != EMPTY:
            begin -= 1
        count = end - begin + 1
        if count > len(run):
            run = np.empty(2 * count, np.uint64)
        for place in range(count):
            run[place] = slots[begin + place]
            slots[begin + place] = EMPTY
        _put(slots, run[:count], shift)
        end = begin - 1
    _put(slots, held, shift)


@compiled
def _put(slots: Slots, entries: Any, shift: Any) -> None:
    mask = len(slots) - 1
    for entry in entries:
        slot = np.int64(entry >> shift)
        while slots[slot] != EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = entry
